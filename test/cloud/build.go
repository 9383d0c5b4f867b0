package cloud

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"google.golang.org/api/cloudbuild/v1"
)

// buildMethods are Cloud Build's, at its two addresses for each: with a location, and
// without one, which is global.
func buildMethods() []method {
	const place = "/v1/projects/{project}/locations/{location}"
	var all []method
	for _, builds := range []string{"/v1/projects/{project}/builds", place + "/builds"} {
		all = append(all,
			method{verb: http.MethodPost, path: builds, query: "parent projectId", body: new(cloudbuild.Build), do: (*Server).createBuild},
			method{verb: http.MethodGet, path: builds, query: "filter pageSize pageToken parent projectId", do: (*Server).listBuilds},
			method{verb: http.MethodGet, path: builds + "/{build}", query: "id name projectId", do: func(s *Server, c *call) (any, error) {
				return s.get(c.key("projects/%s/locations/%s/builds/%s", c.vars["project"], c.location(), c.vars["build"]))
			}},
		)
	}
	return append(all,
		method{verb: http.MethodGet, path: place + "/operations/{operation}", do: (*Server).pollHere},
		method{verb: http.MethodGet, path: place + "/defaultServiceAccount", do: func(s *Server, c *call) (any, error) {
			return object{
				"name":                fmt.Sprintf("projects/%s/locations/%s/defaultServiceAccount", s.config.Number, c.vars["location"]),
				"serviceAccountEmail": fmt.Sprintf("projects/%s/serviceAccounts/%s", s.config.Project, s.defaultAccount()),
			}, nil
		}},
	)
}

// location is that of the path, or the one that is meant without it.
func (c *call) location() string {
	if c.vars["location"] == "" {
		return "global"
	}
	return c.vars["location"]
}

func (s *Server) listBuilds(c *call) (any, error) {
	return object{"builds": s.list(c.key("projects/%s/locations/%s/builds/", c.vars["project"], c.location()))}, nil
}

// createBuild keeps a build, and answers as if all of its steps had succeeded. None is run.
func (s *Server) createBuild(c *call) (any, error) {
	build := clone(c.body)
	if err := s.validBuild(build); err != nil {
		return nil, err
	}
	id := fmt.Sprintf("%08x-0000-4000-8000-000000000000", s.number())
	name := fmt.Sprintf("projects/%s/locations/%s/builds/%s", s.config.Project, c.location(), id)
	build["id"], build["name"], build["projectId"], build["status"] = id, name, s.config.Project, "SUCCESS"
	build["createTime"], build["startTime"], build["finishTime"] = now(), now(), now()
	build["logUrl"] = "https://console.cloud.google.com/cloud-build/builds/" + id
	if logging := text(build, "options", "logging"); build["logsBucket"] == nil && logging != "CLOUD_LOGGING_ONLY" && logging != "NONE" {
		bucket := s.config.Number + ".cloudbuild-logs.googleusercontent.com"
		build["logsBucket"] = "gs://" + bucket
		s.uploads[bucket+"/log-"+id+".txt"] = []byte("Each step counts as done.\n")
	}
	s.state[c.key("%s", name)] = build
	metadata := object{"@type": "type.googleapis.com/google.devtools.cloudbuild.v1.BuildOperationMetadata", "build": build}
	return finish(c, fmt.Sprintf("operations/build/%s/%s", s.config.Project, id), metadata, func() any {
		return typed(build, "google.devtools.cloudbuild.v1.Build")
	}), nil
}

func (s *Server) validBuild(build object) error {
	steps, _ := build["steps"].([]any)
	if len(steps) == 0 {
		return invalid("invalid build: no build steps")
	}
	before := []any{"-"} // of the steps so far; "-" is none of them
	for i, o := range steps {
		step, _ := o.(object)
		if err := validStep(i, step, before); err != nil {
			return err
		}
		if step["id"] != nil {
			before = append(before, step["id"])
		}
	}
	return s.validBuilder(build)
}

func validStep(i int, step object, before []any) error {
	if text(step, "name") == "" {
		return invalid("invalid build: invalid build step %d: name must be set", i)
	}
	waits, _ := step["waitFor"].([]any)
	for _, id := range waits {
		if !slices.Contains(before, id) {
			return invalid("invalid build: invalid build step %d: waits for %q, which is no step before it", i, id)
		}
	}
	if step["id"] != nil && slices.Contains(before, step["id"]) {
		return invalid("invalid build: duplicate step id %q", step["id"])
	}
	return nil
}

// validBuilder looks at the account that builds: with one's own account one says where the
// logs go (https://cloud.google.com/build/docs/securing-builds/configure-user-specified-service-accounts).
func (s *Server) validBuilder(build object) error {
	account := text(build, "serviceAccount")
	if account == "" {
		return nil
	}
	if email, ok := strings.CutPrefix(account, "projects/"+s.config.Project+"/serviceAccounts/"); !ok || s.account("serviceAccount", email) != nil {
		return invalid("invalid build: the service account %q was not found", account)
	}
	if text(build, "options", "logging") == "" && text(build, "logsBucket") == "" && text(build, "options", "defaultLogsBucketBehavior") == "" {
		return invalid("if 'build.service_account' is specified, the build must either (a) specify 'build.logs_bucket', (b) use the REGIONAL_USER_OWNED_BUCKET build.options.default_logs_bucket_behavior option, or (c) use either CLOUD_LOGGING_ONLY / NONE logging options")
	}
	return nil
}
