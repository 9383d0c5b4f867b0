package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"github.com/spf13/cobra"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

const (
	demoTimeout  = 2 * time.Minute
	jobsTopic    = "onbehalf-jobs"
	resultsTopic = "onbehalf-results"
)

func newDemo() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "The main job on an embedded Workspace: no account, no network, nothing to set up",
		Long: `Starts a Workspace and a Pub/Sub in this process, publishes jobs that insert
letters of many kinds into several users' mailboxes, has the Execute function
do them, and checks byte for byte what then lies in the mailboxes.`,
		Example: "  onbehalf demo\n  onbehalf demo --json | jq .letters",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), demoTimeout)
			defer cancel()
			d := &demo{stderr: cmd.ErrOrStderr()}
			if err := d.run(ctx); err != nil {
				if cmd.Context().Err() != nil {
					return &exitError{exitInterrupted, nil}
				}
				return err
			}
			return d.report(cmd.OutOrStdout(), asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "write the report as JSON")
	return cmd
}

// demo is one run of it.
type demo struct {
	stderr    io.Writer
	letters   []letter
	workspace *workspace
	pubsub    *embeddedPubSub
	results   map[string]jobs.Result
	took      time.Duration
}

// run is the demo: a Workspace, a Pub/Sub, the function between them, and jobs.
func (d *demo) run(ctx context.Context) (err error) {
	if d.letters, err = demoLetters(); err != nil {
		return err
	}
	d.say("Starting a Workspace and a Pub/Sub in this process …")
	if d.workspace, err = startWorkspace(d.world()); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.workspace.close()) }()
	if d.pubsub, err = startPubSub(ctx, d.workspace.world.Project); err != nil {
		return err
	}
	defer d.pubsub.close()
	for _, id := range []string{jobsTopic, resultsTopic} {
		if err := d.pubsub.topic(ctx, id); err != nil {
			return err
		}
	}
	x, err := d.executor(ctx)
	if err != nil {
		return err
	}
	defer x.Close()
	url, stop, ended, err := background(x)
	if err != nil {
		return err
	}
	defer func() { stop(); err = errors.Join(err, <-ended) }()
	return d.deliver(ctx, url)
}

// world is the sandbox's own, with the long letter in Cloud Storage.
func (d *demo) world() sandbox.World {
	world := sandbox.DefaultWorld()
	world.Objects = make(map[string][]byte)
	for _, l := range d.letters {
		if l.object {
			world.Objects["letters/"+l.name+".eml"] = l.raw
		}
	}
	return world
}

func (d *demo) executor(ctx context.Context) (*functions.Executor, error) {
	results, err := pubsubio.NewResults(ctx, d.workspace.world.Project, resultsTopic, d.pubsub.option())
	if err != nil {
		return nil, err
	}
	allowed, err := parsePolicy("domains: [example.com]\nactions: [gmail.users.messages.insert]\ndenyUsers: [admin@example.com]\n")
	if err != nil {
		return nil, err
	}
	return d.workspace.executor(ctx, functions.Options{Results: results, Policy: allowed})
}

// deliver publishes the jobs, has url do them, and gathers the results.
func (d *demo) deliver(ctx context.Context, url string) error {
	asked := d.jobs()
	d.say("Publishing %d jobs, one of them twice, to %s …", len(asked), jobsTopic)
	started := time.Now()
	if err := d.publish(ctx, append(asked, asked[0])); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var pushing sync.WaitGroup
	pushing.Go(func() { _ = d.pubsub.push(ctx, jobsTopic, url) })
	defer pushing.Wait()
	defer cancel()

	d.results = make(map[string]jobs.Result)
	show := newProgress(d.stderr, len(asked))
	defer func() { show.end(); d.say("%d jobs have their result: %s.", show.done(), show.counts()) }()
	deliveries := 0
	var mu sync.Mutex
	err := d.pubsub.client.Subscriber(resultsTopic).Receive(ctx, func(_ context.Context, m *pubsub.Message) {
		mu.Lock()
		defer mu.Unlock()
		m.Ack()
		var r jobs.Result
		if json.Unmarshal(m.Data, &r) != nil {
			return
		}
		deliveries++
		if _, again := d.results[r.Job]; !again {
			show.add(r.Status)
			d.results[r.Job] = r
		}
		if deliveries == len(asked)+1 {
			d.took = time.Since(started)
			cancel()
		}
	})
	if err == nil && d.took == 0 {
		err = fmt.Errorf("only %d of %d results came: %w", deliveries, len(asked)+1, context.Cause(ctx))
	}
	return err
}

// jobs are one for each letter, and two that cannot succeed.
func (d *demo) jobs() []map[string]any {
	job := func(id, user string, message map[string]any) map[string]any {
		return map[string]any{
			"id": "demo/" + id, "user": user, "action": "gmail.users.messages.insert",
			"params":  map[string]any{"internalDateSource": "dateHeader"},
			"body":    map[string]any{"labelIds": []string{"INBOX", "UNREAD"}},
			"message": message,
		}
	}
	var list []map[string]any
	for _, l := range d.letters {
		message := map[string]any{"raw": base64.URLEncoding.EncodeToString(l.raw)}
		if l.object {
			message = map[string]any{"uri": "gs://letters/" + l.name + ".eml"}
		}
		list = append(list, job(l.name, l.user, message))
	}
	raw := map[string]any{"raw": base64.URLEncoding.EncodeToString(d.letters[0].raw)}
	return append(list, job("to-a-suspended-user", "sam.suspended@example.com", raw), job("to-a-denied-user", "admin@example.com", raw))
}

func (d *demo) publish(ctx context.Context, list []map[string]any) error {
	topic := d.pubsub.client.Publisher(jobsTopic)
	defer topic.Stop()
	for _, job := range list {
		data, err := json.Marshal(job)
		if err != nil {
			return err
		}
		if _, err := topic.Publish(ctx, &pubsub.Message{Data: data}).Get(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (d *demo) say(format string, args ...any) { fmt.Fprintf(d.stderr, format+"\n", args...) }

// report is what lies in the mailboxes, held against what was sent.
type report struct {
	Letters  []delivered    `json:"letters"`
	Refused  []jobs.Result  `json:"others"`
	Calls    map[string]int `json:"calls"`
	Seconds  float64        `json:"seconds"`
	Problems []string       `json:"problems"`
}

// delivered is one letter as it lies in its mailbox.
type delivered struct {
	Letter string `json:"letter"`
	User   string `json:"user"`
	ID     string `json:"id"`
	Bytes  int    `json:"bytes"`
	// Added is the header that was put on top, where one was.
	Added string `json:"added,omitempty"`
}

func (d *demo) report(w io.Writer, asJSON bool) error {
	r := d.inspect()
	var err error
	if asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		err = encoder.Encode(r)
	} else {
		err = r.write(w)
	}
	if err == nil && len(r.Problems) > 0 {
		err = &exitError{exitSomeFailed, fmt.Errorf("%d of the demo's checks failed", len(r.Problems))}
	}
	return err
}

// inspect reads every mailbox and compares it, byte for byte, with what the
// jobs asked for: each letter once, and nothing else.
func (d *demo) inspect() report {
	r := report{Calls: d.workspace.Calls(), Seconds: d.took.Seconds()}
	problem := func(format string, args ...any) { r.Problems = append(r.Problems, fmt.Sprintf(format, args...)) }
	found := 0
	for _, user := range d.workspace.world.Users {
		found += len(d.workspace.Letters(user.PrimaryEmail))
	}
	for _, l := range d.letters {
		result := d.results["demo/"+l.name]
		if result.Status != jobs.Succeeded {
			problem("%s: %s", l.name, result.Status)
			continue
		}
		var response struct{ ID string }
		_ = json.Unmarshal(result.Response, &response)
		box := d.workspace.Letters(l.user)
		i := slices.IndexFunc(box, func(stored sandbox.Letter) bool { return stored.ID == response.ID })
		if i < 0 {
			problem("%s: %s does not have the letter %s", l.name, l.user, response.ID)
			continue
		}
		added, same := bytes.CutSuffix(box[i].Raw, l.raw)
		if !same || len(added) > 0 != (l.name == "no-message-id") {
			problem("%s: the letter in %s's mailbox is not the one that was sent", l.name, l.user)
		}
		r.Letters = append(r.Letters, delivered{l.name, l.user, response.ID, len(box[i].Raw), strings.TrimSpace(string(added))})
	}
	if found != len(d.letters) {
		problem("%d letters lie in the mailboxes; %d were sent", found, len(d.letters))
	}
	for _, job := range slices.Sorted(maps.Keys(d.results)) {
		if result := d.results[job]; result.Error != nil {
			r.Refused = append(r.Refused, result)
		}
	}
	if len(r.Refused) != 2 {
		problem("%d jobs did not succeed; 2 should not", len(r.Refused))
	}
	return r
}

// write is the report for people.
func (r report) write(w io.Writer) error {
	fmt.Fprintln(w, "\nWhat lies in the mailboxes:")
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "  LETTER\tMAILBOX\tBYTES\tID\t")
	for _, l := range r.Letters {
		fmt.Fprintf(table, "  %s\t%s\t%d\t%s\t%s\n", l.Letter, l.User, l.Bytes, l.ID, l.Added)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nWhat was not done, and why:")
	for _, result := range r.Refused {
		fmt.Fprintf(w, "  %s: %s (%s, %s must act)\n    %s\n    %s\n", result.Job, result.Status, result.Error.Reason, result.Error.Fault, result.Error.Message, result.Error.Fix)
	}
	fmt.Fprintf(w, "\nCalls to Google: %d signatures, %d exchanges, %d inserts. No service-account key was used.\n",
		r.Calls["signJwt"], r.Calls["token"], r.Calls["gmail.users.messages.insert"])
	for _, problem := range r.Problems {
		fmt.Fprintln(w, "WRONG:", problem)
	}
	if len(r.Problems) == 0 {
		fmt.Fprintf(w, "Checked byte for byte: %d letters, each once, in %.2f s; one job was published twice.\n", len(r.Letters), r.Seconds)
	}
	return nil
}
