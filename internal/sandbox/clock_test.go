package sandbox_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// Whatever is answered, and by whom, is dated by the server's clock.
func TestAnswersAreDated(t *testing.T) {
	b := setup(t, func(_ *sandbox.World, o *sandbox.Options) { o.Skew = -2 * time.Minute })
	token := b.as(ada, "gmail.insert")
	want := b.now.Add(-2 * time.Minute).Format(http.TimeFormat)
	for name, a := range map[string]answer{
		"a call":       b.gmail(token, "POST", insertURL, hello, "Content-Type", "message/rfc822").says(t, 200),
		"a refusal":    b.gmail(token, "GET", "/users/me/messages", nil).says(t, 403),
		"a signature":  b.must("POST", b.signPath(robot), map[string]any{"payload": "{}"}, bearer(b.machine())...).says(t, 200),
		"an exchange":  b.exchange("").says(t, 400),
		"not known":    b.must("GET", "/nowhere.googleapis.com/x", nil).says(t, 501),
		"the metadata": b.must("GET", "/computeMetadata/v1/project/project-id", nil, "Metadata-Flavor", "Google").says(t, 200),
	} {
		if got := a.header.Get("Date"); got != want {
			t.Errorf("%s: dated %q, want %q", name, got, want)
		}
	}
}

// A client whose clock is two hours off gets row T10, but where it is so late that
// what it wants signed has ended: that gets no signature, row S8.
func TestClockIsOff(t *testing.T) {
	for _, skew := range []time.Duration{2 * time.Hour, -2 * time.Hour} {
		b := setup(t, func(_ *sandbox.World, o *sandbox.Options) { o.Skew = skew })
		if skew > 0 {
			b.must("POST", b.signPath(robot), map[string]any{"payload": fmt.Sprintf(`{"exp": %d}`, b.now.Unix()+3600)}, bearer(b.machine())...).says(t, 400, "'exp' must be")
			continue
		}
		b.exchange(b.sign(b.claims(ada, "gmail.insert"))).says(t, 400, "invalid_grant", "reasonable timeframe")
	}
}
