package doctor

import (
	"context"
	"strings"

	"google.golang.org/api/option"

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
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	e.topic(ctx, e.cfg.JobsTopic, false, opts)
	e.topic(ctx, e.cfg.ResultsTopic, true, opts)
}

// environ is the value of a variable that is not ours.
func (e *exam) environ(name string) string {
	for _, entry := range e.o.Environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok {
			return value
		}
	}
	return ""
}

func (e *exam) topic(ctx context.Context, id string, publishes bool, opts []option.ClientOption) {
	project := e.google.Project
	got, err := pubsubio.LookAt(ctx, project, id, opts...)
	switch {
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
}

// ledger is the process's own memory, the only one that the settings accept.
func (e *exam) ledger(context.Context) {
	e.pass("ledger", "", e.cfg.Ledger+": what came of a job is remembered for as long as the process lasts")
}
