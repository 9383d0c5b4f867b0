# shellcheck shell=bash
# Reads deploy/config.env and holds every value against what is accepted, before the first command is run.
#
# The file is read and not executed: a typing error in it must not become a command. It is
# written so that a shell can read it, too, for `onbehalf` on one's own machine.

# Before all that an older bash, such as the one of macOS, cannot read.
if [ "${BASH_VERSINFO[0]}" -lt 4 ] || [ "${BASH_VERSINFO[0]}${BASH_VERSINFO[1]}" -lt 44 ]; then
  printf '%s\n' "${0##*/}: bash $BASH_VERSION is too old; 4.4 or newer is needed (Cloud Shell has it)" >&2
  exit 2
fi

declare -A given=()   # what the file says
declare -a known=()   # the settings that there are, in their order
declare -a problems=()
spoilt='' # the names on lines that cannot be read

# read_config FILE makes each setting a variable of the shell, or ends with 2 and a line for each problem.
read_config() {
  { [ -r "$1" ] && ! [ -d "$1" ]; } || fail "$1: there is no such file; copy deploy/config.env.example to it, and fill in what has no default"
  read_lines "$1"
  project_settings
  onbehalf_settings
  option_settings
  local prefix
  for prefix in EXECUTE DEADLETTER FANOUT SWEEP; do
    function_settings "$prefix"
  done
  local name
  for name in "${!given[@]}"; do
    [[ " ${known[*]} " == *" $name "* ]] || problems+=("$name: there is no such setting; deploy/config.env.example has all that there are")
  done
  [ ${#problems[@]} -gt 0 ] || check_together
  if [ ${#problems[@]} -gt 0 ]; then
    printf '%s\n' "${problems[@]}" | sort | while IFS= read -r name; do printf '%s: %s\n' "$1" "$name"; done >&2
    exit 2
  fi
}

read_lines() {
  local line number=0 value
  local pattern='^([A-Za-z_][A-Za-z0-9_]*)=('\''([^'\'']*)'\''|"([^"$`\]*)"|([^][:space:]#'\''"$`\();<>&|]*))[[:space:]]*(#.*)?$'
  while IFS= read -r line || [ -n "$line" ]; do
    number=$((number + 1))
    line=${line%$'\r'}
    [[ $line =~ ^[[:space:]]*(#.*)?$ ]] && continue
    if ! [[ $line =~ $pattern ]]; then
      spoilt+=" ${line%%=*} "
      problems+=("line $number: ${line%%=*}…: is not accepted; NAME=VALUE is, and NAME='VALUE' for a value with a character that means something to a shell")
      continue
    fi
    value=${BASH_REMATCH[3]}${BASH_REMATCH[4]}${BASH_REMATCH[5]}
    [ -z "${given[${BASH_REMATCH[1]}]+set}" ] || problems+=("${BASH_REMATCH[1]}: is given twice, the second time in line $number")
    given[${BASH_REMATCH[1]}]=$value
  done <"$1"
}

# may NAME DEFAULT PATTERN ACCEPTED: a setting that may be left out, or empty.
may() {
  local value=${given[$1]:-$2}
  known+=("$1")
  if [ -n "${given[$1]:-}" ] && ! [[ $value =~ ^($3)$ ]]; then
    problems+=("$1: \"$value\" is not accepted; $4")
  fi
  printf -v "$1" %s "$value"
}

# must NAME PATTERN ACCEPTED: a setting that somebody has to choose.
must() {
  may "$1" '' "$2" "$3"
  [ -n "${given[$1]:-}" ] || [[ $spoilt == *" $1 "* ]] || problems+=("$1: is missing; $3")
}

account='[a-z0-9.-]+@[a-z0-9.-]+\.gserviceaccount\.com'
secret='sm://[a-z0-9.:-]+/[A-Za-z0-9_-]{1,255}/[0-9]+'
path='[A-Za-z0-9._/~+@-][A-Za-z0-9._/~+@ -]{0,250}'
topic='[A-Za-z][A-Za-z0-9._~+%-]{2,254}'
address="[A-Za-z0-9.!#%&*+/=?^_{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+"

project_settings() {
  must GOOGLE_CLOUD_PROJECT '([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]' 'a project id such as my-project-1 is'
  must REGION '[a-z]+-[a-z]+[0-9]{1,2}' 'a region of Cloud Run such as europe-west1 is'
  may FIRESTORE_LOCATION "$REGION" 'eur3|nam5|nam7|[a-z]+-[a-z]+[0-9]{1,2}' 'a location of Firestore such as eur3, nam5 or europe-west1 is'
}

onbehalf_settings() {
  local units='[1-9][0-9]{0,9}'
  may ONBEHALF_SERVICE_ACCOUNT "onbehalf-delegated@$(domain_of "$GOOGLE_CLOUD_PROJECT").iam.gserviceaccount.com" '[a-z0-9-]+@[a-z0-9.-]+\.iam\.gserviceaccount\.com' "a service account's e-mail address is, such as onbehalf-delegated@my-project-1.iam.gserviceaccount.com"
  must ONBEHALF_POLICY "$secret|$path" 'the path of the policy is, or sm://PROJECT/SECRET/VERSION with the number of a version'
  may ONBEHALF_RULES '' "$secret|$path" 'the path of the rules is, or sm://PROJECT/SECRET/VERSION with the number of a version'
  may ONBEHALF_ADMIN '' "$address" 'the primary e-mail address of a Workspace administrator such as admin@example.com is'
  may ONBEHALF_LEDGER 'firestore:(default)' 'firestore:(\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9])' 'firestore:DATABASE is, with a database that all functions share, such as firestore:(default)'
  may ONBEHALF_JOBS_TOPIC onbehalf-jobs "$topic" "a topic's id such as onbehalf-jobs is, not its path"
  may ONBEHALF_RESULTS_TOPIC onbehalf-results "$topic" "a topic's id such as onbehalf-results is, not its path"
  may ONBEHALF_BATCHES_TOPIC onbehalf-batches "$topic" "a topic's id such as onbehalf-batches is, not its path"
  may ONBEHALF_GMAIL_UNITS_PER_USER '' "$units" 'a number of quota units a minute is, such as 6000'
  may ONBEHALF_GMAIL_UNITS_PER_PROJECT '' "$units" 'a number of quota units a minute is, such as 1200000'
}

option_settings() {
  may DEPLOYER '' "user:$address|group:$address|serviceAccount:$account" 'user:ADDRESS, group:ADDRESS or serviceAccount:ADDRESS is'
  [ -z "$DEPLOYER" ] || DEPLOYER=${DEPLOYER%%:*}:$(tr '[:upper:]' '[:lower:]' <<<"${DEPLOYER#*:}") # as policies have it
  may BUILD_SERVICE_ACCOUNT '' "$account" "a service account's e-mail address is"
  may SCHEDULES '' "$path" 'the path of a file as deploy/schedules.example is'
  may ALERT_EMAIL '' "$address" 'an e-mail address is'
  may BIGQUERY_DATASET '' '[A-Za-z0-9_]{1,1000}' 'the id of a dataset is: letters, digits and _'
  may BIGQUERY_LOCATION "$REGION" 'EU|US|[a-z]+-[a-z]+[0-9]{1,2}' 'EU, US or a region is'
}

# The defaults are those that the figures in README were measured with, or that wait for Google most of
# their time and so need little. Google's bounds: https://cloud.google.com/run/docs/configuring/services/cpu
function_settings() {
  local instances=3 concurrency=8 timeout=300 number='[1-9][0-9]{0,3}'
  case $1 in
    EXECUTE) instances=10 concurrency=80 ;;
    DEADLETTER) instances=1 concurrency=80 ;;
    FANOUT) timeout=540 ;;
  esac
  may "$1_CPU" 1 '1|2|4|6|8' 'whole CPUs are: 1, 2, 4, 6 or 8'
  may "$1_MEMORY" 1Gi '(512|[6-9][0-9]{2}|[1-9][0-9]{3,4})Mi|([1-9]|[12][0-9]|3[0-2])Gi' 'from 512Mi to 32Gi is'
  may "$1_CONCURRENCY" "$concurrency" '[1-9][0-9]{0,2}|1000' 'events at once in one instance are, from 1 to 1000'
  may "$1_TIMEOUT" "$timeout" '[3-9][0-9]|[1-4][0-9]{2}|5[0-3][0-9]|540' 'seconds are, from 30 to 540'
  may "$1_MAX_INSTANCES" "$instances" "$number" 'a number of instances is, such as 10'
  may "$1_MIN_INSTANCES" 0 "0|$number" 'a number of instances is, such as 0'
}

# domain_of PROJECT: example.com:my-project has its accounts at my-project.example.com.
domain_of() {
  case $1 in
    *:*) printf %s "${1#*:}.${1%%:*}" ;;
    *) printf %s "$1" ;;
  esac
}

# project_of ACCOUNT is the other way round.
project_of() {
  local project=${1#*@}
  project=${project%.iam.gserviceaccount.com}
  case $project in
    *.*) printf %s "${project#*.}:${project%%.*}" ;;
    *) printf %s "$project" ;;
  esac
}

# check_together holds the settings against each other and against the files that they name.
check_together() {
  local name prefix
  for name in ONBEHALF_POLICY ONBEHALF_RULES SCHEDULES; do
    check_file "$name"
  done
  for prefix in EXECUTE DEADLETTER FANOUT SWEEP; do
    name=${prefix}_MIN_INSTANCES most=${prefix}_MAX_INSTANCES
    [ "${!name}" -le "${!most}" ] || problems+=("$name: \"${!name}\" is not accepted; it is more than $most, which is ${!most}")
  done
  local -A names=([onbehalf-sweep]='the topic that wakes Sweep' [onbehalf-dead-letters]='the topic of dead letters' [onbehalf-mail]='the topic that Gmail publishes to')
  for name in ONBEHALF_JOBS_TOPIC ONBEHALF_RESULTS_TOPIC ONBEHALF_BATCHES_TOPIC; do
    [ -z "${names[${!name}]:-}" ] || problems+=("$name: \"${!name}\" is not accepted; that is ${names[${!name}]}")
    names[${!name}]=$name
  done
}

# check_file holds a file that a setting names against what Secret Manager takes: 64 KiB.
check_file() {
  local file=${!1}
  case $file in '' | sm://*) return ;; esac
  if ! [ -f "$file" ] || ! [ -r "$file" ]; then
    problems+=("$1: \"$file\" is not accepted; there is no such file, or it cannot be read. Paths are seen from the root of the source")
  elif ! [ -s "$file" ] || [ "$(wc -c <"$file")" -gt 65536 ]; then
    problems+=("$1: \"$file\" is not accepted; a file of 1 to 65,536 bytes is")
  fi
}
