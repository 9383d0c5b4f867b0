package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cloud.google.com/go/auth"
	"golang.org/x/sync/errgroup"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

const (
	// fanOuts and sweeps are how many processes of FanOut and of Sweep there are at a time.
	fanOuts, sweeps = 2, 1
	// sweepEvery is how often Sweep is told to look after batches: each minute in earnest.
	sweepEvery = time.Second
	// quietFor is for how long nobody may tell of the batch again.
	quietFor = 5 * sweepEvery
)

// wholeBatch tries a batch for all users: FanOut publishes its jobs, Execute does them,
// and Sweep has it go on where FanOut was killed, and tells of its end.
func (t *trial) wholeBatch(ctx context.Context) error {
	defer t.close()
	t.fleets = []*fleet{{target: execute, size: t.processes}, {target: fanOut, size: fanOuts}, {target: sweep, size: sweeps}}
	ctx, err := t.start(ctx, (*messages).createForBatch)
	if err != nil {
		return err
	}
	batches, err := t.batches(ctx)
	if err != nil {
		return err
	}
	listening, stop := context.WithCancel(ctx)
	defer stop()
	var around errgroup.Group
	around.Go(func() error { return t.messages.results(listening, t.take) })
	around.Go(func() error { return t.messages.carry(listening, t.waiting, t.balancer.carry) })
	around.Go(func() error { return t.sweepOften(listening) })

	work, working := errgroup.WithContext(ctx)
	work.Go(func() error { return t.publishBatch(working) })
	work.Go(func() error { return t.killSome(working) })
	work.Go(func() error { return t.watch(working) })
	work.Go(func() error { return t.watchBatch(working, batches) })
	err = work.Wait()
	if err == nil {
		err = t.settled(ctx)
	}
	if err == nil {
		err = t.compare(ctx, batches)
	}
	stop()
	if around := around.Wait(); err == nil {
		err = around
	}
	return err
}

// batches are those that the ledger has, for who looks on.
func (t *trial) batches(ctx context.Context) (*batch.Batches, error) {
	cfg, err := t.google.config() //nolint:contextcheck // it reads a list
	if err != nil {
		return nil, err
	}
	world := t.google.world
	l, err := ledger.OpenFirestore(ctx, world.Project, "(default)", option.WithEndpoint(t.database), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())))
	if err != nil {
		return nil, err
	}
	t.atEnd(func() { _ = l.Close() })
	x, err := functions.New(ctx, cfg, functions.Options{
		Credentials: func() (*auth.Credentials, error) { return t.google.Credentials(world.Runtime), nil }, Caller: world.Runtime,
		Ledger: l, Results: nobody{},
	})
	if err != nil {
		return nil, err
	}
	t.atEnd(func() { _ = x.Close() })
	return x.Batches(), nil
}

// config has the settings of who looks on.
func (g *google) config() (config.Config, error) {
	return config.Load([]string{"GOOGLE_CLOUD_PROJECT=" + g.world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + g.world.Runtime, "ONBEHALF_SANDBOX=http://" + g.host})
}

// nobody takes results, of which there are none.
type nobody struct{ functions.Results }

// publishBatch publishes the batch twice at once, for the same id is the same batch.
func (t *trial) publishBatch(ctx context.Context) error {
	data, err := json.Marshal(map[string]any{
		"id": batchID, "name": batchID, "targets": map[string]any{"all": true}, "exclude": t.passedFor("excluded"), "rate": t.rate,
		"job": map[string]any{
			"action": deeds[0].action, "body": deeds[0].body,
			"message": map[string]any{"compose": map[string]any{
				"from": "chaos@example.com", "to": []string{"{{.User.PrimaryEmail}}"}, "subject": "To {{.User.Name.FullName}}", "text": "You should read this once.",
				"headers": map[string]string{mark: "{{.Batch.ID}}/{{.User.PrimaryEmail}}"},
			}},
		},
	})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	for range 2 {
		g.Go(func() error { return t.messages.publish(ctx, batchesTopic, data) })
	}
	return g.Wait()
}

// sweepOften stands for Cloud Scheduler.
func (t *trial) sweepOften(ctx context.Context) error {
	for pause(ctx, sweepEvery) {
		if err := t.messages.publish(ctx, sweepTopic, []byte("{}")); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// take takes a result, or a summary.
func (t *trial) take(data []byte, summary bool) {
	if summary {
		t.summaries.take(data)
		return
	}
	t.tally.result(data)
}

// watchBatch waits until the batch has ended and its summary is here, and a while longer.
func (t *trial) watchBatch(ctx context.Context, batches *batch.Batches) error {
	err := every(ctx, sweepEvery, func() (bool, error) {
		list, err := batches.List(ctx, 1)
		if err != nil || len(list) == 0 {
			return false, err
		}
		if b := list[0]; b.Error != nil {
			return false, fmt.Errorf("the batch is %s: %s", b.State, b.Error.Message)
		}
		return len(t.summaries.all()) > 0, nil
	})
	if err == nil && !pause(ctx, quietFor) {
		err = ctx.Err()
	}
	return err
}

// compare holds what was counted against the mailboxes.
func (t *trial) compare(ctx context.Context, batches *batch.Batches) error {
	status, err := batches.Status(ctx, batchID)
	if err != nil {
		return err
	}
	letters := 0
	for _, n := range t.google.letters(t.tally.owner) {
		letters += n
	}
	t.found = t.miscounts("the status", status.Summary, letters)
	all := t.summaries.all()
	for _, text := range all {
		var s jobs.Summary
		if err := json.Unmarshal([]byte(text), &s); err != nil {
			return err
		}
		t.found = append(t.found, t.miscounts("the summary", s, letters)...)
	}
	if len(all) != 1 {
		t.found = append(t.found, fmt.Sprintf("%d summaries that differ: %s", len(all), strings.Join(all, "\n")))
	}
	passed := make(map[string]int)
	err = batches.PassedOver(ctx, batchID, func(p batch.PassedOver) bool { passed[p.User+" "+p.Reason]++; return true })
	if want := t.passedOver(); err == nil && !maps.Equal(passed, want) {
		t.found = append(t.found, fmt.Sprintf("passed over are %v, want %v", passed, want))
	}
	return err
}

// miscounts finds what is not as it must be.
func (s settings) miscounts(of string, got jobs.Summary, letters int) (found []string) {
	passed := make(map[string]int)
	for who, n := range s.passedOver() {
		_, reason, _ := strings.Cut(who, " ")
		passed[reason] += n
	}
	for _, c := range []struct {
		what      string
		got, want any
	}{
		{"state", got.State, string(batch.Completed)},
		{"succeeded", got.Counts.Succeeded, letters},
		{"done", got.Counts.Done(), s.jobs},
		{"put off", got.Counts.PutOff, 0},
		{"published", got.Published, s.jobs},
		{"remaining", got.Remaining, 0},
		{"enumerated", got.Enumerated, s.users + 1}, // the administrator
		{"passed over", got.PassedOver, passed},
	} {
		if got, want := fmt.Sprint(c.got), fmt.Sprint(c.want); got != want {
			found = append(found, fmt.Sprintf("%s: %s: %s, want %s", of, c.what, got, want))
		}
	}
	return found
}

// passedOver is who is, each with the reason.
func (s settings) passedOver() map[string]int {
	all := map[string]int{admin + " policy": 1}
	for n := range s.users {
		if reason := s.passed(n); reason != "" {
			all[user(n)+" "+reason] = 1
		}
	}
	return all
}

// summaries are those of the batch that came.
type summaries struct {
	mu    sync.Mutex
	texts map[string]int
}

func (s *summaries) take(data []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.texts == nil {
		s.texts = make(map[string]int)
	}
	s.texts[string(data)]++
}

// all are those that differ: Pub/Sub may deliver one twice.
func (s *summaries) all() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.texts))
}
