package sandbox_test

import (
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// Viewers see the project and its accounts; nobody else does.
func TestViewers(t *testing.T) {
	b := setup(t, chained, func(w *sandbox.World, _ *sandbox.Options) { w.ServiceAccounts[2].Disabled = true })
	const (
		accounts = "/iam.googleapis.com/v1/projects/"
		project  = "/cloudresourcemanager.googleapis.com/v3/projects/"
	)
	get := func(path string) answer { return b.must("GET", path, nil, bearer(b.machine())...) }
	get(accounts+"-/serviceAccounts/"+robot).says(t, 200, `"uniqueId": "`+robotID+`"`, `"email": "`+robot+`"`, `"disabled": false`)
	get(accounts+"onbehalf-sandbox/serviceAccounts/102").says(t, 200, target, `"disabled": true`)
	get(accounts+"-/serviceAccounts/nobody@example.com").says(t, 404, "Unknown service account", "NOT_FOUND")
	get(accounts+"other/serviceAccounts/"+robot).says(t, 403)
	get(project+"onbehalf-sandbox").says(t, 200, `"name": "projects/424242424242"`, `"projectId": "onbehalf-sandbox"`)
	get(project+"other").says(t, 403)

	for path, permission := range map[string]string{
		accounts + "-/serviceAccounts/" + robot:       "iam.serviceAccounts.get",
		accounts + "onbehalf-sandbox/serviceAccounts": "iam.serviceAccounts.list",
		project + "onbehalf-sandbox":                  "resourcemanager.projects.get",
	} {
		get(path).says(t, 200)
		for _, token := range []string{b.own(middle, "cloud-platform"), b.as(admin, "cloud-platform")} {
			b.must("GET", path, nil, bearer(token)...).says(t, 403, "Permission '"+permission+"' denied", "IAM_PERMISSION_DENIED", "PERMISSION_DENIED")
		}
	}
}
