package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"cloud.google.com/go/pubsub/v2"
)

// balancer is the push endpoint: it brings each message to one of the processes of the
// function that the path names, as Cloud Run does, and has happen to it what can happen
// to a message.
type balancer struct {
	plan   plan
	fleets []*fleet
	http   *http.Client
	jobs   context.Context //nolint:containedctx // of what is delivered behind an answer's back

	copies sync.WaitGroup
	room   chan struct{} // for what is carried

	mu         sync.Mutex
	dice       *rand.Rand      // picks processes; what it says depends on who asks when
	published  int             // messages of jobs, by this program
	carried    map[string]bool // those that others have published, by Pub/Sub's message id
	acked      map[string]bool // of both, likewise
	resting    map[string]*rest
	deliveries map[string]int // of each job
	counts     map[*fleet]map[string]int
	good       int // answers of 200 to jobs, behind each of which is a published result
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
	// atOnceEach is how many messages are carried to a process at once, as many as Cloud
	// Run gives it by default.
	atOnceEach = 80
)

func newBalancer(ctx context.Context, s settings, fleets []*fleet) *balancer {
	b := &balancer{
		plan: s.plan, fleets: fleets, jobs: ctx, dice: s.dice("balancer"), room: make(chan struct{}, s.processes*atOnceEach),
		http:    &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256, IdleConnTimeout: time.Minute}},
		carried: map[string]bool{}, acked: map[string]bool{}, resting: map[string]*rest{}, deliveries: map[string]int{}, counts: map[*fleet]map[string]int{},
	}
	for _, f := range fleets {
		b.counts[f] = map[string]int{}
	}
	return b
}

// message is one delivery of Pub/Sub's.
type message struct {
	to   *fleet
	id   string
	job  string // that it is; or its own id
	body []byte
}

// isJob tells whether a result comes of it.
func (m *message) isJob() bool { return m.to.target == execute }

func (b *balancer) readMessage(r *http.Request) (m message, err error) {
	if m.to, err = b.fleet(r.URL.Path); err != nil {
		return m, err
	}
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
	m.id, m.job = in.Message.ID, in.Message.ID
	if m.isJob() {
		m.job, err = readJob(in.Message.Data)
	}
	return m, err
}

func (b *balancer) fleet(path string) (*fleet, error) {
	i := slices.IndexFunc(b.fleets, func(f *fleet) bool { return path == "/"+f.target })
	if i < 0 {
		return nil, fmt.Errorf("%s names none of the functions", path)
	}
	return b.fleets[i], nil
}

// readJob gives a job's id.
func readJob(data []byte) (id string, err error) {
	var job struct {
		ID string `json:"id"`
	}
	err = json.Unmarshal(data, &job)
	return job.ID, err
}

// ServeHTTP takes one delivery.
func (b *balancer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	m, err := b.readMessage(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !b.rested(r.Context(), m) {
		w.WriteHeader(http.StatusTooManyRequests)
		return
	}
	status := b.try(r.Context(), m)
	if status == 0 {
		panic(http.ErrAbortHandler) // the only way in net/http to end a connection without an answer
	}
	w.WriteHeader(status)
}

// carry does for one message what a push subscription does, until it is acked. The
// emulator's own would bring a batch's jobs two at a time, for they are all on one topic.
func (b *balancer) carry(ctx context.Context, msg *pubsub.Message) error {
	m := message{to: b.fleets[0], id: msg.ID}
	var err error
	if m.job, err = readJob(msg.Data); err != nil {
		return fmt.Errorf("what is published is no job: %w", err)
	}
	if m.body, err = pushed(msg); err != nil {
		return err
	}
	b.carrying(m.id)
	for ctx.Err() == nil {
		if !b.rested(ctx, m) {
			continue
		}
		b.room <- struct{}{}
		status := b.try(ctx, m)
		<-b.room
		if status == http.StatusOK {
			msg.Ack()
			return nil
		}
	}
	msg.Nack()
	return nil
}

// pushed is the request that Pub/Sub makes of a message
// (https://cloud.google.com/pubsub/docs/push#receive_push).
func pushed(msg *pubsub.Message) ([]byte, error) {
	type content struct {
		Data        []byte            `json:"data"`
		Attributes  map[string]string `json:"attributes,omitempty"`
		ID          string            `json:"messageId"`
		PublishTime time.Time         `json:"publishTime"`
	}
	return json.Marshal(map[string]any{
		"message":      content{msg.Data, msg.Attributes, msg.ID, msg.PublishTime},
		"subscription": "projects/p/subscriptions/" + jobsTopic,
	})
}

// rested waits until the message may be tried again, and tells whether it may.
func (b *balancer) rested(ctx context.Context, m message) bool {
	b.mu.Lock()
	var wait time.Duration
	if r := b.resting[m.id]; r != nil {
		wait = time.Until(r.until)
	}
	if wait > holdTime {
		b.counts[m.to]["turned away to wait"]++
	}
	b.mu.Unlock()
	if wait <= 0 {
		return true
	}
	return pause(ctx, min(wait, holdTime)) && wait <= holdTime
}

// try delivers the message, and whatever else happens to it. It gives the answer as
// Pub/Sub gets it; 0 is none.
func (b *balancer) try(ctx context.Context, m message) (status int) {
	mishap := b.draw(m)
	if mishap == doubled {
		b.copy(m)
	}
	status = b.deliver(ctx, m)
	if mishap == unanswered {
		return 0
	}
	b.answered(m, status)
	if mishap == again && status == http.StatusOK {
		b.copy(m)
	}
	return status
}

// draw says what happens to this delivery of the job.
func (b *balancer) draw(m message) mishap {
	b.mu.Lock()
	defer b.mu.Unlock()
	drawn := b.plan.mishap(m.job, b.deliveries[m.job])
	b.deliveries[m.job]++
	if drawn != none {
		b.counts[m.to][drawn.String()]++
	}
	return drawn
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
	status, err := b.post(ctx, m)
	name := "answered " + strconv.Itoa(status)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		status, name = http.StatusGatewayTimeout, "not answered in time"
	case err != nil:
		status, name = http.StatusServiceUnavailable, "broken off"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.counts[m.to]["delivered"]++
	b.counts[m.to][name]++
	if m.isJob() && status == http.StatusOK {
		b.good++
	}
	return status
}

func (b *balancer) post(ctx context.Context, m message) (int, error) {
	b.mu.Lock()
	p := m.to.pick(b.dice)
	b.mu.Unlock()
	if p == nil {
		return http.StatusServiceUnavailable, nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(m.body))
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
func (b *balancer) answered(m message, status int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if status == http.StatusOK {
		delete(b.resting, m.id)
		if m.isJob() {
			b.acked[m.id] = true
		}
		return
	}
	r := b.resting[m.id]
	if r == nil {
		r = &rest{}
		b.resting[m.id] = r
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

// carrying counts a message that has come.
func (b *balancer) carrying(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.carried[id] = true
}

// state is how many messages of jobs are not acked yet, and how many answers were 200.
func (b *balancer) state() (waiting, good int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.published + len(b.carried) - len(b.acked), b.good
}

// figures counts what became of the deliveries to a function.
func (b *balancer) figures(f *fleet) map[string]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.counts[f])
}
