package main

import (
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// computed has what the providers compute and something refers to: a template over
// the resource's own values, by type and attribute. "block.attribute" is one within
// each block of that name. Forms of ids are those of
// https://registry.terraform.io/providers/hashicorp/google/latest/docs.
var computed = map[string]map[string]string{
	"data.archive_file":                       {"output_sha256": "DIGEST"},
	"google_bigquery_dataset":                 {},
	"google_bigquery_table":                   {},
	"google_bigquery_table_iam_member":        {},
	"google_cloud_run_v2_service_iam_member":  {},
	"google_cloud_scheduler_job":              {},
	"google_cloudfunctions2_function":         {"service_config.uri": "https://${name}.run.app"},
	"google_firestore_database":               {},
	"google_firestore_field":                  {},
	"google_logging_metric":                   {},
	"google_monitoring_alert_policy":          {},
	"google_monitoring_dashboard":             {},
	"google_monitoring_notification_channel":  {"name": "CHANNEL"},
	"google_project_iam_custom_role":          {"name": "projects/${project}/roles/${role_id}"},
	"google_project_iam_member":               {},
	"google_project_service":                  {},
	"google_project_service_identity":         {"member": "serviceAccount:service-NUMBER@gcp-sa-${split(\".\", service)[0]}.iam.gserviceaccount.com"},
	"google_pubsub_subscription":              {"id": "projects/${project}/subscriptions/${name}"},
	"google_pubsub_subscription_iam_member":   {},
	"google_pubsub_topic":                     {"id": "projects/${project}/topics/${name}"},
	"google_pubsub_topic_iam_member":          {},
	"google_secret_manager_secret":            {"id": "projects/${project}/secrets/${secret_id}"},
	"google_secret_manager_secret_iam_member": {},
	"google_secret_manager_secret_version":    {"version": "VERSION"},
	"google_service_account": {
		"email":     "${account_id}@${project}.iam.gserviceaccount.com",
		"member":    "serviceAccount:${account_id}@${project}.iam.gserviceaccount.com",
		"name":      "projects/${project}/serviceAccounts/${account_id}@${project}.iam.gserviceaccount.com",
		"unique_id": "CLIENT",
	},
	// Its account_id is the e-mail address.
	"data.google_service_account":       {"name": "projects/-/serviceAccounts/${account_id}", "unique_id": "CLIENT"},
	"google_service_account_iam_member": {},
	"google_storage_bucket":             {},
	"google_storage_bucket_object":      {},
}

// compute adds what a provider does. A type that is not in the table is refused: it
// is new, and the comparison must learn what it is there for.
func (m *module) compute(of string, values map[string]cty.Value) (cty.Value, error) {
	templates, ok := computed[of]
	if !ok {
		return cty.NilVal, fmt.Errorf("%s: is a type of resource that this does not know", of)
	}
	all := maps.Clone(values)
	for name, template := range templates {
		expr, problems := hclsyntax.ParseTemplate([]byte(template), of+"."+name, hcl.InitialPos)
		if problems.HasErrors() {
			return cty.NilVal, problems
		}
		value, problems := expr.Value(&hcl.EvalContext{Variables: values, Functions: m.functions()})
		if problems.HasErrors() {
			return cty.NilVal, problems
		}
		block, attribute, within := strings.Cut(name, ".")
		if !within {
			all[name] = value
			continue
		}
		var blocks []cty.Value
		for it := values[block].ElementIterator(); it.Next(); {
			_, b := it.Element()
			inner := b.AsValueMap()
			inner[attribute] = value
			blocks = append(blocks, cty.ObjectVal(inner))
		}
		all[block] = cty.TupleVal(blocks)
	}
	return cty.ObjectVal(all), nil
}

// archived are the names of the files that archive_file takes, found as it finds
// them: a folder that is left out is not looked into.
func archived(values map[string]cty.Value) (files []cty.Value, err error) {
	source := values["source_dir"].AsString()
	err = filepath.WalkDir(source, func(path string, entry fs.DirEntry, err error) error { //nolint:gosec // the folder is the configuration's own
		if err != nil {
			return err
		}
		name, err := filepath.Rel(source, path)
		if err != nil {
			return err
		}
		for it := values["excludes"].ElementIterator(); it.Next(); {
			_, pattern := it.Element()
			left, err := doublestar.PathMatch(pattern.AsString(), name)
			switch {
			case err != nil:
				return fmt.Errorf("%s: %w", pattern.AsString(), err)
			case left && entry.IsDir():
				return filepath.SkipDir
			case left:
				return nil
			}
		}
		if !entry.IsDir() {
			files = append(files, cty.StringVal(filepath.ToSlash(name)))
		}
		return nil
	})
	return files, err
}
