package sandbox

import "net/http"

// signRows are what IAM Credentials says. Where the words are not on record
// they are Google's usual ones for the status.
func signRows() []Row {
	const forbidden = http.StatusForbidden
	return []Row{
		denied("S1", "signJwt"),
		signRow("S2", forbidden, "The caller does not have permission"),
		signRow("S3", forbidden, apiOff, infoOff()),
		signRow("S4", forbidden, "Request had insufficient authentication scopes.",
			info("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "googleapis.com", "service", "iamcredentials.googleapis.com")),
		signRow("S5", forbidden, "Caller does not have required permission to use project ${quotaProject}. "+
			"Grant the caller the roles/serviceusage.serviceUsageConsumer role, or a custom role with the serviceusage.services.use permission, "+
			"by visiting https://console.developers.google.com/iam-admin/iam/project?project=${quotaProject} and then retry. "+
			"Propagation of the new permission may take a few minutes.",
			info("USER_PROJECT_DENIED", "googleapis.com", "consumer", "projects/${quotaProject}")),
		signRow("S6", forbidden, "Request is prohibited by organization's policy. vpcServiceControlsUniqueIdentifier: sandbox",
			info("SECURITY_POLICY_VIOLATED", "googleapis.com", "uid", "sandbox")),
		signRow("S7", http.StatusTooManyRequests, "Resource has been exhausted (e.g. check quota)."),
		signRow("S7b", http.StatusServiceUnavailable, "The service is currently unavailable."),
		signRow("S7c", http.StatusInternalServerError, "Internal error encountered."),
		signRow("S8", http.StatusBadRequest, "The JWT claim 'exp' must be an integer timestamp that is not in the past and no more than 12 hours in the future."),
		denied("S9", "getAccessToken"),
		denied("S9b", "getOpenIdToken"),
		// The words are as people report them; the status is assumed.
		signRow("S10", http.StatusBadRequest, "Access tokens for service account ${account} can not have lifetimes of more than 1 hour. "+
			"Use the Org Policy Constraint constraints/iam.allowServiceAccountCredentialLifetimeExtension to allow up to 12 hours."),
		denied("S11", "implicitDelegation"),
		signRow("S12", forbidden, noQuotaProject, infoNoQuotaProject()),
		signRow("S13", http.StatusNotFound, "Requested entity was not found."),
		signRow("S14", http.StatusUnauthorized, "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid authentication credential."),
	}
}

func signRow(id string, status int, message string, details ...any) Row {
	return makeRow(id, stageSign, status, errorBody{apiError{
		Code: status, Message: message, Status: canonical(status), Details: details,
	}})
}

// apiOff are the words for an API that is not switched on in the project.
const apiOff = "${title} has not been used in project ${projectNumber} before or it is disabled. Enable it by visiting " +
	"https://console.developers.google.com/apis/api/${service}/overview?project=${projectNumber} then retry. " +
	"If you enabled this API recently, wait a few minutes for the action to propagate to our systems and retry."

func infoOff() errorInfo {
	return info("SERVICE_DISABLED", "googleapis.com", "consumer", "projects/${projectNumber}", "service", "${service}")
}

// denied is the answer to who lacks a permission on a service account.
func denied(id, permission string) Row {
	permission = "iam.serviceAccounts." + permission
	return signRow(id, http.StatusForbidden, "Permission '"+permission+"' denied on resource (or it may not exist).",
		info("IAM_PERMISSION_DENIED", "iam.googleapis.com", "permission", permission))
}

// noQuotaProject are the words for one's own sign-in that names no project.
const noQuotaProject = "Your application is authenticating by using local Application Default Credentials. The ${service} API requires a quota project, which is not set by default. " +
	"To learn how to set your quota project, see https://cloud.google.com/docs/authentication/adc-troubleshooting/user-creds ."

// infoNoQuotaProject names the project of the client that gcloud signs in with.
func infoNoQuotaProject() errorInfo {
	return info("SERVICE_DISABLED", "googleapis.com", "consumer", "projects/764086051850", "service", "${service}")
}
