package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// balancer is the push endpoint: it brings each message to one of the processes, as
// Cloud Run does, and has happen to it what can happen to a message.
type balancer struct {
	plan  plan
	fleet *fleet
	http  *http.Client
	jobs  context.Context //nolint:containedctx // of what is delivered behind an answer's back

	copies sync.WaitGroup

	mu         sync.Mutex
	dice       *rand.Rand // picks processes; what it says depends on who asks when
	published  int
	acked      map[string]bool // by Pub/Sub's message id
	resting    map[string]*rest
	deliveries map[string]int // of each job
	counts     map[string]int
	good       int // answers of 200, behind each of which is a published result
}

// rest is the back-off of a message that was refused. The emulator has none of use: it
// delivers every second, or with a retry policy and many messages hardly ever again.
type rest struct {
	refused int
	until   time.Time
}

const (
	firstRest, lastRest = 2 * time.Second, 16 * time.Second
	// holdTime is how long a message that comes too early is held, rather than refused,
	// which would cost the emulator more. The emulator has two messages of each
	// subscription on their way, and so waits for it with the next.
	holdTime = 8 * time.Second
)

func newBalancer(ctx context.Context, p plan, f *fleet) *balancer {
	return &balancer{
		plan: p, fleet: f, jobs: ctx, dice: p.dice("balancer"),
		http:  &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}},
		acked: map[string]bool{}, resting: map[string]*rest{}, deliveries: map[string]int{}, counts: map[string]int{},
	}
}

// message is one delivery of Pub/Sub's.
type message struct {
	id, job string
	body    []byte
}

func readMessage(r *http.Request) (m message, err error) {
	if m.body, err = io.ReadAll(r.Body); err != nil {
		return m, err
	}
	var in struct {
		Message struct {
			ID   string `json:"messageId"`
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.body, &in); err != nil {
		return m, err
	}
	var job struct {
		ID string `json:"id"`
	}
	err = json.Unmarshal(in.Message.Data, &job)
	m.id, m.job = in.Message.ID, job.ID
	return m, err
}

// ServeHTTP takes one delivery.
func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, err := readMessage(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !b.rested(r.Context(), m.id) {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	mishap := b.draw(m.job)
	if mishap == doubled {
		b.copy(m)
	}
	status := b.deliver(r.Context(), m)
	if mishap == unanswered {
		panic(http.ErrAbortHandler) // the only way in net/http to end a connection without an answer
	}
	b.answered(m.id, status)
	w.WriteHeader(status)
	if mishap == again && status == http.StatusOK {
		b.copy(m)
	}
}

// rested waits until the message may be tried again, and tells whether it may.
func (b *balancer) rested(ctx context.Context, id string) bool {
	b.mu.Lock()
	var wait time.Duration
	if r := b.resting[id]; r != nil {
		wait = time.Until(r.until)
	}
	if wait > holdTime {
		b.counts["turned away to wait"]++
	}
	b.mu.Unlock()
	if wait <= 0 {
		return true
	}
	t := time.NewTimer(min(wait, holdTime))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return wait <= holdTime
	}
}

// draw says what happens to this delivery of the job.
func (b *balancer) draw(job string) mishap {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.plan.mishap(job, b.deliveries[job])
	b.deliveries[job]++
	if m != none {
		b.counts[m.String()]++
	}
	return m
}

// copy delivers a message once more, whatever the answer.
func (b *balancer) copy(m message) {
	b.copies.Go(func() { b.deliver(b.jobs, m) })
}

// deliver brings the message to a process and gives its answer, or what Cloud Run
// answers in its place.
func (b *balancer) deliver(ctx context.Context, m message) int {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	status, err := b.post(ctx, m.body)
	name := "answered " + strconv.Itoa(status)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		status, name = http.StatusGatewayTimeout, "not answered in time"
	case err != nil:
		status, name = http.StatusServiceUnavailable, "broken off"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts["delivered"]++
	b.counts[name]++
	if status == http.StatusOK {
		b.good++
	}
	return status
}

func (b *balancer) post(ctx context.Context, body []byte) (int, error) {
	b.mu.Lock()
	p := b.fleet.pick(b.dice)
	b.mu.Unlock()
	if p == nil {
		return http.StatusServiceUnavailable, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := b.http.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// answered notes what Pub/Sub is told.
func (b *balancer) answered(id string, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if status == http.StatusOK {
		b.acked[id] = true
		delete(b.resting, id)
		return
	}
	r := b.resting[id]
	if r == nil {
		r = &rest{}
		b.resting[id] = r
	}
	r.until = time.Now().Add(min(firstRest<<min(r.refused, 10), lastRest))
	r.refused++
}

// publishing counts a message that will come.
func (b *balancer) publishing() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.published++
}

// state is how many messages are not acked yet, and how many answers were 200.
func (b *balancer) state() (waiting, good int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.published - len(b.acked), b.good
}

func (b *balancer) figures() map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.counts)
}
