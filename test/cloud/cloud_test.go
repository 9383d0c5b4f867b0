package cloud

import (
	"archive/zip"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// everything is a project in which all services are on that there are methods for.
func everything() Config {
	config := Empty()
	config.Enabled = append(config.Enabled, "artifactregistry.googleapis.com")
	for _, api := range apis() {
		config.Enabled = append(config.Enabled, api.host)
	}
	return config
}

// start serves a project until the test ends.
func start(t *testing.T, config Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), "127.0.0.1:0", config)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// ask sends one request, such as "PUT pubsub.googleapis.com/v1/projects/example-project/topics/jobs {}".
func ask(t *testing.T, s *Server, request string) (status int, answer object) {
	t.Helper()
	verb, rest, _ := strings.Cut(request, " ")
	path, body, _ := strings.Cut(rest, " ")
	r, err := http.NewRequestWithContext(t.Context(), verb, s.URL+"/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return response.StatusCode, answer
}

// must is ask for what is to be accepted.
func must(t *testing.T, s *Server, requests ...string) (last object) {
	t.Helper()
	for _, request := range requests {
		var status int
		if status, last = ask(t, s, request); status != http.StatusOK {
			t.Fatalf("%s: is answered %d %v; want 200", request, status, last)
		}
	}
	return last
}

// Short names of hosts with the beginnings of their paths.
const (
	project   = "cloudresourcemanager.googleapis.com/v1/projects/example-project"
	service   = "serviceusage.googleapis.com/v1/projects/example-project/services"
	accounts  = "iam.googleapis.com/v1/projects/example-project/serviceAccounts"
	custom    = "iam.googleapis.com/v1/projects/example-project/roles"
	topic     = "pubsub.googleapis.com/v1/projects/example-project/topics"
	subs      = "pubsub.googleapis.com/v1/projects/example-project/subscriptions"
	secret    = "secretmanager.googleapis.com/v1/projects/example-project/secrets"
	function  = "cloudfunctions.googleapis.com/v2/projects/example-project/locations/europe-west1/functions"
	database  = "firestore.googleapis.com/v1/projects/example-project/databases"
	scheduled = "cloudscheduler.googleapis.com/v1/projects/example-project/locations/europe-west1/jobs"
	logMetric = "logging.googleapis.com/v2/projects/example-project/metrics"
	alert     = "monitoring.googleapis.com/v3/projects/example-project/alertPolicies"
	channel   = "monitoring.googleapis.com/v3/projects/example-project/notificationChannels"
	board     = "monitoring.googleapis.com/v1/projects/example-project/dashboards"
	dataset   = "bigquery.googleapis.com/bigquery/v2/projects/example-project/datasets"
	builds    = "cloudbuild.googleapis.com/v1/projects/example-project/builds"

	inProject = "projects/example-project"
)

func TestRefusesWhatGoogleRefuses(t *testing.T) {
	s := start(t, everything())
	account := `"serviceAccount:onbehalf-runtime@example-project.iam.gserviceaccount.com"`
	policy := func(role string, members ...string) string {
		return fmt.Sprintf(`{"policy": {"bindings": [{"role": %q, "members": [%s]}]}}`, role, strings.Join(members, ","))
	}
	threshold := func(change string) string {
		condition := object{
			"displayName": "c", "conditionThreshold": object{
				"filter": `resource.type="a" AND metric.type="pubsub.googleapis.com/b"`, "comparison": "COMPARISON_GT", "duration": "60s",
				"aggregations": []any{object{"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_MAX"}},
			},
		}
		policy := object{"displayName": "p", "combiner": "OR", "conditions": []any{condition}}
		var changes object
		if err := json.Unmarshal([]byte(change), &changes); err != nil {
			t.Fatal(err)
		}
		for field, value := range changes {
			o := policy
			if name, inCondition := strings.CutPrefix(field, "threshold."); inCondition {
				o, field = condition["conditionThreshold"].(object), name
			}
			put(o, value, field)
		}
		text, err := json.Marshal(policy)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	must(
		t, s,
		"POST "+accounts+` {"accountId": "onbehalf-runtime"}`,
		"POST "+custom+` {"roleId": "signer", "role": {"includedPermissions": ["iam.serviceAccounts.signJwt"]}}`,
		"POST "+custom+` {"roleId": "gone"}`, "DELETE "+custom+"/gone",
		"PUT "+topic+"/jobs {}", "PUT "+topic+"/letters {}",
		"PUT "+subs+`/results {"topic": "projects/example-project/topics/jobs"}`,
		"POST "+secret+`?secretId=policy {"replication": {"automatic": {}}}`,
		"POST "+secret+`/policy:addVersion {"payload": {"data": "YQ=="}}`,
		"POST "+database+`?databaseId=(default) {"locationId": "europe-west1", "type": "FIRESTORE_NATIVE", "deleteProtectionState": "DELETE_PROTECTION_ENABLED"}`,
		"POST "+scheduled+` {"name": "projects/example-project/locations/europe-west1/jobs/sweep", "schedule": "* * * * *", "pubsubTarget": {"topicName": "projects/example-project/topics/jobs", "data": "e30="}}`,
		"POST "+logMetric+` {"name": "jobs", "filter": "a=b"}`,
		"POST "+alert+" "+threshold(`{}`),
		"POST "+dataset+` {"datasetReference": {"datasetId": "ds"}}`,
		"POST "+dataset+`/ds/tables {"tableReference": {"tableId": "results"}, "schema": {"fields": [{"name": "data", "type": "JSON"}]}}`,
	)
	changed := len(s.Names())

	for request, want := range map[string]string{
		// Where nothing is, or nothing of ours.
		"GET pubsub.googleapis.com/v1/projects/somebody-else/topics":     "403 PERMISSION_DENIED Permission denied on resource project somebody-else",
		"GET pubsub.googleapis.com/v1/projects/example-project/snippets": "400 FAILED_PRECONDITION no such method",
		"GET compute.googleapis.com/v1/projects/example-project":         "400 FAILED_PRECONDITION no such API",
		"GET " + topic + "?showAll=true":                                 "400 INVALID_ARGUMENT Unknown name \"showAll\"",
		"PUT " + topic + `/more {"lables": {}}`:                          "400 INVALID_ARGUMENT Unknown name \"lables\"",
		"PUT " + topic + `/more {"labels": 1}`:                           "400 INVALID_ARGUMENT Invalid JSON payload",
		"PUT " + topic + `/more {`:                                       "400 INVALID_ARGUMENT Invalid JSON payload",

		"POST " + service + ":batchEnable {}":                                                                                                        "400 INVALID_ARGUMENT between 1 and 20",
		"POST " + service + "/nothing.googleapis.com:enable {}":                                                                                      "403 PERMISSION_DENIED Not found or permission denied for service(s): nothing.googleapis.com",
		"POST " + service + "/gmail.googleapis.com:disable {}":                                                                                       "400 FAILED_PRECONDITION is not enabled",
		"GET serviceusage.googleapis.com/v1/operations/none":                                                                                         "404 NOT_FOUND",
		"POST " + project + ":setIamPolicy {}":                                                                                                       "400 INVALID_ARGUMENT policy must be set",
		"POST " + project + `:setIamPolicy {"policy": {"etag": "b2xk"}}`:                                                                             "409 ABORTED concurrent policy changes",
		"POST " + project + ":setIamPolicy " + policy("roles/none", account):                                                                         "400 INVALID_ARGUMENT Role roles/none is not supported",
		"POST " + project + ":setIamPolicy " + policy("roles/viewer", `"me"`):                                                                        "400 INVALID_ARGUMENT unknown type",
		"POST " + project + ":setIamPolicy " + policy("roles/viewer", `"allUsers"`):                                                                  "400 FAILED_PRECONDITION",
		"POST " + project + ":setIamPolicy " + policy("roles/viewer", `"serviceAccount:nobody@example-project.iam.gserviceaccount.com"`):             "400 INVALID_ARGUMENT Service account nobody@example-project.iam.gserviceaccount.com does not exist.",
		"POST " + project + ":setIamPolicy " + policy("roles/viewer", `"user:onbehalf-runtime@example-project.iam.gserviceaccount.com"`):             "400 INVALID_ARGUMENT should appear as",
		"POST " + project + ":setIamPolicy " + policy("projects/example-project/roles/none", account):                                                "400 INVALID_ARGUMENT does not exist in the resource's hierarchy",
		"POST " + project + ":setIamPolicy " + policy("projects/example-project/roles/gone", account):                                                "400 INVALID_ARGUMENT does not exist in the resource's hierarchy",
		"POST " + topic + "/jobs:setIamPolicy " + policy("roles/datastore.user", account):                                                            "400 INVALID_ARGUMENT is not supported for this resource",
		"POST " + subs + "/results:setIamPolicy " + policy("roles/pubsub.publisher", account):                                                        "400 INVALID_ARGUMENT is not supported for this resource",
		"POST " + subs + "/results:setIamPolicy " + policy("roles/pubsub.subscriber", `"serviceAccount:service-1@gcp-sa-x.iam.gserviceaccount.com"`): "400 INVALID_ARGUMENT does not exist",
		"POST " + topic + "/none:setIamPolicy " + policy("roles/pubsub.publisher", account):                                                          "404 NOT_FOUND",

		"POST " + accounts + ` {"accountId": "short"}`:                                 "400 INVALID_ARGUMENT Invalid account ID",
		"POST " + accounts + ` {"accountId": "onbehalf-runtime"}`:                      "409 ALREADY_EXISTS already exists within project",
		"GET " + accounts + "/nobody@example-project.iam.gserviceaccount.com":          "404 NOT_FOUND Unknown service account",
		"DELETE " + accounts + "/nobody@example-project.iam.gserviceaccount.com":       "404 NOT_FOUND Unknown service account",
		"POST " + custom + ` {"roleId": "signer"}`:                                     "409 ALREADY_EXISTS",
		"POST " + custom + ` {"roleId": "gone"}`:                                       "400 FAILED_PRECONDITION in a deleted state",
		"POST " + custom + ` {"roleId": "no"}`:                                         "400 INVALID_ARGUMENT 3 to 64",
		"POST " + custom + ` {"roleId": "new", "role": {"includedPermissions":["x"]}}`: "400 INVALID_ARGUMENT Permission x is not valid.",
		"PATCH " + custom + `/signer {"etag": "b2xk", "title": "t"}`:                   "409 ABORTED",
		"PATCH " + custom + `/gone {"title": "t"}`:                                     "400 FAILED_PRECONDITION",
		"DELETE " + custom + "/gone":                                                   "400 FAILED_PRECONDITION",
		"POST " + custom + "/signer:undelete {}":                                       "400 FAILED_PRECONDITION",
		"GET " + custom + "/none":                                                      "404 NOT_FOUND",

		"PUT " + topic + "/jobs {}":                                                                                             "409 ALREADY_EXISTS",
		"PUT " + topic + "/no {}":                                                                                               "400 INVALID_ARGUMENT Invalid [topics] name",
		"PUT " + topic + "/googly {}":                                                                                           "400 INVALID_ARGUMENT Invalid [topics] name",
		"PUT " + topic + `/more {"messageRetentionDuration": "60s"}`:                                                            "400 INVALID_ARGUMENT message_retention_duration",
		"POST " + topic + `/jobs:publish {"messages": [{}]}`:                                                                    "400 INVALID_ARGUMENT needs data or attributes",
		"POST " + topic + `/jobs:publish {"messages": [{"data": "%"}]}`:                                                         "400 INVALID_ARGUMENT Base64",
		"POST " + topic + `/jobs:publish {"messages": []}`:                                                                      "400 INVALID_ARGUMENT message_count",
		"PUT " + subs + `/more {"topic": "projects/example-project/topics/none"}`:                                               "404 NOT_FOUND topics/none",
		"PUT " + subs + `/results {"topic": "projects/example-project/topics/jobs"}`:                                            "409 ALREADY_EXISTS",
		"PATCH " + subs + `/none {}`:                                                                                            "404 NOT_FOUND",
		"PATCH " + subs + `/results {"subscription": {}}`:                                                                       "400 INVALID_ARGUMENT update_mask",
		"PATCH " + subs + `/results {"subscription": {"topic": "x"},"updateMask":"topic"}`:                                      "400 INVALID_ARGUMENT not a mutable",
		"PATCH " + subs + `/results {"subscription": {"ackDeadlineSeconds": 601}, "updateMask": "ackDeadlineSeconds"}`:          "400 INVALID_ARGUMENT ack_deadline_seconds=601",
		"PATCH " + subs + `/results {"subscription": {"retryPolicy": {"maximumBackoff": "601s"}}, "updateMask": "retryPolicy"}`: "400 INVALID_ARGUMENT retry_policy",
		"PATCH " + subs + `/results {"subscription": {"retryPolicy": {"minimumBackoff": "60s", "maximumBackoff": "30s"}}, "updateMask": "retryPolicy"}`:                                                 "400 INVALID_ARGUMENT must not exceed",
		"PATCH " + subs + `/results {"subscription": {"retryPolicy": {"minimumBackoff": "1m"}}, "updateMask": "retryPolicy"}`:                                                                           "400 INVALID_ARGUMENT Duration",
		"PATCH " + subs + `/results {"subscription": {"messageRetentionDuration": "9999999s"}, "updateMask": "messageRetentionDuration"}`:                                                               "400 INVALID_ARGUMENT message_retention_duration",
		"PATCH " + subs + `/results {"subscription": {"deadLetterPolicy": {"deadLetterTopic": "projects/example-project/topics/none"}}, "updateMask": "deadLetterPolicy"}`:                              "404 NOT_FOUND topics/none",
		"PATCH " + subs + `/results {"subscription": {"deadLetterPolicy": {"deadLetterTopic": "projects/example-project/topics/letters", "maxDeliveryAttempts": 4}}, "updateMask": "deadLetterPolicy"}`: "400 INVALID_ARGUMENT between 5 and 100",
		"PATCH " + subs + `/results {"subscription": {"bigqueryConfig": {"table": "example-project.ds.none"}}, "updateMask": "bigqueryConfig"}`:                                                         "404 NOT_FOUND",
		"PATCH " + subs + `/results {"subscription": {"bigqueryConfig": {"table": "example-project.ds.results"}}, "updateMask": "bigqueryConfig"}`:                                                      "403 PERMISSION_DENIED bigquery.tables.updateData",

		"POST " + secret + `?secretId=policy {"replication": {"automatic": {}}}`:                     "409 ALREADY_EXISTS",
		"POST " + secret + `?secretId=more {}`:                                                       "400 INVALID_ARGUMENT replication",
		"POST " + secret + `?secretId=no.dots {"replication": {"automatic": {}}}`:                    "400 INVALID_ARGUMENT does not match",
		"POST " + secret + `/policy:addVersion {"payload": {"data": "YQ==", "dataCrc32c": "1"}}`:     "400 INVALID_ARGUMENT checksum",
		"POST " + secret + `/policy:addVersion {"payload": {}}`:                                      "400 INVALID_ARGUMENT cannot be empty",
		"POST " + secret + `/policy:addVersion {"payload": {"data": "` + zeros(maxPayload+1) + `"}}`: "400 INVALID_ARGUMENT cannot exceed",
		"POST " + secret + `/none:addVersion {"payload": {"data": "YQ=="}}`:                          "404 NOT_FOUND Secret [projects/123456789012/secrets/none] not found.",
		"GET " + secret + "/policy/versions/2":                                                       "404 NOT_FOUND Secret Version",
		"GET " + secret + "/policy/versions/none:access":                                             "404 NOT_FOUND Secret Version",

		"GET cloudfunctions.googleapis.com/v2/projects/example-project/locations/mars/runtimes": "403 PERMISSION_DENIED locations/mars",
		"GET " + function + "/none": "404 NOT_FOUND",

		"POST " + database + `?databaseId=(default) {"locationId": "europe-west1", "type": "FIRESTORE_NATIVE"}`:                            "409 ALREADY_EXISTS",
		"POST " + database + `?databaseId=other {"locationId": "mars", "type": "FIRESTORE_NATIVE"}`:                                        "400 INVALID_ARGUMENT location",
		"POST " + database + `?databaseId=other {"locationId": "eur3"}`:                                                                    "400 INVALID_ARGUMENT type",
		"POST " + database + `?databaseId=X {"locationId": "eur3", "type": "FIRESTORE_NATIVE"}`:                                            "400 INVALID_ARGUMENT database id",
		"DELETE " + database + "/(default)":                                                                                                "400 FAILED_PRECONDITION delete protection",
		"DELETE " + database + "/(default)?etag=old":                                                                                       "409 ABORTED",
		"GET " + database + "/none":                                                                                                        "404 NOT_FOUND",
		"GET " + database + "/(default)/collectionGroups/-/fields":                                                                         "400 INVALID_ARGUMENT Only the filters",
		"PATCH " + database + "/none/collectionGroups/g/fields/f?updateMask=ttlConfig {\"ttlConfig\": {}}":                                 "404 NOT_FOUND",
		"PATCH " + database + "/(default)/collectionGroups/g/fields/f?updateMask=indexConfig {\"ttlConfig\": {}}":                          "400 INVALID_ARGUMENT",
		"POST " + scheduled + ` {"name": "sweep"}`:                                                                                         "400 INVALID_ARGUMENT Job name must be formatted",
		"POST " + scheduled + ` {"name": "` + inProject + `/locations/europe-west1/jobs/sweep"}`:                                           "409 ALREADY_EXISTS",
		"PATCH " + scheduled + `/sweep?updateMask=schedule {"schedule": "often"}`:                                                          "400 INVALID_ARGUMENT Schedule or time zone is invalid",
		"PATCH " + scheduled + `/sweep?updateMask=timeZone {"timeZone": "Mars/Base"}`:                                                      "400 INVALID_ARGUMENT Schedule or time zone is invalid",
		"PATCH " + scheduled + `/sweep?updateMask=pubsubTarget.topicName {"pubsubTarget": {"topicName": "` + inProject + `/topics/none"}}`: "404 NOT_FOUND",
		"PATCH " + scheduled + `/sweep?updateMask=pubsubTarget.data {}`:                                                                    "400 INVALID_ARGUMENT data or",
		"PATCH " + scheduled + `/sweep?updateMask=retryConfig.retryCount {"retryConfig": {"retryCount": 6}}`:                               "400 INVALID_ARGUMENT between 0 and 5",
		"POST cloudscheduler.googleapis.com/v1/projects/example-project/locations/mars/jobs {}":                                            "403 PERMISSION_DENIED locations/mars",

		"POST " + logMetric + ` {"name": "jobs", "filter": "a=b"}`:                                                 "409 ALREADY_EXISTS",
		"POST " + logMetric + ` {"name": "more"}`:                                                                  "400 INVALID_ARGUMENT filter",
		"POST " + logMetric + ` {"name": "more", "filter": "(a=b"}`:                                                "400 INVALID_ARGUMENT Unparseable",
		"POST " + logMetric + ` {"name": "more", "filter": "a=b", "labelExtractors": {"x": "EXTRACT(y)"}}`:         "400 INVALID_ARGUMENT 1 label extractors for 0",
		"POST " + logMetric + ` {"name": "more", "filter": "a=b", "metricDescriptor": {"labels": [{"key": "x"}]}}`: "400 INVALID_ARGUMENT has no extractor",
		"POST " + logMetric + ` {"name": "more", "filter": "a=b", "valueExtractor": "EXTRACT(y)"}`:                 "400 INVALID_ARGUMENT counter",
		"POST " + logMetric + ` {"name": "more", "filter": "a=b", "metricDescriptor": {"metricKind": "GAUGE"}}`:    "400 INVALID_ARGUMENT DELTA",
		"PUT " + logMetric + `/jobs {"name": "other", "filter": "a=b"}`:                                            "400 INVALID_ARGUMENT does not match",
		"GET " + logMetric + "/none": "404 NOT_FOUND",

		"POST " + alert + " " + threshold(`{"conditions": []}`):                                                                                                "400 INVALID_ARGUMENT conditions",
		"POST " + alert + " " + threshold(`{"combiner": ""}`):                                                                                                  "400 INVALID_ARGUMENT combiner",
		"POST " + alert + " " + threshold(`{"displayName": ""}`):                                                                                               "400 INVALID_ARGUMENT display_name",
		"POST " + alert + " " + threshold(`{"userLabels": {"Team": "x"}}`):                                                                                     "400 INVALID_ARGUMENT userLabels",
		"POST " + alert + " " + threshold(`{"notificationChannels": ["projects/example-project/notificationChannels/1"]}`):                                     "404 NOT_FOUND notification channel",
		"POST " + alert + " " + threshold(`{"threshold.duration": "90s"}`):                                                                                     "400 INVALID_ARGUMENT duration",
		"POST " + alert + " " + threshold(`{"threshold.comparison": "COMPARISON_EQ"}`):                                                                         "400 INVALID_ARGUMENT comparison",
		"POST " + alert + " " + threshold(`{"threshold.aggregations": []}`):                                                                                    "400 INVALID_ARGUMENT aggregations",
		"POST " + alert + " " + threshold(`{"threshold.aggregations": [{"alignmentPeriod": "30s", "perSeriesAligner": "ALIGN_MAX"}]}`):                         "400 INVALID_ARGUMENT alignment_period",
		"POST " + alert + " " + threshold(`{"threshold.filter": "metric.type=\"x\""}`):                                                                         "400 INVALID_ARGUMENT resource.type",
		"POST " + alert + " " + threshold(`{"threshold.filter": "resource.type=\"a\" AND metric.type=\"logging.googleapis.com/user/none\""}`):                  "404 NOT_FOUND Cannot find metric",
		"GET " + alert + "?filter=one+OR+two":                                                                                                                  "400 INVALID_ARGUMENT filter",
		"POST " + channel + ` {"type": "email", "labels": {"email_address": "nobody"}}`:                                                                        "400 INVALID_ARGUMENT email_address",
		"POST " + channel + ` {"type": "pigeon"}`:                                                                                                              "400 INVALID_ARGUMENT type",
		"POST " + board + ` {"displayName": "b"}`:                                                                                                              "400 INVALID_ARGUMENT layout",
		"POST " + board + ` {"gridLayout": {}}`:                                                                                                                "400 INVALID_ARGUMENT displayName",
		"POST " + board + ` {"displayName": "b", "mosaicLayout": {"columns": 12, "tiles": [{"xPos": 8, "width": 6, "height": 1}]}}`:                            "400 INVALID_ARGUMENT outside",
		"POST " + board + ` {"displayName": "b", "mosaicLayout": {"columns": 12, "tiles": [{"width": 6, "height": 2}, {"yPos": 1, "width": 6, "height": 1}]}}`: "400 INVALID_ARGUMENT overlaps",
		"PATCH " + board + `/none {"displayName": "b", "gridLayout": {}}`:                                                                                      "404 NOT_FOUND",

		"POST " + dataset + ` {"datasetReference": {"datasetId": "ds"}}`:  "409 ALREADY_EXISTS Already Exists",
		"POST " + dataset + ` {"datasetReference": {"datasetId": "d-s"}}`: "400 INVALID_ARGUMENT Invalid dataset ID",
		"DELETE " + dataset + "/ds":                                       "400 INVALID_ARGUMENT still in use",
		"GET " + dataset + "/none":                                        "404 NOT_FOUND Not found: Dataset example-project:none",
		"GET " + dataset + "/ds/tables/none":                              "404 NOT_FOUND Not found: Table example-project:ds.none",
		"POST " + dataset + `/ds/tables {"tableReference": {"tableId": "more"}, "schema": {"fields": [{"name": "a", "type": "NOTHING"}]}}`:                        "400 INVALID_ARGUMENT Invalid field type",
		"POST " + dataset + `/ds/tables {"tableReference": {"tableId": "more"}, "timePartitioning": {"field": "a"}}`:                                              "400 INVALID_ARGUMENT partitioning",
		"PATCH " + dataset + `/ds/tables/results {"schema": {"fields": [{"name": "other", "type": "JSON"}]}}`:                                                     "400 INVALID_ARGUMENT does not match Table",
		"PATCH " + dataset + `/ds/tables/results {"schema": {"fields": [{"name": "data", "type": "JSON"}, {"name": "n", "type": "STRING", "mode": "REQUIRED"}]}}`: "400 INVALID_ARGUMENT Cannot add required",

		"POST " + builds + " {}":              "400 INVALID_ARGUMENT no build steps",
		"POST " + builds + ` {"steps": [{}]}`: "400 INVALID_ARGUMENT name must be set",
		"POST " + builds + ` {"steps": [{"name": "go", "waitFor": ["later"]}, {"name": "go", "id": "later"}]}`:                                                                   "400 INVALID_ARGUMENT no step before it",
		"POST " + builds + ` {"steps": [{"name": "go", "id": "a"}, {"name": "go", "id": "a"}]}`:                                                                                  "400 INVALID_ARGUMENT duplicate",
		"POST " + builds + ` {"steps": [{"name": "go"}], "serviceAccount": "projects/example-project/serviceAccounts/onbehalf-runtime@example-project.iam.gserviceaccount.com"}`: "400 INVALID_ARGUMENT logs",
	} {
		status, answer := ask(t, s, request)
		got := fmt.Sprintf("%d %s %s", status, text(answer, "error", "status"), text(answer, "error", "message"))
		head, part := want, ""
		if words := strings.SplitN(want, " ", 3); len(words) == 3 {
			head, part = words[0]+" "+words[1], words[2]
		}
		if !strings.HasPrefix(got, head+" ") || !strings.Contains(got, part) {
			t.Errorf("%.200s: is answered %q; want %q", request, got, want)
		}
	}
	if now := len(s.Names()); now != changed {
		t.Errorf("after the refusals there are %d resources; want the %d from before", now, changed)
	}
}

// zeros is so many bytes, as JSON has them.
func zeros(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }

func TestWantsTheTokenThatItGave(t *testing.T) {
	s := start(t, everything())
	for _, header := range []string{"", "Bearer other", s.token} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL+"/"+topic, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", header)
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized {
			t.Errorf("Authorization %q: is answered %d; want 401", header, response.StatusCode)
		}
	}
}

func TestServesOnLoopbackAlone(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "localhost:0", "127.0.0.1"} {
		if _, err := Start(t.Context(), address, Empty()); err == nil || !strings.Contains(err.Error(), "loopback") {
			t.Errorf("Start(%q) = %v; want an error that says loopback", address, err)
		}
	}
}

func TestAPIsAreEnabledWhenTheOperationIsDone(t *testing.T) {
	s := start(t, Empty())
	refused := func() string {
		_, answer := ask(t, s, "GET "+topic)
		details, _ := dig(answer, "error", "details").([]any)
		if len(details) == 0 {
			return ""
		}
		return text(details[len(details)-1].(object), "reason")
	}
	if got := refused(); got != "SERVICE_DISABLED" {
		t.Errorf("an API that is off answers with the reason %q; want SERVICE_DISABLED", got)
	}
	operation := must(t, s, "POST "+service+`:batchEnable {"serviceIds": ["pubsub.googleapis.com", "iam.googleapis.com"]}`)
	name := text(operation, "name")
	for poll, done := range []bool{false, true, true} {
		if refused() == "" != (poll > 1) {
			t.Errorf("before poll %d: the API is on: %t; want it when its operation is done", poll+1, poll <= 1)
		}
		if got := must(t, s, "GET serviceusage.googleapis.com/v1/"+name); got["done"] != done {
			t.Errorf("poll %d of %s: done is %v; want %t", poll+1, name, got["done"], done)
		}
	}
	if got := must(t, s, "POST "+service+`/pubsub.googleapis.com:enable {}`); got["done"] != true {
		t.Errorf("enabling what is on: done is %v; want true", got["done"])
	}
	agent := "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"
	if s.Granted("//"+strings.Replace(project, "v1/", "", 1), "roles/pubsub.serviceAgent", agent) {
		t.Error("Pub/Sub's agent has its role before it was made")
	}
	must(t, s, "POST serviceusage.googleapis.com/v1beta1/projects/example-project/services/pubsub.googleapis.com:generateServiceIdentity")
	if !s.Granted("//"+strings.Replace(project, "v1/", "", 1), "roles/pubsub.serviceAgent", agent) {
		t.Errorf("Pub/Sub's agent has not its role once it was made; bindings %q", s.Bindings())
	}
}

func TestPoliciesFollowTheAccounts(t *testing.T) {
	s := start(t, everything())
	s.Delay(1)
	email := "onbehalf-runtime@example-project.iam.gserviceaccount.com"
	must(t, s, "POST "+accounts+` {"accountId": "onbehalf-runtime"}`, "PUT "+topic+"/jobs {}")
	set := "POST " + topic + `/jobs:setIamPolicy {"policy": {"bindings": [{"role": "roles/pubsub.publisher", "members": ["serviceAccount:` + email + `"]}]}}`
	if status, answer := ask(t, s, set); status != http.StatusBadRequest {
		t.Errorf("a policy that names an account just made: %d %v; want 400", status, answer)
	}
	etag := text(must(t, s, set), "etag")
	name := "//pubsub.googleapis.com/projects/example-project/topics/jobs"
	if !s.Granted(name, "roles/pubsub.publisher", "serviceAccount:"+email) {
		t.Errorf("after the second try: bindings %q; want the publisher's", s.Bindings())
	}
	must(t, s, "DELETE "+accounts+"/"+email, "POST "+accounts+` {"accountId": "onbehalf-runtime"}`)
	policy := must(t, s, "GET "+topic+"/jobs:getIamPolicy?options.requestedPolicyVersion=3")
	members := fmt.Sprint(dig(policy["bindings"].([]any)[0].(object), "members"))
	if !strings.HasPrefix(members, "[deleted:serviceAccount:"+email+"?uid=") || policy["etag"] == etag {
		t.Errorf("after the account was deleted and made again: members %s, etag %v; want the deleted one's, and a new etag", members, policy["etag"])
	}
	again, err := json.Marshal(policy)
	if err != nil {
		t.Fatal(err)
	}
	must(t, s, "POST "+topic+"/jobs:setIamPolicy "+fmt.Sprintf(`{"policy": %s}`, again)) // what is there may stay
}

func TestMessagesGoToWhoIsSubscribed(t *testing.T) {
	s := start(t, everything())
	must(
		t, s,
		"PUT "+topic+"/jobs {}", "POST "+topic+`/jobs:publish {"messages": [{"data": "bG9zdA=="}]}`,
		"PUT "+subs+`/results {"topic": "projects/example-project/topics/jobs"}`,
		"POST "+topic+`/jobs:publish {"messages": [{"data": "YQ=="}, {"attributes": {"a": "b"}}]}`,
	)
	pull := func(want int) []any {
		t.Helper()
		received, _ := must(t, s, "POST "+subs+`/results:pull {"maxMessages": 10}`)["receivedMessages"].([]any)
		if len(received) != want {
			t.Fatalf("pull: %d messages; want %d", len(received), want)
		}
		return received
	}
	received := pull(2)
	if data := text(received[0].(object), "message", "data"); data != "YQ==" {
		t.Errorf("the first message is %q; want the first that came after the subscription", data)
	}
	must(t, s, "POST "+subs+fmt.Sprintf(`/results:acknowledge {"ackIds": [%q, %q]}`, text(received[0].(object), "ackId"), text(received[1].(object), "ackId")))
	pull(0)
	must(t, s, "DELETE "+topic+"/jobs")
	if got := must(t, s, "GET "+subs+"/results"); got["topic"] != "_deleted-topic_" {
		t.Errorf("a subscription whose topic is gone has the topic %v; want _deleted-topic_", got["topic"])
	}
}

func TestFiltersOnMessagesAreRead(t *testing.T) {
	s := start(t, everything())
	must(t, s, "PUT "+topic+"/jobs {}")
	for filter, want := range map[string]int{
		`attributes:kind`: 200, `attributes.kind = "job"`: 200, `NOT attributes:kind AND hasPrefix(attributes.kind, "j")`: 200,
		`(attributes.kind = "job" OR attributes.kind != "batch")`: 200,
		`kind = "job"`: 400, `attributes.kind = job`: 400, `attributes.kind = "job" AND`: 400, strings.Repeat("a", 257): 400,
	} {
		text, err := json.Marshal(object{"topic": "projects/example-project/topics/jobs", "filter": filter})
		if err != nil {
			t.Fatal(err)
		}
		if status, answer := ask(t, s, fmt.Sprintf("PUT %s/sub-%d %s", subs, s.number(), text)); status != want {
			t.Errorf("filter %s: is answered %d %v; want %d", filter, status, answer, want)
		}
	}
}

func TestSecretsHaveVersions(t *testing.T) {
	s := start(t, everything())
	must(
		t, s,
		"POST "+secret+`?secretId=policy {"replication": {"automatic": {}}}`,
		"POST "+secret+`/policy:addVersion {"payload": {"data": "Zmlyc3Q="}}`,
		"POST "+secret+`/policy:addVersion {"payload": {"data": "c2Vjb25k", "dataCrc32c": "`+checksum([]byte("second"))+`"}}`,
	)
	latest := must(t, s, "GET "+secret+"/policy/versions/latest:access")
	if latest["name"] != "projects/123456789012/secrets/policy/versions/2" || text(latest, "payload", "data") != "c2Vjb25k" || text(latest, "payload", "dataCrc32c") != checksum([]byte("second")) {
		t.Errorf("access of latest: %v; want version 2, by the project's number, with its checksum", latest)
	}
	must(t, s, "POST "+secret+"/policy/versions/1:destroy {}")
	if status, _ := ask(t, s, "GET "+secret+"/policy/versions/1:access"); status != http.StatusBadRequest {
		t.Errorf("access of a version that was destroyed: %d; want 400", status)
	}
	must(t, s, "DELETE "+secret+"/policy")
	if slices.ContainsFunc(s.Names(), func(name string) bool { return strings.Contains(name, "secretmanager.googleapis.com/projects") }) {
		t.Errorf("after the secret was deleted: %q; want none of its versions", s.Names())
	}
}

// upload puts an archive where the API says, and returns the source as a function has it.
func upload(t *testing.T, s *Server, contentType string, archive []byte) (status int, source string) {
	t.Helper()
	slot := must(t, s, "POST "+function+":generateUploadUrl {}")
	at, err := url.Parse(text(slot, "uploadUrl"))
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, at.String(), bytes.NewReader(archive))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", contentType)
	proxy, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Transport{Proxy: http.ProxyURL(proxy)}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode, fmt.Sprintf(`{"storageSource": {"bucket": %q, "object": %q}}`, text(slot, "storageSource", "bucket"), text(slot, "storageSource", "object"))
}

// archive is a zip with one file.
func archive(t *testing.T) []byte {
	t.Helper()
	var packed bytes.Buffer
	w := zip.NewWriter(&packed)
	file, err := w.Create("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(file, "module example.com/f\n"); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Bytes()
}

// settle polls an operation until it is done, and returns it.
func settle(t *testing.T, s *Server, operation object) object {
	t.Helper()
	name := text(operation, "name")
	must(t, s, "GET cloudfunctions.googleapis.com/v2/"+name)
	return must(t, s, "GET cloudfunctions.googleapis.com/v2/"+name)
}

func TestFunctionsHaveServicesTriggersAndSubscriptions(t *testing.T) {
	s := start(t, everything())
	must(
		t, s, "PUT "+topic+"/jobs {}", "PUT "+topic+"/others {}",
		"POST "+accounts+` {"accountId": "onbehalf-runtime"}`, "POST "+accounts+` {"accountId": "onbehalf-trigger"}`,
		"POST "+secret+`?secretId=policy {"replication": {"automatic": {}}}`, "POST "+secret+`/policy:addVersion {"payload": {"data": "YQ=="}}`,
	)
	if status, _ := upload(t, s, "text/plain", archive(t)); status != http.StatusForbidden {
		t.Errorf("an upload of another type than was signed for: %d; want 403", status)
	}
	_, broken := upload(t, s, zipType, []byte("no archive"))
	_, source := upload(t, s, zipType, archive(t))
	body := func(source, service, event string) string {
		return fmt.Sprintf(`{"buildConfig": {"runtime": "go126", "entryPoint": "Execute", "source": %s}, "serviceConfig": {"serviceAccountEmail": "onbehalf-runtime@example-project.iam.gserviceaccount.com" %s},
			"eventTrigger": {"eventType": %q, "pubsubTopic": "projects/example-project/topics/%s", "serviceAccountEmail": "onbehalf-trigger@example-project.iam.gserviceaccount.com", "retryPolicy": "RETRY_POLICY_RETRY"}}`, source, service, messagePublished, event)
	}
	const create = "POST " + function + "?functionId=onbehalf-execute "
	for want, request := range map[string]string{
		"Cloud Storage object gs://b/o not found":         create + body(`{"storageSource": {"bucket": "b", "object": "o"}}`, "", "jobs"),
		"is no zip archive":                               create + body(broken, "", "jobs"),
		"topics/none":                                     create + body(source, "", "none"),
		"Total cpu < 1 is not supported with concurrency": create + body(source, `, "maxInstanceRequestConcurrency": 80`, "jobs"),
		"timeout_seconds: 541 is not between 1 and 540":   create + body(source, `, "timeoutSeconds": 541`, "jobs"),
		"available_memory":                                create + body(source, `, "availableMemory": "64Mi"`, "jobs"),
		"min_instance_count 3 and max_instance_count 2":   create + body(source, `, "minInstanceCount": 3, "maxInstanceCount": 2`, "jobs"),
		"event_trigger.service_account_email":             create + strings.Replace(body(source, "", "jobs"), "onbehalf-trigger", "onbehalf-nobody", 1),
		"service_config.service_account_email":            create + strings.Replace(body(source, "", "jobs"), "onbehalf-runtime", "onbehalf-nobody", 1),
		"Invalid runtime":                                 create + strings.Replace(body(source, "", "jobs"), "go126", "go121", 1),
		"\"K_SERVICE\" is reserved":                       create + body(source, `, "environmentVariables": {"K_SERVICE": "x"}`, "jobs"),
		"overlaps non secret environment variable: A":     create + body(source, `, "environmentVariables": {"A": "x"}, "secretEnvironmentVariables": [{"key": "A", "secret": "policy", "version": "1"}]`, "jobs"),
		"Invalid function id":                             strings.Replace(create, "onbehalf-execute", "On-Behalf", 1) + body(source, "", "jobs"),
		"triggered by messages":                           create + strings.Replace(body(source, "", "jobs"), messagePublished, "google.cloud.storage.object.v1.finalized", 1),
	} {
		status, answer := ask(t, s, request)
		if got := text(answer, "error", "message"); status < 400 || !strings.Contains(got, want) {
			t.Errorf("%s: is answered %d %q; want a refusal that says %q", request, status, got, want)
		}
	}

	secrets := `, "availableCpu": "1", "maxInstanceRequestConcurrency": 80, "minInstanceCount": 0, "secretEnvironmentVariables": [{"key": "POLICY", "projectId": "example-project", "secret": "policy", "version": "1"}]`
	unreadable := settle(t, s, must(t, s, create+body(source, secrets, "jobs")))
	if !strings.Contains(text(unreadable, "error", "message"), "Permission denied on secret") {
		t.Errorf("a function whose account may not read its secret: %v; want the operation to fail and say so", unreadable)
	}
	if got := must(t, s, "GET "+function+"/onbehalf-execute"); got["state"] != "FAILED" {
		t.Errorf("the function's state is %v; want FAILED", got["state"])
	}
	must(t, s, "POST "+secret+`/policy:setIamPolicy {"policy": {"bindings": [{"role": "roles/secretmanager.secretAccessor", "members": ["serviceAccount:onbehalf-runtime@example-project.iam.gserviceaccount.com"]}]}}`)
	patch := "PATCH " + function + "/onbehalf-execute?updateMask=build_config.source,service_config,event_trigger,eventTrigger.retryPolicy "
	operation := must(t, s, "PATCH "+function+"/onbehalf-execute?updateMask=build_config,service_config,event_trigger,eventTrigger.retryPolicy "+body(source, secrets, "jobs"))
	if status, _ := ask(t, s, patch+body(source, secrets, "jobs")); status != http.StatusConflict {
		t.Errorf("a change during a change: %d; want 409", status)
	}
	settle(t, s, operation)

	subscription := func() string {
		t.Helper()
		f := must(t, s, "GET "+function+"/onbehalf-execute")
		trigger := must(t, s, "GET eventarc.googleapis.com/v1/"+text(f, "eventTrigger", "trigger"))
		return text(trigger, "transport", "pubsub", "subscription")
	}
	first := subscription()
	if !regexp.MustCompile(`^projects/example-project/subscriptions/eventarc-europe-west1-onbehalf-execute-\d{6}-sub-\d{3}$`).MatchString(first) {
		t.Errorf("the subscription is %q; want a name as Eventarc makes it", first)
	}
	f := s.Resource("//cloudfunctions.googleapis.com/projects/example-project/locations/europe-west1/functions/onbehalf-execute")
	if config, _ := f["serviceConfig"].(object); config["minInstanceCount"] != nil || text(config, "environmentVariables", "LOG_EXECUTION_ID") != "true" || f["state"] != "ACTIVE" || f["stateMessages"] != nil {
		t.Errorf("the function is %v; want it active, without a zero, with LOG_EXECUTION_ID", f)
	}
	if got := s.Archive("//cloudfunctions.googleapis.com/projects/example-project/locations/europe-west1/functions/onbehalf-execute"); !bytes.Equal(got, archive(t)) {
		t.Errorf("the archive has %d bytes; want the %d that were uploaded", len(got), len(archive(t)))
	}
	must(t, s, "GET europe-west1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/example-project/services/onbehalf-execute")
	if status, _ := ask(t, s, "GET us-east1-run.googleapis.com/apis/serving.knative.dev/v1/namespaces/example-project/services/onbehalf-execute"); status != http.StatusNotFound {
		t.Errorf("the service in another region: %d; want 404", status)
	}

	settle(t, s, must(t, s, patch+body(source, secrets, "jobs")))
	if same := subscription(); same != first {
		t.Errorf("after a change of nothing the subscription is %q; want %q still", same, first)
	}
	settle(t, s, must(t, s, patch+body(source, secrets, "others")))
	second := subscription()
	if second == first || s.Resource("//pubsub.googleapis.com/"+first) != nil || s.Resource("//pubsub.googleapis.com/"+second) == nil {
		t.Errorf("after a change of the topic the subscriptions are %q and %q; want a new one alone", first, second)
	}

	s.Fail(Fault{Method: http.MethodPatch, Path: regexp.MustCompile("/functions/"), Times: 1, Status: http.StatusServiceUnavailable, Later: true})
	if failed := settle(t, s, must(t, s, patch+body(source, secrets, "jobs"))); dig(failed, "error", "code") != 14.0 {
		t.Errorf("an operation that was to fail: %v; want UNAVAILABLE", failed)
	}
	if got := subscription(); got != second {
		t.Errorf("after a failed change the subscription is %q; want %q still", got, second)
	}
	settle(t, s, must(t, s, "DELETE "+function+"/onbehalf-execute"))
	for _, name := range s.Names() {
		if strings.Contains(name, "onbehalf-execute") {
			t.Errorf("after the function was deleted there is %s", name)
		}
	}
}

func TestFaultsStrikeInTheirTurn(t *testing.T) {
	s := start(t, everything())
	s.Fail(Fault{Method: http.MethodPut, Path: regexp.MustCompile("^pubsub.googleapis.com/v1/.*/topics/"), After: 1, Times: 2, Status: http.StatusServiceUnavailable})
	var got []int
	for i := range 4 {
		status, _ := ask(t, s, fmt.Sprintf("PUT %s/topic-%d {}", topic, i))
		got = append(got, status)
	}
	if want := []int{200, 503, 503, 200}; !slices.Equal(got, want) {
		t.Errorf("four requests are answered %v; want %v", got, want)
	}
	var mutating []string
	must(t, s, "GET "+topic, "GET "+topic+"/topic-0:getIamPolicy")
	for _, r := range s.Requests() {
		if r.Mutates() {
			mutating = append(mutating, r.String())
		}
	}
	if len(mutating) != 4 || mutating[0] != "PUT pubsub.googleapis.com/v1/projects/example-project/topics/topic-0 200" {
		t.Errorf("the changes are %q; want the four PUTs", mutating)
	}
}

func TestWhatIsInUseOfMonitoringStays(t *testing.T) {
	s := start(t, everything())
	made := must(t, s, "POST "+channel+` {"type": "email", "labels": {"email_address": "a@example.com"}, "userLabels": {"onbehalf": "alerts"}}`)
	name := text(made, "name")
	policy := must(t, s, "POST "+alert+fmt.Sprintf(` {"displayName": "p", "combiner": "OR", "notificationChannels": [%q], "conditions": [{"displayName": "c", "conditionPrometheusQueryLanguage": {"query": "1"}}]}`, name))
	if status, _ := ask(t, s, "DELETE monitoring.googleapis.com/v3/"+name); status != http.StatusBadRequest {
		t.Errorf("deleting a channel that a policy uses: %d; want 400", status)
	}
	for filter, want := range map[string]int{`user_labels.onbehalf="alerts"`: 1, `type="email" AND userLabels.onbehalf=other`: 0, `userLabels.onbehalf:*`: 1} {
		list, _ := must(t, s, "GET "+channel+"?filter="+url.QueryEscape(filter))["notificationChannels"].([]any)
		if len(list) != want {
			t.Errorf("filter %s: finds %d; want %d", filter, len(list), want)
		}
	}
	must(t, s, "DELETE monitoring.googleapis.com/v3/"+name+"?force=true")
	if got := must(t, s, "GET monitoring.googleapis.com/v3/"+text(policy, "name")); len(got["notificationChannels"].([]any)) != 0 {
		t.Errorf("after the channel was deleted by force the policy has %v; want none", got["notificationChannels"])
	}
	first := must(t, s, "POST "+board+` {"displayName": "b", "gridLayout": {}}`)
	at := "monitoring.googleapis.com/v1/" + text(first, "name")
	for etag, want := range map[string]int{"": 400, "old": 409, text(first, "etag"): 200} {
		if status, _ := ask(t, s, "PATCH "+at+fmt.Sprintf(` {"displayName": "b", "gridLayout": {}, "etag": %q}`, etag)); status != want {
			t.Errorf("a dashboard's change with the etag %q: %d; want %d", etag, status, want)
		}
	}
}

func TestAlertsKnowAMetricLater(t *testing.T) {
	s := start(t, everything())
	s.Delay(1)
	must(t, s, "POST "+logMetric+` {"name": "jobs", "filter": "a=b"}`)
	create := "POST " + alert + ` {"displayName": "p", "combiner": "OR", "conditions": [{"displayName": "c", "conditionAbsent": {"filter": "resource.type=\"a\" AND metric.type=\"logging.googleapis.com/user/jobs\"", "duration": "3600s", "aggregations": [{"alignmentPeriod": "60s", "perSeriesAligner": "ALIGN_COUNT"}]}}]}`
	if status, answer := ask(t, s, create); status != http.StatusNotFound || !strings.Contains(text(answer, "error", "message"), "try again soon") {
		t.Errorf("an alert on a metric just made: %d %v; want 404 and to try again", status, answer)
	}
	must(t, s, create)
}

func TestTablesTakeMessagesOfWhoMayWrite(t *testing.T) {
	s := start(t, everything())
	must(
		t, s, "PUT "+topic+"/results {}",
		"POST serviceusage.googleapis.com/v1beta1/projects/example-project/services/pubsub.googleapis.com:generateServiceIdentity",
		"POST "+dataset+` {"datasetReference": {"datasetId": "ds"}, "location": "europe-west1"}`,
		"POST "+dataset+`/ds/tables {"tableReference": {"tableId": "results"}, "schema": {"fields": [{"name": "data", "type": "JSON"}]}}`,
	)
	subscribe := "PUT " + subs + `/to-table {"topic": "projects/example-project/topics/results", "bigqueryConfig": {"table": "example-project.ds.results"}}`
	if status, _ := ask(t, s, subscribe); status != http.StatusForbidden {
		t.Errorf("a table that Pub/Sub may not write to: %d; want 403", status)
	}
	must(t, s, "POST "+dataset+`/ds/tables/results:setIamPolicy {"policy": {"bindings": [{"role": "roles/bigquery.dataEditor", "members": ["serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com"]}]}}`)
	if got := must(t, s, subscribe); text(got, "bigqueryConfig", "state") != "ACTIVE" {
		t.Errorf("the subscription is %v; want it active", got)
	}
	metadata := strings.Replace(strings.Replace(subscribe, "to-table", "with-metadata", 1), `"table"`, `"writeMetadata": true, "table"`, 1)
	if status, answer := ask(t, s, metadata); status != http.StatusBadRequest || !strings.Contains(text(answer, "error", "message"), "subscription_name") {
		t.Errorf("a table without the columns of the metadata: %d %v; want 400 that names one", status, answer)
	}
	must(t, s, "PATCH "+dataset+`/ds/tables/results {"schema": {"fields": [{"name": "data", "type": "JSON"}, {"name": "subscription_name", "type": "STRING"}, {"name": "message_id", "type": "STRING"}, {"name": "publish_time", "type": "TIMESTAMP"}, {"name": "attributes", "type": "JSON"}]}}`, metadata)
	must(t, s, "DELETE "+dataset+"/ds?deleteContents=true")
	if slices.ContainsFunc(s.Names(), func(name string) bool { return strings.HasPrefix(name, "//bigquery.") }) {
		t.Errorf("after the dataset was deleted: %q; want nothing of it", s.Names())
	}
}

// Over TLS comes what no override has led here.
func TestNamesTheOverrideThatIsMissing(t *testing.T) {
	s := start(t, everything())
	proxy, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(s.authority.pem()))
	client := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer client.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+topic, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+s.token)
	response, err := client.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	said, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if response.StatusCode != http.StatusBadRequest || !strings.Contains(string(said), "no endpoint override leads to") || !s.Requests()[0].Unknown {
		t.Errorf("GET https://%s: is answered %d %s; want a refusal that says what is missing", topic, response.StatusCode, said)
	}
	for _, address := range []string{"example.com:22", "example.com"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodConnect, s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Host = address
		response, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusForbidden {
			t.Errorf("a tunnel to %s: %d; want 403", address, response.StatusCode)
		}
	}
}
