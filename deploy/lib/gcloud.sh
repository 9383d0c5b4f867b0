# shellcheck shell=bash
# How the scripts speak to Google Cloud: look first, then change only what differs, and with --dry-run
# print each command and run none. What it finds out is for the scripts that read it.
# shellcheck disable=SC2034,SC2153

shopt -s inherit_errexit # a value that could not be had ends the script, also in $(…)

dry_run=false
config=deploy/config.env
changes=0
answer=''
found=false
log=''
number='' # the project's

say() { printf '%s\n' "$*" >&2; }

# detail says what is about to be changed.
detail() { $dry_run || say "  $*"; }

# fail TEXT… ends with 2: wrong use, or a wrong setting.
fail() {
  printf '%s\n' "${0##*/}: $*" >&2
  exit 2
}

# begin stands at the beginning of each script, after its options are read.
begin() {
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  read_config "$config"
  project=$GOOGLE_CLOUD_PROJECT region=$REGION
  at=$(domain_of "$project").iam.gserviceaccount.com
  runtime=onbehalf-runtime@$at trigger=onbehalf-trigger@$at
  delegated=$ONBEHALF_SERVICE_ACCOUNT home=$(project_of "$ONBEHALF_SERVICE_ACCOUNT")
  database=${ONBEHALF_LEDGER#firestore:}
  topics=("$ONBEHALF_JOBS_TOPIC" "$ONBEHALF_RESULTS_TOPIC" "$ONBEHALF_BATCHES_TOPIC" onbehalf-sweep onbehalf-dead-letters onbehalf-mail)
  if ! $dry_run; then
    command -v gcloud >/dev/null || fail "gcloud is not on PATH; install it (https://cloud.google.com/sdk/docs/install), or use Cloud Shell"
    if [ -n "$BIGQUERY_DATASET" ] && declare -F bq >/dev/null && ! type -P bq >/dev/null; then # the scripts that use it wrap it
      fail "bq is not on PATH, and BIGQUERY_DATASET needs it; install it with gcloud's other components, or use Cloud Shell"
    fi
    export CLOUDSDK_CORE_DISABLE_PROMPTS=1
  fi
  number=$(later gcloud projects describe "$project" '--format=value(projectNumber)')
}

# options reads what every script takes, and calls option with what it does not know.
options() {
  while [ $# -gt 0 ]; do
    case $1 in
      --dry-run) dry_run=true ;;
      --config)
        [ $# -gt 1 ] || fail "--config: a file is needed"
        config=$2
        shift
        ;;
      --config=*) config=${1#*=} ;;
      -h | --help)
        usage
        exit 0
        ;;
      *) option "$1" || fail "$1: there is no such option; $(usage)" ;;
    esac
    shift
  done
}

# run COMMAND… changes something: all that do go through it. With --dry-run it prints the command.
run() {
  if $dry_run; then
    quoted "$@"
    return
  fi
  changes=$((changes + 1))
  "$@" >"$log" 2>&1 || explain $? "$@"
}

running=() # in groups of their own, so that they end with this

# at_once COMMAND… is run beside the others of its kind: Google takes minutes for each, and does them side by side.
at_once() {
  if $dry_run; then
    run "$@"
    return
  fi
  changes=$((changes + 1))
  trap 'for group in "${running[@]}"; do kill -- "-$group" 2>/dev/null; done; exit 130' INT TERM
  set -m
  alone "$@" &
  running+=($!)
  set +m
}

# alone runs a command with a log of its own.
alone() {
  local log
  log=$(mktemp)
  trap 'rm -f "$log"' EXIT
  run "$@"
}

# all_done waits for them. Where one has failed, it has said so, and the script ends.
all_done() {
  local group failed=false
  for group in "${running[@]}"; do
    wait "$group" || failed=true
  done
  running=()
  ! $failed || exit 1
}

# run_patiently COMMAND… is run for what names an account that was made just now: Google may not know
# it for a minute (https://cloud.google.com/iam/docs/access-change-propagation). A new database is like that, too.
run_patiently() {
  local tries=0
  if ! $dry_run; then
    until "$@" >"$log" 2>&1; do
      tries=$((tries + 1))
      if [ $tries -ge 24 ] || ! grep -qiE 'does not exist|unknown service account|concurrent policy changes|underlying data changed|is missing permissions required to write' "$log"; then
        explain 1 "$@"
      fi
      [ $tries -gt 1 ] || detail "waits for Google to know what was just made …"
      sleep 5
    done
    changes=$((changes + 1))
    return
  fi
  run "$@"
}

# look COMMAND… reads: what it printed is in $answer, and 1 says that what it asked for is not there. Any
# other failure ends the script: what could not be seen must not be taken for missing. With --dry-run nothing
# is there, so that the whole first run is printed.
look() {
  local status=0
  answer=''
  ! $dry_run || return 1
  answer=$("$@" 2>"$log") || status=$?
  [ $status -ne 0 ] || return 0
  grep -qiE 'NOT_FOUND|not found|Cannot find|does not exist|in (DISABLED|DESTROYED) state|status=\[404\]|HTTPError 404' "$log" || explain $status "$@"
  return 1
}

# is COMMAND… -- FIELD VALUE… tells whether what the command describes is there, with these values in these
# fields; $found tells whether it is there at all. A field is one of gcloud's (gcloud topic projections).
is() {
  local fields='' values=''
  local -a describe=()
  while [ "$1" != -- ]; do
    describe+=("$1")
    shift
  done
  shift
  while [ $# -gt 0 ]; do
    fields+=,$1 values+=\|$2
    shift 2
  done
  found=false
  look "${describe[@]}" "--format=value[separator='|'](${fields#,})" || return 1
  found=true
  [ "$answer" = "${values#|}" ]
}

# later COMMAND… is a value that only a command knows. With --dry-run it is the command, for a shell to run.
later() {
  if $dry_run; then
    # shellcheck disable=SC2016
    printf '$(%s)' "$(quoted "$@")"
    return
  fi
  "$@" 2>"$log" || explain $? "$@"
}

# quoted prints a command on one line, as a shell reads it. What later has printed stays to be run.
quoted() {
  local word line=''
  for word in "$@"; do
    # shellcheck disable=SC2016
    case $word in
      *'$('*) word=\"$word\" ;;
      *[!A-Za-z0-9_./:@=,+%-]* | '') word=\'${word//\'/\'\\\'\'}\' ;;
    esac
    line+=" $word"
  done
  printf '%s\n' "${line# }"
}

# bind REASON ROLE MEMBER NAME WORDS… gives MEMBER the ROLE on the resource NAME, whose policy
# `gcloud WORDS… get-iam-policy NAME` reads, unless it has it.
bind() {
  local reason=$1
  shift
  policy_of "$@"
  ! has_member "$2" || return 0
  local who=${2#*:}
  detail "${who%@"$at"} gets ${1##*/} on ${3%@"$at"}, $reason"
  run_patiently gcloud "${words[@]}" add-iam-policy-binding "$3" "${flags[@]}" --member="$2" --role="$1"
}

# unbind ROLE MEMBER NAME WORDS… takes it back.
unbind() {
  policy_of "$@"
  if $dry_run || has_member "$2"; then
    run gcloud "${words[@]}" remove-iam-policy-binding "$3" "${flags[@]}" --member="$2" --role="$1"
  fi
}

# policy_of reads into $answer who has the role, with the condition's title where there is one, and into words and flags how
# gcloud speaks of the resource.
policy_of() {
  local word role=$1 name=$3
  words=() flags=()
  for word in "${@:4}"; do
    case $word in -*) flags+=("$word") ;; *) words+=("$word") ;; esac
  done
  look gcloud "${words[@]}" get-iam-policy "$name" "${flags[@]}" --flatten='bindings[].members[]' --filter="bindings.role=$role" '--format=value[separator=" "](bindings.members,bindings.condition.title)' || true
  case ${words[*]} in # a policy with conditions in it wants to know that this has none; Pub/Sub's commands know of none
    projects | 'iam service-accounts' | secrets | 'run services') flags+=(--condition=None) ;;
  esac
}

# has_member MEMBER: who has the role under a condition, which may be over, does not have it.
has_member() { [[ $'\n'$answer$'\n' == *$'\n'"$1 "$'\n'* ]]; }

# explain STATUS COMMAND… ends the script with 1: what failed, what Google says, and what to do.
explain() {
  shift
  {
    printf '\nThis failed:\n  %s\n' "$(quoted "$@")"
    sed 's/^/  /' "$log"
    printf '\nWhat to do: %s\nThen run the same again: what is done stays done.\n' "$(advice)"
  } >&2
  exit 1
}

# advice reads what Google said, in $log. The first that fits is the most particular. Billing alone is no sign: gcloud
# has an option of that name, and recommends it.
advice() {
  says 'do(es)? not currently have an active account|gcloud auth login|UNAUTHENTICATED|invalid_grant|Reauthentication' "sign in: gcloud auth login" ||
    says 'ProxyError|Max retries exceeded|ConnectionError|timed out|network (is unreachable|connectivity|error)' "see that Google can be reached from here: gcloud info --run-diagnostics" ||
    says 'billing (account|must|to be|is|has)|enable billing|BILLING_DISABLED' "link a billing account to the project: https://console.cloud.google.com/billing/linkedaccount?project=$project" ||
    says 'constraints/|organization policy|permitted customer|allowedPolicyMember' "an administrator of the organization allows this for the project, in the organization policy that Google names: https://console.cloud.google.com/iam-admin/orgpolicies?project=$project" ||
    says 'SERVICE_DISABLED|has not been used in project|is not enabled' "wait a minute, for an API that was just enabled takes that long; if it stays so, deploy/setup.sh enables what is needed" ||
    says 'unable to queue the operation|already in progress|underlying data changed' "wait a few minutes: Google is not done yet with what was asked of it before" ||
    says 'build service account|cloudbuild.builds.builder|Build failed' "see the build's log, which Google names; where the build's account lacks rights, give it roles/cloudbuild.builds.builder, or name another as BUILD_SERVICE_ACCOUNT in $config" ||
    says 'Service Agent.*(few minutes|recently)' "wait a few minutes: Google has only just made the account that it names" ||
    says 'service account .* does not exist' "make the account that Google names, or correct it in $config" ||
    says 'access projects instance' "see that GOOGLE_CLOUD_PROJECT in $config is the project's id, and not its name; an owner of the project runs this. Who you are: gcloud config get account" ||
    says 'PERMISSION_DENIED|permission|forbidden|status=\[403\]' "an owner of the project runs this, or gives you the right that Google names. Who you are: gcloud config get account" ||
    says 'quota|RESOURCE_EXHAUSTED|rate limit' "wait a minute; if it stays so, ask for more of the quota that Google names: https://console.cloud.google.com/iam-admin/quotas?project=$project" ||
    echo "mend what Google says."
}

# says PATTERN ADVICE prints the advice where Google said such a thing.
says() { grep -qiE "$1" "$log" && echo "$2"; }

# report says how much was changed. It comes last of what was done.
report() {
  if $dry_run; then
    say "Nothing was run. A first run is these commands; later ones change only what differs."
  elif [ $changes -eq 0 ]; then
    say $'\nAll was as it should be.'
  else
    say $'\n'"$changes changes."
  fi
}

# need_go ends a script that cannot do without onbehalf.
need_go() { command -v go >/dev/null || fail "go is not on PATH; install it (https://go.dev/doc/install), or use Cloud Shell"; }

# onbehalf is this source's own command.
onbehalf() { go run ./cmd/onbehalf "$@"; }
