package telemetry_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/telemetry"
)

func line(t *testing.T, h http.Header, level slog.Level) map[string]any {
	t.Helper()
	var out bytes.Buffer
	logger := telemetry.NewLogger(&out, slog.LevelDebug)
	logger.With("a", 1).Log(telemetry.WithTrace(t.Context(), h, "p"), level, "hello", "job", "j")
	var fields map[string]any
	if err := json.Unmarshal(out.Bytes(), &fields); err != nil {
		t.Fatalf("%s: %v", out.String(), err)
	}
	return fields
}

func TestSeverities(t *testing.T) {
	for level, want := range map[slog.Level]string{
		slog.LevelDebug: "DEBUG", slog.LevelInfo: "INFO", telemetry.LevelNotice: "NOTICE",
		slog.LevelWarn: "WARNING", slog.LevelError: "ERROR", telemetry.LevelCritical: "CRITICAL",
	} {
		got := line(t, nil, level)
		if got["severity"] != want || got["message"] != "hello" || got["job"] != "j" || got["time"] == nil || got["level"] != nil {
			t.Errorf("%v: %v", level, got)
		}
	}
}

func TestTrace(t *testing.T) {
	const id = "0af7651916cd43dd8448eb211c80319c"
	for _, c := range []struct{ header, value, trace string }{
		{"Traceparent", "00-" + id + "-b7ad6b7169203331-01", "projects/p/traces/" + id},
		{"X-Cloud-Trace-Context", id + "/123;o=1", "projects/p/traces/" + id},
		{"X-Cloud-Trace-Context", id, "projects/p/traces/" + id},
		{"Traceparent", "00-00000000000000000000000000000000-b7ad6b7169203331-01", ""},
		{"Traceparent", "00-" + id + "\n-x", ""},
		{"X-Other", id, ""},
	} {
		h := http.Header{}
		h.Set(c.header, c.value)
		got, _ := line(t, h, slog.LevelInfo)["logging.googleapis.com/trace"].(string)
		if got != c.trace {
			t.Errorf("%s: %s: got %q, want %q", c.header, c.value, got, c.trace)
		}
	}
}
