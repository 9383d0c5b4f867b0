package operations

import (
	"bytes"
	"encoding/json"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/bigquery/v2"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// table is the schema of the table of results.
func table(t *testing.T) []*bigquery.TableFieldSchema {
	t.Helper()
	var fields []*bigquery.TableFieldSchema
	decode(t, "results.json", files(t, "deploy/bigquery/results.json")["results"], &fields)
	return fields
}

// The columns are those that a subscription writes with --write-metadata
// (https://cloud.google.com/pubsub/docs/bigquery#properties_subscription): no more can be
// filled, and without one nothing is written.
func TestTheTableHasWhatPubSubWrites(t *testing.T) {
	got := make(map[string]string)
	for _, f := range table(t) {
		got[f.Name] = f.Type
		if f.Mode != "" || f.Description == "" {
			t.Errorf("%s: mode %q, described as %q", f.Name, f.Mode, f.Description)
		}
	}
	want := map[string]string{"subscription_name": "STRING", "message_id": "STRING", "publish_time": "TIMESTAMP", "data": "JSON", "attributes": "JSON"}
	if !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A result of every kind of field, and the attributes that it has.
func wholeResult() jobs.Result {
	return jobs.Result{
		Job: "b/ada@example.com", Batch: "b", User: "ada@example.com", As: "user", Action: "gmail.users.messages.list", Status: jobs.Failed, Response: []byte(`{}`),
		ResponseCut: &jobs.Cut{KeptBytes: 1, TotalBytes: 2}, Error: &jobs.Error{Stage: jobs.StageCall, Fault: jobs.FaultUser, Code: 400, Reason: "r", Message: "m", Fix: "f"},
		Attempts: 2, StartedAt: time.Now(), FinishedAt: time.Now(), Labels: map[string]string{"campaign": "welcome"},
	}
}

// Only results of jobs come into the table, and all of them: the subscription's filter goes
// by an attribute that summaries of batches have not.
func TestTheFilterTellsResultsFromSummaries(t *testing.T) {
	script := files(t, "deploy/lib/bigquery.sh")["bigquery"]
	found := regexp.MustCompile(`--message-filter=attributes:(\w+)`).FindSubmatch(script)
	if found == nil {
		t.Fatal("there is no filter")
	}
	attribute := string(found[1])
	if _, ok := wholeResult().Attributes()[attribute]; !ok {
		t.Errorf("results have no attribute %s", attribute)
	}
	if _, ok := (jobs.Result{Job: "j", Status: jobs.Succeeded}).Attributes()[attribute]; !ok {
		t.Errorf("not every result has the attribute %s", attribute)
	}
	if _, ok := (jobs.Summary{Batch: "b", Name: "b", State: "completed"}).Attributes()[attribute]; ok {
		t.Errorf("summaries have the attribute %s, too", attribute)
	}
}

var (
	sqlComment = regexp.MustCompile(`(?m)--.*$`)
	jsonValue  = regexp.MustCompile(`JSON_VALUE\((\w+), '\$\.([\w.]+)'\)`)
	sqlString  = regexp.MustCompile(`'[^']*'`)
	alias      = regexp.MustCompile(`\bAS ([a-z_]+)\b`)
	common     = regexp.MustCompile(`\b([a-z_]+) AS \(`)
	parameter  = regexp.MustCompile(`@[a-z_]+`)
	name       = regexp.MustCompile(`\b[a-z_][a-z_0-9]*\b`)
)

// Queries name only what the table and results have; by what stands in small letters, for
// all that is SQL's stands in capitals.
func TestQueriesFitTheTable(t *testing.T) {
	var data map[string]any
	encoded, err := wholeResult().Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(encoded, &data); err != nil {
		t.Fatal(err)
	}
	attributes := make(map[string]any)
	for key, value := range wholeResult().Attributes() {
		attributes[key] = value
	}
	all := files(t, "deploy/bigquery/queries/*.sql")
	if len(all) != 5 {
		t.Errorf("there are %d queries", len(all))
	}
	for query, text := range all {
		sql := sqlComment.ReplaceAllString(string(text), "")
		for _, m := range jsonValue.FindAllStringSubmatch(sql, -1) {
			of := map[string]map[string]any{"data": data, "attributes": attributes}[m[1]]
			if !has(of, m[2]) {
				t.Errorf("%s: %s has no %s", query, m[1], m[2])
			}
		}
		known := []string{"results"}
		for _, f := range table(t) {
			known = append(known, f.Name)
		}
		for _, defined := range []*regexp.Regexp{alias, common} {
			for _, m := range defined.FindAllStringSubmatch(sql, -1) {
				known = append(known, m[1])
			}
		}
		rest := parameter.ReplaceAllString(sqlString.ReplaceAllString(sql, ""), "")
		for _, word := range name.FindAllString(rest, -1) {
			if !slices.Contains(known, word) {
				t.Errorf("%s: there is no %s", query, word)
			}
		}
		if strings.Count(sql, "(") != strings.Count(sql, ")") {
			t.Errorf("%s: its brackets do not match", query)
		}
	}
}

// has tells whether there is something under the path.
func has(object map[string]any, path string) bool {
	first, rest, more := strings.Cut(path, ".")
	value, ok := object[first]
	if !more {
		return ok
	}
	inner, isObject := value.(map[string]any)
	return isObject && has(inner, rest)
}

// Each query says how it is run, with each of its parameters.
func TestQueriesSayHowTheyAreRun(t *testing.T) {
	for query, text := range files(t, "deploy/bigquery/queries/*.sql") {
		said := bytes.Join(regexp.MustCompile(`(?m)^--.*$`).FindAll(text, -1), []byte("\n"))
		want := []string{"bq --project_id=PROJECT --dataset_id=DATASET query --use_legacy_sql=false", "< deploy/bigquery/queries/" + query + ".sql"}
		for _, p := range parameter.FindAllString(sqlComment.ReplaceAllString(string(text), ""), -1) {
			want = append(want, "--parameter="+strings.TrimPrefix(p, "@")+":")
		}
		for _, w := range want {
			if !bytes.Contains(said, []byte(w)) {
				t.Errorf("%s: its comment does not say %q", query, w)
			}
		}
	}
}
