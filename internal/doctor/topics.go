package doctor

import (
	"context"
	"errors"
	"strings"
	"time"

	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// topics sees whether the topics exist, and results may be published. Nothing is.
func (e *exam) topics(ctx context.Context) {
	opts := e.o.PubSub
	switch emulator := e.environ("PUBSUB_EMULATOR_HOST"); {
	case opts != nil || emulator != "": // which the client finds by itself
	case e.cfg.Sandbox != "":
		e.skip("topic", "", "set PUBSUB_EMULATOR_HOST: what is of a sandbox must not go to the real Pub/Sub")
		return
	case e.google.Own.Missing() != nil:
		e.miss("topic", "", "there is no identity to look at topics with; the function needs one to publish results")
		return
	default:
		opts = []option.ClientOption{option.WithAuthCredentials(e.google.Own.Credentials())}
	}
	if e.topic(ctx, e.cfg.JobsTopic, false, opts) {
		e.topic(ctx, e.cfg.ResultsTopic, true, opts)
	}
}

// topicTimeout bounds looking at one topic: Pub/Sub answers in far less, and an
// emulator that was forgotten shows in it.
const topicTimeout = 5 * time.Second

// environ is the value of a variable that is not ours.
func (e *exam) environ(name string) string {
	for _, entry := range e.o.Environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

// topic looks at one; false says that Pub/Sub cannot be reached.
func (e *exam) topic(ctx context.Context, id string, publishes bool, opts []option.ClientOption) bool {
	ctx, cancel := context.WithTimeout(ctx, topicTimeout)
	defer cancel()
	project := e.google.Project
	got, err := pubsubio.LookAt(ctx, project, id, opts...)
	switch {
	case errors.Is(err, pubsubio.ErrUnreachable):
		e.fail("topic", "", e.unreachable())
		return false
	case err != nil:
		e.miss("topic", id, "cannot be looked at: "+err.Error())
	case got == pubsubio.Missing:
		e.fail("topic", id, operators("There is no topic "+id+" in "+project+".", "gcloud pubsub topics create "+id+" --project="+project))
	case got == pubsubio.Publishable:
		e.pass("topic", id, "exists, and may be published to")
	case got == pubsubio.Refused && publishes:
		e.fail("topic", id, operators("Results may not be published to "+id+" as "+e.who.String()+".",
			"Let {grantee} publish to it: gcloud pubsub topics add-iam-policy-binding "+id+" --member={member} --role=roles/pubsub.publisher --project="+project).For(e.names()))
	case got == pubsubio.Refused:
		e.pass("topic", id, "exists; jobs are not published to it by this identity")
	default:
		e.pass("topic", id, "exists")
	}
	return true
}

// unreachable says that Pub/Sub does not answer: Google's, or the emulator that the
// environment names.
func (e *exam) unreachable() explain.Meaning {
	if emulator := e.environ("PUBSUB_EMULATOR_HOST"); emulator != "" {
		return operators("No emulator of Pub/Sub answers at "+jobs.Quote(emulator)+", which PUBSUB_EMULATOR_HOST names.",
			"Start the emulator there (gcloud beta emulators pubsub start --host-port=HOST:PORT), or: unset PUBSUB_EMULATOR_HOST")
	}
	m := e.of(explain.Answer{Stage: jobs.StageCall, Code: "noAnswer"}, e.names())
	m.Message = "Pub/Sub does not answer."
	return m
}
