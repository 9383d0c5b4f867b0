package quota

import (
	"context"
	"time"
)

type Limits struct{ PerUser, PerProject int }
type Budget struct{}

func NewBudget(Limits, time.Duration) *Budget { return &Budget{} }

type Spend struct {
	User  string
	Units int
	Alone bool
}
type WaitError struct{ Until time.Time }

func (*WaitError) Error() string                                       { return "quota" }
func (b *Budget) Take(context.Context, Spend) (done func(), err error) { return func() {}, nil }

type Store interface {
	Defer(ctx context.Context, key string, until time.Time) error
	Deferred(ctx context.Context) (map[string]time.Time, error)
}
type Deferrals struct{}

func NewDeferrals(Store) *Deferrals                                 { return &Deferrals{} }
func (d *Deferrals) Until(context.Context, ...string) time.Time     { return time.Time{} }
func (d *Deferrals) Defer(context.Context, time.Time, string) error { return nil }
