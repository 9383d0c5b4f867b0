package test

import (
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// What a method costs stands in two tables, one of which knows nothing of the other:
// neither may have forgotten one of Gmail's methods.
func TestUnitsOfEveryGmailMethod(t *testing.T) {
	gmail, ok := discovery.New().API("gmail")
	if !ok {
		t.Fatal("Discovery has no Gmail")
	}
	methods := actions.NewMethods()
	for _, m := range gmail.Methods {
		d, err := methods.Describe(m.ID)
		if err != nil {
			t.Fatal(err)
		}
		if units := sandbox.Units(m.ID); units == 0 || units != d.Units {
			t.Errorf("%s: %d units in the sandbox, and %d in the table of methods", m.ID, units, d.Units)
		}
	}
	if units := sandbox.Units("calendar.events.insert"); units != 0 {
		t.Errorf("Calendar's quota is not counted, and an insert has %d units", units)
	}
}
