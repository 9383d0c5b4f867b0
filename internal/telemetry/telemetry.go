// Package telemetry writes logs as Cloud Logging reads them: one JSON object a
// line, with its severity, and tied to the request's trace
// (https://cloud.google.com/logging/docs/structured-logging).
package telemetry

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"regexp"
	"strconv"
	"strings"
)

// Severities that slog has no name for, by Cloud Logging's names.
const (
	LevelNotice   = slog.LevelInfo + 2
	LevelCritical = slog.LevelError + 4
)

// NewLogger makes a logger whose lines Cloud Logging understands.
func NewLogger(w io.Writer, level slog.Leveler) *slog.Logger {
	return slog.New(&handler{Handler: slog.NewJSONHandler(w, &slog.HandlerOptions{Level: level, ReplaceAttr: rename})})
}

// rename gives slog's own attributes the names that Cloud Logging looks for.
func rename(groups []string, a slog.Attr) slog.Attr {
	if len(groups) > 0 {
		return a
	}
	switch a.Key {
	case slog.LevelKey:
		level, _ := a.Value.Any().(slog.Level)
		return slog.String("severity", severity(level))
	case slog.MessageKey:
		a.Key = "message"
	case slog.TimeKey:
		a.Key = "time"
	}
	return a
}

func severity(level slog.Level) string {
	switch {
	case level >= LevelCritical:
		return "CRITICAL"
	case level >= slog.LevelError:
		return "ERROR"
	case level >= slog.LevelWarn:
		return "WARNING"
	case level >= LevelNotice:
		return "NOTICE"
	case level >= slog.LevelInfo:
		return "INFO"
	}
	return "DEBUG"
}

// handler adds to each line the trace that its context carries.
type handler struct{ slog.Handler }

type traceKey struct{}

type trace struct{ name, span string }

func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	if t, ok := ctx.Value(traceKey{}).(trace); ok {
		r.AddAttrs(slog.String("logging.googleapis.com/trace", t.name))
		if t.span != "" {
			r.AddAttrs(slog.String("logging.googleapis.com/spanId", t.span))
		}
	}
	return h.Handler.Handle(ctx, r)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.Handler.WithAttrs(attrs)}
}

func (h *handler) WithGroup(name string) slog.Handler { return &handler{h.Handler.WithGroup(name)} }

var (
	traceparent = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$`) // W3C Trace Context
	cloudTrace  = regexp.MustCompile(`^([0-9a-f]{32})(?:/([0-9]{1,20})(?:;.*)?)?$`)                   // X-Cloud-Trace-Context
)

// WithTrace ties what is logged under the context to the request's trace, as
// its headers name it; without one, nothing changes. project is the id of the
// Google Cloud project whose Cloud Trace has the trace.
func WithTrace(ctx context.Context, h http.Header, project string) context.Context {
	name := func(id string) string { return "projects/" + project + "/traces/" + id }
	none := strings.Repeat("0", 32)
	if m := traceparent.FindStringSubmatch(h.Get("traceparent")); m != nil && m[1] != none {
		return context.WithValue(ctx, traceKey{}, trace{name(m[1]), m[2]})
	}
	if m := cloudTrace.FindStringSubmatch(h.Get("X-Cloud-Trace-Context")); m != nil && m[1] != none {
		var span string
		if n, err := strconv.ParseUint(m[2], 10, 64); err == nil && n != 0 { // decimal there, hexadecimal in a log
			span = fmt.Sprintf("%016x", n)
		}
		return context.WithValue(ctx, traceKey{}, trace{name(m[1]), span})
	}
	return ctx
}
