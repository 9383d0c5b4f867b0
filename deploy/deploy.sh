#!/usr/bin/env bash
# Deploys every entry point from this source and sees to what gcloud has no flag for: who may call it, dead
# letters, back-off. It may be run again at any time, after a change of the source, the policy or
# deploy/config.env, and changes only what differs.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/lib/config.sh
. deploy/lib/config.sh
# shellcheck source=deploy/lib/gcloud.sh
. deploy/lib/gcloud.sh

usage() {
  cat <<'END'
usage: deploy/deploy.sh [--dry-run] [--config FILE]

  --dry-run      print the commands of a first run, one a line, and run none
  --config FILE  the configuration, in place of deploy/config.env
END
}

option() { return 1; }

main() {
  options "$@"
  begin
  local source
  source=$(later deploy/lib/source-digest.sh)
  ONBEHALF_POLICY=$(pinned "$ONBEHALF_POLICY" onbehalf-policy)
  ONBEHALF_RULES=$(pinned "$ONBEHALF_RULES" onbehalf-rules)
  deploy onbehalf-dead-letter DeadLetter DEADLETTER onbehalf-dead-letters
  deploy onbehalf-execute Execute EXECUTE "$ONBEHALF_JOBS_TOPIC"
  deploy onbehalf-fanout FanOut FANOUT "$ONBEHALF_BATCHES_TOPIC"
  deploy onbehalf-sweep Sweep SWEEP onbehalf-sweep
  all_done
  # Dead letters first: what Execute's subscription gives up finds its function there.
  attach onbehalf-dead-letter 7d
  attach onbehalf-execute 7d --dead-letter-topic=onbehalf-dead-letters --max-delivery-attempts=100
  attach onbehalf-fanout 7d
  attach onbehalf-sweep 10m # the next minute's does as well
  finish
}

# variables are the functions' environment.
variables=(
  ONBEHALF_SERVICE_ACCOUNT ONBEHALF_POLICY ONBEHALF_RULES ONBEHALF_ADMIN ONBEHALF_LEDGER
  ONBEHALF_JOBS_TOPIC ONBEHALF_RESULTS_TOPIC ONBEHALF_BATCHES_TOPIC
  ONBEHALF_GMAIL_UNITS_PER_USER ONBEHALF_GMAIL_UNITS_PER_PROJECT ONBEHALF_MAX_INSTANCES
)

# pinned names the version of a secret that is deployed: what a function reads changes with a deployment, and
# not under its feet.
pinned() {
  local version
  case $1 in
    '' | sm://*) printf %s "$1" ;;
    *)
      version=$(later gcloud secrets versions describe latest --secret="$2" --project="$project" '--format=value(name.basename())')
      printf %s "sm://$project/$2/$version"
      ;;
  esac
}

# deploy NAME ENTRY_POINT PREFIX TOPIC deploys one function, unless it is there, from the same source and
# with the same settings.
deploy() {
  local cpu=$3_CPU memory=$3_MEMORY concurrency=$3_CONCURRENCY timeout=$3_TIMEOUT least=$3_MIN_INSTANCES most=$3_MAX_INSTANCES
  # shellcheck disable=SC2034 # it is one of the variables
  local ONBEHALF_MAX_INSTANCES=${!most} # among which Execute's share the project's quota
  local build=${BUILD_SERVICE_ACCOUNT:+projects/$project/serviceAccounts/$BUILD_SERVICE_ACCOUNT}
  local name verb=makes environment=''
  local -a fields=(
    state ACTIVE labels.onbehalf_source "$source" buildConfig.runtime go126 buildConfig.entryPoint "$2"
    serviceConfig.availableCpu "${!cpu}" serviceConfig.availableMemory "${!memory}" serviceConfig.maxInstanceRequestConcurrency "${!concurrency}"
    serviceConfig.timeoutSeconds "${!timeout}" 'serviceConfig.minInstanceCount.yesno(no=0)' "${!least}" serviceConfig.maxInstanceCount "${!most}"
    serviceConfig.ingressSettings ALLOW_INTERNAL_ONLY serviceConfig.serviceAccountEmail "$runtime"
    eventTrigger.serviceAccountEmail "$trigger" eventTrigger.pubsubTopic "projects/$project/topics/$4" eventTrigger.retryPolicy RETRY_POLICY_RETRY
  )
  [ -z "$build" ] || fields+=(buildConfig.serviceAccount "$build")
  for name in "${variables[@]}"; do
    fields+=("serviceConfig.environmentVariables.$name" "${!name}")
    [ -z "${!name}" ] || environment+=";$name=${!name}"
  done
  if is gcloud functions describe "$1" --gen2 --region="$region" --project="$project" -- "${fields[@]}"; then
    say "$1 is as it should be"
    return
  fi
  local -a once=(--no-allow-unauthenticated)
  ! $found || verb=updates once=()
  say "$1: $verb it, which takes some minutes"
  at_once gcloud functions deploy "$1" --gen2 --project="$project" --region="$region" --quiet \
    --runtime=go126 --source=. --entry-point="$2" --trigger-topic="$4" --retry --ingress-settings=internal-only "${once[@]}" \
    --cpu="${!cpu}" --memory="${!memory}" --concurrency="${!concurrency}" --timeout="${!timeout}s" --min-instances="${!least}" --max-instances="${!most}" \
    --run-service-account="$runtime" --trigger-service-account="$trigger" ${build:+--build-service-account="$build"} \
    --set-env-vars="^;^${environment#;}" --update-labels="onbehalf_source=$source"
}

# attach NAME RETENTION FLAGS… lets the trigger's account, and nobody else, call the function, and gives its
# subscription what a trigger does not: back-off, retention, dead letters. A deployment may have made the
# subscription anew, so it is looked at each time.
attach() {
  local name=$1 retention=$2 member of subscription dead='' tries=''
  local -A seconds=([7d]=604800s [10m]=600s)
  local -a service=(run services --region="$region" --project="$project")
  shift 2
  bind "to deliver events" roles/run.invoker "serviceAccount:$trigger" "$name" "${service[@]}"
  for member in allUsers allAuthenticatedUsers; do
    [[ $'\n'$answer != *$'\n'"$member "* ]] || # under a condition, too
      run gcloud run services remove-iam-policy-binding "$name" --region="$region" --project="$project" --member="$member" --role=roles/run.invoker --all
  done
  of=$(later gcloud functions describe "$name" --gen2 --region="$region" --project="$project" '--format=value(eventTrigger.trigger)')
  subscription=$(later gcloud eventarc triggers describe "$of" --location="$region" --project="$project" '--format=value(transport.pubsub.subscription)')
  [ $# -eq 0 ] || dead=projects/$project/topics/onbehalf-dead-letters tries=100
  if ! is gcloud pubsub subscriptions describe "$subscription" --project="$project" -- \
    ackDeadlineSeconds 600 messageRetentionDuration "${seconds[$retention]}" retryPolicy.minimumBackoff 10s retryPolicy.maximumBackoff 600s \
    expirationPolicy.ttl '' deadLetterPolicy.deadLetterTopic "$dead" deadLetterPolicy.maxDeliveryAttempts "$tries" filter ''; then
    ! $found || [ -z "${answer##*|}" ] ||
      fail "the subscription $subscription has a filter, ${answer##*|}, and drops what does not fit; Pub/Sub can change no filter, so delete the function ($(quoted gcloud functions delete "$name" --gen2 --region="$region" --project="$project")) and run the same again"
    local -a letters=("$@")
    [ $# -gt 0 ] || [[ $answer != *"|projects/"*/topics/* ]] || letters=(--clear-dead-letter-policy) # DeadLetter knows jobs alone
    run gcloud pubsub subscriptions update "$subscription" --project="$project" "${letters[@]}" \
      --min-retry-delay=10s --max-retry-delay=600s --ack-deadline=600 --message-retention-duration="$retention" --expiration-period=never
  fi
  [ $# -gt 0 ] || return 0
  bind "to take from it what is given up" roles/pubsub.subscriber "serviceAccount:service-$number@gcp-sa-pubsub.iam.gserviceaccount.com" "$subscription" pubsub subscriptions --project="$project"
}

# finish says what is left to do.
finish() {
  local of=''
  [ "$config" = deploy/config.env ] || of=" --config $(quoted "$config")"
  report
  ! $dry_run || return 0
  say "See that it works: deploy/check.sh$of --user SOMEBODY@YOUR-DOMAIN"
}

main "$@"
