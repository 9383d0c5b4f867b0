package sandbox

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// cloudMethods are what a service account does in its own project. That it has
// the roles for it is assumed. Facts: the Discovery documents.
func cloudMethods() []method {
	m := func(id, permission string, do func(*call) reply) method {
		return method{id: id, door: projectDoor(permission), do: do}
	}
	return []method{
		m("sql.instances.list", "cloudsql.instances.list", (*call).listSQL),
		m("sql.instances.get", "cloudsql.instances.get", (*call).getSQL),
		m("compute.instances.list", "compute.instances.list", (*call).listVMs),
		m("compute.instances.get", "compute.instances.get", func(c *call) reply {
			return c.ofVM(func(d doc) reply { return c.ok(d) })
		}),
		m("compute.instances.start", "compute.instances.start", func(c *call) reply { return c.switchVM("start", "RUNNING") }),
		m("compute.instances.stop", "compute.instances.stop", func(c *call) reply { return c.switchVM("stop", "TERMINATED") }),
		m("compute.zoneOperations.get", "compute.zoneOperations.get", (*call).getOperation),
		{id: "cloudresourcemanager.projects.get", door: viewerDoor("resourcemanager.projects.get"), do: (*call).getProject},
		{id: "iam.projects.serviceAccounts.list", door: viewerDoor("iam.serviceAccounts.list"), do: (*call).listAccounts},
		{id: "iam.projects.serviceAccounts.get", door: viewerDoor("iam.serviceAccounts.get"), do: (*call).getAccount},
	}
}

// viewerDoor lets those in who may look at the project.
func viewerDoor(permission string) func(*call) *reply {
	return func(c *call) *reply {
		if c.isViewer() {
			return nil
		}
		a := refuseRPC(http.StatusForbidden, "Permission '"+permission+"' denied on resource (or it may not exist).",
			info("IAM_PERMISSION_DENIED", "iam.googleapis.com", "permission", permission))
		return &a
	}
}

// isProject takes the project by id or number.
func (c *call) isProject(key string) bool { return key == c.project || key == c.projectNumber }

// noProject is how Google speaks of projects that are not the caller's.
func (c *call) noProject(permission string) reply {
	return c.refuse(http.StatusForbidden, "forbidden", fmt.Sprintf("Permission '%s' denied on resource (or it may not exist).", permission))
}

func (c *call) sqlInstance(name string) doc {
	self := "https://sqladmin.googleapis.com/v1/projects/" + c.project + "/instances/" + name
	return doc{
		"kind": "sql#instance", "name": name, "project": c.project, "selfLink": self, "etag": `"0"`,
		"state": "RUNNABLE", "databaseVersion": "POSTGRES_17", "region": "europe-west1", "gceZone": "europe-west1-b",
		"instanceType": "CLOUD_SQL_INSTANCE", "backendType": "SECOND_GEN", "connectionName": c.project + ":europe-west1:" + name,
		"settings": doc{"kind": "sql#settings", "tier": "db-f1-micro", "activationPolicy": "ALWAYS", "settingsVersion": "1"},
	}
}

func (c *call) listSQL() reply {
	if !c.isProject(c.arg("project")) {
		return c.noProject("cloudsql.instances.list")
	}
	if a := c.cannot("filter"); a != nil {
		return *a
	}
	var all []any
	for _, name := range c.sqlInstances {
		all = append(all, c.sqlInstance(name))
	}
	return c.listed(doc{"kind": "sql#instancesList"}, "items", all, 1000, 1000)
}

func (c *call) getSQL() reply {
	name := c.arg("instance")
	if !c.isProject(c.arg("project")) || !slices.Contains(c.sqlInstances, name) {
		return c.refuse(http.StatusNotFound, "instanceDoesNotExist", "The Cloud SQL instance does not exist.")
	}
	return c.ok(c.sqlInstance(name))
}

const computeRoot = "https://www.googleapis.com/compute/v1/projects/"

// vmShelf has the instances of a zone; the store's lock must be held.
func (c *call) vmShelf() *shelf {
	k := &kind{name: "compute.instances", id: "name", shared: true, seed: func(c *call, at address) []doc {
		var out []doc
		for _, vm := range c.vms {
			if vm.Zone != at.parent {
				continue
			}
			zone := computeRoot + c.project + "/zones/" + vm.Zone
			out = append(out, doc{
				"kind": "compute#instance", "id": numericID(vm.Name)[:18], "name": vm.Name, "zone": zone, "status": "RUNNING",
				"selfLink": zone + "/instances/" + vm.Name, "machineType": zone + "/machineTypes/e2-micro",
				"creationTimestamp": stamp(c.now()), "lastStartTimestamp": stamp(c.now()),
			})
		}
		return out
	}}
	return k.shelf(c, address{kind: k.name, parent: c.arg("zone")})
}

func (c *call) listVMs() reply {
	if !c.isProject(c.arg("project")) {
		return c.noProject("compute.instances.list")
	}
	if a := c.cannot("filter", "orderBy"); a != nil {
		return *a
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	var all []any
	for _, d := range c.vmShelf().all() {
		all = append(all, d)
	}
	zone := "projects/" + c.project + "/zones/" + c.arg("zone") + "/instances"
	return c.listed(doc{"kind": "compute#instanceList", "id": zone}, "items", all, 500, 500)
}

// ofVM answers for an instance that is there.
func (c *call) ofVM(h func(doc) reply) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	d := c.vmShelf().byID[c.arg("instance")]
	if !c.isProject(c.arg("project")) || d == nil {
		return c.refuse(http.StatusNotFound, "notFound", fmt.Sprintf(
			"The resource 'projects/%s/zones/%s/instances/%s' was not found", c.arg("project"), c.arg("zone"), c.arg("instance")))
	}
	return h(d)
}

// switchVM does at once what takes Google a while: the operation is done when it
// is answered.
func (c *call) switchVM(what, status string) reply {
	return c.ofVM(func(d doc) reply {
		d["status"] = status
		now, number := stamp(c.now()), c.store.number()
		d[map[string]string{"start": "lastStartTimestamp", "stop": "lastStopTimestamp"}[what]] = now
		op := doc{
			"kind": "compute#operation", "id": number, "name": "operation-" + number, "operationType": what,
			"status": "DONE", "progress": 100, "user": c.tok.principal(), "zone": d["zone"],
			"targetId": d["id"], "targetLink": d["selfLink"], "insertTime": now, "startTime": now, "endTime": now,
			"selfLink": fmt.Sprint(d["zone"], "/operations/operation-", number),
		}
		c.operations().put(op.text("name"), op)
		return c.ok(op)
	})
}

func (c *call) operations() *shelf {
	return (&kind{}).shelf(c, address{kind: "compute.operations", parent: c.arg("zone")})
}

func (c *call) getOperation() reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if op := c.operations().byID[c.arg("operation")]; op != nil && c.isProject(c.arg("project")) {
		return c.ok(op)
	}
	return c.refuse(http.StatusNotFound, "notFound", "The resource 'operations/"+c.arg("operation")+"' was not found")
}

func (c *call) getProject() reply {
	if !c.isProject(strings.TrimPrefix(c.arg("name"), "projects/")) {
		return refuseRPC(http.StatusForbidden, "The caller does not have permission")
	}
	return c.ok(doc{"name": "projects/" + c.projectNumber, "projectId": c.project, "displayName": c.project, "state": "ACTIVE"})
}

func (c *call) listAccounts() reply {
	if !c.isProject(strings.TrimPrefix(c.arg("name"), "projects/")) {
		return refuseRPC(http.StatusForbidden, "Permission 'iam.serviceAccounts.list' denied on resource (or it may not exist).")
	}
	var all []any
	for _, a := range c.accounts.all() {
		all = append(all, c.shownAccount(a))
	}
	return c.listed(doc{}, "accounts", all, 20, 100)
}

// getAccount takes an account by e-mail or numeric id, of the project or of any, "-".
// How Google words that there is none is from memory.
func (c *call) getAccount() reply {
	project, key, _ := strings.Cut(strings.TrimPrefix(c.arg("name"), "projects/"), "/serviceAccounts/")
	if project != "-" && !c.isProject(project) {
		return refuseRPC(http.StatusForbidden, "Permission 'iam.serviceAccounts.get' denied on resource (or it may not exist).")
	}
	a := c.accounts.find(key)
	if a == nil {
		return refuseRPC(http.StatusNotFound, "Unknown service account")
	}
	return c.ok(c.shownAccount(a))
}

func (c *call) shownAccount(a *account) doc {
	return doc{
		"name": "projects/" + c.project + "/serviceAccounts/" + a.email, "email": a.email, "uniqueId": a.id, "oauth2ClientId": a.id,
		"projectId": c.project, "disabled": a.disabled, "etag": base64.StdEncoding.EncodeToString([]byte("sandbox")),
	}
}
