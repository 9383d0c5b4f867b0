package cloud

import (
	"fmt"
	"net/http"
	"strings"

	"google.golang.org/api/run/v1"
)

// runMethods are Cloud Run's, as gcloud uses them: version 1, at the region's own host
// (command_lib/run/connection_context.py), in Knative's form.
func runMethods() []method {
	const services = "/apis/serving.knative.dev/v1/namespaces/{project}/services"
	return append([]method{
		{verb: http.MethodGet, path: services, query: "limit continue labelSelector", do: (*Server).listRunServices},
		{verb: http.MethodGet, path: services + "/{service}", do: (*Server).getRunService},
		{verb: http.MethodGet, path: "/v1/projects/{project}/locations/{location}/services", query: "limit continue labelSelector", do: (*Server).listRunServices},
	}, policyMethods("/v1/projects/{project}/locations/{location}/services/{service}", onService, new(run.SetIamPolicyRequest), func(c *call) string {
		return c.key("projects/%s/locations/%s/services/%s", c.vars["project"], c.vars["location"], c.vars["service"])
	})...)
}

// serviceKey is the full name of the service of a function.
func serviceKey(function string) string {
	return "//run.googleapis.com/" + strings.Replace(function, "/functions/", "/services/", 1)
}

func (s *Server) getRunService(c *call) (any, error) {
	region := c.region()
	if o := s.state[c.key("projects/%s/locations/%s/services/%s", c.vars["project"], region, c.vars["service"])]; o != nil {
		return o, nil
	}
	return nil, refuse(http.StatusNotFound, "Resource '%s' of kind 'SERVICE' in region '%s' in project '%s' does not exist.", c.vars["service"], region, s.config.Project)
}

func (s *Server) listRunServices(c *call) (any, error) {
	list := []any{}
	at := c.region() + c.vars["location"]
	for _, region := range regions {
		if at == "-" || at == "" || at == region {
			list = append(list, s.list(c.key("projects/%s/locations/%s/services/", c.vars["project"], region))...)
		}
	}
	return object{"apiVersion": "serving.knative.dev/v1", "kind": "ServiceList", "items": list}, nil
}

// serve makes the service of a function, or a new revision of it.
func (s *Server) serve(f object) {
	name := text(f, "name")
	parts := strings.Split(name, "/") // projects P locations L functions F
	region, id := parts[3], parts[5]
	uri := fmt.Sprintf("https://%s-%s.%s.run.app", id, s.config.Number, region)
	key := serviceKey(name)
	generation := 1 + whole(dig(s.state[key], "metadata", "generation"))
	revision := fmt.Sprintf("%s-%05d-%s", id, generation, "abc")

	config, _ := f["serviceConfig"].(object)
	config["service"], config["uri"], config["revision"] = strings.TrimPrefix(key, "//run.googleapis.com/"), uri, revision
	f["url"] = fmt.Sprintf("https://%s-%s.cloudfunctions.net/%s", region, s.config.Project, id)

	ingress := map[string]string{"ALLOW_ALL": "all", "ALLOW_INTERNAL_ONLY": "internal", "ALLOW_INTERNAL_AND_GCLB": "internal-and-cloud-load-balancing"}[text(config, "ingressSettings")]
	ready := []any{}
	for _, what := range []string{"Ready", "ConfigurationsReady", "RoutesReady"} {
		ready = append(ready, object{"type": what, "status": "True", "lastTransitionTime": now()})
	}
	s.state[key] = object{
		"apiVersion": "serving.knative.dev/v1", "kind": "Service",
		"metadata": object{
			"name": id, "namespace": s.config.Number, "generation": generation, "resourceVersion": fmt.Sprint(s.number()), "creationTimestamp": now(),
			"labels":      object{"goog-managed-by": "cloudfunctions", "cloud.googleapis.com/location": region},
			"annotations": object{"run.googleapis.com/ingress": ingress, "run.googleapis.com/ingress-status": ingress, "cloudfunctions.googleapis.com/function-id": id},
		},
		"spec": object{
			"template": object{
				"metadata": object{"annotations": object{
					"autoscaling.knative.dev/maxScale": fmt.Sprint(whole(config["maxInstanceCount"])),
					"autoscaling.knative.dev/minScale": fmt.Sprint(whole(config["minInstanceCount"])),
				}},
				"spec": object{
					"containerConcurrency": whole(config["maxInstanceRequestConcurrency"]), "timeoutSeconds": whole(config["timeoutSeconds"]),
					"serviceAccountName": config["serviceAccountEmail"],
					"containers": []any{object{
						"image": "gcf-artifacts/" + id, "env": environment(config),
						"resources": object{"limits": object{"cpu": config["availableCpu"], "memory": config["availableMemory"]}},
					}},
				},
			},
			"traffic": []any{object{"percent": 100, "latestRevision": true}},
		},
		"status": object{
			"observedGeneration": generation, "url": uri, "address": object{"url": uri}, "conditions": ready,
			"latestReadyRevisionName": revision, "latestCreatedRevisionName": revision,
			"traffic": []any{object{"percent": 100, "latestRevision": true, "revisionName": revision}},
		},
	}
}

// environment is a function's variables as its container has them.
func environment(config object) []any {
	list := []any{}
	variables, _ := config["environmentVariables"].(object)
	for _, name := range fieldsOf(variables) {
		list = append(list, object{"name": name, "value": variables[name]})
	}
	secrets, _ := config["secretEnvironmentVariables"].([]any)
	for _, v := range secrets {
		secret, _ := v.(object)
		list = append(list, object{"name": secret["key"], "valueFrom": object{"secretKeyRef": object{"name": secret["secret"], "key": secret["version"]}}})
	}
	return list
}
