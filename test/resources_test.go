package test

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// settings has a resource's arguments, each by its path: those of a block that is
// there once as BLOCK.ARGUMENT, of another as BLOCK.NUMBER.ARGUMENT; lists of
// values with commas.
func (r planned) settings() map[string]string {
	var value any
	settings := map[string]string{}
	if err := json.Unmarshal(r.Values, &value); err == nil {
		flatten(settings, "", value)
	}
	delete(settings, r.lost)
	return settings
}

func flatten(into map[string]string, at string, value any) {
	below := func(name string) string { return strings.TrimPrefix(at+"."+name, ".") }
	switch value := value.(type) {
	case map[string]any:
		for name, v := range value {
			flatten(into, below(name), v)
		}
		if len(value) == 0 {
			into[at] = "{}"
		}
	case []any:
		var scalars []string
		for i, v := range value {
			switch _, block := v.(map[string]any); {
			case block && len(value) == 1:
				flatten(into, at, v)
			case block:
				flatten(into, below(strconv.Itoa(i)), v)
			default:
				scalars = append(scalars, fmt.Sprint(v))
			}
		}
		if len(scalars) > 0 {
			into[at] = strings.Join(scalars, ",")
		}
	case float64:
		into[at] = strconv.FormatFloat(value, 'f', -1, 64)
	default:
		into[at] = fmt.Sprint(value)
	}
}

// arguments are a resource's that nobody has read yet.
type arguments map[string]string

func (a arguments) take(name string) string {
	value := a[name]
	delete(a, name)
	return value
}

// renamed has arguments by other names: "path:setting".
func (a arguments) renamed(paths ...string) map[string]string {
	settings := map[string]string{}
	for _, path := range paths {
		path, name, _ := strings.Cut(path, ":")
		if value, ok := a[path]; ok {
			settings[name] = value
			delete(a, path)
		}
	}
	return settings
}

// mounted has the secrets that a function finds in files, by their paths, as it would
// name them itself.
func (a arguments) mounted() map[string]string {
	secrets := map[string]string{}
	for path := range a {
		at, ok := strings.CutSuffix(path, ".mount_path")
		if ok && strings.HasPrefix(at, "service_config.secret_volumes") {
			file := a.take(path) + "/" + a.take(at+".versions.path")
			secrets[file] = "sm://" + a.take(at+".project_id") + "/" + a.take(at+".secret") + "/" + a.take(at+".versions.version")
		}
	}
	return secrets
}

// rest is all but the project, by its own names.
func (a arguments) rest() map[string]string {
	settings := map[string]string{}
	for name := range a {
		if name != "project" {
			settings[name] = a.take(name)
		}
	}
	return settings
}

// unsaid are arguments that no command says, with why.
var unsaid = map[string]string{
	"google_project_service.disable_on_destroy":                                 "is for terraform destroy",
	"google_firestore_database.deletion_policy":                                 "is for terraform destroy",
	"google_secret_manager_secret_version.deletion_policy":                      "is for the next version",
	"google_bigquery_dataset.deletion_policy":                                   "is for terraform destroy",
	"google_bigquery_table.deletion_policy":                                     "is for terraform destroy",
	"google_bigquery_table.deletion_protection":                                 "is for terraform destroy",
	"google_cloud_scheduler_job.retry_config.max_retry_duration":                "is gcloud's default",
	"google_cloud_scheduler_job.retry_config.min_backoff_duration":              "is gcloud's default",
	"google_cloud_scheduler_job.retry_config.max_backoff_duration":              "is gcloud's default",
	"google_cloud_scheduler_job.retry_config.max_doublings":                     "is gcloud's default",
	"google_firestore_field.skip_wait":                                          "is --async",
	"google_storage_bucket.location":                                            "is the bucket's",
	"google_storage_bucket.uniform_bucket_level_access":                         "is the bucket's",
	"google_storage_bucket.public_access_prevention":                            "is the bucket's",
	"google_storage_bucket.force_destroy":                                       "is the bucket's",
	"google_storage_bucket_object.source":                                       "is compared file by file",
	"google_storage_bucket_object.bucket":                                       "is the bucket",
	"google_cloudfunctions2_function.build_config.source.storage_source.bucket": "is the bucket",
	"google_cloudfunctions2_function.build_config.source.storage_source.object": "is compared file by file",
	"data.archive_file.type":                                                    "is compared file by file", "data.archive_file.source_dir": "is compared file by file", "data.archive_file.excludes": "is compared file by file",
	"data.archive_file.output_file_mode": "is compared file by file", "data.archive_file.output_path": "is compared file by file", "data.archive_file.files": "is compared file by file",
}

// knownResources says what each type of resource makes.
var knownResources = map[string]func(a arguments, f facts){
	"data.archive_file":     func(_ arguments, f facts) { f.add("source archive", nil) },
	"google_storage_bucket": func(a arguments, f facts) { f.add("bucket "+a.take("name"), nil) },
	"google_storage_bucket_object": func(a arguments, f facts) {
		f.add("source "+a.take("name"), nil)
	},
	"google_project_service":          func(a arguments, f facts) { f.add("API "+a.take("service"), nil) },
	"google_project_service_identity": func(a arguments, f facts) { f.add("agent of "+a.take("service"), nil) },
	"google_service_account": func(a arguments, f facts) {
		f.add("account "+a.take("account_id"), a.renamed("display_name:display-name", "description:description"))
	},
	"data.google_service_account": func(a arguments, _ facts) { a.take("account_id") }, // is there
	"google_project_iam_custom_role": func(a arguments, f facts) {
		f.add("role "+a.take("project")+"/"+a.take("role_id"), a.renamed("title:title", "permissions:permissions", "stage:stage"))
	},
	"google_pubsub_topic": func(a arguments, f facts) { f.add("topic "+a.take("name"), nil) },
	"google_pubsub_subscription": func(a arguments, f facts) {
		settings := a.renamed("topic:topic", "message_retention_duration:retention", "expiration_policy.ttl:expiration", "ack_deadline_seconds:ack-deadline",
			"retry_policy.minimum_backoff:min-retry-delay", "retry_policy.maximum_backoff:max-retry-delay", "dead_letter_policy.dead_letter_topic:dead-letter-topic",
			"dead_letter_policy.max_delivery_attempts:max-delivery-attempts", "push_config.oidc_token.service_account_email:account",
			"bigquery_config.table:bigquery-table", "bigquery_config.write_metadata:write-metadata", "filter:message-filter")
		for _, name := range []string{"topic", "dead-letter-topic"} {
			if settings[name] != "" {
				settings[name] = base(settings[name])
			}
		}
		if ttl, ok := settings["expiration"]; ok && ttl == "" {
			settings["expiration"] = "never"
		}
		if settings["write-metadata"] == "true" {
			settings["write-metadata"] = ""
		}
		// It pushes to the function of its own name, and says so in the token.
		name := a.take("name")
		for _, address := range []string{"push_config.push_endpoint", "push_config.oidc_token.audience"} {
			if uri, ok := a[address]; ok && uri == "https://"+name+".run.app" {
				delete(a, address)
			} else if settings["account"] != "" {
				settings[address] = uri
			}
		}
		f.add("subscription "+name, settings)
	},
	"google_firestore_database": func(a arguments, f facts) {
		settings := a.renamed("location_id:location", "type:type", "delete_protection_state:delete-protection")
		settings["type"] = strings.ToLower(strings.ReplaceAll(settings["type"], "_", "-"))
		if settings["type"] == "firestore-native" && settings["delete-protection"] == "DELETE_PROTECTION_ENABLED" {
			settings["delete-protection"] = ""
		}
		f.add("database "+a.take("name"), settings)
	},
	"google_firestore_field": func(a arguments, f facts) {
		if a.take("ttl_config") == "{}" {
			f.add("expiry of "+a.take("collection")+" by "+a.take("field"), a.renamed("database:database"))
		}
	},
	"google_secret_manager_secret": func(a arguments, f facts) {
		settings := map[string]string{}
		if a.take("replication.auto") == "{}" {
			settings["replication-policy"] = "automatic"
		}
		f.add("secret "+a.take("secret_id"), settings)
	},
	"google_secret_manager_secret_version": func(a arguments, f facts) {
		f.add("version of "+base(a.take("secret")), a.renamed("secret_data:text"))
	},
	"google_cloud_scheduler_job": func(a arguments, f facts) {
		settings := a.renamed("region:location", "schedule:schedule", "time_zone:time-zone", "pubsub_target.topic_name:topic", "pubsub_target.data:text")
		settings["topic"] = base(settings["topic"])
		text, err := base64.StdEncoding.DecodeString(settings["text"])
		if err == nil {
			settings["text"] = string(text)
		}
		f.add("schedule "+a.take("name"), settings)
	},
	"google_cloudfunctions2_function": func(a arguments, f facts) {
		settings := a.renamed("location:region", "build_config.runtime:runtime", "build_config.entry_point:entry-point", "build_config.service_account:build-service-account",
			"service_config.service_account_email:run-service-account", "service_config.ingress_settings:ingress-settings", "service_config.available_cpu:cpu",
			"service_config.available_memory:memory", "service_config.max_instance_request_concurrency:concurrency", "service_config.timeout_seconds:timeout",
			"service_config.min_instance_count:min-instances", "service_config.max_instance_count:max-instances")
		settings["timeout"] += "s"
		if settings["ingress-settings"] == "ALLOW_INTERNAL_ONLY" {
			settings["ingress-settings"] = "internal-only"
		}
		mounted := a.mounted()
		for path := range a {
			if name, ok := strings.CutPrefix(path, "service_config.environment_variables."); ok {
				value := a.take(path)
				if strings.Contains(value, "VERSION") { // the provider cannot apply an environment with such a value
					value = "not known when Terraform plans"
				}
				settings["environment "+name] = cmp.Or(mounted[value], value)
				delete(mounted, value)
			}
		}
		for path, secret := range mounted {
			settings["mounted at "+path] = secret
		}
		f.add("function "+a.take("name"), settings)
	},

	"google_logging_metric": func(a arguments, f facts) { f.add("metric "+a.take("name"), a.rest()) },
	"google_monitoring_notification_channel": func(a arguments, f facts) {
		settings := a.renamed("display_name:display-name")
		settings["channel-labels"] = "email_address=" + a.take("labels.email_address")
		settings["user-labels"] = "onbehalf=" + a.take("user_labels.onbehalf")
		f.add("channel by "+a.take("type"), settings)
	},
	"google_monitoring_alert_policy": func(a arguments, f facts) {
		label := a.take("user_labels.onbehalf")
		settings := a.renamed("notification_channels:notification-channels")
		settings["user-labels"] = "onbehalf=" + label
		maps.Copy(settings, a.rest())
		f.add("alert "+label, settings)
	},
	"google_monitoring_dashboard": func(a arguments, f facts) {
		var value any
		settings := map[string]string{}
		if err := json.Unmarshal([]byte(a.take("dashboard_json")), &value); err == nil {
			flatten(settings, "", value)
		}
		f.add("dashboard", underscored(settings))
	},
	"google_bigquery_dataset": func(a arguments, f facts) { f.add("dataset "+a.take("dataset_id"), a.renamed("location:location")) },
	"google_bigquery_table": func(a arguments, f facts) {
		f.add("table "+a.take("dataset_id")+"."+a.take("table_id"), a.renamed("description:description", "schema:schema",
			"time_partitioning.type:time_partitioning_type", "time_partitioning.field:time_partitioning_field"))
	},
	"google_bigquery_table_iam_member": func(a arguments, f facts) {
		f.add(right(a.take("role"), "table", a.take("dataset_id")+"."+a.take("table_id"), a.take("member")), map[string]string{"table": "true"})
	},

	"google_project_iam_member": func(a arguments, f facts) {
		f.add(right(a.take("role"), "project", terraformProject, a.take("member")), nil)
	},
	"google_service_account_iam_member": func(a arguments, f facts) {
		f.add(right(a.take("role"), "account", base(a.take("service_account_id")), a.take("member")), nil)
	},
	"google_pubsub_topic_iam_member": func(a arguments, f facts) {
		f.add(right(a.take("role"), "topic", a.take("topic"), a.take("member")), nil)
	},
	"google_pubsub_subscription_iam_member": func(a arguments, f facts) {
		f.add(right(a.take("role"), "subscription", a.take("subscription"), a.take("member")), nil)
	},
	"google_secret_manager_secret_iam_member": func(a arguments, f facts) {
		f.add(right(a.take("role"), "secret", a.take("project")+"/"+a.take("secret_id"), a.take("member")), nil)
	},
	"google_cloud_run_v2_service_iam_member": func(a arguments, f facts) {
		f.add(right(a.take("role"), "service", a.take("name"), a.take("member")), a.renamed("location:region"))
	},
}

// terraformFacts reads a plan.
func terraformFacts(resources []planned) (facts, error) {
	f := facts{}
	var problems []error
	for _, r := range resources {
		read := knownResources[r.Type]
		if read == nil {
			problems = append(problems, fmt.Errorf("%s: is a type that this does not know", r.Address))
			continue
		}
		a := arguments(r.settings())
		maps.DeleteFunc(a, func(name, _ string) bool { return unsaid[r.Type+"."+name] != "" })
		read(a, f)
		if project, ok := a["project"]; ok && project != terraformProject {
			problems = append(problems, fmt.Errorf("%s: is of the project %q", r.Address, project))
		}
		delete(a, "project")
		if len(a) > 0 {
			problems = append(problems, fmt.Errorf("%s: has arguments that this does not know: %q", r.Address, slices.Sorted(maps.Keys(a))))
		}
	}
	return f, errors.Join(problems...)
}
