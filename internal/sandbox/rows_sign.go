package sandbox

import "net/http"

// signRows are what IAM Credentials says. Where the words are not on record
// they are Google's usual ones for the status.
func signRows() []Row {
	const forbidden = http.StatusForbidden
	return []Row{
		signRow("S1", forbidden, denied("signJwt"),
			info("IAM_PERMISSION_DENIED", "iam.googleapis.com", "permission", "iam.serviceAccounts.signJwt")),
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
		signRow("S9", forbidden, denied("getAccessToken"),
			info("IAM_PERMISSION_DENIED", "iam.googleapis.com", "permission", "iam.serviceAccounts.getAccessToken")),
		signRow("S9b", forbidden, denied("getOpenIdToken"),
			info("IAM_PERMISSION_DENIED", "iam.googleapis.com", "permission", "iam.serviceAccounts.getOpenIdToken")),
		signRow("S10", http.StatusBadRequest, "The access token lifetime cannot exceed 3600s."),
		signRow("S11", forbidden, denied("implicitDelegation"),
			info("IAM_PERMISSION_DENIED", "iam.googleapis.com", "permission", "iam.serviceAccounts.implicitDelegation")),
		signRow("S12", forbidden, noQuotaProject("iamcredentials.googleapis.com"),
			info("SERVICE_DISABLED", "googleapis.com", "consumer", "projects/${projectNumber}", "service", "iamcredentials.googleapis.com")),
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

// denied are the words for a missing permission on a service account.
func denied(permission string) string {
	return "Permission 'iam.serviceAccounts." + permission + "' denied on resource (or it may not exist)."
}

// noQuotaProject are the words for one's own sign-in that names no project.
func noQuotaProject(service string) string {
	return "Your application is authenticating by using local Application Default Credentials. The " + service + " API requires a quota project, which is not set by default. " +
		"To learn how to set your quota project, see https://cloud.google.com/docs/authentication/adc-troubleshooting/user-creds ."
}
