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
	const none = "00000000000000000000000000000000"
	for _, c := range []struct {
		w3c, cloud  string
		trace, span any
	}{
		{"00-" + id + "-b7ad6b7169203331-01", "", "projects/p/traces/" + id, "b7ad6b7169203331"},
		{"", id + "/255;o=1", "projects/p/traces/" + id, "00000000000000ff"},
		{"", id + "/0;o=1", "projects/p/traces/" + id, nil},
		{"", id, "projects/p/traces/" + id, nil},
		{"00-" + none + "-b7ad6b7169203331-01", id + "/1", "projects/p/traces/" + id, "0000000000000001"},
		{"00-" + none + "-b7ad6b7169203331-01", none, nil, nil},
		{"00-" + id + "\n-x", "", nil, nil},
		{"", id + "abcd", nil, nil},
		{"", "", nil, nil},
	} {
		h := http.Header{}
		h.Set("Traceparent", c.w3c)
		h.Set("X-Cloud-Trace-Context", c.cloud)
		got := line(t, h, slog.LevelInfo)
		if got["logging.googleapis.com/trace"] != c.trace || got["logging.googleapis.com/spanId"] != c.span {
			t.Errorf("%q %q: got %v", c.w3c, c.cloud, got)
		}
	}
}
