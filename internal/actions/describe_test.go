package actions_test

import (
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Whoever copies the example of any method has a job that can be made.
func TestEveryExamplePassesEveryCheck(t *testing.T) {
	a := newActions(t, &google{})
	methods := a.List()
	if len(methods) < 2000 {
		t.Fatalf("%d methods are listed", len(methods))
	}
	for _, m := range methods {
		d, err := a.Describe(m.ID)
		if err != nil {
			t.Errorf("%s: %v", m.ID, err)
			continue
		}
		job, err := jobs.Decode(d.Example, "1")
		if err != nil {
			t.Errorf("%s: %s: %v", m.ID, d.Example, err)
			continue
		}
		call, err := a.Prepare(t.Context(), job)
		if err != nil {
			t.Errorf("%s: %s: %v", m.ID, d.Example, err)
			continue
		}
		if len(call.Scopes) == 0 || call.Service == "" {
			t.Errorf("%s: has the scopes %q and the service %q", m.ID, call.Scopes, call.Service)
		}
	}
}
