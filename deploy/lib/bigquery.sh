# shellcheck shell=bash
# The option BIGQUERY_DATASET: Pub/Sub writes each result into a table, with no program of ours in between.
# shellcheck disable=SC2154

# setup_bigquery. Only results of jobs have the attribute "job", summaries of batches have not. What cannot be written waits
# in the subscription, with the alert oldest-unacked on it: a dead letter would go to a function that takes it for a job.
setup_bigquery() {
  [ -n "$BIGQUERY_DATASET" ] || return 0
  say "Results in BigQuery"
  local table=$project:$BIGQUERY_DATASET.results
  make_table
  grant_table
  local want="$ONBEHALF_RESULTS_TOPIC|$project.$BIGQUERY_DATASET.results|attributes:job|True"
  local -a to=(--project="$project" --bigquery-table="$project.$BIGQUERY_DATASET.results" --write-metadata)
  if ! look gcloud pubsub subscriptions describe onbehalf-results-bigquery --project="$project" '--format=value[separator="|"](topic.basename(),bigqueryConfig.table,filter,bigqueryConfig.writeMetadata)'; then
    detail "makes the subscription onbehalf-results-bigquery"
    run_patiently gcloud pubsub subscriptions create onbehalf-results-bigquery "${to[@]}" --topic="$ONBEHALF_RESULTS_TOPIC" --message-filter=attributes:job --message-retention-duration=7d --expiration-period=never
    return
  fi
  case ${answer//:"$BIGQUERY_DATASET"./.$BIGQUERY_DATASET.} in # Pub/Sub takes the table's name with a colon as well
    "$want") ;;
    "$ONBEHALF_RESULTS_TOPIC|"*"|attributes:job|"*) run_patiently gcloud pubsub subscriptions update onbehalf-results-bigquery "${to[@]}" ;;
    *) # topic and filter cannot be changed
      fail "the subscription onbehalf-results-bigquery is there, and not of the topic $ONBEHALF_RESULTS_TOPIC with the filter attributes:job: delete it and run the same again: $(quoted gcloud pubsub subscriptions delete onbehalf-results-bigquery --project="$project")"
      ;;
  esac
}

make_table() {
  ! look bq --project_id="$project" show --format=json "$table" || return 0
  if ! look bq --project_id="$project" show --format=json --dataset "$project:$BIGQUERY_DATASET"; then
    detail "makes the dataset $BIGQUERY_DATASET in $BIGQUERY_LOCATION"
    run bq --project_id="$project" --location="$BIGQUERY_LOCATION" mk --dataset "$project:$BIGQUERY_DATASET"
  fi
  detail "makes the table $table"
  run bq --project_id="$project" mk --table --schema=deploy/bigquery/results.json --time_partitioning_type=DAY --time_partitioning_field=publish_time --description='What came of jobs: onbehalf schema result' "$table"
}

# grant_table lets Pub/Sub's service agent write into this table, and into no other.
grant_table() {
  local member=serviceAccount:service-$number@gcp-sa-pubsub.iam.gserviceaccount.com
  if ! look bq --project_id="$project" get-iam-policy --format=json --table=true "$table" || ! may_edit "$member"; then
    detail "$member: bigquery.dataEditor on $table"
    run_patiently bq --project_id="$project" add-iam-policy-binding --member="$member" --role=roles/bigquery.dataEditor --table=true "$table"
  fi
}

# may_edit MEMBER reads a policy in $answer: one binding a line is looked through.
may_edit() {
  tr -d ' \n' <<<"$answer" | tr '}' '\n' | grep -F '"roles/bigquery.dataEditor"' | grep -qF "\"$1\""
}

# bq prints why it has failed on standard error, where every other command does.
bq() {
  local said
  if said=$(command bq "$@"); then
    printf '%s\n' "$said"
  else
    local status=$?
    printf '%s\n' "$said" >&2
    return $status
  fi
}

# teardown_bigquery keeps the results, unless $delete_results says otherwise.
teardown_bigquery() {
  if $dry_run && [ -z "$BIGQUERY_DATASET" ]; then return; fi
  say "Results in BigQuery"
  if $dry_run || look gcloud pubsub subscriptions describe onbehalf-results-bigquery --project="$project" '--format=value(name)'; then
    run gcloud pubsub subscriptions delete onbehalf-results-bigquery --project="$project"
  fi
  [ -n "$BIGQUERY_DATASET" ] || return 0
  local table=$project:$BIGQUERY_DATASET.results member=serviceAccount:service-$number@gcp-sa-pubsub.iam.gserviceaccount.com
  if ! $dry_run && ! look bq --project_id="$project" get-iam-policy --format=json --table=true "$table"; then
    return 0
  fi
  if $delete_results; then
    run bq --project_id="$project" rm --force --table "$table"
  elif $dry_run || may_edit "$member"; then
    run bq --project_id="$project" remove-iam-policy-binding --member="$member" --role=roles/bigquery.dataEditor --table=true "$table"
    say "  $table and its results stay; --delete-results deletes it"
  fi
}
