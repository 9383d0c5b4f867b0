package functions

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
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
	states, err := x.batches.Sweep(ctx)
	attrs := []slog.Attr{slog.Float64("seconds", time.Since(begun).Seconds()), slog.String("messageId", msg.ID)}
	for _, state := range []batch.State{batch.Running, batch.Paused, batch.Stopped, batch.Cancelling} {
		attrs = append(attrs, slog.Int(string(state), states[state]))
	}
	if err != nil { // the next one comes in a minute anyway
		x.log.LogAttrs(ctx, slog.LevelError, "cannot look after all batches", append(attrs, slog.String("error", err.Error()))...)
		return Outcome{Answer: Done}
	}
	x.log.LogAttrs(ctx, slog.LevelInfo, "looked after the batches", attrs...)
	return Outcome{Answer: Done}
}
