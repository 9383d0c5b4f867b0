package batch_test

import (
	"testing"
	"testing/synctest"
	"time"
)

// A worker keeps now and then how far it is. What has come of its jobs meanwhile was
// published all the same.
func TestStatusWhileJobsArePublished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, 7, letter+"rate: 1\n")
		b.pageSize = 7
		done := make(chan error)
		go func() { done <- b.fanOut(t.Context()) }()
		time.Sleep(3500 * time.Millisecond)
		b.deliver(-1)
		s, err := b.Status(t.Context(), "letter")
		if err != nil || !s.Publishing || s.Counts.Succeeded != 4 || s.Published != 4 || s.Remaining != 0 {
			t.Errorf("%+v %v", s, err)
		}
		b.must(<-done)
		b.deliver(-1)
		b.wantCounts(b.toTheEnd())
	})
}
