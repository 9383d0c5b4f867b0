package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/onbehalf-dev/onbehalf/test/emulator"
)

// trial is one run of chaos.
type trial struct {
	settings
	dir      string // for all files
	progress io.Writer
	begun    time.Time

	atClose []func()

	google *google
	tally  *tally
	kills  atomic.Int64 // SIGKILL
	terms  atomic.Int64 // SIGTERM, or Ctrl-C
	// of the functions alone
	fleets    []*fleet
	messages  *messages
	balancer  *balancer
	firestore *relay
	pubsub    *relay
	database  string         // the emulator's address
	ending    sync.WaitGroup // of the emulators
	// of a batch alone
	summaries summaries
	found     []string // what was miscounted
	// of the command alone
	missing []string // jobs that have not one line each in the last output
}

func newTrial(s settings, dir string, progress io.Writer) *trial {
	return &trial{settings: s, dir: dir, progress: progress, begun: time.Now(), tally: newTally(s.plan)}
}

// functions tries the functions behind Pub/Sub, until every job has its result, every
// message is acked and all that was to be killed is.
func (t *trial) functions(ctx context.Context) error {
	defer t.close()
	t.fleets = []*fleet{{target: execute, size: t.processes}}
	ctx, err := t.start(ctx, (*messages).create)
	if err != nil {
		return err
	}
	return t.breakAll(ctx)
}

// start starts the functions, and all that they talk to. It ends with the context that
// it gives.
func (t *trial) start(ctx context.Context, create func(*messages, context.Context, string) error) (context.Context, error) {
	t.atEnd(t.ending.Wait)
	for _, f := range t.fleets {
		t.atEnd(f.ending.Wait)
	}
	ctx, stop := context.WithCancel(ctx)
	t.atEnd(stop) // which kills them
	binary, err := build(ctx, t.dir, "test/bench/function")
	if err != nil {
		return nil, err
	}
	if err := t.surroundings(ctx, create); err != nil {
		return nil, err
	}
	env, err := t.functionEnvironment()
	if err != nil {
		return nil, err
	}
	for _, f := range t.fleets {
		f.until, f.binary, f.dir, f.env = ctx, binary, t.dir, env
		for range f.size {
			if err := f.start(); err != nil {
				return nil, err
			}
		}
	}
	t.begun = time.Now()
	return ctx, nil
}

// surroundings starts all that the functions talk to.
func (t *trial) surroundings(ctx context.Context, create func(*messages, context.Context, string) error) error {
	pubsub, err := emulator.PubSub().Start(ctx)
	if err != nil {
		return err
	}
	t.ending.Go(pubsub.Wait)
	firestore, err := emulator.Firestore().Start(ctx)
	if err != nil {
		return err
	}
	t.ending.Go(firestore.Wait)
	t.database = firestore.Address
	if err := t.startGoogle(ctx); err != nil {
		return err
	}
	if t.pubsub, err = startRelay(ctx, t.settings, "Pub/Sub", pubsub.Address); err != nil {
		return err
	}
	t.atEnd(t.pubsub.close)
	if t.firestore, err = startRelay(ctx, t.settings, "Firestore", firestore.Address); err != nil {
		return err
	}
	t.atEnd(t.firestore.close)
	if t.messages, err = newMessages(ctx, t.settings, t.google.world.Project, pubsub.Address); err != nil {
		return err
	}
	t.atEnd(t.messages.close)
	t.balancer = newBalancer(ctx, t.settings, t.fleets)
	server, host, err := serve(ctx, t.balancer)
	if err != nil {
		return err
	}
	t.atEnd(func() { _ = server.Close() })
	return create(t.messages, ctx, "http://"+host+"/")
}

func (t *trial) startGoogle(ctx context.Context) (err error) {
	if t.google, err = startGoogle(ctx, t.settings); err == nil {
		t.atEnd(t.google.close)
	}
	return err
}

// atEnd has close do something, before what it was given earlier.
func (t *trial) atEnd(do func()) { t.atClose = append(t.atClose, do) }

func (t *trial) close() {
	for _, do := range slices.Backward(t.atClose) {
		do()
	}
}

func (t *trial) functionEnvironment() ([]string, error) {
	policy, err := t.policy()
	env := environment(t.dir,
		"ONBEHALF_POLICY="+policy, "ONBEHALF_LEDGER=firestore:(default)", "ONBEHALF_RESULTS_TOPIC="+resultsTopic,
		"PUBSUB_EMULATOR_HOST="+t.pubsub.host, "FIRESTORE_EMULATOR_HOST="+t.firestore.host,
		"ONBEHALF_SANDBOX=http://"+t.google.host, "GCE_METADATA_HOST="+t.google.host)
	if t.batch {
		env = append(env, "ONBEHALF_ADMIN="+admin, "ONBEHALF_JOBS_TOPIC="+jobsTopic, "ONBEHALF_BATCHES_TOPIC="+batchesTopic)
	}
	return env, err
}

// policy writes one that allows what the jobs ask for, but to those whom a batch is to
// pass over for it.
func (t *trial) policy() (file string, err error) {
	file = filepath.Join(t.dir, "policy.yaml")
	text := "domains: [example.com]\nactions: [" + strings.Join(actions(), ", ") + "]\n"
	if t.batch {
		text += "denyUsers: [" + strings.Join(t.passedFor("policy"), ", ") + "]\n"
	}
	return file, os.WriteFile(file, []byte(text), 0o600)
}

// breakAll publishes, kills, waits and counts.
func (t *trial) breakAll(ctx context.Context) error {
	listening, stop := context.WithCancel(ctx)
	defer stop()
	room := make(chan struct{}, t.waiting)
	repeat := make(chan int, t.jobs) // those that have their result and are published again
	var collector errgroup.Group
	collector.Go(func() error {
		return t.messages.results(listening, func(data []byte, _ bool) {
			job, first := t.tally.result(data)
			if first {
				<-room
				repeat <- job
			}
		})
	})

	work, working := errgroup.WithContext(ctx)
	work.Go(func() error { return t.publish(working, room) })
	work.Go(func() error { return t.publishAgain(working, repeat) })
	work.Go(func() error { return t.killSome(working) })
	work.Go(func() error { return t.watch(working) })
	if err := work.Wait(); err != nil {
		return err
	}
	if err := t.settled(ctx); err != nil {
		return err
	}
	stop()
	return collector.Wait()
}

// publish publishes the jobs, as many at a time as there is room for.
func (t *trial) publish(ctx context.Context, room chan<- struct{}) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(4)
	for n := range t.jobs {
		select {
		case <-ctx.Done():
			return cmp.Or(g.Wait(), ctx.Err())
		case room <- struct{}{}:
		}
		g.Go(func() error {
			j := t.job(n)
			if j.twice == atOnce {
				if err := t.publishOne(ctx, n, j); err != nil {
					return err
				}
			}
			return t.publishOne(ctx, n, j)
		})
	}
	return g.Wait()
}

// publishAgain publishes once more what is to be when it has its result.
func (t *trial) publishAgain(ctx context.Context, repeat <-chan int) error {
	for range t.jobs {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case n := <-repeat:
			if j := t.job(n); j.twice == afterwards {
				if err := t.publishOne(ctx, n, j); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (t *trial) publishOne(ctx context.Context, n int, j job) error {
	t.balancer.publishing()
	return t.messages.publish(ctx, spread(n%t.messages.topics), j.data)
}

// killSome ends processes, each at its time, of one function after the other.
func (t *trial) killSome(ctx context.Context) error {
	for n, e := range t.ends() {
		f := t.fleets[n%len(t.fleets)]
		if err := t.reached(ctx, e, func() int { done, _ := t.tally.progress(); return done }); err != nil {
			return err
		}
		if err := f.end(e.signal, e.which); err != nil {
			return err
		}
		t.ended(e.signal)
	}
	return nil
}

func (t *trial) ended(signal syscall.Signal) {
	if signal == syscall.SIGKILL {
		t.kills.Add(1)
	} else {
		t.terms.Add(1)
	}
}

// reached waits until it is time for an end: at so many done, and a little later.
func (t *trial) reached(ctx context.Context, e end, done func() int) error {
	if err := every(ctx, 10*time.Millisecond, func() (bool, error) { return done() >= e.after, nil }); err != nil {
		return err
	}
	if !pause(ctx, e.pause) {
		return ctx.Err()
	}
	return nil
}

// watch waits until every job has its result, and says how far they are.
func (t *trial) watch(ctx context.Context) error {
	shown, calm := time.Now(), false
	return every(ctx, 100*time.Millisecond, func() (bool, error) {
		done, _ := t.tally.progress()
		if !calm && done >= int(calmAt*float64(t.jobs)) {
			calm = true
			t.calm()
		}
		if time.Since(shown) >= progressEvery {
			shown = time.Now()
			t.show(done, "jobs have their result")
		}
		return done == t.jobs, t.alive()
	})
}

// alive tells whether a process did what none may do.
func (t *trial) alive() error {
	var problems []error
	for _, f := range t.fleets {
		problems = append(problems, f.check())
	}
	return errors.Join(problems...)
}

// progressEvery is how often it is said how far things are.
const progressEvery = 5 * time.Second

func (t *trial) show(done int, what string) {
	passed := time.Since(t.begun)
	fmt.Fprintf(t.progress, "%v: %d %s, for %d jobs, %.0f/s; %d SIGKILL, %d others\n",
		passed.Round(time.Second), done, what, t.jobs, float64(done)/passed.Seconds(), t.kills.Load(), t.terms.Load())
}

// calm ends the faults of Google and of the stores.
func (t *trial) calm() {
	t.google.ClearFaults()
	for _, r := range t.relays() {
		r.calm()
	}
}

// relays are those that were started.
func (t *trial) relays() []*relay {
	return slices.DeleteFunc([]*relay{t.firestore, t.pubsub}, func(r *relay) bool { return r == nil })
}

// settled waits until every message is acked, and every result that was published is
// here.
func (t *trial) settled(ctx context.Context) error {
	err := every(ctx, 100*time.Millisecond, func() (bool, error) {
		waiting, _ := t.balancer.state()
		return waiting == 0, t.alive()
	})
	if err != nil {
		return err
	}
	t.balancer.copies.Wait()
	latest, since := 0, time.Now()
	return every(ctx, 100*time.Millisecond, func() (bool, error) {
		_, received := t.tally.progress()
		_, good := t.balancer.state()
		if received != latest {
			latest, since = received, time.Now()
		}
		quiet := time.Since(since)
		if received < good && quiet > patience {
			return false, fmt.Errorf("%d results of %d that were said to be published have not come", good-received, good)
		}
		return received >= good && quiet > time.Second, nil
	})
}

// patience is for a result that was published.
const patience = 30 * time.Second

// pause waits, and tells whether ctx lasted so long.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// every looks again and again, until it is done.
func every(ctx context.Context, pause time.Duration, look func() (done bool, err error)) error {
	ticker := time.NewTicker(pause)
	defer ticker.Stop()
	for {
		if done, err := look(); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
