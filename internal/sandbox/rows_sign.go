package sandbox

import "net/http"

// signRows are what IAM Credentials says. Where the words are not on record
// they are Google's usual ones for the status.
func signRows() []Row {
	const forbidden = http.StatusForbidden
	return []Row{
		signRow("S1", forbidden, "Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist).",
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
