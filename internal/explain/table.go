package explain

import (
	"math"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Row is one answer that is known. Where Google has several codes or wordings
// for one meaning that are told apart here, several rows have one id.
type Row struct {
	ID    string
	Stage jobs.Stage // empty: any
	// What the answer is known by; all that is given must hold. Codes are Google's
	// words, any one of them, with blanks between; Says stands in its message, in
	// lower case.
	Codes  string
	Status int
	Says   string
	Object string // the job's field
	Self   bool   // the service account acted as itself
	// Google is what Google says, by which people tell rows apart: one wording, or
	// several with " · " between; "…" is what varies. Empty where it is on record
	// nowhere.
	Google string

	Fault        jobs.Fault
	Retry        Retry
	Window       time.Duration
	OneUser      bool
	Message, Fix string
}

// Rows are the table, in the order in which it is read: of one stage, the
// special before the general.
func Rows() []Row {
	var all []Row
	for _, of := range []struct {
		stage jobs.Stage
		rows  []Row
	}{
		{jobs.StageExchange, exchangeRows},
		{jobs.StageSign, signRows},
		{jobs.StageCall, callRows},
		{jobs.StageCall, objectRows},
		{"", commonRows},
	} {
		for _, r := range of.rows {
			r.Stage = of.stage
			all = append(all, r)
		}
	}
	return all
}

// Meaning is what the row's answer means.
func (r Row) Meaning() Meaning {
	return Meaning{Row: r.ID, Stage: r.Stage, Fault: r.Fault, Retry: r.Retry, Window: r.Window, OneUser: r.OneUser, Message: r.Message, Fix: r.Fix}
}

// matches tells whether the answer is the row's; text is its message in lower case.
func (r Row) matches(a Answer, text string) bool {
	return (r.Codes == "" || slices.Contains(strings.Fields(r.Codes), a.Code)) &&
		(r.Status == 0 || r.Status == a.Status) &&
		(r.Object == "" || r.Object == a.Object) &&
		(a.Self || !r.Self) &&
		strings.Contains(text, r.Says)
}

// What mends several of the faults. A command stands at the end, so that it
// can be copied.
const (
	grantSign    = "Let {grantee} sign for {account}, by this role or a custom one with iam.serviceAccounts.signJwt alone; an account needs that even to sign for itself: gcloud iam service-accounts add-iam-policy-binding {account} --member={member} --role=roles/iam.serviceAccountTokenCreator --project={project}"
	checkAccount = "Set ONBEHALF_SERVICE_ACCOUNT to an account that is in this list: gcloud iam service-accounts list --project={project}"
	realUser     = "Use the primary address of an account that exists and is active; an alias, a group, or an account that is deleted or suspended cannot be acted as."
	mailOn       = "The Workspace administrator gives {user} a licence with Gmail and switches Gmail on; the mailbox of a new account can take some minutes."
	signIn       = "Sign in anew: gcloud auth application-default login"
	program      = "The program that made the request has to be corrected; if that was onbehalf, please report it."
	method       = "Hold the job against the method's reference, or what onbehalf actions says of it."
	wait         = "Try again, with growing pauses, as onbehalf does; if it lasts, see https://www.google.com/appsstatus/dashboard/ and https://status.cloud.google.com"
	slower       = "Try again later, as onbehalf does; if it lasts, make fewer calls at a time, or ask for more: Google Cloud console › IAM & Admin › Quotas & System Limits."
)

// What several answers mean.
const (
	passing      = "Google did not answer, or had a passing fault."
	spent        = "A rate limit or quota of Google's is spent for now."
	endedUnknown = "Google does not accept the token, in words that are not known here; another one is asked for."
	ended        = "Google does not accept the token any more; another one is asked for."
	mayNotSign   = "Google does not let {caller} sign for {account}, or there is no such account."
	notAllowed   = "The Workspace administrator has not authorized {account} for any of these scopes: {scopes}."
	narrow       = "The token is too narrow for this call, or was made without naming a user; its scopes: {scopes}."
)

// exchangeRows are the token endpoint's answers.
var exchangeRows = []Row{
	{
		ID: "T2", Codes: "unauthorized_client", Says: "using this method.", Fault: jobs.FaultAdmin,
		Google:  "Client is unauthorized to retrieve access tokens using this method.",
		Message: notAllowed, Fix: "{delegate}",
	},
	{
		ID: "T3", Codes: "unauthorized_client", Says: "client or scope", Fault: jobs.FaultAdmin,
		Google:  "Unauthorized client or scope in request.",
		Message: notAllowed, Fix: "{delegate}",
	},
	{
		ID: "T1", Codes: "unauthorized_client", Fault: jobs.FaultAdmin,
		Google:  "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.",
		Message: notAllowed, Fix: "{delegate}",
	},
	{
		ID: "T5", Codes: "access_denied", Says: "account restricted", Fault: jobs.FaultUser,
		Google:  "Account restricted",
		Message: "The account {user} is restricted.", Fix: "The Workspace administrator lifts the restriction of {user}: Admin console › Directory › Users.",
	},
	{
		ID: "T4", Codes: "access_denied", Fault: jobs.FaultAdmin, OneUser: true,
		Google:  "Requested client not authorized.",
		Message: "The Workspace administrator has not authorized {account} for all of {scopes}; or the service is off for {user}.",
		Fix:     "See first that the service is on for {user}; an account that never signed in has to wait. Otherwise a scope is missing. {delegate}",
	},
	{
		ID: "T20", Codes: "admin_policy_enforced", Fault: jobs.FaultAdmin, OneUser: true,
		Message: "A policy of the Workspace blocks {scopes} for {account}.",
		Fix:     "A Workspace administrator of {domain} opens the Admin console › Security › Access and data control › API controls › App access control, and sets to Trusted the app with the {client}",
	},
	{
		ID: "T7", Codes: "invalid_grant", Says: "not a valid email", Fault: jobs.FaultJob,
		Google:  "Not a valid email · Not a valid email or user ID.",
		Message: "{user} is not an e-mail address.", Fix: "Correct the address.",
	},
	{
		ID: "T6", Codes: "invalid_grant", Says: "invalid email or user id", Fault: jobs.FaultUser,
		Google:  "Invalid email or User ID",
		Message: "There is no active account {user}.", Fix: realUser,
	},
	{
		ID: "T8", Codes: "invalid_grant", Says: "account has been deleted", Fault: jobs.FaultUser,
		Google:  "The account has been deleted",
		Message: "The account {user} has been deleted.", Fix: "Leave {user} out, or have the Workspace administrator restore the account within 20 days.",
	},
	{
		ID: "T9", Codes: "invalid_grant", Says: "account not found", Fault: jobs.FaultOperator,
		Google:  "Invalid grant: account not found",
		Message: "The service account {account} does not exist, or has been deleted.", Fix: checkAccount,
	},
	{
		ID: "T19", Codes: "invalid_grant", Says: "no valid verifier", Fault: jobs.FaultOperator,
		Google:  "Invalid JWT: No valid verifier found for issuer",
		Message: "{account} is not a service account that Google knows.", Fix: checkAccount,
	},
	{
		ID: "T10", Codes: "invalid_grant", Says: "short-lived token", Fault: jobs.FaultOperator,
		Google:  "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. Check your iat and exp values in the JWT claim.",
		Message: "Google does not accept the time of the assertion: the machine's clock is wrong, or exp is more than an hour after iat.",
		Fix:     "Set the machine's clock by a time server; on Linux: sudo timedatectl set-ntp true",
	},
	{
		ID: "T11", Codes: "invalid_grant", Says: "iat (issued at)", Fault: jobs.FaultOperator,
		Google:  "Invalid JWT: iat (issued at) is not set.",
		Message: "The assertion has no iat.", Fix: program,
	},
	{
		ID: "T11", Codes: "invalid_grant", Says: "exp (expiration time)", Fault: jobs.FaultOperator,
		Google:  "Invalid JWT: exp (expiration time) is not set.",
		Message: "The assertion has no exp.", Fix: program,
	},
	{
		ID: "T12", Codes: "invalid_grant", Says: "jwt signature", Fault: jobs.FaultOperator,
		Google:  "Invalid JWT Signature.",
		Message: "The key that signed for {account} is not one of its keys, or not any more.",
		Fix:     "Use a key that is in this list, or none at all (ONBEHALF_SIGNER=iam): gcloud iam service-accounts keys list --iam-account={account}",
	},
	{
		ID: "T13", Codes: "invalid_grant", Says: "audience check", Fault: jobs.FaultOperator,
		Google:  "Invalid JWT: Failed audience check.",
		Message: "The assertion's aud is not https://oauth2.googleapis.com/token.", Fix: program,
	},
	{
		ID: "T26", Codes: "invalid_grant", Says: "reauth", Fault: jobs.FaultOperator,
		Google:  "reauth related error (invalid_rapt)",
		Message: "One's own sign-in on a workstation has ended; this is not about the delegation.", Fix: signIn,
	},
	{
		ID: "T26", Codes: "invalid_grant", Says: "expired or revoked", Fault: jobs.FaultOperator,
		Google:  "Token has been expired or revoked",
		Message: "One's own sign-in on a workstation has ended; this is not about the delegation.", Fix: signIn,
	},
	{
		ID: "T14", Codes: "noAccessToken", Fault: jobs.FaultOperator,
		Message: "Google does not know each of these scopes, and answered without an access token: {scopes}.",
		Fix:     "Correct the scopes by Google's list, https://developers.google.com/identity/protocols/oauth2/scopes; if onbehalf chose them, please report it.",
	},
	{
		ID: "T15", Codes: "invalid_scope", Fault: jobs.FaultOperator,
		Google:  "Invalid OAuth scope or ID token audience provided.",
		Message: "Google does not accept these scopes: {scopes}.",
		Fix:     "Name at least one scope, and put blanks between several, not commas; if onbehalf chose them, please report it.",
	},
	{
		ID: "T18", Codes: "invalid_request", Says: "invalid impersonation", Fault: jobs.FaultUser,
		Google:  `Invalid impersonation prn email address · Invalid impersonation "sub" field`,
		Message: "{user} cannot be acted as.", Fix: realUser,
	},
	{
		ID: "T16", Codes: "invalid_request", Fault: jobs.FaultOperator, OneUser: true,
		Google:  "Bad Request",
		Message: "Google could not read the assertion.", Fix: program,
	},
	{
		ID: "T17", Codes: "unsupported_grant_type", Fault: jobs.FaultOperator,
		Google:  "Invalid grant_type",
		Message: "Google does not know the kind of grant.", Fix: program,
	},
	{
		ID: "T21", Codes: "org_internal", Fault: jobs.FaultOperator,
		Google:  "This client is restricted to users within its organization.",
		Message: "{account} is restricted to users of its own organisation, and {domain} is another.",
		Fix:     "Use a service account of a project in the organisation of {domain}.",
	},
	{
		ID: "T22", Codes: "disabled_client", Fault: jobs.FaultOperator,
		Google:  "The OAuth client was disabled.",
		Message: "The service account {account} is disabled.",
		Fix:     "Enable it: gcloud iam service-accounts enable {account} --project={project}",
	},
	{
		ID: "T23", Codes: "deleted_client", Fault: jobs.FaultOperator,
		Google:  "The OAuth client was deleted.",
		Message: "The service account {account} has been deleted.",
		Fix:     "Restore it within 30 days, by the numeric client id that it had, as the Admin console lists it; a new account of that name has another id, and the Workspace administrator has to authorize that: gcloud iam service-accounts undelete {clientID}",
	},
	{
		ID: "T24", Codes: "invalid_client", Fault: jobs.FaultOperator, OneUser: true,
		Google:  "The OAuth client was not found.",
		Message: "Google does not accept {account} as a client.", Fix: checkAccount,
	},
	{
		ID: "T27", Codes: "invalid_account", Fault: jobs.FaultUser,
		Google:  "Forbidden",
		Message: "The account {user} cannot be used.", Fix: "The Workspace administrator looks into the account {user}: Admin console › Directory › Users.",
	},
	{
		ID: "T25", Codes: "internal_failure server_error temporarily_unavailable", Fault: jobs.FaultGoogle, Retry: Soon,
		Google:  "Backend Error",
		Message: passing, Fix: wait,
	},
}

// signRows are the IAM Credentials API's answers.
var signRows = []Row{
	{
		ID: "S9", Says: "iam.serviceaccounts.getaccesstoken", Fault: jobs.FaultOperator, Retry: Briefly, Window: signWindow,
		Google:  "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).",
		Message: "Google does not let {caller} make access tokens of {account} itself, or there is no such account.",
		Fix:     "Let {grantee} act as {account}, by this role or a custom one with iam.serviceAccounts.getAccessToken; an account needs that even to act as itself: gcloud iam service-accounts add-iam-policy-binding {account} --member={member} --role=roles/iam.serviceAccountTokenCreator --project={project}",
	},
	{
		ID: "S9", Says: "iam.serviceaccounts.getopenidtoken", Fault: jobs.FaultOperator, Retry: Briefly, Window: signWindow,
		Google:  "Permission 'iam.serviceAccounts.getOpenIdToken' denied on resource (or it may not exist).",
		Message: "Google does not let {caller} make ID tokens of {account}, or there is no such account.",
		Fix:     "Let {grantee} make ID tokens of {account}: gcloud iam service-accounts add-iam-policy-binding {account} --member={member} --role=roles/iam.serviceAccountOpenIdTokenCreator --project={project}",
	},
	{
		ID: "S11", Says: "iam.serviceaccounts.implicitdelegation", Fault: jobs.FaultOperator, Retry: Briefly, Window: signWindow,
		Google:  "Permission 'iam.serviceAccounts.implicitDelegation' denied on resource (or it may not exist).",
		Message: "The chain of ONBEHALF_DELEGATES is broken: {caller} may not act through the first, or one of them not through the next.",
		Fix:     "Each account of the chain lets the one before it act, {caller} being the first, and {account} lets the last. For each pair: gcloud iam service-accounts add-iam-policy-binding NEXT --member=serviceAccount:PREVIOUS --role=roles/iam.serviceAccountTokenCreator",
	},
	{
		ID: "S1", Says: "iam.serviceaccounts.signjwt", Fault: jobs.FaultOperator, Retry: Briefly, Window: signWindow,
		Google:  "Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist).",
		Message: mayNotSign, Fix: grantSign,
	},
	{
		ID: "S1", Codes: "IAM_PERMISSION_DENIED", Fault: jobs.FaultOperator, Retry: Briefly, Window: signWindow,
		Message: mayNotSign, Fix: grantSign,
	},
	{
		ID: "S12", Says: "requires a quota project", Fault: jobs.FaultOperator,
		Google:  "Your application is authenticating by using local Application Default Credentials. The … API requires a quota project, which is not set by default.",
		Message: "One's own sign-in on this machine names no project whose quota is used.",
		Fix:     "Name one in which {service} is on: gcloud auth application-default set-quota-project {project}",
	},
	{
		ID: "S3", Codes: "SERVICE_DISABLED", Fault: jobs.FaultOperator,
		Google:  "IAM Service Account Credentials API has not been used in project … before or it is disabled.",
		Message: "The IAM Service Account Credentials API is off in the project {consumer}.",
		Fix:     "Switch it on, and wait some minutes: gcloud services enable iamcredentials.googleapis.com --project={consumer}",
	},
	{
		ID: "S4", Codes: "ACCESS_TOKEN_SCOPE_INSUFFICIENT", Fault: jobs.FaultOperator,
		Google:  "Request had insufficient authentication scopes.",
		Message: "The caller's own token is too narrow to sign with.",
		Fix:     "Run it with the scope https://www.googleapis.com/auth/cloud-platform: on a virtual machine that is an access scope of the machine, set while it is stopped; on a workstation, sign in anew: gcloud auth application-default login",
	},
	{
		ID: "S5", Codes: "USER_PROJECT_DENIED", Fault: jobs.FaultOperator,
		Google:  "Caller does not have required permission to use project …",
		Message: "Google does not let {caller} use the quota project that the sign-in names.",
		Fix:     "Have roles/serviceusage.serviceUsageConsumer granted on that project, or name the one of {account}: gcloud auth application-default set-quota-project {project}",
	},
	{
		ID: "S6", Codes: "SECURITY_POLICY_VIOLATED", Fault: jobs.FaultOperator,
		Google:  "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: …",
		Message: "VPC Service Controls keep {caller} from iamcredentials.googleapis.com.",
		Fix:     "Who keeps the perimeter around the project {project} lets {caller} in by an ingress rule for iamcredentials.googleapis.com; the identifier in Google's message finds the denial in the audit log.",
	},
	{
		ID: "S2", Codes: "PERMISSION_DENIED", Fault: jobs.FaultOperator, Retry: Briefly, Window: signWindow,
		Google:  "The caller does not have permission",
		Message: mayNotSign, Fix: grantSign,
	},
	{
		ID: "S13", Codes: "NOT_FOUND", Fault: jobs.FaultOperator,
		Google:  "Requested entity was not found.",
		Message: "The service account {account} does not exist.", Fix: checkAccount,
	},
	{
		ID: "S10", Codes: "INVALID_ARGUMENT", Says: "lifetime", Fault: jobs.FaultOperator,
		Google:  "Access tokens for service account … can not have lifetimes of more than 1 hour. Use the Org Policy Constraint constraints/iam.allowServiceAccountCredentialLifetimeExtension to allow up to 12 hours.",
		Message: "A token of {account} may not live for more than an hour.",
		Fix:     "Ask for 1h at most; or an organisation policy administrator adds {account} to the list of the constraint constraints/iam.allowServiceAccountCredentialLifetimeExtension, which allows 12h.",
	},
	{
		ID: "S8", Codes: "INVALID_ARGUMENT", Fault: jobs.FaultOperator,
		Message: "Google does not accept the claims: exp is past, over 12 hours ahead, or no integer; or another one is malformed.",
		Fix:     "See first that the machine's clock is right. " + program,
	},
	{
		ID: "S14", Codes: "UNAUTHENTICATED", Fault: jobs.FaultGoogle, Retry: Renew,
		Google:  "Request had invalid authentication credentials.",
		Message: ended, Fix: wait,
	},
	{
		ID: "S7", Codes: "RESOURCE_EXHAUSTED RATE_LIMIT_EXCEEDED", Fault: jobs.FaultQuota, Retry: Later,
		Google:  "Resource has been exhausted (e.g. check quota).",
		Message: spent, Fix: slower,
	},
	{
		ID: "S7", Codes: "UNAVAILABLE INTERNAL DEADLINE_EXCEEDED", Fault: jobs.FaultGoogle, Retry: Soon,
		Google:  "The service is currently unavailable. · Internal error encountered.",
		Message: passing, Fix: wait,
	},
	{
		ID: "N1", Codes: "noIdentity", Fault: jobs.FaultOperator, Retry: Soon,
		Message: "The caller's own credentials give no token.",
		Fix:     "On Google Cloud, see that the function has a service account. Elsewhere, see that the file that GOOGLE_APPLICATION_CREDENTIALS names is whole and current, or unset the variable and sign in: gcloud auth application-default login",
	},
	{
		ID: "N4", Codes: "noCredentialFile", Fault: jobs.FaultOperator, Retry: Soon,
		Message: "A file that the caller's own credentials name cannot be read.",
		Fix:     "See that what writes it is running, and that credential_source in the file that GOOGLE_APPLICATION_CREDENTIALS names has the right path.",
	},
	{
		ID: "N5", Codes: "signInEnded", Fault: jobs.FaultOperator, Retry: Soon,
		Message: "A sign-in of one's own has ended; this is not about the delegation.", Fix: signIn,
	},
	{
		ID: "N6", Codes: "mayNotImpersonate", Fault: jobs.FaultOperator, Retry: Soon,
		Message: "The caller's own credentials may not stand for the account that they impersonate.",
		Fix:     "Let MEMBER, whoever signed in, act as ACCOUNT, which service_account_impersonation_url in the credentials file names; Owner does not include it: gcloud iam service-accounts add-iam-policy-binding ACCOUNT --member=MEMBER --role=roles/iam.serviceAccountTokenCreator",
	},
	{
		ID: "N3", Codes: "noSignature", Fault: jobs.FaultGoogle, Retry: Soon,
		Message: "Google answered without a signature.", Fix: wait,
	},
}

// callRows are the answers to the call itself.
var callRows = []Row{
	{
		ID: "A2", Says: "mail service not enabled", Fault: jobs.FaultUser,
		Google:  "Mail service not enabled",
		Message: "{user} has no Gmail: it is off, without a licence, or the mailbox is not made yet.", Fix: mailOn,
	},
	{
		ID: "A1", Says: "precondition check failed", Self: true, Fault: jobs.FaultOperator,
		Google:  "Precondition check failed.",
		Message: "No user was named to act as: the service account {account} asked for a mailbox of its own, and has none.",
		Fix:     "Name the user: in a job by user in place of as, elsewhere as the subject of the token.",
	},
	{
		ID: "A1", Says: "precondition check failed", Fault: jobs.FaultUser,
		Google:  "Precondition check failed.",
		Message: "{user} has no Gmail mailbox.", Fix: mailOn,
	},
	{
		ID: "A3", Codes: "failedPrecondition FAILED_PRECONDITION", Fault: jobs.FaultJob,
		Google:  "Bad Request",
		Message: "Google cannot do this in the present state.", Fix: method,
	},
	{
		ID: "A6", Says: "active session is invalid", Fault: jobs.FaultUser, Retry: Briefly, Window: 2 * time.Minute,
		Google:  "Active session is invalid. Error code: 4",
		Message: "The service is off for {user}, has no licence, or the account was just made.",
		Fix:     "The Workspace administrator switches the service on for {user} and gives a licence; a new account has to wait some minutes.",
	},
	{
		ID: "A5", Codes: "authError UNAUTHENTICATED", Fault: jobs.FaultGoogle, Retry: Renew,
		Google:  "Invalid Credentials",
		Message: ended, Fix: wait,
	},
	{
		ID: "A7", Says: "delegation denied", Fault: jobs.FaultJob,
		Google:  "Delegation denied for …",
		Message: "The job names another user's mailbox than that of {user}.", Fix: "Use me for userId, and act as the mailbox's owner.",
	},
	{
		ID: "A19", Says: "not authorized to access this resource", Fault: jobs.FaultOperator, OneUser: true,
		Google:  "Not Authorized to access this resource/api",
		Message: "{user} is not an administrator with the right to do this.",
		Fix:     "Act as an administrator of {domain}, or have {user} given an administrator role: Admin console › Account › Admin roles.",
	},
	{
		ID: "A18", Says: "cannot access this service", Fault: jobs.FaultUser,
		Google:  "the authenticated user cannot access this service",
		Message: "The service is off for {user}.", Fix: "The Workspace administrator switches it on for {user}: Admin console › Apps › Google Workspace.",
	},
	{
		ID: "A21", Says: "requires a quota project", Fault: jobs.FaultOperator,
		Google:  "Your application is authenticating by using local Application Default Credentials. The … API requires a quota project, which is not set by default.",
		Message: "One's own sign-in on this machine made the call, without a project whose quota is used; it was not made on a user's behalf.",
		Fix:     "Where one's own sign-in is meant, name a project in which {service} is on: gcloud auth application-default set-quota-project {project}",
	},
	{
		ID: "A15", Codes: "forbidden", Fault: jobs.FaultUser,
		Google:  "Forbidden",
		Message: "Google forbids the call for {user}.",
		Fix:     "See whether {user} is suspended, has a right to what the job names, and whether the service is on for this account.",
	},
	{
		ID: "A16", Codes: "aborted duplicate fileIdInUse ALREADY_EXISTS", Fault: jobs.FaultJob,
		Google:  "Label name exists or conflicts · The requested identifier already exists. · A file already exists with the provided ID.",
		Message: "What the job makes is there already.",
		Fix:     "Look at what is there; if it is not what was wanted, take another name or id.",
	},
	{
		ID: "A8", Codes: "insufficientPermissions ACCESS_TOKEN_SCOPE_INSUFFICIENT", Fault: jobs.FaultOperator,
		Google:  "Request had insufficient authentication scopes.",
		Message: narrow,
		Fix:     "Name the user, and ask for a scope that the method takes, as onbehalf actions lists them; if onbehalf chose the scopes, please report it.",
	},
	{
		ID: "A10", Codes: "accessNotConfigured SERVICE_DISABLED", Fault: jobs.FaultOperator,
		Google:  "… API has not been used in project … before or it is disabled.",
		Message: "The API {service} is off in the project {consumer}, that of the service account.",
		Fix:     "Switch it on, and wait some minutes: gcloud services enable {service} --project={consumer}",
	},
	{
		ID: "A9", Codes: "domainPolicy", Fault: jobs.FaultAdmin, OneUser: true,
		Google:  "The domain administrators have disabled Gmail apps.",
		Message: "The administrators of {domain} have disabled this service.",
		Fix:     "The Workspace administrator switches it on for {user}: Admin console › Apps › Google Workspace.",
	},
	{
		ID: "A13", Says: "user-rate limit exceeded", Fault: jobs.FaultQuota, Retry: Later,
		Google:  "User-rate limit exceeded.  Retry after … (Mail sending)",
		Message: "Gmail lets {user} do no more of this {until}.",
		Fix:     "Try again then, as onbehalf does; what keeps coming back needs fewer letters for {user}.",
	},
	{
		ID: "A12", Says: "too many concurrent requests", Fault: jobs.FaultQuota, Retry: Later,
		Google:  "Too many concurrent requests for user",
		Message: "Too many calls for {user} are under way at once.",
		Fix:     "Try again later, as onbehalf does; what keeps coming back needs fewer calls at a time for {user}.",
	},
	{
		ID: "A11", Says: "quota exceeded for quota metric", Fault: jobs.FaultQuota, Retry: Later,
		Google:  "Quota exceeded for quota metric …",
		Message: spent, Fix: slower,
	},
	{
		ID: "A11", Codes: "rateLimitExceeded userRateLimitExceeded quotaExceeded dailyLimitExceeded RATE_LIMIT_EXCEEDED RESOURCE_EXHAUSTED", Fault: jobs.FaultQuota, Retry: Later,
		Google:  "Rate Limit Exceeded · User Rate Limit Exceeded · Quota exceeded · Daily Limit Exceeded",
		Message: spent, Fix: slower,
	},
	{
		ID: "A14", Codes: "notFound NOT_FOUND", Fault: jobs.FaultJob,
		Google:  "Requested entity was not found.",
		Message: "What the job names is not there.",
		Fix:     "Correct the ids in the job. For history.list, startHistoryId is too old: list the messages anew. Right after a notification a message can be some seconds late.",
	},
	{
		ID: "A4", Codes: "invalidArgument INVALID_ARGUMENT", Fault: jobs.FaultJob,
		Google:  "Invalid id value · Missing/invalid parameter: …",
		Message: "Google does not accept a value in the job.", Fix: method,
	},
	{
		ID: "A3", Codes: "badRequest", Fault: jobs.FaultJob,
		Google:  "Bad Request",
		Message: "Google does not accept the request.", Fix: method,
	},
	{
		ID: "A20", Codes: "notImplemented UNIMPLEMENTED NotImplemented", Fault: jobs.FaultJob,
		Google:  "Operation is not implemented, or supported, or enabled.",
		Message: "This method is not there.",
		Fix:     "In a sandbox, see docs/sandbox.md for what it does; at Google, the method's reference.",
	},
	{
		ID: "A17", Codes: "backendError internalError INTERNAL UNAVAILABLE DEADLINE_EXCEEDED", Fault: jobs.FaultGoogle, Retry: Soon,
		Google:  "Backend Error · Internal Error",
		Message: passing, Fix: "Before a write is made again, look whether it took effect. " + wait,
	},
}

// objectRows are Cloud Storage's answers for what a job reads or writes there.
// Whatever else it answers is read by its status.
var objectRows = []Row{
	{
		ID: "O1", Status: http.StatusNotFound, Object: "output", Fault: jobs.FaultJob,
		Google:  "The specified bucket does not exist.",
		Message: "There is no such bucket as output names.", Fix: "Make it, or name another.",
	},
	{
		ID: "O2", Status: http.StatusNotFound, Fault: jobs.FaultJob,
		Google:  "No such object",
		Message: "There is no such object as {object} names.", Fix: "Upload it.",
	},
	{
		ID: "O3", Status: http.StatusForbidden, Object: "output", Fault: jobs.FaultOperator, OneUser: true,
		Google:  "does not have storage.objects.create access",
		Message: "Cloud Storage does not let {caller} write the object that output names.",
		Fix:     "Let {grantee} write to the bucket BUCKET of that object: gcloud storage buckets add-iam-policy-binding gs://BUCKET --member={member} --role=roles/storage.objectUser",
	},
	{
		ID: "O4", Status: http.StatusForbidden, Fault: jobs.FaultOperator, OneUser: true,
		Google:  "does not have storage.objects.get access",
		Message: "Cloud Storage does not let {caller} read the object that {object} names.",
		Fix:     "Let {grantee} read from the bucket BUCKET of that object: gcloud storage buckets add-iam-policy-binding gs://BUCKET --member={member} --role=roles/storage.objectViewer",
	},
}

// commonRows are what comes of any request.
var commonRows = []Row{
	{
		ID: "N2", Codes: "noAnswer timedOut", Fault: jobs.FaultGoogle, Retry: Soon,
		Message: "Google did not answer, or not in a form that can be read.", Fix: "See that this machine reaches Google, through its proxy where it has one; otherwise try again, as onbehalf does; if it lasts, see https://www.google.com/appsstatus/dashboard/ and https://status.cloud.google.com",
	},
}

// limits are what tells limits apart in a code and message, in lower case: the first
// that is there. Google names its metrics' limits such as "Queries per minute per user",
// and only those of a project without "per user"; Gmail's own words and codes are in
// https://developers.google.com/workspace/gmail/api/guides/handle-errors.
var limits = []struct {
	stage jobs.Stage
	says  string
	limit Limit
}{
	{jobs.StageCall, "(mail sending)", LimitSending},
	{jobs.StageCall, "per user", LimitUser},
	{jobs.StageCall, "quota exceeded for quota metric", LimitProject},
	{jobs.StageCall, "dailylimitexceeded", LimitProject},
	{jobs.StageCall, "", LimitUser},
	{jobs.StageSign, "", LimitProject}, // IAM counts nothing else
}

// signWindow is how long a right to sign that was just granted may take to be
// there, and still be worth waiting for.
const signWindow = 10 * time.Second

// unknownRows are the safe reading of what is in no other row, by stage and by
// status, from and to.
var unknownRows = []struct {
	from, to int
	Meaning
}{
	{http.StatusTooManyRequests, http.StatusTooManyRequests, Meaning{Fault: jobs.FaultQuota, Retry: Later, Message: "Google asks for fewer calls, in words that are not known here.", Fix: slower}},
	{http.StatusUnauthorized, http.StatusUnauthorized, Meaning{Stage: jobs.StageSign, Fault: jobs.FaultGoogle, Retry: Renew, Message: endedUnknown, Fix: wait}},
	{http.StatusUnauthorized, http.StatusUnauthorized, Meaning{Stage: jobs.StageCall, Fault: jobs.FaultGoogle, Retry: Renew, Message: endedUnknown, Fix: wait}},
	{0, 0, Meaning{Fault: jobs.FaultGoogle, Retry: Soon, Message: "No answer came, for a reason that is not known here.", Fix: wait}},
	{http.StatusOK, http.StatusOK, Meaning{Fault: jobs.FaultGoogle, Retry: Soon, Message: "Google's answer is not known here.", Fix: wait}},
	{http.StatusRequestTimeout, http.StatusRequestTimeout, Meaning{Fault: jobs.FaultGoogle, Retry: Soon, Message: "Google gave up waiting, in words that are not known here.", Fix: wait}},
	{http.StatusInternalServerError, math.MaxInt, Meaning{Fault: jobs.FaultGoogle, Retry: Soon, Message: "Google had a fault, in words that are not known here.", Fix: wait}},
	{http.StatusForbidden, http.StatusForbidden, Meaning{Stage: jobs.StageCall, Fault: jobs.FaultUser, Message: "Google refused the call for {user}, for a reason that is not known here.", Fix: "See whether {user} is suspended, and whether the service is on for this account."}},
	{math.MinInt, math.MaxInt, Meaning{Stage: jobs.StageCall, Fault: jobs.FaultJob, Message: "Google refused the call, for a reason that is not known here.", Fix: method}},
	{math.MinInt, math.MaxInt, Meaning{Fault: jobs.FaultOperator, OneUser: true, Message: "Google gave no token for {user}, for a reason that is not known here.", Fix: "Look the code and reason up in Google's reference; then see that the account is right: gcloud iam service-accounts describe {account}"}},
}
