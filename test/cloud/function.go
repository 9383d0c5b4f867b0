package cloud

import (
	"archive/zip"
	"bytes"
	"crypto/rand"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/api/cloudfunctions/v2"
)

// regions are the locations that are there: some of Google's.
var regions = []string{"europe-west1", "europe-west3", "us-central1", "us-east1"}

func inRegion(region string) error {
	if slices.Contains(regions, region) {
		return nil
	}
	return refuse(http.StatusForbidden, "Permission denied on 'locations/%s' (or it may not exist).", region).
		detail("LOCATION_POLICY_VIOLATED", nil)
}

func functionMethods() []method {
	const place = "/v2/projects/{project}/locations/{location}"
	const functions = place + "/functions"
	return append([]method{
		{verb: http.MethodGet, path: "/v2/projects/{project}/locations", query: "filter pageSize pageToken extraLocationTypes", do: (*Server).listLocations},
		{verb: http.MethodGet, path: place + "/runtimes", query: "filter", do: listRuntimes},
		{verb: http.MethodGet, path: place + "/operations/{operation}", do: (*Server).pollHere},
		{verb: http.MethodGet, path: functions, query: "filter orderBy pageSize pageToken", do: (*Server).listFunctions},
		{verb: http.MethodPost, path: functions + ":generateUploadUrl", body: new(cloudfunctions.GenerateUploadUrlRequest), do: (*Server).generateUploadURL},
		{verb: http.MethodPost, path: functions, query: "functionId", body: new(cloudfunctions.Function), do: (*Server).createFunction},
		{verb: http.MethodGet, path: functions + "/{function}", query: "revision", do: func(s *Server, c *call) (any, error) { return s.function(c) }},
		{verb: http.MethodPatch, path: functions + "/{function}", query: "updateMask", body: new(cloudfunctions.Function), do: (*Server).patchFunction},
		{verb: http.MethodDelete, path: functions + "/{function}", do: (*Server).deleteFunction},

		// gcloud looks for functions of the first generation, too. There are none.
		{verb: http.MethodGet, path: "/v1/projects/{project}/locations", query: "filter pageSize pageToken", do: (*Server).listLocations},
		{verb: http.MethodGet, path: "/v1/projects/{project}/locations/{location}/functions", query: "pageSize pageToken", do: func(*Server, *call) (any, error) { return object{}, nil }},
	}, policyMethods(functions+"/{function}", onFunction, new(cloudfunctions.SetIamPolicyRequest), func(c *call) string {
		return c.key("projects/%s/locations/%s/functions/%s", c.vars["project"], c.vars["location"], c.vars["function"])
	})...)
}

// pollHere polls an operation at a location.
func (s *Server) pollHere(c *call) (any, error) {
	return s.poll(c, fmt.Sprintf("projects/%s/locations/%s/operations/%s", c.vars["project"], c.vars["location"], c.vars["operation"]))
}

func (s *Server) listLocations(c *call) (any, error) {
	var list []any
	for _, region := range regions {
		list = append(list, object{"name": fmt.Sprintf("projects/%s/locations/%s", c.vars["project"], region), "locationId": region})
	}
	return object{"locations": list}, nil
}

// runtimes are those that can be chosen. gcloud takes the ones of GEN_2 for --gen2 and
// shows their warnings (command_lib/functions/v2/deploy/command.py).
var runtimes = []object{
	{"name": "go125", "displayName": "Go 1.25", "stage": "GA", "environment": "GEN_2"},
	{"name": "go126", "displayName": "Go 1.26", "stage": "GA", "environment": "GEN_2"},
	{"name": "go127", "displayName": "Go 1.27", "stage": "GA", "environment": "GEN_2"},
	{"name": "go121", "displayName": "Go 1.21", "stage": "DECOMMISSIONED", "environment": "GEN_1"},
}

func listRuntimes(_ *Server, c *call) (any, error) {
	if err := inRegion(c.vars["location"]); err != nil {
		return nil, err
	}
	return object{"runtimes": runtimes}, nil
}

func functionKey(name string) string { return "//cloudfunctions.googleapis.com/" + name }

func (s *Server) function(c *call) (object, error) {
	name := fmt.Sprintf("projects/%s/locations/%s/functions/%s", c.vars["project"], c.vars["location"], c.vars["function"])
	if o := s.state[functionKey(name)]; o != nil {
		return o, nil
	}
	return nil, refuse(http.StatusNotFound, "Resource '%s' was not found", name)
}

func (s *Server) listFunctions(c *call) (any, error) {
	list := []any{}
	for _, region := range regions {
		if c.vars["location"] == "-" || c.vars["location"] == region {
			list = append(list, s.list(functionKey(fmt.Sprintf("projects/%s/locations/%s/functions/", c.vars["project"], region)))...)
		}
	}
	return object{"functions": list}, nil
}

func (s *Server) generateUploadURL(c *call) (any, error) {
	if err := inRegion(c.vars["location"]); err != nil {
		return nil, err
	}
	bucket := fmt.Sprintf("gcf-v2-uploads-%s.%s.cloudfunctions.appspot.com", s.config.Number, c.vars["location"])
	name := strings.ToLower(rand.Text()) + ".zip"
	return object{
		"uploadUrl":     s.uploadURL(bucket, name),
		"storageSource": object{"bucket": bucket, "object": name},
	}, nil
}

// functionID is what a function can be called: gcloud and the API say so alike.
var functionID = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,61}[a-z0-9])?$`)

// needed are the services without which nothing is built, run and triggered.
var needed = []string{"cloudbuild.googleapis.com", "artifactregistry.googleapis.com", "run.googleapis.com"}

func (s *Server) createFunction(c *call) (any, error) {
	id := c.query.Get("functionId")
	if err := inRegion(c.vars["location"]); err != nil {
		return nil, err
	}
	if !functionID.MatchString(id) {
		return nil, invalid("Invalid function id %q: it begins with a letter, followed by up to 62 letters, digits and hyphens, all in lower case, and does not end with a hyphen.", id)
	}
	name := fmt.Sprintf("projects/%s/locations/%s/functions/%s", c.vars["project"], c.vars["location"], id)
	if s.state[functionKey(name)] != nil {
		return nil, refuse(http.StatusConflict, "Resource '%s' already exists", name)
	}
	if given := text(c.body, "name"); given != "" && given != name {
		return nil, invalid("The function's name %q is not %q.", given, name)
	}
	function := clone(c.body)
	function["name"] = name
	if err := s.fillFunction(function, c.vars["location"]); err != nil {
		return nil, err
	}
	function["createTime"], function["updateTime"], function["state"], function["environment"] = now(), now(), "DEPLOYING", "GEN_2"
	s.state[functionKey(name)] = object{ // nothing else shows before the operation is done
		"name": name, "state": "DEPLOYING", "environment": "GEN_2", "updateTime": now(), "createTime": now(), "buildConfig": function["buildConfig"], "serviceConfig": object{},
	}
	return s.deploy(c, name, "create", function), nil
}

func (s *Server) patchFunction(c *call) (any, error) {
	there, err := s.function(c)
	if err != nil {
		return nil, err
	}
	if there["state"] == "DEPLOYING" {
		return nil, aborted("An operation on function %s in region %s in project %s is already in progress. Please try again later.", c.vars["function"], c.vars["location"], s.config.Project)
	}
	changed := clone(there)
	if err := merge(changed, c.body, c.query.Get("updateMask")); err != nil {
		return nil, err
	}
	keepOutput(changed, there)
	if err := s.fillFunction(changed, c.vars["location"]); err != nil {
		return nil, err
	}
	changed["updateTime"] = now()
	there["state"] = "DEPLOYING"
	return s.deploy(c, text(there, "name"), "update", changed), nil
}

// keepOutput puts back what only the API writes, when a mask has named the whole message
// that it stands in.
func keepOutput(changed, there object) {
	for _, path := range [][]string{
		{"name"},
		{"state"},
		{"environment"},
		{"eventTrigger", "trigger"},
		{"serviceConfig", "service"},
		{"serviceConfig", "uri"},
		{"serviceConfig", "revision"},
	} {
		if value := dig(there, path...); value != nil && dig(changed, path[0]) != nil {
			put(changed, value, path...)
		}
	}
}

// deploy is the operation that ends with the function, its service and its trigger.
func (s *Server) deploy(c *call, name, verb string, function object) object {
	stages := []any{stage("BUILD"), stage("SERVICE")}
	if function["eventTrigger"] != nil {
		stages = append(stages, stage("TRIGGER"))
	}
	metadata := object{
		"@type": "type.googleapis.com/google.cloud.functions.v2.OperationMetadata", "createTime": now(), "target": name,
		"verb": verb, "apiVersion": "v2", "operationType": strings.ToUpper(verb) + "_FUNCTION", "stages": stages,
	}
	return s.start(c, s.operationPath(c.vars["project"], c.vars["location"]), metadata, func(ordered error) (any, error) {
		before := s.state[functionKey(name)]
		if ordered == nil {
			ordered = s.secretsAreReadable(function)
		}
		if ordered != nil {
			before["state"] = "FAILED"
			before["stateMessages"] = []any{object{"severity": "ERROR", "type": "CloudRunServiceNotFound", "message": status(ordered)["message"]}}
			if verb == "update" { // the last revision goes on
				before["state"] = "ACTIVE"
				delete(before, "stateMessages")
			}
			return nil, ordered
		}
		s.serve(function)
		s.trigger(function, before)
		function["state"] = "ACTIVE"
		delete(function, "stateMessages")
		s.state[functionKey(name)] = function
		return typed(function, "google.cloud.functions.v2.Function"), nil
	})
}

func stage(name string) object {
	return object{"name": name, "state": "IN_PROGRESS", "message": "In progress"}
}

func (s *Server) deleteFunction(c *call) (any, error) {
	function, err := s.function(c)
	if err != nil {
		return nil, err
	}
	name := text(function, "name")
	metadata := object{
		"@type": "type.googleapis.com/google.cloud.functions.v2.OperationMetadata", "createTime": now(), "target": name,
		"verb": "delete", "apiVersion": "v2", "operationType": "DELETE_FUNCTION", "stages": []any{stage("SERVICE")},
	}
	function["state"] = "DELETING"
	return s.start(c, s.operationPath(c.vars["project"], c.vars["location"]), metadata, func(ordered error) (any, error) {
		if ordered != nil {
			return nil, ordered
		}
		s.untrigger(function)
		s.forget(serviceKey(name))
		s.forget(functionKey(name))
		return object{"@type": "type.googleapis.com/google.protobuf.Empty"}, nil
	}), nil
}

// fillFunction holds a function against what the API asks for, and fills in what it fills
// in, as gcloud functions describe shows it.
func (s *Server) fillFunction(f object, region string) error {
	for _, service := range needed {
		if !s.enabled(service) {
			return s.disabled(service)
		}
	}
	if err := s.fillBuild(f, region); err != nil {
		return err
	}
	if err := s.fillService(f); err != nil {
		return err
	}
	prune(f)
	return s.fillTrigger(f, region)
}

func (s *Server) fillBuild(f object, region string) error {
	build, _ := f["buildConfig"].(object)
	if !slices.ContainsFunc(runtimes, func(r object) bool {
		return r["name"] == build["runtime"] && r["environment"] == "GEN_2" && r["stage"] != "DECOMMISSIONED"
	}) {
		return invalid("Invalid runtime: %q.", text(build, "runtime"))
	}
	if text(build, "entryPoint") == "" {
		return invalid("The entry point must be set.")
	}
	bucket, name := text(build, "source", "storageSource", "bucket"), text(build, "source", "storageSource", "object")
	archive, ok := s.uploads[bucket+"/"+name]
	if !ok {
		return invalid("Cloud Storage object gs://%s/%s not found.", bucket, name)
	}
	if _, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive))); err != nil {
		return invalid("The source gs://%s/%s is no zip archive: %v", bucket, name, err)
	}
	account := text(build, "serviceAccount")
	if account == "" {
		account = fmt.Sprintf("projects/%s/serviceAccounts/%s", s.config.Project, s.defaultAccount())
		build["serviceAccount"] = account
	}
	email, ok := strings.CutPrefix(account, "projects/"+s.config.Project+"/serviceAccounts/")
	if !ok {
		return invalid("Invalid build service account %q: want projects/PROJECT/serviceAccounts/ADDRESS.", account)
	}
	if err := s.account("build_config.service_account", email); err != nil {
		return err
	}
	build["dockerRegistry"] = "ARTIFACT_REGISTRY"
	build["dockerRepository"] = fmt.Sprintf("projects/%s/locations/%s/repositories/gcf-artifacts", s.config.Project, region)
	build["build"] = fmt.Sprintf("projects/%s/locations/%s/builds/%08d", s.config.Number, region, s.number())
	if build["onDeployUpdatePolicy"] == nil {
		build["automaticUpdatePolicy"] = object{}
	}
	return nil
}

// defaultAccount is Compute Engine's, which builds and runs where nobody says otherwise.
func (s *Server) defaultAccount() string {
	return s.config.Number + "-compute@developer.gserviceaccount.com"
}

// account refuses an address that no service account has.
func (s *Server) account(field, email string) error {
	if email == s.defaultAccount() || s.state[s.accountKey(email)] != nil {
		return nil
	}
	return invalid("Validation failed for %s: service account projects/-/serviceAccounts/%s was not found.", field, email)
}

// standard is what a function gets that does not say otherwise
// (https://cloud.google.com/functions/docs/configuring; the CPU goes with the memory).
func standard(s *Server) object {
	return object{
		"availableMemory": "256M", "timeoutSeconds": 60, "maxInstanceCount": 100, "maxInstanceRequestConcurrency": 1,
		"ingressSettings": "ALLOW_ALL", "serviceAccountEmail": s.defaultAccount(), "allTrafficOnLatestRevision": true,
	}
}

// cpuOf is the CPU that goes with so much memory, in MiB
// (https://cloud.google.com/functions/docs/configuring/memory).
func cpuOf(mebibytes int) string {
	for _, tier := range []struct {
		upTo int
		cpu  string
	}{{128, "0.0833"}, {256, "0.1666"}, {512, "0.3333"}, {1024, "0.5833"}, {2048, "1"}, {8192, "2"}} {
		if mebibytes <= tier.upTo {
			return tier.cpu
		}
	}
	return "4"
}

var quantity = regexp.MustCompile(`^(\d+)(k|Ki|M|Mi|G|Gi)$`)

// mebibytes reads an amount of memory, roughly; 0: it is none.
func mebibytes(amount string) int {
	m := quantity.FindStringSubmatch(amount)
	if m == nil {
		return 0
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return 0
	}
	switch m[2][0] {
	case 'k', 'K':
		return n >> 10
	case 'G':
		return n << 10
	}
	return n
}

func (s *Server) fillService(f object) error {
	config, _ := f["serviceConfig"].(object)
	if config == nil {
		config = object{}
		f["serviceConfig"] = config
	}
	for field, value := range standard(s) {
		if config[field] == nil {
			config[field] = value
		}
	}
	memory := mebibytes(text(config, "availableMemory"))
	if memory < 128 || memory > 32<<10 {
		return invalid("Invalid value for available_memory: %q is not between 128Mi and 32Gi.", text(config, "availableMemory"))
	}
	if config["availableCpu"] == nil {
		config["availableCpu"] = cpuOf(memory)
	}
	if err := s.account("service_config.service_account_email", text(config, "serviceAccountEmail")); err != nil {
		return err
	}
	if err := validScale(config, f["eventTrigger"] != nil); err != nil {
		return err
	}
	return s.fillVariables(config)
}

func validScale(config object, event bool) error {
	cpu, err := strconv.ParseFloat(text(config, "availableCpu"), 64)
	if milli, ok := strings.CutSuffix(text(config, "availableCpu"), "m"); ok {
		cpu, err = strconv.ParseFloat(milli, 64)
		cpu /= 1000
	}
	concurrency, most, least := whole(config["maxInstanceRequestConcurrency"]), whole(config["maxInstanceCount"]), whole(config["minInstanceCount"])
	limit := 3600
	if event {
		limit = 540 // https://cloud.google.com/functions/quotas
	}
	switch timeout := whole(config["timeoutSeconds"]); {
	case err != nil || cpu <= 0 || cpu > 8:
		return invalid("Invalid value for available_cpu: %q.", text(config, "availableCpu"))
	case concurrency < 1 || concurrency > 1000:
		return invalid("Invalid value for max_instance_request_concurrency: %d is not between 1 and 1000.", concurrency)
	case concurrency > 1 && cpu < 1:
		return invalid("spec.template.spec.containers.resources.limits.cpu: Invalid value specified for cpu. Total cpu < 1 is not supported with concurrency > 1.")
	case timeout < 1 || timeout > limit:
		return invalid("Invalid value for timeout_seconds: %d is not between 1 and %d.", timeout, limit)
	case most < 1 || least > most:
		return invalid("Invalid value for min_instance_count %d and max_instance_count %d.", least, most)
	}
	return nil
}

// reserved are names that the runtime sets itself
// (https://cloud.google.com/functions/docs/configuring/env-var#reserved_environment_variables).
var reserved = regexp.MustCompile(`^(X_GOOGLE_.*|K_(SERVICE|REVISION|CONFIGURATION)|PORT|FUNCTION_(TARGET|SIGNATURE_TYPE)|GOOGLE_FUNCTION_.*|CLOUD_RUN_.*|)$`)

func (s *Server) fillVariables(config object) error {
	variables, _ := config["environmentVariables"].(object)
	secrets, _ := config["secretEnvironmentVariables"].([]any)
	for name := range variables {
		if reserved.MatchString(name) {
			return invalid("Invalid environment variable name: %q is reserved.", name)
		}
	}
	for _, v := range secrets {
		variable, _ := v.(object)
		if _, both := variables[text(variable, "key")]; both {
			return invalid("Secret environment variable overlaps non secret environment variable: %s", text(variable, "key"))
		}
	}
	// Functions that are new have it without asking, and describe shows it
	// (https://cloud.google.com/functions/docs/monitoring/logging, "execution ids").
	put(config, "true", "environmentVariables", "LOG_EXECUTION_ID")
	return nil
}

// secretsAreReadable is what Cloud Run looks at before a revision is there: each secret and
// version is, and the service's account may read it.
func (s *Server) secretsAreReadable(f object) error {
	email := text(f, "serviceConfig", "serviceAccountEmail")
	list, _ := dig(f, "serviceConfig", "secretEnvironmentVariables").([]any)
	volumes, _ := dig(f, "serviceConfig", "secretVolumes").([]any)
	for _, item := range append(slices.Clone(list), volumes...) {
		secret, _ := item.(object)
		id, version := text(secret, "secret"), text(secret, "version")
		key := s.secretKey(id)
		if s.state[key] == nil {
			return invalid("Could not create or update Cloud Run service: Secret %s/versions/%s was not found.", s.secretName(id), version)
		}
		if versions, _ := secret["versions"].([]any); version == "" && len(versions) > 0 {
			first, _ := versions[0].(object)
			version = text(first, "version")
		}
		if _, err := s.version(&call{vars: map[string]string{"secret": id, "version": version}}); err != nil {
			return invalid("Could not create or update Cloud Run service: Secret %s/versions/%s was not found.", s.secretName(id), version)
		}
		if !s.policies[key].has("roles/secretmanager.secretAccessor", "serviceAccount:"+email) {
			return invalid("Could not create or update Cloud Run service: Permission denied on secret: %s/versions/%s for Revision service account %s. The service account used must be granted the 'Secret Manager Secret Accessor' role (roles/secretmanager.secretAccessor) at the secret, project or higher level.", s.secretName(id), version, email)
		}
	}
	return nil
}

// messagePublished is the type of the events that Pub/Sub's messages become.
const messagePublished = "google.cloud.pubsub.topic.v1.messagePublished"

func (s *Server) fillTrigger(f object, region string) error {
	trigger, ok := f["eventTrigger"].(object)
	if !ok {
		return nil
	}
	for _, service := range []string{"eventarc.googleapis.com", "pubsub.googleapis.com"} {
		if !s.enabled(service) {
			return s.disabled(service)
		}
	}
	if trigger["eventType"] != messagePublished {
		return invalid("This stand-in knows functions that are triggered by messages (%s) alone.", messagePublished)
	}
	if _, err := s.get("//pubsub.googleapis.com/" + text(trigger, "pubsubTopic")); err != nil {
		return err
	}
	if text(trigger, "serviceAccountEmail") == "" {
		trigger["serviceAccountEmail"] = s.defaultAccount()
	}
	if err := s.account("event_trigger.service_account_email", text(trigger, "serviceAccountEmail")); err != nil {
		return err
	}
	if trigger["triggerRegion"] == nil {
		trigger["triggerRegion"] = region
	}
	if trigger["retryPolicy"] == nil {
		trigger["retryPolicy"] = "RETRY_POLICY_DO_NOT_RETRY"
	}
	return nil
}

// Archive is the zip that a function was last deployed from, by its full name. Nil: there
// is no such function.
func (s *Server) Archive(function string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	source, ok := dig(s.state[function], "buildConfig", "source", "storageSource").(object)
	if !ok {
		return nil
	}
	return bytes.Clone(s.uploads[text(source, "bucket")+"/"+text(source, "object")])
}

// lasting is how long Eventarc's subscriptions keep a message.
const lasting = 24 * time.Hour
