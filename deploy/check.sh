#!/usr/bin/env bash
# Says whether what was deployed works, and changes nothing: the doctor looks at the whole set-up, as whoever
# runs this, and a dry-run job goes through the deployed function, which does all for it but the call itself.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=deploy/lib/config.sh
. deploy/lib/config.sh
# shellcheck source=deploy/lib/gcloud.sh
. deploy/lib/gcloud.sh

usage() {
  cat <<'END'
usage: deploy/check.sh --user USER [--doctor] [--action ACTION]... [--wait SECONDS] [--dry-run] [--config FILE]

  --user USER      whom to act as: the primary address of an account that the policy allows
  --doctor         only the doctor: before anything is deployed
  --action ACTION  a method to look at, which the policy allows; the first is the job's. By default the doctor
                   looks at all that the policy lists, and the job is of the first that only reads
  --wait SECONDS   how long to wait for the job's result; by default 180
  --dry-run        print the commands, one a line, and run none
  --config FILE    the configuration, in place of deploy/config.env
END
}

user=''
doctor_only=false
actions=()
wait=180
policy=''       # the file that has it
fetched=''      # likewise, where it was not here
subscription='' # which there is to delete

option() {
  case $1 in
    --user=*) user=${1#*=} ;;
    --doctor) doctor_only=true ;;
    --action=) ;; # as a build gives it that leaves the choice
    --action=*) actions+=("$1") ;;
    --wait=*) wait=${1#*=} ;;
    *) return 1 ;;
  esac
}

main() {
  local -a words=()
  while [ $# -gt 0 ]; do
    case $1 in
      --user | --action | --wait)
        [ $# -gt 1 ] || fail "$1: a value is needed"
        words+=("$1=$2")
        shift
        ;;
      *) words+=("$1") ;;
    esac
    shift
  done
  options "${words[@]}"
  [[ $user =~ ^$address$ ]] || fail "--user: \"$user\" is not accepted; the primary address of an account such as ada@example.com is"
  [[ $wait =~ ^[1-9][0-9]{0,3}$ ]] || fail "--wait: \"$wait\" is not accepted; seconds are, from 1 to 9999"
  begin
  $dry_run || need_go
  trap 'clean; rm -f "$log"' EXIT
  examine
  $doctor_only || try
}

# examine runs the doctor with the functions' settings, and with none that this shell happens to have but
# ONBEHALF_SANDBOX, which is where Google is.
examine() {
  local name
  local -a doctor=(env GOOGLE_CLOUD_PROJECT="$project")
  for name in "${!ONBEHALF_@}"; do
    [ "$name" = ONBEHALF_SANDBOX ] || export -n "${name?}"
    [[ " ${known[*]} " != *" $name "* ]] || [ -z "${!name}" ] || doctor+=("$name=${!name}")
  done
  doctor+=(go run ./cmd/onbehalf doctor --user="$user" "${actions[@]}")
  if $dry_run; then
    quoted "${doctor[@]}"
    return
  fi
  say "The doctor"
  "${doctor[@]}" >&2 || {
    say "What to do: what is said above. Where you lack a right that the functions have, somebody who has it runs this."
    exit 1
  }
}

# try sends a job through the function, and waits for its result on a subscription of its own: what is on
# onbehalf-results is somebody else's.
try() {
  local now id job
  now=$(date -u +%Y%m%dt%H%M%Sz)-$RANDOM # nobody else has that, in the same second either
  id=check-$now/$user
  say "A dry-run job, $id"
  find_policy
  job=$(later go run ./cmd/onbehalf policy example "$policy" --user="$user" --id="$id" "${actions[@]:0:1}")
  $dry_run || detail "$job"
  # Should nobody delete it, it ends by itself after a day, which is the least that Pub/Sub accepts.
  run gcloud pubsub subscriptions create "onbehalf-check-$now" --project="$project" --topic="$ONBEHALF_RESULTS_TOPIC" \
    --message-filter="attributes.job = \"$id\"" --ack-deadline=10 --message-retention-duration=10m --expiration-period=1d
  subscription=onbehalf-check-$now
  run gcloud pubsub topics publish "$ONBEHALF_JOBS_TOPIC" --project="$project" --message="$job"
  pull
}

# find_policy has the policy in a file.
find_policy() {
  local of secret version
  case $ONBEHALF_POLICY in
    sm://*)
      IFS=/ read -r _ _ of secret version <<<"$ONBEHALF_POLICY"
      policy=onbehalf-policy.yaml
      $dry_run || policy=$(mktemp) fetched=$policy
      run gcloud secrets versions access "$version" --secret="$secret" --project="$of" --out-file="$policy"
      ;;
    *) policy=$ONBEHALF_POLICY ;;
  esac
}

# pull waits for the result, and ends with what it says.
pull() {
  local -a pull=(gcloud pubsub subscriptions pull "$subscription" --project="$project" --auto-ack --limit=1 "--format=value[separator=' '](message.attributes.job,message.attributes.status,message.data.decode(base64))")
  if $dry_run; then
    quoted "${pull[@]}"
    return
  fi
  local of='' status='' result='' end=$((SECONDS + wait))
  detail "waits for its result …"
  until [ "$of" = "$id" ]; do # the emulator of Pub/Sub knows no filters
    if [ $SECONDS -ge $end ]; then
      say "After $wait seconds there is no result."
      say "What to do: see what the function says: $(quoted gcloud functions logs read onbehalf-execute --gen2 --region="$region" --project="$project" --limit=50)"
      say "It may come yet, where the first instance only just starts or Google had to be asked again: --wait 600"
      exit 1
    fi
    look "${pull[@]}" || true
    read -r of status result <<<"$answer" || true
    [ -n "$of" ] || sleep 2
  done
  printf '%s\n' "$result"
  if [ "$status" != previewed ]; then
    say "The job's status is $status, and not previewed."
    say "What to do: what its error says, above, as fix."
    exit 1
  fi
  say "It works: the job would have been done."
}

# clean takes the subscription away, however this ends.
clean() {
  local -a delete=(gcloud pubsub subscriptions delete "$subscription" --project="$project" --quiet)
  rm -f ${fetched:+"$fetched"}
  if [ -z "$subscription" ]; then
    return 0
  elif $dry_run; then
    quoted "${delete[@]}"
  elif ! "${delete[@]}" >/dev/null 2>&1; then
    say "The subscription $subscription could not be deleted; it ends by itself after a day, or: $(quoted "${delete[@]}")"
  fi
}

main "$@"
