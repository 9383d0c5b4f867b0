package functions

import (
	"net/http"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// answer is an answer of Google's that is no success, as the table reads it.
type answer struct {
	stage  jobs.Stage
	status int
	code   string
	says   func(words string) bool
	words  string // Google's own, fit to be shown; empty where they are not
	object string // the field whose object in Cloud Storage could not be read or written
	self   bool   // the service account acted as itself
}

func mintAnswer(e *delegation.Error, self bool) answer {
	return answer{self: self, stage: jobs.Stage(e.Stage), status: e.Status, code: e.Code, says: e.Says}
}

func callAnswer(e *actions.Error, self bool) answer {
	return answer{self: self, stage: jobs.StageCall, status: e.Status, code: e.Reason, says: e.Says, words: e.Words(), object: e.Object}
}

// knowledge is what an answer means.
type knowledge struct {
	fault   jobs.Fault
	answer  Answer
	message string
	fix     string
}

// row is one answer that is known. An empty field matches anything.
type row struct {
	code, says string
	knowledge
}

// know finds what an answer means: by Google's code and words, for one status
// covers many causes; and by the status alone where those are not known.
func know(a answer) knowledge {
	k := knowAsUser(a)
	if a.self && a.object == "" && (k.fault == jobs.FaultUser || k.fault == jobs.FaultAdmin) {
		// A service account is the operator's, and no user of a domain.
		return knowledge{jobs.FaultOperator, k.answer, "Google refused the call for the service account {account} itself.", "Grant {account} a role that allows it; where the method is one on a user's own data, give user in place of as."}
	}
	return k
}

func knowAsUser(a answer) knowledge {
	table := callRows
	switch {
	case a.status == http.StatusTooManyRequests:
		return quota
	case a.object != "":
		return knowObject(a)
	case a.stage == jobs.StageSign:
		table = signRows
	case a.stage == jobs.StageExchange:
		table = exchangeRows
	}
	for _, r := range table {
		if (r.code == "" || r.code == a.code) && (r.says == "" || a.says(r.says)) {
			return r.knowledge
		}
	}
	return knowStatus(a)
}

// knowStatus is the safe reading of an answer that is not in the table.
func knowStatus(a answer) knowledge {
	switch {
	case a.status == http.StatusUnauthorized && a.stage != jobs.StageExchange:
		return expired
	case a.status == 0 || a.status >= http.StatusInternalServerError || a.status == http.StatusRequestTimeout:
		return passing
	case a.status == http.StatusOK:
		return knowledge{jobs.FaultGoogle, Again, "Google's answer could not be read.", ""}
	case a.stage == jobs.StageCall && a.status == http.StatusForbidden:
		return knowledge{jobs.FaultUser, Done, "Google refused the call for {user}, for a reason that is not known here.", "See whether {user} is suspended, and whether the service is on for this account."}
	case a.stage == jobs.StageCall:
		return knowledge{jobs.FaultJob, Done, "Google refused the call, for a reason that is not known here.", "Hold the job against the method's reference, or what onbehalf actions says of it."}
	}
	return knowledge{jobs.FaultOperator, Done, "Google gave no token for {user}, for a reason that is not known here.", "See the code and reason in Google's reference."}
}

// knowObject reads what Cloud Storage answered.
func knowObject(a answer) knowledge {
	role, missing := "roles/storage.objectViewer", knowledge{jobs.FaultJob, Done, "There is no such object as " + a.object + " names.", "Upload it."}
	if a.object == "output" {
		role, missing = "roles/storage.objectUser", knowledge{jobs.FaultJob, Done, "There is no such bucket as output names.", "Make it, or name another."}
	}
	switch a.status {
	case http.StatusNotFound:
		return missing
	case http.StatusForbidden:
		return knowledge{jobs.FaultOperator, Done, "The function has no right to the object that " + a.object + " names.", "Grant the runtime service account " + role + " on the bucket."}
	}
	return knowStatus(a)
}

var (
	passing = knowledge{jobs.FaultGoogle, Again, "Google did not answer, or had a passing fault.", ""}
	quota   = knowledge{jobs.FaultQuota, Later, "A rate limit or quota of Google's is spent for now.", ""}
	expired = knowledge{jobs.FaultGoogle, Again, "Google did not accept the token any more; another one is asked for.", ""}
)

// What mends the usual faults of a set-up.
const (
	fixDelegation = "A Workspace administrator of {domain} opens the Admin console › Security › Access and data control › API controls › Domain-wide delegation, and authorizes the numeric client id of {account} for {scopes}. The operator reads that id with: gcloud iam service-accounts describe {account} --format='value(uniqueId)'. It takes effect in minutes, at times in 24 hours."
	fixSign       = "Grant the runtime service account iam.serviceAccounts.signJwt on {account}, also where it is that account itself: gcloud iam service-accounts add-iam-policy-binding {account} --member=serviceAccount:RUNTIME_ACCOUNT --role=roles/iam.serviceAccountTokenCreator"
	fixUser       = "Use the primary address of an account that exists and is active; an alias, a group or a deleted account cannot be acted as."
	fixAccount    = "Check ONBEHALF_SERVICE_ACCOUNT, {account}: gcloud iam service-accounts describe {account}"
	fixProgram    = "Please report this: the request should not have been made in this form."
)

// exchangeRows are the token endpoint's answers.
var exchangeRows = []row{
	{"unauthorized_client", "", knowledge{jobs.FaultAdmin, Done, "The Workspace administrator has not authorized {account} for any of these scopes: {scopes}.", fixDelegation}},
	{"access_denied", "account restricted", knowledge{jobs.FaultUser, Done, "The account {user} is restricted.", "The Workspace administrator lifts the restriction."}},
	{"access_denied", "", knowledge{jobs.FaultAdmin, Done, "The Workspace administrator has authorized {account} for some but not all of {scopes}, or the service is off for {user}.", fixDelegation + " Where it is authorized, switch the service on for {user}; an account that never signed in has to wait."}},
	{"admin_policy_enforced", "", knowledge{jobs.FaultAdmin, Done, "A Workspace policy blocks these scopes for {account}.", "The Workspace administrator trusts the client of {account} under API controls › App access control."}},
	{"invalid_grant", "invalid email or user id", knowledge{jobs.FaultUser, Done, "There is no active account {user}.", fixUser}},
	{"invalid_grant", "not a valid email", knowledge{jobs.FaultJob, Done, "{user} is not an e-mail address.", fixUser}},
	{"invalid_grant", "account has been deleted", knowledge{jobs.FaultUser, Done, "The account {user} has been deleted.", "Leave the user out."}},
	{"invalid_grant", "account not found", knowledge{jobs.FaultOperator, Done, "The service account {account} does not exist.", fixAccount}},
	{"invalid_grant", "no valid verifier", knowledge{jobs.FaultOperator, Done, "{account} is not a service account.", fixAccount}},
	{"invalid_grant", "short-lived token", knowledge{jobs.FaultOperator, Done, "Google does not accept the time of the assertion.", "Set the machine's clock."}},
	{"invalid_grant", "iat (issued at)", knowledge{jobs.FaultOperator, Done, "The assertion has no iat.", fixProgram}},
	{"invalid_grant", "exp (expiration time)", knowledge{jobs.FaultOperator, Done, "The assertion has no exp.", fixProgram}},
	{"invalid_grant", "jwt signature", knowledge{jobs.FaultOperator, Done, "The key that signed for {account} is not one of its keys, or not any more.", fixAccount}},
	{"invalid_grant", "audience check", knowledge{jobs.FaultOperator, Done, "The assertion is for another endpoint.", fixProgram}},
	{"invalid_grant", "reauth", knowledge{jobs.FaultOperator, Done, "A sign-in of one's own has ended.", "On a workstation, sign in anew: gcloud auth application-default login"}},
	{"invalid_grant", "expired or revoked", knowledge{jobs.FaultOperator, Done, "A sign-in of one's own has ended.", "On a workstation, sign in anew: gcloud auth application-default login"}},
	{"invalid_grant", "", knowledge{jobs.FaultOperator, Done, "Google does not accept the assertion, for a reason that is not known here.", fixAccount}},
	{delegation.NoAccessToken, "", knowledge{jobs.FaultOperator, Done, "Google knows no such scope as {scopes}, and answered without an access token.", fixProgram}},
	{"invalid_scope", "", knowledge{jobs.FaultOperator, Done, "Google does not accept the scopes {scopes}.", fixProgram}},
	{"invalid_request", "impersonation", knowledge{jobs.FaultUser, Done, "{user} cannot be acted as.", fixUser}},
	{"invalid_request", "", knowledge{jobs.FaultOperator, Done, "Google could not read the assertion.", fixProgram}},
	{"unsupported_grant_type", "", knowledge{jobs.FaultOperator, Done, "Google does not know the kind of grant.", fixProgram}},
	{"org_internal", "", knowledge{jobs.FaultOperator, Done, "{account} is restricted to users of its own organisation.", "Use a service account of the organisation of {domain}."}},
	{"disabled_client", "", knowledge{jobs.FaultOperator, Done, "The service account {account} is disabled.", "gcloud iam service-accounts enable {account}"}},
	{"deleted_client", "", knowledge{jobs.FaultOperator, Done, "The service account {account} has been deleted.", "Restore it within 30 days, or make a new one and have its client id authorized."}},
	{"invalid_client", "", knowledge{jobs.FaultOperator, Done, "Google does not accept {account} as a client.", fixAccount}},
	{"invalid_account", "", knowledge{jobs.FaultUser, Done, "The account {user} cannot be used.", "The Workspace administrator looks into the account."}},
	{"internal_failure", "", passing},
	{"server_error", "", passing},
	{"temporarily_unavailable", "", passing},
}

// signRows are the IAM Credentials API's answers.
var signRows = []row{
	{"IAM_PERMISSION_DENIED", "", knowledge{jobs.FaultOperator, Done, "The function may not sign for {account}, or there is no such account.", fixSign}},
	{"SERVICE_DISABLED", "", knowledge{jobs.FaultOperator, Done, "The IAM Service Account Credentials API is off in the project.", "gcloud services enable iamcredentials.googleapis.com"}},
	{"ACCESS_TOKEN_SCOPE_INSUFFICIENT", "", knowledge{jobs.FaultOperator, Done, "The runtime's own token is too narrow to sign with.", "Run it with the scope https://www.googleapis.com/auth/cloud-platform."}},
	{"USER_PROJECT_DENIED", "", knowledge{jobs.FaultOperator, Done, "The quota project of the sign-in cannot be used.", "gcloud auth application-default set-quota-project PROJECT, with the project of {account}"}},
	{"SECURITY_POLICY_VIOLATED", "", knowledge{jobs.FaultOperator, Done, "VPC Service Controls forbid signing.", "Let iamcredentials.googleapis.com into the perimeter."}},
	{"PERMISSION_DENIED", "", knowledge{jobs.FaultOperator, Done, "The function may not sign for {account}.", fixSign}},
	{"NOT_FOUND", "", knowledge{jobs.FaultOperator, Done, "The service account {account} does not exist.", fixAccount}},
	{"INVALID_ARGUMENT", "", knowledge{jobs.FaultOperator, Done, "Google does not accept the claims.", fixProgram}},
	{delegation.NoIdentity, "", knowledge{jobs.FaultOperator, Again, "The runtime's own credentials could not be had.", "On Google Cloud, see that the function has a service account; elsewhere: gcloud auth application-default login"}},
	{"RESOURCE_EXHAUSTED", "", quota},
}

// What several of Google's answers to a call mean.
var (
	offForUser = knowledge{jobs.FaultUser, Done, "The service is off for {user}.", "The Workspace administrator switches it on."}
	exists     = knowledge{jobs.FaultJob, Done, "What the job makes is there already.", "Look at what is there; if it is not what was wanted, take another name or id."}
	apiOff     = knowledge{jobs.FaultOperator, Done, "The API is off in the project of {account}.", "gcloud services enable {service} --project={project}"}
)

// callRows are the answers to the call as the user.
var callRows = []row{
	{"", "mail service not enabled", knowledge{jobs.FaultUser, Done, "{user} has no Gmail: it is off, without a licence, or the mailbox is not made yet.", "The Workspace administrator gives the account a licence and switches Gmail on."}},
	{"", "precondition check failed", knowledge{jobs.FaultUser, Done, "{user} has no Gmail mailbox.", "The Workspace administrator gives the account a licence and switches Gmail on."}},
	{"failedPrecondition", "", knowledge{jobs.FaultJob, Done, "Google cannot do this in the present state.", "Hold the job against the method's reference, or what onbehalf actions says of it."}},
	{"FAILED_PRECONDITION", "", knowledge{jobs.FaultJob, Done, "Google cannot do this in the present state.", "Hold the job against the method's reference, or what onbehalf actions says of it."}},
	{"authError", "active session is invalid", knowledge{jobs.FaultUser, Done, "The service is off for {user}, has no licence, or the account was just made.", "The Workspace administrator switches the service on; a new account has to wait a few minutes."}},
	{"authError", "", expired},
	{"UNAUTHENTICATED", "", expired},
	{"forbidden", "delegation denied", knowledge{jobs.FaultJob, Done, "The job names another user's mailbox.", "Use me for userId."}},
	{"forbidden", "not authorized to access this resource", knowledge{jobs.FaultOperator, Done, "{user} is not an administrator.", "Act as an administrator."}},
	{"forbidden", "cannot access this service", offForUser},
	{"forbidden", "", knowledge{jobs.FaultUser, Done, "Google forbids the call for {user}.", "See whether {user} is suspended, and whether the service is on for this account."}},
	{"aborted", "", exists},
	{"duplicate", "", exists},
	{"fileIdInUse", "", exists},
	{"ACCESS_TOKEN_SCOPE_INSUFFICIENT", "", knowledge{jobs.FaultOperator, Done, "The scopes {scopes} are too narrow for this call.", fixProgram}},
	{"SERVICE_DISABLED", "", apiOff},
	{"insufficientPermissions", "", knowledge{jobs.FaultOperator, Done, "The scopes {scopes} are too narrow for this call.", fixProgram}},
	{"domainPolicy", "", knowledge{jobs.FaultAdmin, Done, "The administrators of {domain} have disabled this service.", "The Workspace administrator switches it on for {user}."}},
	{"accessNotConfigured", "", apiOff},
	{"rateLimitExceeded", "", quota},
	{"userRateLimitExceeded", "", quota},
	{"quotaExceeded", "", quota},
	{"dailyLimitExceeded", "", quota},
	{"", "quota exceeded for quota metric", quota},
	{"", "user-rate limit exceeded", quota},
	{"", "cannot access this service", offForUser},
	{"RATE_LIMIT_EXCEEDED", "", quota},
	{"RESOURCE_EXHAUSTED", "", quota},
	{"notFound", "", knowledge{jobs.FaultJob, Done, "What the job names is not there.", "Correct the ids in the job."}},
	{"NOT_FOUND", "", knowledge{jobs.FaultJob, Done, "What the job names is not there.", "Correct the ids in the job."}},
	{"invalidArgument", "", knowledge{jobs.FaultJob, Done, "Google does not accept a value in the job.", "Hold the job against the method's reference, or what onbehalf actions says of it."}},
	{"INVALID_ARGUMENT", "", knowledge{jobs.FaultJob, Done, "Google does not accept a value in the job.", "Hold the job against the method's reference, or what onbehalf actions says of it."}},
	{"UNIMPLEMENTED", "", knowledge{jobs.FaultJob, Done, "This method is not there.", "In a sandbox, see docs/sandbox.md for what it does; at Google, the method's reference."}},
	{"badRequest", "", knowledge{jobs.FaultJob, Done, "Google does not accept the request.", "Hold the job against the method's reference, or what onbehalf actions says of it."}},
}

// names are what the messages are filled in with.
type names struct{ account, user, domain, scopes, project, service string }

func (x *Executor) names(a *attempt) names {
	n := names{account: x.google.Minter.ServiceAccount(), user: a.job.User, domain: a.job.Domain(), scopes: strings.Join(a.scopes, " "), project: x.accountProject(), service: a.service}
	if a.job.As == jobs.AsServiceAccount {
		n.user = n.account
	}
	return n
}

// accountProject is the project of the delegated service account, where APIs
// have to be on: its e-mail address is NAME@PROJECT.iam.gserviceaccount.com.
func (x *Executor) accountProject() string {
	_, domain, _ := strings.Cut(x.google.Minter.ServiceAccount(), "@")
	if project, ok := strings.CutSuffix(domain, ".iam.gserviceaccount.com"); ok {
		return project
	}
	return x.google.Project
}

func (n names) fill(text string) string {
	return strings.NewReplacer("{account}", n.account, "{user}", n.user, "{domain}", n.domain, "{scopes}", n.scopes, "{project}", n.project, "{service}", n.service).Replace(text)
}
