package doctor

import (
	"context"
	"errors"

	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// ledger sees whether the ledger that the settings name can be read and written.
func (e *exam) ledger(ctx context.Context) {
	switch kind, where := e.cfg.LedgerAt(); kind {
	case "file":
		e.ledgerFile(where) //nolint:contextcheck // it bounds itself
	case "firestore":
		e.ledgerDatabase(ctx, where)
	default:
		e.pass("ledger", "", kind+": what came of a job is remembered for as long as the process lasts; an instance that is killed, or another one, makes the call again")
	}
}

func (e *exam) ledgerFile(path string) {
	l, err := ledger.OpenFile(path)
	if err == nil {
		err = l.Close()
	}
	if err != nil {
		e.failLedger(err)
		return
	}
	e.pass("ledger", "", e.cfg.Ledger+": can be read and written, by the processes of this machine")
}

func (e *exam) ledgerDatabase(ctx context.Context, database string) {
	if cause := e.cause([]string{"project", "api " + firestoreAPI}); cause != "" {
		e.block("ledger", cause)
		return
	}
	opts := e.o.Firestore
	switch emulator := e.environ("FIRESTORE_EMULATOR_HOST"); {
	case opts != nil || emulator != "": // which the client finds by itself
	case e.cfg.Sandbox != "":
		e.skip("ledger", "", "set FIRESTORE_EMULATOR_HOST: what is of a sandbox must not go to the real Firestore")
		return
	case e.google.Own.Missing() != nil:
		e.miss("ledger", "", "there is no identity to look at Firestore with; the function needs one to keep results")
		return
	default:
		opts = []option.ClientOption{option.WithAuthCredentials(e.google.Own.Credentials())}
	}
	ctx, cancel := context.WithTimeout(ctx, topicTimeout)
	defer cancel()
	l, err := ledger.OpenFirestore(ctx, e.google.Project, database, opts...)
	if err == nil {
		defer l.Close()
		err = l.Check(ctx)
	}
	if err != nil {
		e.failLedger(err)
		return
	}
	e.pass("ledger", "", e.cfg.Ledger+": can be read and written; to have Firestore delete what is old: "+
		"gcloud firestore fields ttls update expireAt --collection-group=onbehalf-jobs --enable-ttl --database='"+database+"' --project="+e.google.Project)
}

// failLedger says who must act, where that is known.
func (e *exam) failLedger(err error) {
	var is *ledger.Error
	_, database := e.cfg.LedgerAt()
	emulator := e.environ("FIRESTORE_EMULATOR_HOST")
	switch {
	case !errors.As(err, &is):
		e.fail("ledger", "", operators(err.Error(), "Name another ledger in ONBEHALF_LEDGER."))
	case is.Reason == "apiDisabled":
		e.failAPI(e.google.Project, firestoreAPI)
		e.block("ledger", "api "+firestoreAPI)
	case is.Reason == "notAllowed":
		e.fail("ledger", "", operators("The database "+database+" of "+e.google.Project+" may not be read and written as "+e.who.String()+".",
			"Let {grantee} use it: gcloud projects add-iam-policy-binding "+e.google.Project+" --member={member} --role=roles/datastore.user").For(e.names()))
	case is.Fault == jobs.FaultGoogle && emulator != "":
		e.fail("ledger", "", operators("No emulator of Firestore answers at "+jobs.Quote(emulator)+", which FIRESTORE_EMULATOR_HOST names.",
			"Start the emulator there (gcloud beta emulators firestore start --host-port=HOST:PORT), or: unset FIRESTORE_EMULATOR_HOST"))
	case is.Fault == jobs.FaultGoogle:
		m := e.of(explain.Answer{Stage: jobs.StageCall, Code: "noAnswer"}, e.names())
		m.Message = is.Message
		e.fail("ledger", "", m)
	default:
		e.fail("ledger", "", explain.Meaning{Fault: is.Fault, Message: is.Message, Fix: is.Fix})
	}
}
