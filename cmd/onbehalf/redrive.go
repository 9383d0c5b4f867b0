package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// deadLetter is what is shown of one.
type deadLetter struct {
	Job         string    `json:"job,omitzero"` // its own id
	MessageID   string    `json:"messageId"`
	User        string    `json:"user,omitzero"`
	As          string    `json:"as,omitzero"`
	Action      string    `json:"action,omitzero"`
	Deliveries  int       `json:"deliveries"`
	PublishedAt time.Time `json:"publishedAt"`
	// Status is the job's final result's; empty where it has none, or that cannot be
	// seen. Reason is the result's, or for what the job was last put off.
	Status jobs.Status `json:"status,omitzero"`
	Reason string      `json:"reason,omitzero"`
	// Problem says why it cannot be published once more.
	Problem string `json:"problem,omitzero"`
	// Done says what redrive does, PublishedAs the id, and Why why it does so.
	Done        fate   `json:"done,omitzero"`
	PublishedAs string `json:"publishedAs,omitzero"`
	Why         string `json:"why,omitzero"`

	data   []byte       // as it was published
	result *jobs.Result // nil where there is none, or that cannot be seen
	advice string       // what to do about the problem
	batch  string       // that has published it; empty: none has
	by     string       // the job that its batch has started in its place
}

// name is how people find it: by the job's id, or else the message's.
func (l *deadLetter) name() string { return cmp.Or(l.Job, "(message "+l.MessageID+")") }

// outcome is what became of it, in a few words.
func (l *deadLetter) outcome() string {
	switch {
	case l.Problem != "":
		return l.Problem
	case l.Reason != "":
		return cmp.Or(string(l.Status), "none") + ": " + l.Reason
	}
	return cmp.Or(string(l.Status), "none")
}

// look reads the job, and what the ledger knows of it.
func (d *deadLetters) look(ctx context.Context, m pubsubio.DeadLetter) (deadLetter, error) {
	job, wrong := jobs.Decode(m.Data, "")
	l := deadLetter{
		Job: job.ID, MessageID: m.ID, User: job.User, As: job.As, Action: job.Action,
		Deliveries: m.Deliveries, PublishedAt: m.PublishTime, data: m.Data,
	}
	if place, ok := batch.PlaceOf(m.Attributes); ok && place.Batch == job.Batch() {
		l.batch = place.Batch
	}
	switch {
	case wrong != nil:
		l.Problem, l.advice = "is no job: "+wrong.Error(), "correct it and publish it under a new id"
	case job.ID == "":
		l.Problem, l.advice = "has no id of its own", "so nobody knows what became of it: look whether the effect is there; if it is not, give it an id and publish it"
	}
	if d.ledger == nil || job.ID == "" || job.DryRun && l.batch == "" { // of which nothing is kept
		return l, nil
	}
	state, err := d.ledger.Find(ctx, job.ID)
	if err != nil {
		return l, err
	}
	l.by = state.By
	if l.result = state.Result; l.result != nil {
		l.Status = l.result.Status
	}
	if why := lastError(state); why != nil {
		l.Reason = why.Reason
	}
	return l, nil
}

// lastError is the final one, or that of the last attempt so far.
func lastError(state ledger.State) *jobs.Error {
	if state.Result != nil {
		return state.Result.Error
	}
	return state.Why
}

// fate is what redrive does with a dead letter.
type fate string

const (
	again   fate = "published" // as it is
	anew    fate = "publishedAnew"
	removed fate = "removed"
	left    fate = "left"
)

// fates are by what became of the job.
var fates = map[jobs.Status]struct {
	fate fate
	why  string
}{
	"":             {again, "it has no result"},
	jobs.Failed:    {anew, "it had failed"},
	jobs.Refused:   {anew, "it had been refused"},
	jobs.Expired:   {anew, "it had expired"},
	jobs.Cancelled: {anew, "it had been cancelled"},
	jobs.Succeeded: {removed, "it has succeeded"},
	jobs.Previewed: {removed, "it was a dry run that succeeded"},
	jobs.Uncertain: {left, "nobody knows whether it took effect: look whether the effect is there; if it is not, --uncertain publishes it under a new id"},
}

// decide says what is done with it, and changes its data where it gets a new id.
func (f *deadLetterFlags) decide(l *deadLetter) {
	row, known := fates[l.Status]
	l.Done, l.Why = row.fate, row.why
	switch {
	case l.Problem == "" && l.batch != "" && l.result != nil && !l.Status.Good():
		l.ofBatch()
	case l.Problem != "":
		l.Done, l.Why = left, "it "+l.Problem+"; "+l.advice
	case !known: // of a version to come
		l.Done, l.Why = left, "its result is "+jobs.Quote(l.Status)+", which is not known here"
	case l.Status == jobs.Uncertain && f.uncertain:
		l.Done, l.Why = anew, "nobody knew whether it took effect"
	}
	switch l.Done {
	case again:
		l.PublishedAs = l.Job
	case anew:
		// Two dead letters of one job have one result, and so become one job again.
		data, id, err := jobs.Anew(l.data, strconv.FormatInt(l.result.FinishedAt.UnixMilli(), 10))
		if err != nil {
			l.Done, l.Why = left, "it cannot get a new id: "+err.Error()
			return
		}
		l.data, l.PublishedAs = data, id
	case removed, left:
	}
}

// ofBatch says what is done with one whose job ended badly in a batch: that does it
// again, and only that counts it.
func (l *deadLetter) ofBatch() {
	retry := "its batch does it again: onbehalf batch retry " + l.batch
	switch {
	case l.by != "":
		l.Done, l.Why = removed, "its batch has started it again, as "+l.by
	case l.Status == jobs.Cancelled:
		l.Done, l.Why = removed, "its batch was cancelled"
	case l.Status == jobs.Uncertain:
		l.Done, l.Why = left, "nobody knows whether it took effect: look whether the effect is there; if it is not, "+retry+" --uncertain"
	default:
		l.Done, l.Why = left, l.Why+", and "+retry
	}
}

func (f *deadLetterFlags) redrive(cmd *cobra.Command, ids []string) error {
	ctx := cmd.Context()
	d, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer d.close()
	if d.ledger == nil {
		return errors.New("ONBEHALF_LEDGER: is memory, of which nothing is seen from here; set it to the functions' ledger, file:PATH or firestore:DATABASE, by which it is known what was done already")
	}
	var found []string
	counts := map[fate]int{}
	err = d.letters.Each(ctx, math.MaxInt, func(m pubsubio.DeadLetter) (done bool, err error) {
		l, err := d.look(ctx, m)
		if err != nil || !f.all && !slices.Contains(ids, l.Job) && !slices.Contains(ids, l.MessageID) {
			return false, err
		}
		found = append(found, l.Job, l.MessageID)
		f.decide(&l)
		if l.PublishedAs != "" && !f.dryRun {
			if err := d.letters.Publish(ctx, l.data, m.Attributes); err != nil {
				return false, d.publishProblem(err)
			}
		}
		counts[l.Done]++
		return l.Done != left && !f.dryRun, f.tell(cmd.OutOrStdout(), l)
	})
	fmt.Fprintf(cmd.ErrOrStderr(), "%d published, %d removed, %d left%s\n", counts[again]+counts[anew], counts[removed], counts[left], map[bool]string{true: " (dry run: nothing was done)"}[f.dryRun])
	if err != nil {
		return d.problem(err)
	}
	missing := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return slices.Contains(found, id) })
	switch {
	case len(missing) > 0:
		return &exitError{exitSomeFailed, fmt.Errorf("redrive: there is no dead letter now of %q", missing)}
	case counts[left] > 0:
		return &exitError{exitSomeFailed, nil}
	}
	return nil
}

// tell says what was done with one.
func (f *deadLetterFlags) tell(w io.Writer, l deadLetter) error {
	if f.json {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		return e.Encode(l)
	}
	would := map[bool]string{true: "would be "}[f.dryRun]
	what := map[fate]string{again: "published once more", anew: "published as " + l.PublishedAs, removed: "taken away", left: "left there"}[l.Done]
	_, err := fmt.Fprintf(w, "%s: %s%s: %s\n", l.name(), would, what, l.Why)
	return err
}

// problem says who must act where dead letters cannot be read.
func (d *deadLetters) problem(err error) error {
	var said *exitError
	var kept *ledger.Error
	switch code := status.Code(err); {
	case errors.As(err, &said):
		return err
	case errors.Is(err, context.Canceled):
		return &exitError{exitInterrupted, errors.New("interrupted; the same command goes on")}
	case errors.As(err, &kept):
		return &exitError{exitStopped, fmt.Errorf("%w\n%s", err, kept.Fix)}
	case errors.Is(err, pubsubio.ErrUnreachable):
		return &exitError{exitSomeFailed, unreachable()}
	case code == codes.NotFound:
		return &exitError{exitStopped, fmt.Errorf("there is no subscription %s in %s; keep dead letters in one:\ngcloud pubsub subscriptions create %s --topic=onbehalf-dead-letters --project=%s", d.subscription, d.project, d.subscription, d.project)}
	case code == codes.PermissionDenied:
		return &exitError{exitStopped, fmt.Errorf("%s may not be read; grant whom this runs as roles/pubsub.subscriber:\ngcloud pubsub subscriptions add-iam-policy-binding %s --member=MEMBER --role=roles/pubsub.subscriber --project=%s", d.subscription, d.subscription, d.project)}
	case code == codes.FailedPrecondition:
		return &exitError{exitStopped, fmt.Errorf("%s is no pull subscription; give the dead-letter topic one that is, and name it with --subscription", d.subscription)}
	case code != codes.Unknown && code != codes.OK:
		return &exitError{exitSomeFailed, errors.New("Pub/Sub answers " + code.String())}
	}
	return &exitError{exitSomeFailed, err}
}

// publishProblem says who must act where a job cannot be published.
func (d *deadLetters) publishProblem(err error) error {
	switch code := status.Code(err); code {
	case codes.NotFound:
		return &exitError{exitStopped, fmt.Errorf("there is no topic %s in %s; ONBEHALF_JOBS_TOPIC names that of the jobs", d.topic, d.project)}
	case codes.PermissionDenied:
		return &exitError{exitStopped, fmt.Errorf("%s may not be published to; grant whom this runs as roles/pubsub.publisher:\ngcloud pubsub topics add-iam-policy-binding %s --member=MEMBER --role=roles/pubsub.publisher --project=%s", d.topic, d.topic, d.project)}
	default:
		return &exitError{exitSomeFailed, fmt.Errorf("a job could not be published (%s); the same command tries again", code)}
	}
}

// unreachable says that Pub/Sub does not answer, or the emulator that was named.
func unreachable() error {
	if emulator := os.Getenv("PUBSUB_EMULATOR_HOST"); emulator != "" {
		return fmt.Errorf("no emulator of Pub/Sub answers at %s, which PUBSUB_EMULATOR_HOST names", jobs.Quote(emulator))
	}
	return pubsubio.ErrUnreachable
}
