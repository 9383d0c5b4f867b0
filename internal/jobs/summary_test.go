package jobs_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// tally is what a ledger has counted.
var tally = map[string]int{
	"succeeded": 1, "previewed": 2, "refused": 4, "expired": 8, "cancelled": 16, "uncertain": 32,
	"failed/admin": 64, "failed/quota": 128, "failed/job": 0, "putOff": 256,
}

func TestCountsOf(t *testing.T) {
	got := jobs.CountsOf(tally)
	want := jobs.Counts{
		Succeeded: 1, Previewed: 2, Refused: 4, Expired: 8, Cancelled: 16, Uncertain: 32, PutOff: 256,
		Failed: map[jobs.Fault]int{jobs.FaultAdmin: 64, jobs.FaultQuota: 128},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got.Done() != 255 || got.Bad() != 4+32+64+128 {
		t.Errorf("%d are done and %d bad; want 255 and 228", got.Done(), got.Bad())
	}
	if none := jobs.CountsOf(nil); none.Done() != 0 || none.Bad() != 0 {
		t.Errorf("of nothing there is %+v", none)
	}
}

func TestSummary(t *testing.T) {
	s := schema(t, "summary.json", jobs.SummarySchema)
	at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	summary := jobs.Summary{
		Batch: "n-1", Name: "n", Round: 2, Counts: jobs.CountsOf(tally), PassedOver: map[string]int{"suspended": 3},
		Enumerated: 600, Published: 597, Remaining: 342, StartedAt: at, FinishedAt: at,
	}
	why := &jobs.Error{Stage: jobs.StageExchange, Fault: jobs.FaultAdmin, Code: 401, Reason: "unauthorized_client", Message: "m", Fix: "f"}
	for _, c := range []struct {
		state string
		err   *jobs.Error
		valid bool
	}{
		{"completed", nil, true},
		{"cancelled", nil, true},
		{"expired", nil, true},
		{"stopped", why, true},
		{"refused", why, true},
		{"stopped", nil, false},
		{"completed", why, false},
		{"done", nil, false},
	} {
		summary.State, summary.Error = c.state, c.err
		data, err := summary.Encode()
		if err != nil {
			t.Fatal(err)
		}
		doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Validate(doc); (err == nil) != c.valid {
			t.Errorf("%s: %v", data, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"batch": "n-1", "status": "done", "summary": "true"}, summary.Attributes()); diff != "" {
		t.Error(diff)
	}
}

func TestSummaryOfWhatCouldNotBeRead(t *testing.T) {
	if diff := cmp.Diff(map[string]string{"status": "refused", "summary": "true"}, jobs.Summary{State: "refused"}.Attributes()); diff != "" {
		t.Error(diff)
	}
}

func TestSummaryHasEveryCount(t *testing.T) {
	got, err := jobs.Summary{Batch: "n-1", Name: "n", State: "completed"}.Encode()
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"batch":"n-1","name":"n","state":"completed","round":0,"counts":{"succeeded":0,"previewed":0,"failed":{},"refused":0,"expired":0,"cancelled":0,"uncertain":0,"putOff":0},"passedOver":{},"enumerated":0,"published":0,"remaining":0,"startedAt":"0001-01-01T00:00:00Z"}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}
