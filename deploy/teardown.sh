#!/usr/bin/env bash
# Takes away what deploy/setup.sh and deploy/deploy.sh have made, and keeps what cannot be had again: the
# ledger, and results in BigQuery. It may be run again at any time, and goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/lib/config.sh
. deploy/lib/config.sh
# shellcheck source=deploy/lib/gcloud.sh
. deploy/lib/gcloud.sh
# shellcheck source=deploy/lib/monitoring.sh
. deploy/lib/monitoring.sh
# shellcheck source=deploy/lib/bigquery.sh
. deploy/lib/bigquery.sh

usage() {
  cat <<'END'
usage: deploy/teardown.sh [--dry-run] [--config FILE] [--yes] [--delete-ledger] [--delete-results]

  --dry-run         print the commands that take everything away, one a line, and run none
  --config FILE     the configuration, in place of deploy/config.env
  --yes             do not ask
  --delete-ledger   delete what the ledger has, too: jobs that are published again are done again then
  --delete-results  delete the table of results in BigQuery, too
END
}

yes=false delete_ledger=false delete_results=false

option() {
  case $1 in
    --yes) yes=true ;;
    --delete-ledger) delete_ledger=true ;;
    --delete-results) delete_results=true ;;
    *) return 1 ;;
  esac
}

main() {
  options "$@"
  begin
  confirm
  delete_schedules # first what would begin new work
  delete_functions
  teardown_monitoring
  teardown_bigquery
  delete_topics
  delete_rights
  delete_secrets
  delete_accounts
  ! $delete_ledger || delete_ledger
  finish
}

confirm() {
  if $dry_run || $yes; then return; fi
  local reply=''
  say "This takes onbehalf out of the project $project: its functions, topics with all that waits in them, alerts, rights and accounts."
  [ -t 0 ] || fail "--yes: is needed where nobody can be asked"
  read -r -p "The project's id, to go on: " reply
  [ "$reply" = "$project" ] || fail "nothing was done"
}

# there NAME tells whether the list in $list has it. With --dry-run everything is there.
there() { $dry_run || [[ $'\n'$list$'\n' == *$'\n'$1$'\n'* ]]; }

# list_of COMMAND… keeps the names that it prints in $list.
list_of() {
  look "$@" || true
  list=$answer
}

delete_schedules() {
  say "Schedules"
  local name
  list_of gcloud scheduler jobs list --location="$region" --project="$project" '--format=value(name.basename())'
  ! $dry_run || list=onbehalf-sweep
  for name in $list; do
    case $name in
      onbehalf-sweep | onbehalf-batch-*) run gcloud scheduler jobs delete "$name" --location="$region" --project="$project" --quiet ;;
    esac
  done
}

delete_functions() {
  say "Functions"
  local name
  list_of gcloud functions list --v2 --regions="$region" --project="$project" '--format=value(name.basename())'
  for name in onbehalf-sweep onbehalf-fanout onbehalf-execute onbehalf-dead-letter; do
    there "$name" || continue
    detail "deletes $name"
    run gcloud functions delete "$name" --gen2 --region="$region" --project="$project" --quiet
  done
}

# is_of_setup NAME: what has a name of somebody else's choice may have been there before, and others may use it.
is_of_setup() { [[ $1 == onbehalf-* ]]; }

delete_topics() {
  say "Topics"
  local name
  local -a old=()
  list_of gcloud pubsub subscriptions list --project="$project" '--format=value(name.basename())'
  for name in onbehalf-results onbehalf-dead-letters; do
    ! there "$name" || old+=("$name")
  done
  [ ${#old[@]} -eq 0 ] || run gcloud pubsub subscriptions delete "${old[@]}" --project="$project"
  old=()
  list_of gcloud pubsub topics list --project="$project" '--format=value(name.basename())'
  for name in "${topics[@]}"; do
    is_of_setup "$name" || continue
    ! there "$name" || old+=("$name")
  done
  [ ${#old[@]} -eq 0 ] || run gcloud pubsub topics delete "${old[@]}" --project="$project"
}

# delete_rights takes back what was given on what stays. It comes before the accounts, of whose rights something
# would stay otherwise, under the name of what is deleted.
delete_rights() {
  say "Rights"
  local as_runtime=serviceAccount:$runtime
  unbind roles/datastore.user "$as_runtime" "$project" projects
  unbind "projects/$home/roles/onbehalfSigner" "$as_runtime" "$delegated" iam service-accounts --project="$home"
  local name of secret
  for name in "$ONBEHALF_JOBS_TOPIC" "$ONBEHALF_RESULTS_TOPIC" "$ONBEHALF_BATCHES_TOPIC"; do
    is_of_setup "$name" || unbind roles/pubsub.publisher "$as_runtime" "$name" pubsub topics --project="$project"
  done
  for name in "$ONBEHALF_POLICY" "$ONBEHALF_RULES"; do
    case $name in
      sm://*)
        IFS=/ read -r _ _ of secret _ <<<"$name"
        unbind roles/secretmanager.secretAccessor "$as_runtime" "$secret" secrets --project="$of"
        ;;
    esac
  done
  [ -n "$DEPLOYER" ] || return 0
  unbind roles/cloudfunctions.developer "$DEPLOYER" "$project" projects
  unbind roles/eventarc.admin "$DEPLOYER" "$project" projects
}

delete_secrets() {
  say "Policy and rules"
  local name
  list_of gcloud secrets list --project="$project" '--format=value(name.basename())'
  for name in onbehalf-policy onbehalf-rules; do
    ! there "$name" || run gcloud secrets delete "$name" --project="$project" --quiet
  done
}

delete_accounts() {
  say "Accounts"
  local account
  list_of gcloud iam service-accounts list --project="$project" '--format=value(email)'
  for account in "$runtime" "$trigger" "onbehalf-delegated@$at"; do
    ! there "$account" || run gcloud iam service-accounts delete "$account" --project="$project" --quiet
  done
}

delete_ledger() {
  say "The ledger"
  run gcloud firestore bulk-delete --collection-ids=onbehalf-jobs,onbehalf-deferred,onbehalf-batches,onbehalf-counts --database="$database" --project="$project" --async --quiet
}

finish() {
  ! $dry_run || return 0
  say ""
  if [ $changes -eq 0 ]; then say "Nothing was left to take away."; else say "$changes things are taken away."; fi
  $delete_ledger || say "Kept: the database $database with the ledger (--delete-ledger deletes what is in it)."
  local name
  for name in "$delegated" "${topics[@]}"; do
    is_of_setup "$name" || say "Kept, too: $name, whose name is of your choice, and which may be somebody else's."
  done
  # Others may sign by that role, where the delegated account is another project's; and Google gives the name of a role
  # that was deleted to nobody for weeks, so that nothing could be made again.
  say "Kept, too: the enabled APIs, the functions' images in Artifact Registry, and the role onbehalfSigner in $home, which by itself gives nobody anything."
  say "An administrator of the Workspace takes away the client id: https://admin.google.com/ac/owl/domainwidedelegation"
}

main "$@"
