package cloud

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/api/cloudresourcemanager/v1"
	"google.golang.org/api/serviceusage/v1"
)

// projectMethods are Cloud Resource Manager's.
func projectMethods() []method {
	return []method{
		{verb: http.MethodGet, path: "/v1/projects/{project}", do: (*Server).getProject},
		{verb: http.MethodPost, path: "/v1/projects/{project}:getIamPolicy", body: new(cloudresourcemanager.GetIamPolicyRequest), do: func(s *Server, _ *call) (any, error) {
			return s.getPolicy(s.projectKey())
		}},
		{verb: http.MethodPost, path: "/v1/projects/{project}:setIamPolicy", body: new(cloudresourcemanager.SetIamPolicyRequest), do: func(s *Server, c *call) (any, error) {
			return s.setPolicy(c, s.projectKey(), onProject)
		}},
		{verb: http.MethodPost, path: "/v1/projects/{project}:testIamPermissions", body: new(cloudresourcemanager.TestIamPermissionsRequest), do: func(_ *Server, c *call) (any, error) {
			return object{"permissions": c.body["permissions"]}, nil // the caller may do everything
		}},
	}
}

func (s *Server) projectKey() string {
	return "//cloudresourcemanager.googleapis.com/projects/" + s.config.Project
}

// makeProject puts the project itself into the state, and with it its policy.
func (s *Server) makeProject() {
	s.state[s.projectKey()] = object{
		"projectId": s.config.Project, "projectNumber": s.config.Number, "name": s.config.Project,
		"lifecycleState": "ACTIVE", "createTime": now(),
	}
	s.policies[s.projectKey()] = &policy{fields: object{"bindings": []any{
		object{"role": "roles/owner", "members": []any{"user:admin@example.com"}},
	}}}
}

func (s *Server) getProject(*call) (any, error) { return s.state[s.projectKey()], nil }

// serviceMethods are Service Usage's. Enabling takes effect when its operation is done.
func serviceMethods() []method {
	return []method{
		{verb: http.MethodGet, path: "/v1/projects/{project}/services", query: "filter pageSize pageToken", do: (*Server).listServices},
		{verb: http.MethodGet, path: "/v1/projects/{project}/services/{service}", do: (*Server).getService},
		{verb: http.MethodGet, path: "/v1/projects/{project}/services:batchGet", query: "names", do: (*Server).batchGetServices},
		{verb: http.MethodPost, path: "/v1/projects/{project}/services/{service}:enable", body: new(serviceusage.EnableServiceRequest), do: (*Server).enableService},
		{verb: http.MethodPost, path: "/v1/projects/{project}/services:batchEnable", body: new(serviceusage.BatchEnableServicesRequest), do: (*Server).batchEnable},
		{verb: http.MethodPost, path: "/v1/projects/{project}/services/{service}:disable", body: new(serviceusage.DisableServiceRequest), do: (*Server).disableService},
		{verb: http.MethodGet, path: "/v1/operations/{operation=**}", do: func(s *Server, c *call) (any, error) {
			return s.poll(c, "operations/"+c.vars["operation"])
		}},
		{verb: http.MethodPost, path: "/v1beta1/projects/{project}/services/{service}:generateServiceIdentity", do: (*Server).generateIdentity},
	}
}

func (s *Server) serviceKey(name string) string {
	return "//serviceusage.googleapis.com/projects/" + s.config.Project + "/services/" + name
}

// service is one as it is answered, on or off. Its name has the project's number.
func (s *Server) service(name string) object {
	state := "DISABLED"
	if s.enabled(name) {
		state = "ENABLED"
	}
	return object{
		"name":   fmt.Sprintf("projects/%s/services/%s", s.config.Number, name),
		"config": object{"name": name}, "state": state, "parent": "projects/" + s.config.Number,
	}
}

func (s *Server) enabled(name string) bool { return s.state[s.serviceKey(name)] != nil }

func (s *Server) enable(name string) {
	s.state[s.serviceKey(name)] = object{"name": name}
	for _, a := range agents {
		if a.service == name && a.born {
			s.beget(name)
		}
	}
}

// Enable switches services on, without a request.
func (s *Server) Enable(names ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range names {
		s.enable(name)
	}
}

func (s *Server) listServices(c *call) (any, error) {
	filter := c.query.Get("filter")
	if filter != "" && filter != "state:ENABLED" && filter != "state:DISABLED" {
		return nil, invalid("Invalid filter: %q.", filter)
	}
	list := []any{}
	for _, name := range services {
		if o := s.service(name); filter == "" || "state:"+text(o, "state") == filter {
			list = append(list, o)
		}
	}
	return object{"services": list}, nil
}

// unknownService is what is answered for a service that is none.
func unknownService(name string) error {
	if slices.Contains(services, name) {
		return nil
	}
	e := refuse(http.StatusForbidden, "Not found or permission denied for service(s): %s.", name)
	e.details = append(e.details, object{
		"@type": "type.googleapis.com/google.rpc.PreconditionFailure",
		"violations": []any{object{
			"type": "googleapis.com", "subject": "110002",
		}},
	})
	return e.detail("SERVICE_CONFIG_NOT_FOUND_OR_PERMISSION_DENIED", object{"services": name})
}

func (s *Server) getService(c *call) (any, error) {
	if err := unknownService(c.vars["service"]); err != nil {
		return nil, err
	}
	return s.service(c.vars["service"]), nil
}

func (s *Server) batchGetServices(c *call) (any, error) {
	var list []any
	for _, name := range c.query["names"] {
		name = name[strings.LastIndex(name, "/")+1:]
		if err := unknownService(name); err != nil {
			return nil, err
		}
		list = append(list, s.service(name))
	}
	return object{"services": list}, nil
}

func (s *Server) enableService(c *call) (any, error) {
	return s.enableAll(c, []string{c.vars["service"]}, func() any {
		return object{"@type": "type.googleapis.com/google.api.serviceusage.v1.EnableServiceResponse", "service": s.service(c.vars["service"])}
	})
}

func (s *Server) batchEnable(c *call) (any, error) {
	ids, _ := c.body["serviceIds"].([]any)
	if len(ids) == 0 || len(ids) > 20 {
		return nil, invalid("The number of services must be between 1 and 20.")
	}
	var names []string
	for _, id := range ids {
		name, _ := id.(string)
		names = append(names, name)
	}
	return s.enableAll(c, names, func() any {
		return object{"@type": "type.googleapis.com/google.api.serviceusage.v1.BatchEnableServicesResponse"}
	})
}

// enableAll is an operation, unless all are enabled already.
func (s *Server) enableAll(c *call, names []string, response func() any) (any, error) {
	all := true
	for _, name := range names {
		if err := unknownService(name); err != nil {
			return nil, err
		}
		all = all && s.enabled(name)
	}
	if all {
		return object{"name": "operations/noop.DONE_OPERATION", "done": true, "response": response()}, nil
	}
	name := fmt.Sprintf("operations/acf.p2-%s-%08d", s.config.Number, s.number())
	return s.start(c, name, nil, func(ordered error) (any, error) {
		if ordered != nil {
			return nil, ordered
		}
		for _, name := range names {
			s.enable(name)
		}
		return response(), nil
	}), nil
}

func (s *Server) disableService(c *call) (any, error) {
	name := c.vars["service"]
	if !s.enabled(name) {
		return nil, precondition("Service %s is not enabled for consumer projects/%s.", name, s.config.Number)
	}
	operation := fmt.Sprintf("operations/acf.p2-%s-%08d", s.config.Number, s.number())
	return s.start(c, operation, nil, func(ordered error) (any, error) {
		if ordered != nil {
			return nil, ordered
		}
		s.forget(s.serviceKey(name))
		return object{"@type": "type.googleapis.com/google.api.serviceusage.v1.DisableServiceResponse", "service": s.service(name)}, nil
	}), nil
}

// agents are the accounts in whose name Google's services act in a project
// (https://cloud.google.com/iam/docs/service-agents).
var agents = []struct {
	service string
	domain  string // of service-NUMBER@DOMAIN.iam.gserviceaccount.com
	born    bool   // is there as soon as the service is enabled; else when first needed
	role    string // what it gets on the project at its making, or empty
}{
	{"pubsub.googleapis.com", "gcp-sa-pubsub", false, "roles/pubsub.serviceAgent"},
	{"eventarc.googleapis.com", "gcp-sa-eventarc", false, "roles/eventarc.serviceAgent"},
	{"cloudfunctions.googleapis.com", "gcf-admin-robot", true, "roles/cloudfunctions.serviceAgent"},
	{"run.googleapis.com", "serverless-robot-prod", true, "roles/run.serviceAgent"},
	{"cloudscheduler.googleapis.com", "gcp-sa-cloudscheduler", true, ""},
	{"cloudbuild.googleapis.com", "gcp-sa-cloudbuild", true, ""},
	{"secretmanager.googleapis.com", "gcp-sa-secretmanager", false, ""},
	{"monitoring.googleapis.com", "gcp-sa-monitoring-notification", false, ""},
	{"firestore.googleapis.com", "gcp-sa-firestore", false, ""},
	{"artifactregistry.googleapis.com", "gcp-sa-artifactregistry", true, ""},
}

func (s *Server) agentKey(email string) string {
	return "//serviceusage.googleapis.com/projects/" + s.config.Project + "/serviceAgents/" + email
}

// agents are the addresses of those that are there.
func (s *Server) agents() map[string]bool {
	there := map[string]bool{}
	for key := range s.state {
		if email, ok := strings.CutPrefix(key, s.agentKey("")); ok {
			there[email] = true
		}
	}
	return there
}

// beget makes the agents of a service, unless they are there.
func (s *Server) beget(service string) object {
	for _, a := range agents {
		if a.service != service {
			continue
		}
		email := fmt.Sprintf("service-%s@%s.iam.gserviceaccount.com", s.config.Number, a.domain)
		key := s.agentKey(email)
		if s.state[key] == nil {
			s.state[key] = object{"email": email, "uniqueId": s.uniqueID()}
			if a.role != "" {
				s.bind(s.projectKey(), a.role, "serviceAccount:"+email)
			}
		}
		return s.state[key]
	}
	return nil
}

// bind adds to a policy in Google's own name.
func (s *Server) bind(key, role, member string) {
	p, err := s.policyOf(key)
	if err != nil || p.has(role, member) {
		return
	}
	p.add(role, member)
	p.version++
}

// generateIdentity makes a service's agent. gcloud expects the operation to be done at once
// (api_lib/services/serviceusage.py, GenerateServiceIdentity).
func (s *Server) generateIdentity(c *call) (any, error) {
	service := c.vars["service"]
	if err := unknownService(service); err != nil {
		return nil, err
	}
	if !s.enabled(service) {
		return nil, precondition("Service %s is not enabled for consumer projects/%s.", service, s.config.Number)
	}
	agent := s.beget(service)
	if agent == nil {
		return done("operations/finished.DONE_OPERATION", object{"@type": "type.googleapis.com/google.protobuf.Empty"}), nil
	}
	return done("operations/finished.DONE_OPERATION", typed(agent, "google.api.serviceusage.v1beta1.ServiceIdentity")), nil
}

// uniqueID is a number as service accounts have it: of 21 digits.
func (s *Server) uniqueID() string { return fmt.Sprintf("1%020d", s.number()) }

// services are those that can be enabled: Google has hundreds; these are what the project's
// commands might name, and what is always on.
var services = []string{
	"artifactregistry.googleapis.com", "bigquery.googleapis.com", "bigquerystorage.googleapis.com", "calendar-json.googleapis.com",
	"cloudapis.googleapis.com", "cloudbuild.googleapis.com", "cloudfunctions.googleapis.com", "cloudresourcemanager.googleapis.com",
	"cloudscheduler.googleapis.com", "cloudtrace.googleapis.com", "admin.googleapis.com", "containerregistry.googleapis.com",
	"datastore.googleapis.com", "docs.googleapis.com", "drive.googleapis.com", "eventarc.googleapis.com", "eventarcpublishing.googleapis.com", "firestore.googleapis.com",
	"gmail.googleapis.com", "groupssettings.googleapis.com", "iam.googleapis.com", "iamcredentials.googleapis.com", "licensing.googleapis.com", "logging.googleapis.com",
	"monitoring.googleapis.com", "people.googleapis.com", "pubsub.googleapis.com", "run.googleapis.com", "secretmanager.googleapis.com",
	"servicemanagement.googleapis.com", "serviceusage.googleapis.com", "sheets.googleapis.com", "storage.googleapis.com", "storage-api.googleapis.com", "sts.googleapis.com", "tasks.googleapis.com",
	"vault.googleapis.com", "chat.googleapis.com", "classroom.googleapis.com", "cloudidentity.googleapis.com", "cloudtasks.googleapis.com", "script.googleapis.com", "telemetry.googleapis.com",
}
