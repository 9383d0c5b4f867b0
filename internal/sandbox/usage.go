package sandbox

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// Service Usage, as far as it tells which APIs are on. Facts:
// https://cloud.google.com/service-usage/docs/reference/rest/v1/services. How it
// refuses is from memory.
func usageRoutes() []*route {
	get := func(name, path string, h func(*call) reply) *route {
		return &route{
			name: "serviceusage.services." + name, method: http.MethodGet, stage: stageCall, limit: limitNone, who: tokenUser,
			path: "serviceusage.googleapis.com/v1/projects/{}/" + path,
			scopes: []string{
				scopeCloudPlatform, authPrefix + "cloud-platform.read-only",
				authPrefix + "service.management", authPrefix + "service.management.readonly",
			},
			admit: (*call).authorize, handle: h,
		}
	}
	return []*route{
		get("batchGet", "services:batchGet", (*call).getServices),
		get("get", "services/{}", func(c *call) reply {
			if a := c.usageDoor(c.vars[1]); a != nil {
				return *a
			}
			return c.ok(c.usage(c.vars[1]))
		}),
	}
}

// usageDoor lets viewers of the project ask for APIs that there are.
func (c *call) usageDoor(names ...string) *reply {
	const domain = "serviceusage.googleapis.com"
	all := "[" + strings.Join(names, ", ") + "]"
	if !c.isViewer() || !c.isProject(c.vars[0]) {
		a := refuseRPC(http.StatusForbidden, "Permission denied to get service "+all, info("AUTH_PERMISSION_DENIED", domain))
		return &a
	}
	if slices.ContainsFunc(names, func(name string) bool { return services[name] == "" }) {
		a := refuseRPC(http.StatusForbidden, "Not found or permission denied for service(s): "+strings.Trim(all, "[]")+".",
			info("SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED", domain))
		return &a
	}
	return nil
}

func (c *call) isViewer() bool { return slices.Contains(c.viewers, strings.ToLower(c.tok.principal())) }

func (c *call) getServices() reply {
	const most = 30
	prefix := "projects/" + c.vars[0] + "/services/"
	full := c.query["names"]
	if len(full) == 0 || len(full) > most {
		return refuseRPC(http.StatusBadRequest, fmt.Sprintf("names: %d were given; 1 to %d are accepted.", len(full), most))
	}
	var names []string
	for _, name := range full {
		short, ok := strings.CutPrefix(name, prefix)
		if !ok {
			return refuseRPC(http.StatusBadRequest, fmt.Sprintf("Invalid service name %q: it is not of projects/%s.", name, c.vars[0]))
		}
		names = append(names, short)
	}
	if a := c.usageDoor(names...); a != nil {
		return *a
	}
	var out []doc
	for _, name := range names {
		out = append(out, c.usage(name))
	}
	return c.ok(doc{"services": out})
}

// usage is what Service Usage says of one API.
func (c *call) usage(name string) doc {
	state := "ENABLED"
	if c.apisOff.has(name) {
		state = "DISABLED"
	}
	project := "projects/" + c.projectNumber
	return doc{"name": project + "/services/" + name, "parent": project, "config": doc{"name": name, "title": services[name]}, "state": state}
}
