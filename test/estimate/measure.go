package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/test/emulator"
	"github.com/onbehalf-dev/onbehalf/test/meter"
)

// measured is what a batch has asked of whom.
type measured struct {
	settings
	begin, page   part           // of Firestore by FanOut: for a batch, and for each page of it
	doing         part           // by Execute
	sweep         part           // by Sweep, once
	calls         map[string]int // to Google, by those that do the jobs
	lists         int            // of the Directory, for moreUsers
	published     int            // bytes that are charged for
	delivered     int            // likewise
	busy          time.Duration  // for which jobs were under way, each by itself
	listing       time.Duration  // for which FanOut was, a page
	cpuDo, cpuFan time.Duration  // the processor's: for all jobs, and for a page
}

// part is what a function has asked of Firestore.
type part = meter.Firestore

// action is what the jobs do.
const action = "gmail.users.messages.insert"

// theBatch is a letter for everybody in a unit.
const theBatch = `{"name": "estimate", "targets": {"orgUnit": %q}, "job": {"action": "` + action + `", "message": {"compose": {
	"from": "Welcome <welcome@example.com>", "to": ["{{.User.PrimaryEmail}}"], "subject": "Welcome, {{.User.Name.GivenName}}",
	"text": "Hello {{.User.Name.FullName}},\n\nit is good that you are here. Whatever you need, ask whom you meet.\n"}}}}`

// pagesOf is over how many pages FanOut takes so many users.
func pagesOf(users int) int { return (users + pageLength - 1) / pageLength }

// measure has a batch done.
func (s settings) measure(ctx context.Context) (*measured, error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	google, err := startGoogle(ctx, s.jobs, s.latency)
	if err != nil {
		return nil, err
	}
	defer google.stop()
	firestore, err := emulator.Firestore().Start(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { stop(); firestore.Wait() }()
	asked := &meter.Meter{}
	world := sandbox.DefaultWorld()
	l, err := ledger.OpenFirestore(ctx, world.Project, "(default)", append(asked.Options(), option.WithEndpoint(firestore.Address), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))...)
	if err != nil {
		return nil, err
	}
	defer func() { _ = l.Close() }()
	w := &work{measured: measured{settings: s}, asked: asked, google: google}
	if w.x, err = w.functions(ctx, l); err != nil {
		return nil, err
	}
	defer func() { _ = w.x.Close() }()
	return &w.measured, w.do(ctx)
}

// work is a batch that is being done.
type work struct {
	measured
	asked  *meter.Meter
	google *google
	x      *functions.Executor

	mu    sync.Mutex
	queue []pubsubio.Message
	told  atomic.Int64 // summaries
}

// functions are all of them.
func (w *work) functions(ctx context.Context, l ledger.Ledger) (*functions.Executor, error) {
	world := sandbox.DefaultWorld()
	if err := os.Setenv("GCE_METADATA_HOST", w.google.url[len("http://"):]); err != nil { // which gives the functions their identity
		return nil, err
	}
	cfg, err := config.Load([]string{ //nolint:contextcheck // it reads a list
		"GOOGLE_CLOUD_PROJECT=" + world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + world.Runtime, "ONBEHALF_SANDBOX=" + w.google.url, "ONBEHALF_ADMIN=" + admin,
	})
	if err != nil {
		return nil, err
	}
	return functions.New(ctx, cfg, functions.Options{
		Policy: &policy.Policy{Domains: []string{"example.com"}, Actions: []string{action}}, Ledger: l, Results: w, Publish: w.publish,
	})
}

// do has the batch fanned out, its jobs done, and its end told of; and then more fanned
// out, for so few pages say little of one.
func (w *work) do(ctx context.Context) error {
	few, err := w.fanOut(ctx, servedUnit, w.jobs)
	if err != nil {
		return err
	}
	before, err := w.google.calls(ctx)
	if err != nil {
		return err
	}
	cpu := ownCPU()
	if err := w.doJobs(ctx); err != nil {
		return err
	}
	w.cpuDo, w.doing = ownCPU()-cpu, w.asked.Take()
	w.x.Sweep(ctx, pubsubio.Message{ID: "sweep"})
	w.sweep = w.asked.Take()
	if w.told.Load() != 1 {
		return errors.New("the batch has not ended with its last job")
	}
	if w.calls, err = w.google.calls(ctx); err != nil {
		return err
	}
	listed := w.calls[listUsers]
	for name, n := range before {
		if w.calls[name] -= n; w.calls[name] == 0 {
			delete(w.calls, name)
		}
	}
	begun, cpu := time.Now(), ownCPU()
	published, delivered := w.published, w.delivered
	many, err := w.fanOut(ctx, listedUnit, moreUsers)
	if err != nil {
		return err
	}
	w.published, w.delivered = published, delivered
	pages := pagesOf(moreUsers)
	w.listing, w.cpuFan = time.Since(begun)/time.Duration(pages), (ownCPU()-cpu)/time.Duration(pages)
	w.begin, w.page = split(few, pagesOf(w.jobs), many, pages)
	after, err := w.google.calls(ctx)
	w.lists = after[listUsers] - listed
	return err
}

// listUsers is the call that lists them.
const listUsers = "directory.users.list"

// fanOut has a batch fanned out.
func (w *work) fanOut(ctx context.Context, unit string, users int) (asked part, err error) {
	w.queue = nil
	w.asked.Take()
	o := w.x.FanOut(ctx, pubsubio.Message{ID: unit, Data: fmt.Appendf(nil, theBatch, unit), PublishTime: time.Now()})
	if o.Answer != functions.Done || o.Result.Error != nil {
		return asked, fmt.Errorf("FanOut: %+v", o.Result.Error)
	}
	if len(w.queue) != users {
		return asked, fmt.Errorf("%d jobs were published; want %d", len(w.queue), users)
	}
	return w.asked.Take(), nil
}

// split says what is asked for each page, and what beside that, of what was asked for a few
// and for many.
func split(few part, fewPages int, many part, manyPages int) (begin, page part) {
	for _, f := range []func(*part) *int{
		func(p *part) *int { return &p.Reads }, func(p *part) *int { return &p.Writes },
		func(p *part) *int { return &p.Creates }, func(p *part) *int { return &p.Deletes },
	} {
		each := int(math.Round(float64(*f(&many)-*f(&few)) / float64(manyPages-fewPages)))
		*f(&page) = each
		*f(&begin) = max(0, *f(&few)-each*fewPages)
	}
	return begin, page
}

// doJobs has all jobs done, some at once.
func (w *work) doJobs(ctx context.Context) error {
	var busy atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(w.atOnce)
	for _, msg := range w.queue {
		g.Go(func() error {
			begun := time.Now()
			o := w.x.Execute(ctx, msg)
			busy.Add(int64(time.Since(begun)))
			if o.Answer != functions.Done || o.Result.Status != jobs.Succeeded {
				return fmt.Errorf("a job did not succeed: %s %+v", o.Result.Status, o.Result.Error)
			}
			return nil
		})
	}
	err := g.Wait()
	w.busy = time.Duration(busy.Load())
	return err
}

// publish takes the jobs of a page, which are one request.
func (w *work) publish(_ context.Context, messages []batch.Message) func(context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := 0
	for _, m := range messages {
		msg := pubsubio.Message{ID: strconv.Itoa(len(w.queue) + 1), Data: m.Data, Attributes: m.Attributes(), PublishTime: time.Now()}
		w.queue = append(w.queue, msg)
		n := volume(msg.Data, msg.Attributes)
		all += n
		w.delivered += max(n, leastVolume) // each push is a request
	}
	w.published += max(all, leastVolume)
	return func(context.Context) error { return nil }
}

// Publish implements [functions.Results]. One reads them.
func (w *work) Publish(_ context.Context, r jobs.Result) error {
	data, err := r.Encode()
	if err != nil {
		return err
	}
	n := max(volume(data, r.Attributes()), leastVolume)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.published += n
	w.delivered += n
	return nil
}

// Tell implements [functions.Results].
func (w *work) Tell(context.Context, jobs.Summary) error {
	w.told.Add(1)
	return nil
}

// volume is what a message counts as, in bytes (https://cloud.google.com/pubsub/pricing).
func volume(data []byte, attributes map[string]string) int {
	const timestamp, id = 20, 17 // about as long as Pub/Sub's ids are
	n := len(data) + timestamp + id
	for key, value := range attributes {
		n += len(key) + len(value)
	}
	return n
}

// leastVolume is what a request counts as at least.
const leastVolume = 1000

// ownCPU is what this process has used so far.
func ownCPU() time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err) // there is no other process to ask of
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
