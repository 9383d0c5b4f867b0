package functions

import (
	"context"
	"net/http"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// ServeSweep answers one message of the scheduler's, whatever is in it.
func (x *Executor) ServeSweep(w http.ResponseWriter, r *http.Request) { x.serve(w, r, x.Sweep) }

// Sweep looks after all batches that have not ended.
func (x *Executor) Sweep(ctx context.Context, msg pubsubio.Message) (o Outcome) {
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	defer context.AfterFunc(x.ending, cancel)() //nolint:contextcheck // it is the instance that ends, whoever calls
	begun := time.Now()
	defer x.recover(ctx, &attempt{msg: msg}, func() { o = Outcome{Answer: Again} })
	if err := x.batches.Sweep(ctx); err != nil { // the next one comes in a minute anyway
		x.log.ErrorContext(ctx, "cannot look after all batches", "error", err.Error(), "messageId", msg.ID)
		return Outcome{Answer: Done}
	}
	x.log.InfoContext(ctx, "looked after the batches", "seconds", time.Since(begun).Seconds(), "messageId", msg.ID)
	return Outcome{Answer: Done}
}
