// Package operations holds what is deployed beside the functions against what they really
// do: that metrics count the lines that functions write, that alerts and the dashboard look at
// metrics that there are, that each alert has its playbook, and that queries fit the table.
package operations

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
	"google.golang.org/api/logging/v2"
	dashboards "google.golang.org/api/monitoring/v1"
	"google.golang.org/api/monitoring/v3"
)

const root = "../.."

// files are those that the pattern names, by their names without folder and ending.
func files(t *testing.T, pattern string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, pattern))
	if err != nil || len(names) == 0 {
		t.Fatalf("%s: %d files, %v", pattern, len(names), err)
	}
	found := make(map[string][]byte)
	for _, name := range names {
		base := filepath.Base(name)
		if found[strings.TrimSuffix(base, filepath.Ext(base))], err = os.ReadFile(name); err != nil {
			t.Fatal(err)
		}
	}
	return found
}

// decode reads YAML as gcloud does, into what the API takes: a field that it does not know
// is an error.
func decode(t *testing.T, name string, text []byte, into any) {
	t.Helper()
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func metrics(t *testing.T) map[string]*logging.LogMetric {
	t.Helper()
	all := make(map[string]*logging.LogMetric)
	for name, text := range files(t, "deploy/monitoring/metrics/*.yaml") {
		all[name] = &logging.LogMetric{}
		decode(t, name, text, all[name])
	}
	return all
}

func alerts(t *testing.T) map[string]*monitoring.AlertPolicy {
	t.Helper()
	all := make(map[string]*monitoring.AlertPolicy)
	for name, text := range files(t, "deploy/monitoring/alerts/*.yaml") {
		all[name] = &monitoring.AlertPolicy{}
		decode(t, name, text, all[name])
	}
	return all
}

func dashboard(t *testing.T) *dashboards.Dashboard {
	t.Helper()
	d := &dashboards.Dashboard{}
	decode(t, "dashboard", files(t, "deploy/monitoring/dashboard.yaml")["dashboard"], d)
	return d
}

// labels are those of a metric.
func labels(m *logging.LogMetric) []string {
	keys := make([]string, 0, len(m.MetricDescriptor.Labels))
	for _, l := range m.MetricDescriptor.Labels {
		keys = append(keys, l.Key)
	}
	return keys
}

func TestMetrics(t *testing.T) {
	for name, m := range metrics(t) {
		if !strings.HasPrefix(name, "onbehalf-") || m.Name != "" || m.Description == "" {
			t.Errorf("%s: is named by its file, as onbehalf-…, and described: %q %q", name, m.Name, m.Description)
		}
		if d := m.MetricDescriptor; d.MetricKind != "DELTA" || d.ValueType != "INT64" {
			t.Errorf("%s: is a %s of %s; it counts lines", name, d.MetricKind, d.ValueType)
		}
		if got, want := slices.Sorted(maps.Keys(m.LabelExtractors)), slices.Sorted(slices.Values(labels(m))); !slices.Equal(got, want) {
			t.Errorf("%s: extracts %v, and has the labels %v", name, got, want)
		}
	}
}

// The script reads the description with sed, and puts the digest of the file behind it.
func TestADescriptionStandsOnOneLine(t *testing.T) {
	all := metrics(t)
	for name, text := range files(t, "deploy/monitoring/metrics/*.yaml") {
		found := regexp.MustCompile(`(?m)^description: (.*)$`).FindAllSubmatch(text, -1)
		if len(found) != 1 || string(found[0][1]) != all[name].Description {
			t.Errorf("%s: its description is %q, and the script reads %q", name, all[name].Description, found)
		}
	}
}

// Each alert has a playbook, which it names, and each playbook an alert.
func TestAlertsHavePlaybooks(t *testing.T) {
	playbooks := files(t, "docs/playbooks/*.md")
	texts := files(t, "deploy/monitoring/alerts/*.yaml")
	for name, a := range alerts(t) {
		text := playbooks[name]
		delete(playbooks, name)
		if text == nil {
			t.Errorf("%s: has no docs/playbooks/%s.md", name, name)
			continue
		}
		for _, heading := range []string{"What it means.", "How to look.", "What mends it.", "What not to do."} {
			if !bytes.Contains(text, []byte("**"+heading+"**")) {
				t.Errorf("docs/playbooks/%s.md: does not say %q", name, heading)
			}
		}
		if n := bytes.Count(text, []byte("\n")); n > 40 {
			t.Errorf("docs/playbooks/%s.md: has %d lines; one screen is 40", name, n)
		}
		link := "https://github.com/onbehalf-dev/onbehalf/blob/main/docs/playbooks/" + name + ".md"
		if !strings.Contains(a.Documentation.Content, link) || a.Documentation.MimeType != "text/markdown" {
			t.Errorf("%s: does not link %s", name, link)
		}
		if head, _, _ := bytes.Cut(texts[name], []byte("\ndisplayName:")); !bytes.Contains(head, []byte("# Playbook: docs/playbooks/"+name+".md")) || !regexp.MustCompile(`\d`).Match(head) {
			t.Errorf("%s: does not begin with its arithmetic and its playbook", name)
		}
		if a.Combiner != "OR" || !slices.Contains([]string{"CRITICAL", "ERROR", "WARNING"}, a.Severity) || len(a.Conditions) == 0 || len(a.Conditions) > 6 {
			t.Errorf("%s: %s, %s, %d conditions", name, a.Combiner, a.Severity, len(a.Conditions))
		}
	}
	for name := range playbooks {
		t.Errorf("docs/playbooks/%s.md: there is no such alert", name)
	}
}

// What playbooks link is there.
func TestPlaybooksLinkWhatIsThere(t *testing.T) {
	for name, text := range files(t, "docs/playbooks/*.md") {
		for _, link := range regexp.MustCompile(`\]\(([^)#:]+)(?:#[^)]*)?\)`).FindAllSubmatch(text, -1) {
			if _, err := os.Stat(filepath.Join(root, "docs/playbooks", string(link[1]))); err != nil {
				t.Errorf("docs/playbooks/%s.md: %v", name, err)
			}
		}
	}
}

// googles are Google's own metrics that are looked at, as PromQL has their names, and of what
// they are (https://cloud.google.com/monitoring/api/metrics_gcp).
var googles = map[string]string{
	"run_googleapis_com:request_count":                              "cloud_run_revision",
	"run_googleapis_com:container_cpu_allocation_time":              "cloud_run_revision",
	"run_googleapis_com:container_memory_allocation_time":           "cloud_run_revision",
	"logging_googleapis_com:byte_count":                             "cloud_run_revision",
	"pubsub_googleapis_com:topic_byte_cost":                         "pubsub_topic",
	"pubsub_googleapis_com:subscription_byte_cost":                  "pubsub_subscription",
	"pubsub_googleapis_com:subscription_oldest_unacked_message_age": "pubsub_subscription",
	"pubsub_googleapis_com:subscription_num_undelivered_messages":   "pubsub_subscription",
	"firestore_googleapis_com:document_read_ops_count":              "firestore.googleapis.com/Database",
	"firestore_googleapis_com:document_write_ops_count":             "firestore.googleapis.com/Database",
	"firestore_googleapis_com:document_delete_ops_count":            "firestore.googleapis.com/Database",
}

// labelsOf are the labels of what is monitored, and of Google's metrics, that are used.
var labelsOf = map[string][]string{
	"cloud_run_revision":                {"service_name", "response_code", "response_code_class"},
	"pubsub_topic":                      {"topic_id"},
	"pubsub_subscription":               {"subscription_id"},
	"firestore.googleapis.com/Database": {"database_id"},
}

// queries are those of alerts and of the dashboard, by where they stand.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for name, a := range alerts(t) {
		for _, c := range a.Conditions {
			if c.ConditionPrometheusQueryLanguage == nil {
				t.Errorf("%s: %s is not in PromQL", name, c.DisplayName)
				continue
			}
			all[name+": "+c.DisplayName] = c.ConditionPrometheusQueryLanguage.Query
		}
	}
	for _, tile := range dashboard(t).MosaicLayout.Tiles {
		for i, set := range tile.Widget.XyChart.DataSets {
			all["dashboard: "+tile.Widget.Title+" "+strconv.Itoa(i)] = set.TimeSeriesQuery.PrometheusQuery
		}
	}
	return all
}

var (
	selector = regexp.MustCompile(`([a-z_]+:[a-z_]+)\{([^}]*)\}`)
	matcher  = regexp.MustCompile(`([a-z_]+)(=~|!~|!=|=)"([^"]*)"`)
	grouping = regexp.MustCompile(`by \(([a-z_, ]+)\)`)
	lookBack = regexp.MustCompile(`\[([^\]]*)\]`)
)

// Queries look at metrics that there are, by labels that those have.
func TestQueriesFitTheMetrics(t *testing.T) {
	ours := make(map[string][]string) // labels
	for name, m := range metrics(t) {
		ours["logging_googleapis_com:user_"+strings.ReplaceAll(name, "-", "_")] = labels(m)
	}
	seen := make(map[string]bool)
	for where, query := range queries(t) {
		found := selector.FindAllStringSubmatch(query, -1)
		if len(found) != strings.Count(query, "{")-strings.Count(query, "${") || strings.Count(query, "(") != strings.Count(query, ")") {
			t.Errorf("%s: cannot be read: %s", where, query)
		}
		var known []string
		for _, s := range found {
			name, of := s[1], googles[s[1]]
			if extracted, ok := ours[name]; ok {
				seen[name], of = true, "cloud_run_revision"
				known = append(known, extracted...)
			} else if of == "" {
				t.Errorf("%s: there is no metric %s", where, name)
			}
			seen[name] = true
			known = append(known, labelsOf[of]...)
			if !strings.Contains(s[2], `monitored_resource="`+of+`"`) {
				t.Errorf("%s: does not say that %s is of a %s, without which a metric of several is refused", where, name, of)
			}
			for _, m := range matcher.FindAllStringSubmatch(s[2], -1) {
				if m[1] != "monitored_resource" && !slices.Contains(known, m[1]) {
					t.Errorf("%s: %s has no label %s", where, name, m[1])
				}
				if _, err := regexp.Compile(m[3]); err != nil {
					t.Errorf("%s: %v", where, err)
				}
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(query, -1) {
			for label := range strings.SplitSeq(by[1], ", ") {
				if !slices.Contains(known, label) {
					t.Errorf("%s: groups by %s, which no metric in it has", where, label)
				}
			}
		}
	}
	for name := range ours {
		if !seen[name] {
			t.Errorf("%s: neither an alert nor the dashboard looks at it", name)
		}
	}
	for name := range googles {
		if !seen[name] {
			t.Errorf("%s: nothing looks at it any more", name)
		}
	}
}

// An alert does not look back for longer than Monitoring has always let it, is made before
// its metrics are known there, and is looked at as often as can be said.
func TestAlertsCanBeMade(t *testing.T) {
	for name, a := range alerts(t) {
		for _, c := range a.Conditions {
			q := c.ConditionPrometheusQueryLanguage
			for _, back := range lookBack.FindAllStringSubmatch(q.Query, -1) {
				if d, err := time.ParseDuration(back[1]); err != nil || d <= 0 || d > 25*time.Hour {
					t.Errorf("%s: looks back for %s, %v", name, back[1], err)
				}
			}
			if !q.DisableMetricValidation || q.EvaluationInterval != "60s" {
				t.Errorf("%s: %s: %+v", name, c.DisplayName, q)
			}
		}
	}
}

// What shows only when Pub/Sub delivers is looked for in more than the 600 s that it waits at
// the most: otherwise the alert ends between two deliveries, and calls anew with each.
func TestAlertsLastBetweenDeliveries(t *testing.T) {
	seen := 0
	for where, query := range queries(t) {
		if strings.HasPrefix(where, "dashboard: ") || !regexp.MustCompile(`user_onbehalf_(crashes|retries|quota_put_offs)\{`).MatchString(query) {
			continue
		}
		for _, back := range lookBack.FindAllStringSubmatch(query, -1) {
			seen++
			if d, err := time.ParseDuration(back[1]); err != nil || d < 11*time.Minute {
				t.Errorf("%s: looks back for %s", where, back[1])
			}
		}
	}
	if seen == 0 {
		t.Error("no alert looks at any of them")
	}
}

// A share of a few jobs says nothing: who asks for one asks for a number, too.
func TestAlertsCallForNoShareOfAFew(t *testing.T) {
	share, number := regexp.MustCompile(`> 0\.|\(0\.[0-9]+ \* sum`), regexp.MustCompile(`> [1-9]`)
	seen := 0
	for where, query := range queries(t) {
		if !share.MatchString(query) {
			continue
		}
		if seen++; !number.MatchString(query) {
			t.Errorf("%s: goes by a share alone: %s", where, query)
		}
	}
	if seen != 2 { // jobs-failing and watch-expiry
		t.Errorf("%d conditions go by a share", seen)
	}
}

// Prices are those of go run ./test/estimate, and the same in the alert and on the dashboard.
func TestPrices(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "test/estimate/table.go"))
	if err != nil {
		t.Fatal(err)
	}
	alert := alerts(t)["cost-per-day"].Conditions[0].ConditionPrometheusQueryLanguage.Query
	shown := ""
	for where, query := range queries(t) {
		if strings.HasPrefix(where, "dashboard: US dollars") {
			shown += query
		}
	}
	for _, price := range []struct{ here, there string }{
		{"0.06 / 100000", "0.06 / 100_000"},
		{"0.18 / 100000", "0.18 / 100_000"},
		{"0.02 / 100000", "0.02 / 100_000"},
		{"40 / 1099511627776", "aTiB = 40.0"},
		{"0.40 / 1000000", "0.40 / 1_000_000"},
		{"0.000024", "0.000024"},
		{"0.0000025", "0.0000025"},
	} {
		if !bytes.Contains(text, []byte(price.there)) || !strings.Contains(alert, price.here+" *") || !strings.Contains(shown, price.here+" *") {
			t.Errorf("%s: is not the price everywhere", price.here)
		}
	}
}

// The script writes the dashboard's digest and its version where it expects to find them.
func TestTheDashboardHasRoomForItsDigest(t *testing.T) {
	text := files(t, "deploy/monitoring/dashboard.yaml")["dashboard"]
	if n := len(regexp.MustCompile(`(?m)^  onbehalf: `).FindAll(text, -1)); n != 1 || !bytes.HasPrefix(text, []byte("# ")) {
		t.Errorf("%d lines for the digest; the first line is to be a comment", n)
	}
	d := dashboard(t)
	if _, ok := d.Labels["onbehalf"]; !ok || d.DisplayName != "onbehalf" {
		t.Errorf("%q %v", d.DisplayName, d.Labels)
	}
}

// docs/operations.md names every alert, query and line that is counted.
func TestTheDocumentationIsComplete(t *testing.T) {
	text := string(files(t, "docs/operations.md")["operations"])
	for name := range alerts(t) {
		if !strings.Contains(text, "(playbooks/"+name+".md)") {
			t.Errorf("docs/operations.md: does not name the alert %s", name)
		}
	}
	for name := range files(t, "deploy/bigquery/queries/*.sql") {
		if !strings.Contains(text, "\n| "+name+" |") {
			t.Errorf("docs/operations.md: does not name the query %s", name)
		}
	}
	for name, m := range metrics(t) {
		f, err := parse(m.Filter)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range f {
			field, inPayload := strings.CutPrefix(c.field, "jsonPayload.")
			words := []string{field}
			if field == "message" {
				words = strings.Split(strings.Trim(c.value, "()"), " OR ")
			}
			for _, word := range words {
				if inPayload && !strings.Contains(text, "`"+strings.Trim(word, `"`)+"`") {
					t.Errorf("docs/operations.md: does not say what %s is, by which %s counts", word, name)
				}
			}
		}
	}
}
