// Package storm brings many jobs to a function at once, for tests and benchmarks, and
// counts how often they are sent away.
package storm

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// Storm is one insert for each job, the users in turn.
type Storm struct {
	URL         string // the function's
	Users, Jobs int
	// AtOnce is how many deliveries are under way at once, as Cloud Run lets be for
	// an instance.
	AtOnce int
	Again  Again
}

// Tally is what came of a storm.
type Tally struct {
	Took     time.Duration // until the last job was done
	Statuses map[int]int   // how often each was answered
	// Away is how many jobs were sent away once at least, twice at least, and so on.
	Away []int
}

// SentAway is how many jobs were sent away so often at least.
func (t Tally) SentAway(times int) int {
	if times > len(t.Away) {
		return 0
	}
	return t.Away[times-1]
}

// User is the address of one of them.
func User(n int) string { return fmt.Sprintf("user%d@example.com", n) }

// ID is that of a job, as the subject of its letter names it, too.
func ID(job int) string { return "storm/" + strconv.Itoa(job) }

// units are what an insert costs
// (https://developers.google.com/workspace/gmail/api/reference/quota).
const units = 25

// Best is the shortest time in which Gmail lets the jobs be done: so many units of each
// user are to be had at once, and again every minute.
func (s Storm) Best(unitsPerUser int) time.Duration {
	ofUser := (s.Jobs + s.Users - 1) / s.Users
	return time.Duration((ofUser*units-1)/unitsPerUser) * time.Minute
}

// Again tells after how long comes again what was sent away for the nth time, with that
// header.
type Again func(n int, h http.Header) time.Duration

// AsTold is Cloud Tasks' way: it keeps to Retry-After.
func AsTold(n int, h http.Header) time.Duration {
	if seconds, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		return time.Duration(seconds) * time.Second
	}
	return BackOff(n, h)
}

// BackOff is Pub/Sub's way, with the least and the most that it can be told: from 10 s it
// doubles to 600 s. How far its times are spread is assumed.
func BackOff(n int, _ http.Header) time.Duration {
	const least, most = 10 * time.Second, 600 * time.Second
	wait := min(most, least<<min(n-1, 10))
	return time.Duration((0.9 + 0.2*rand.Float64()) * float64(wait)) //nolint:gosec // it spreads, and hides nothing
}

// delivery is one of a job.
type delivery struct {
	job  int
	away int // how often the job was sent away before
}

// under is a storm that is under way.
type under struct {
	Storm
	client *http.Client
	due    chan delivery // has room for all jobs
	over   chan struct{} // closed when all are done

	mu    sync.Mutex
	left  int // jobs
	tally Tally
}

// Run delivers each job until it is done. Errors are ctx's, and of a delivery that had no
// answer.
func (s Storm) Run(ctx context.Context) (Tally, error) {
	u := &under{
		Storm: s, client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: s.AtOnce}},
		due: make(chan delivery, s.Jobs), over: make(chan struct{}), left: s.Jobs, tally: Tally{Statuses: map[int]int{}},
	}
	defer u.client.CloseIdleConnections()
	for job := range s.Jobs {
		u.due <- delivery{job: job}
	}
	begun := time.Now()
	group, ctx := errgroup.WithContext(ctx)
	for range s.AtOnce {
		group.Go(func() error { return u.work(ctx) })
	}
	err := group.Wait()
	u.tally.Took = time.Since(begun)
	return u.tally, err
}

// work makes one delivery after the other.
func (u *under) work(ctx context.Context) error {
	for {
		select {
		case d := <-u.due:
			if err := u.deliver(ctx, d); err != nil {
				return err
			}
		case <-u.over:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// deliver makes a delivery, and sees that the job comes again where it is not done.
func (u *under) deliver(ctx context.Context, d delivery) error {
	status, header, err := u.post(ctx, d)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.tally.Statuses[status]++
	if status == http.StatusOK {
		if u.left--; u.left == 0 {
			close(u.over)
		}
		return nil
	}
	if d.away == len(u.tally.Away) {
		u.tally.Away = append(u.tally.Away, 0)
	}
	u.tally.Away[d.away]++
	d.away++
	time.AfterFunc(u.Again(d.away, header), func() { u.due <- d })
	return nil
}

// post makes the request that Pub/Sub makes.
func (u *under) post(ctx context.Context, d delivery) (status int, header http.Header, err error) {
	letter := "Subject: " + ID(d.job) + "\r\n\r\nIt is windy.\r\n"
	job, err := json.Marshal(map[string]any{
		"id": ID(d.job), "user": User(d.job % u.Users), "action": "gmail.users.messages.insert",
		"message": map[string]any{"raw": base64.URLEncoding.EncodeToString([]byte(letter))},
	})
	if err != nil {
		return 0, nil, err
	}
	body, err := json.Marshal(map[string]any{
		"subscription": "projects/p/subscriptions/storm", "deliveryAttempt": d.away + 1,
		"message": map[string]any{"data": job, "messageId": strconv.Itoa(d.job), "publishTime": "2026-11-21T12:00:00Z"},
	})
	if err != nil {
		return 0, nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.URL, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := u.client.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = res.Body.Close() }()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, res.Header, err
}
