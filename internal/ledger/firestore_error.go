package ledger

import (
	"context"
	"errors"
	"strings"

	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// firestoreProblems are what Firestore answers where it does not do what it is asked,
// the first that fits.
var firestoreProblems = []struct {
	code   codes.Code
	detail string // Google's reason; empty is any
	fault  jobs.Fault
	// The rest has {project} and {database} put in.
	reason, message, fix string
}{
	{
		codes.PermissionDenied, "SERVICE_DISABLED", jobs.FaultOperator, "apiDisabled",
		"The Firestore API is off in {project}.", "gcloud services enable firestore.googleapis.com --project={project}",
	},
	{
		codes.PermissionDenied, "", jobs.FaultOperator, "notAllowed",
		"The database {database} of {project} may not be read and written by this identity.",
		"Let the runtime service account use it: gcloud projects add-iam-policy-binding {project} --member=serviceAccount:RUNTIME_SERVICE_ACCOUNT --role=roles/datastore.user",
	},
	{
		codes.NotFound, "", jobs.FaultOperator, "noDatabase", "There is no database {database} in {project}.",
		"gcloud firestore databases create --database='{database}' --location=REGION --type=firestore-native --project={project}",
	},
	{
		codes.FailedPrecondition, "", jobs.FaultOperator, "notNative", "The database {database} of {project} is not in native mode.",
		"Name another one in ONBEHALF_LEDGER: gcloud firestore databases create --database=onbehalf --location=REGION --type=firestore-native --project={project}",
	},
	{
		codes.Unauthenticated, "", jobs.FaultOperator, "noIdentity", "Firestore does not take this identity's credentials.",
		"See that the runtime service account exists and is enabled, or sign in again: gcloud auth application-default login",
	},
	{
		codes.InvalidArgument, "", jobs.FaultOperator, "refused", "Firestore refuses what it is asked in the database {database} of {project}.",
		"See that ONBEHALF_LEDGER and GOOGLE_CLOUD_PROJECT name what there is: gcloud firestore databases list --project={project}",
	},
	{codes.ResourceExhausted, "", jobs.FaultQuota, "quota", "The quota of Firestore in {project} is spent.", "Wait for the next day, or attach billing to the project, which ends the daily limit: gcloud billing projects link {project} --billing-account=ACCOUNT_ID"},
}

// problem says who must do what about it. What Firestore says itself is not kept: it
// may quote what it was sent.
func (f *Firestore) problem(err error) error {
	var known *Error
	if err == nil || errors.As(err, &known) {
		return err
	}
	code, detail := status.Code(err), ""
	if code == codes.Unknown {
		code = status.FromContextError(err).Code()
	}
	if answer, ok := apierror.FromError(err); ok {
		detail = answer.Reason()
	}
	names := strings.NewReplacer("{project}", f.project, "{database}", f.name)
	for _, p := range firestoreProblems {
		if p.code == code && (p.detail == "" || p.detail == detail) {
			return &Error{Fault: p.fault, Reason: p.reason, Message: names.Replace(p.message), Fix: names.Replace(p.fix)}
		}
	}
	e := &Error{Fault: jobs.FaultGoogle, Reason: "noAnswer", Message: "Firestore does not answer (" + code.String() + ")."}
	switch {
	case errors.Is(err, errUnreadable):
		*e = Error{
			Fault: jobs.FaultOperator, Reason: "unreadable", Message: names.Replace("The collections onbehalf-… of the database {database} of {project} hold what no ledger has written."),
			Fix: "Name a database in ONBEHALF_LEDGER that nothing else uses",
		}
	case code == codes.Canceled:
		e.err = context.Canceled
	case code == codes.DeadlineExceeded:
		e.err = context.DeadlineExceeded
	}
	return e
}
