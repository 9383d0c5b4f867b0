#!/usr/bin/env bash
# Makes, once, what the functions need in a project: accounts, rights, topics, the ledger, secrets, schedules and
# alerts, and says what the Workspace administrator has to allow. It may be run again at any time: it looks
# first, and changes only what differs from deploy/config.env.
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
usage: deploy/setup.sh [--dry-run] [--config FILE]

  --dry-run      print the commands of a first run, one a line, and run none
  --config FILE  the configuration, in place of deploy/config.env
END
}

option() { return 1; }

main() {
  options "$@"
  begin
  need_go
  local scopes
  scopes=$(read_policy)
  read_schedules
  enable_apis
  make_accounts
  make_role
  make_topics
  make_ledger
  make_secrets
  grant_rights
  make_schedules
  setup_monitoring
  setup_bigquery
  finish "$scopes"
}

# read_policy prints the scopes that the policy's actions need, or ends with what is wrong in the policy.
read_policy() {
  local -a more=()
  [ -z "$ONBEHALF_ADMIN" ] || more=(--admin --batches)
  case $ONBEHALF_POLICY in
    sm://*)
      if $dry_run; then return; fi
      IFS=/ read -r _ _ of secret version <<<"$ONBEHALF_POLICY"
      later gcloud secrets versions access "$version" --secret="$secret" --project="$of" | onbehalf policy scopes - "${more[@]}"
      ;;
    *) onbehalf policy scopes "$ONBEHALF_POLICY" "${more[@]}" ;;
  esac || fail "ONBEHALF_POLICY: \"$ONBEHALF_POLICY\" is not accepted, for the reason above; see \"The policy\" in README.md"
}

apis=(
  iam iamcredentials serviceusage cloudresourcemanager # accounts, signJwt
  pubsub eventarc cloudfunctions run cloudbuild artifactregistry storage logging
  firestore secretmanager cloudscheduler monitoring
  gmail admin # what the jobs call; others are enabled by who needs them
)

enable_apis() {
  say "APIs"
  local api
  local -a missing=()
  [ -z "$BIGQUERY_DATASET" ] || apis+=(bigquery)
  look gcloud services list --enabled --project="$project" '--format=value(config.name)' || true
  for api in "${apis[@]}"; do
    [[ $'\n'$answer$'\n' == *$'\n'$api.googleapis.com$'\n'* ]] || missing+=("$api.googleapis.com")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  detail "enables ${missing[*]}"
  run gcloud services enable "${missing[@]}" --project="$project" --quiet
}

make_accounts() {
  say "Service accounts"
  look gcloud iam service-accounts list --project="$project" '--format=value(email)' || true
  local there=$'\n'$answer$'\n'
  make_account "$runtime" "What onbehalf's functions run as"
  make_account "$trigger" "Delivers events to onbehalf's functions"
  case $delegated in # one of another project is made by who owns that
    *@"$at") make_account "$delegated" "Acts as Workspace users; has no role, but is authorized in the Admin console" ;;
  esac
}

make_account() {
  [[ $there != *$'\n'$1$'\n'* ]] || return 0
  detail "makes $1"
  run gcloud iam service-accounts create "${1%%@*}" --project="$project" --display-name="${1%%@*}" --description="$2"
}

# make_role makes the role with one permission: signing as the delegated account, and nothing else that
# roles/iam.serviceAccountTokenCreator would bring. A project's role serves in that project alone, so it is made
# in the delegated account's.
make_role() {
  say "The right to sign"
  local permission=iam.serviceAccounts.signJwt
  local -a with=(--project="$home" --title='onbehalf: sign as the delegated account' --permissions="$permission" --stage=GA)
  if ! look gcloud iam roles describe onbehalfSigner --project="$home" '--format=value[separator=" "](deleted,includedPermissions)'; then
    run gcloud iam roles create onbehalfSigner "${with[@]}"
    return
  fi
  case $answer in # a deleted role keeps its name for weeks
    True\ *)
      detail "takes back that the role was deleted"
      run gcloud iam roles undelete onbehalfSigner --project="$home"
      ;;
  esac
  [ "${answer#* }" = "$permission" ] || run gcloud iam roles update onbehalfSigner "${with[@]}" --quiet
}

make_topics() {
  say "Topics"
  local topic
  local -a missing=()
  look gcloud pubsub topics list --project="$project" '--format=value(name.basename())' || true
  for topic in "${topics[@]}"; do
    [[ $'\n'$answer$'\n' == *$'\n'$topic$'\n'* ]] || missing+=("$topic")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    detail "makes ${missing[*]}"
    run gcloud pubsub topics create "${missing[@]}" --project="$project"
  fi
  look gcloud pubsub subscriptions list --project="$project" '--format=value[separator=" "](name.basename(),topic.basename(),messageRetentionDuration,expirationPolicy.ttl)' || true
  local there=$answer
  # What is published while nobody is subscribed is lost. Left to itself a subscription ends after 31 idle days.
  make_subscription onbehalf-results "$ONBEHALF_RESULTS_TOPIC"
  make_subscription onbehalf-dead-letters onbehalf-dead-letters
}

make_subscription() {
  local -a with=(--project="$project" --message-retention-duration=7d --expiration-period=never)
  case $'\n'$there$'\n' in
    *$'\n'"$1 $2 604800s "$'\n'*) ;;
    *$'\n'"$1 $2 "*) run gcloud pubsub subscriptions update "$1" "${with[@]}" ;;
    *$'\n'"$1 "*)
      fail "the subscription $1 is there, and not of the topic $2: where nobody needs what is in it, delete it and run the same again: $(quoted gcloud pubsub subscriptions delete "$1" --project="$project")"
      ;;
    *)
      detail "makes the subscription $1"
      run gcloud pubsub subscriptions create "$1" --topic="$2" "${with[@]}"
      ;;
  esac
}

# make_ledger: the database is protected, for without it every job that is delivered again is done again.
make_ledger() {
  say "The ledger, in Firestore"
  local group
  if ! look gcloud firestore databases describe --database="$database" --project="$project" '--format=value(type)'; then
    detail "makes the database $database in $FIRESTORE_LOCATION"
    run gcloud firestore databases create --database="$database" --project="$project" --location="$FIRESTORE_LOCATION" --type=firestore-native --delete-protection
  elif [ "$answer" != FIRESTORE_NATIVE ]; then
    fail "ONBEHALF_LEDGER: the database \"$database\" is of the type $answer; a database in native mode is accepted. Name another, such as firestore:onbehalf, and this script makes it"
  fi
  look gcloud firestore fields ttls list --database="$database" --project="$project" '--format=value(name)' || true
  local there=$answer
  for group in onbehalf-jobs onbehalf-deferred onbehalf-batches onbehalf-counts; do
    [[ $there != */collectionGroups/$group/fields/expireAt* ]] || continue
    detail "has $group forgotten when its time is over"
    run_patiently gcloud firestore fields ttls update expireAt --collection-group="$group" --enable-ttl --async --database="$database" --project="$project"
  done
}

make_secrets() {
  say "Policy and rules, in Secret Manager"
  make_secret onbehalf-policy "$ONBEHALF_POLICY"
  make_secret onbehalf-rules "$ONBEHALF_RULES"
}

# make_secret uploads a file as the secret's next version, unless the last has just that in it.
make_secret() {
  case $2 in '' | sm://*) return ;; esac
  if ! look gcloud secrets describe "$1" --project="$project" '--format=value(name)'; then
    run gcloud secrets create "$1" --project="$project" --replication-policy=automatic
  elif look gcloud secrets versions access latest --secret="$1" --project="$project" && [ "$answer" = "$(<"$2")" ]; then
    return
  fi
  detail "uploads $2"
  run gcloud secrets versions add "$1" --project="$project" --data-file="$2"
}

# grant_rights is the table in docs/deploy.md, row by row. No role is given on more than it is needed for.
grant_rights() {
  say "Rights"
  local name as_runtime=serviceAccount:$runtime role=projects/$home/roles/onbehalfSigner
  bind "to become users without a key" "$role" "$as_runtime" "$delegated" iam service-accounts --project="$home"
  bind "to say what came of a job" roles/pubsub.publisher "$as_runtime" "$ONBEHALF_RESULTS_TOPIC" pubsub topics --project="$project"
  bind "to publish a batch's jobs" roles/pubsub.publisher "$as_runtime" "$ONBEHALF_JOBS_TOPIC" pubsub topics --project="$project"
  bind "to go on with a batch" roles/pubsub.publisher "$as_runtime" "$ONBEHALF_BATCHES_TOPIC" pubsub topics --project="$project"
  bind "to keep the ledger" roles/datastore.user "$as_runtime" "$project" projects
  for name in "$ONBEHALF_POLICY:onbehalf-policy" "$ONBEHALF_RULES:onbehalf-rules"; do
    grant_secret "${name%:*}" "${name##*:}"
  done
  grant_gmail
  grant_dead_letters
  [ -n "$DEPLOYER" ] || return 0
  bind "to deploy" roles/cloudfunctions.developer "$DEPLOYER" "$project" projects
  bind "to make triggers" roles/eventarc.admin "$DEPLOYER" "$project" projects
  bind "to deploy what runs as it" roles/iam.serviceAccountUser "$DEPLOYER" "$runtime" iam service-accounts --project="$project"
  bind "to make triggers that deliver as it" roles/iam.serviceAccountUser "$DEPLOYER" "$trigger" iam service-accounts --project="$project"
}

grant_secret() {
  local of=$project secret=$2
  case $1 in
    '') return ;;
    sm://*) IFS=/ read -r _ _ of secret _ <<<"$1" ;;
  esac
  bind "to read it at start" roles/secretmanager.secretAccessor "serviceAccount:$runtime" "$secret" secrets --project="$of"
}

gmail_refused=false

# grant_gmail: an organization that gives rights to its own accounts alone refuses Google's until an administrator
# makes an exception. New ones are so, and nothing that is deployed waits for it, so all else is made before this ends with 1.
grant_gmail() {
  local role=roles/pubsub.publisher member=serviceAccount:gmail-api-push@system.gserviceaccount.com
  policy_of "$role" "$member" onbehalf-mail pubsub topics --project="$project"
  ! has_member "$member" || return 0
  detail "${member#*:} gets ${role##*/} on onbehalf-mail, to say that a mailbox has changed"
  if (run_patiently gcloud pubsub topics add-iam-policy-binding onbehalf-mail "${flags[@]}" --member="$member" --role="$role"); then
    changes=$((changes + 1))
  elif grep -qiE 'permitted customer|iam\.(allowedPolicyMemberDomains|managed\.allowedPolicyMembers)' "$log"; then
    gmail_refused=true
  else
    exit 1
  fi
}

# grant_dead_letters: Pub/Sub itself moves them. Its agent is made when it is first asked for.
grant_dead_letters() {
  local agent=service-$number@gcp-sa-pubsub.iam.gserviceaccount.com
  if ! look gcloud pubsub topics get-iam-policy onbehalf-dead-letters --project="$project" '--format=value(bindings.members)' || [[ $answer != *"$agent"* ]]; then
    run gcloud beta services identity create --service=pubsub.googleapis.com --project="$project"
  fi
  bind "to put there what is given up" roles/pubsub.publisher "serviceAccount:$agent" onbehalf-dead-letters pubsub topics --project="$project"
}

declare -A cron=() zone=() batch=() # by a schedule's name

# read_schedules reads the lines NAME | SCHEDULE | TIME ZONE | FILE.
read_schedules() {
  [ -n "$SCHEDULES" ] || return 0
  local line name when where file rest number=0
  local -a fields
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    [[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
    IFS='|' read -r name when where file rest <<<"${line%$'\r'}"
    read -r name <<<"$name" && read -r where <<<"${where:-}" && read -r file <<<"${file:-}"
    read -ra fields <<<"${when:-}"
    when=${fields[*]} # one blank between its fields
    [[ $name =~ ^[a-z][a-z0-9-]{0,49}$ ]] || fail "SCHEDULES: $SCHEDULES: line $number: the name \"$name\" is not accepted; lower-case letters, digits and - are"
    [ -z "${cron[$name]:-}" ] || fail "SCHEDULES: $SCHEDULES: line $number: the name \"$name\" is there already; names must differ"
    [[ $when =~ ^([0-9*/,A-Za-z-]+\ ){4}[0-9*/,A-Za-z-]+$ ]] || fail "SCHEDULES: $SCHEDULES: line $number: the schedule \"$when\" is not accepted; five fields of cron are, such as 0 3 * * *"
    [[ $where =~ ^[A-Za-z0-9_+/-]+$ ]] || fail "SCHEDULES: $SCHEDULES: line $number: the time zone \"$where\" is not accepted; a name such as Europe/Paris or Etc/UTC is"
    [ -z "${rest:-}" ] || file+="|$rest"
    { [[ $file =~ ^($path)$ ]] && [ -f "$file" ] && [ -s "$file" ]; } || fail "SCHEDULES: $SCHEDULES: line $number: the batch \"$file\" is not accepted; the path of a file is, seen from the root of the source"
    cron[$name]=$when zone[$name]=$where batch[$name]=$file
  done <"$SCHEDULES"
}

make_schedules() {
  say "Schedules"
  local name there
  look gcloud scheduler jobs list --location="$region" --project="$project" '--format=value[separator="|"](name.basename(),schedule,timeZone,pubsubTarget.topicName.basename(),pubsubTarget.data)' || true
  there=$(url_safe "$answer")
  make_schedule onbehalf-sweep '* * * * *' Etc/UTC onbehalf-sweep --message-body=sweep "$(printf sweep | base64)"
  for name in "${!cron[@]}"; do
    make_schedule "onbehalf-batch-$name" "${cron[$name]}" "${zone[$name]}" "$ONBEHALF_BATCHES_TOPIC" --message-body-from-file="${batch[$name]}" "$(base64 <"${batch[$name]}")"
  done
  while IFS='|' read -r name _; do
    case $name in
      onbehalf-batch-*)
        [ -n "${cron[${name#onbehalf-batch-}]:-}" ] && continue
        detail "takes away $name, which is not in the schedules any more"
        run gcloud scheduler jobs delete "$name" --location="$region" --project="$project" --quiet
        ;;
    esac
  done <<<"$there"
}

# make_schedule NAME CRON ZONE TOPIC BODY DATA. A schedule that somebody has paused stays so.
make_schedule() {
  local verb=create wanted
  wanted=$(url_safe "$1|$2|$3|$4|${6//$'\n'/}")
  case $'\n'$there$'\n' in
    *$'\n'"$wanted"$'\n'*) return ;;
    *$'\n'"$1|"*) verb=update ;;
  esac
  detail "${verb}s $1: $2, $3"
  run gcloud scheduler jobs "$verb" pubsub "$1" --location="$region" --project="$project" --schedule="$2" --time-zone="$3" --topic="$4" "$5"
}

# url_safe makes base64's two alphabets one: which of them gcloud prints is not said.
url_safe() { tr '+/' '-_' <<<"$1"; }

# finish says what is left to do, and by whom.
finish() {
  local id
  id=$(later gcloud iam service-accounts describe "$delegated" --project="$home" '--format=value(uniqueId)')
  report
  ! $dry_run || return 0
  say ""
  say "1. An administrator of the Workspace opens this link and authorizes the client id $id for these scopes:"
  # shellcheck disable=SC2001
  sed 's/^/     /' <<<"$1" >&2
  say "   https://admin.google.com/ac/owl/domainwidedelegation?clientScopeToAdd=$(paste -sd, - <<<"$1")&clientIdToAdd=$id"
  say "   It takes effect within minutes, at times within a day."
  say "2. Deploy the functions: deploy/deploy.sh$([ "$config" = deploy/config.env ] || printf ' --config %s' "$(quoted "$config")")"
  if $gmail_refused; then
    say "3. Before Gmail can say that a mailbox has changed: what is said above of gmail-api-push, and the same again."
    exit 1
  fi
}

main "$@"
