# shellcheck shell=bash
# What deploy/monitoring holds, applied: log-based metrics, alerts, whom they call, and the dashboard. What is there
# carries the digest of the file that it was made from, so that only what differs is changed.
# shellcheck disable=SC2154

setup_monitoring() {
  say "Metrics, alerts and the dashboard"
  local channel=''
  make_metrics
  make_channel
  make_alerts
  make_dashboard
}

# digest_of FILE. An older macOS has that program by its other name alone.
digest_of() { { sha256sum "$1" 2>/dev/null || shasum -a 256 "$1"; } | cut -c1-16; }

# named FILE prints its name without folder and ending.
named() { basename "$1" .yaml; }

# make_metrics: a metric has no labels, so its digest stands at the end of its description. It is put there last: what
# was broken off before is done again.
make_metrics() {
  local file name digest there verb description
  look gcloud logging metrics list --project="$project" '--format=value[separator=" "](name,description)' || true
  there=$answer
  for file in deploy/monitoring/metrics/*.yaml; do
    name=$(named "$file") digest=$(digest_of "$file") verb=create
    case $'\n'$there in
      *$'\n'"$name "*) verb=update ;;
    esac
    description="$(sed -n 's/^description: //p' "$file") [$digest]"
    case $'\n'$there$'\n' in
      *$'\n'"$name $description"$'\n'*) continue ;;
    esac
    detail "${verb}s the metric $name"
    run gcloud logging metrics "$verb" "$name" --project="$project" --config-from-file="$file"
    run gcloud logging metrics update "$name" --project="$project" --description="$description"
  done
}

# make_channel keeps in $channel the name of the one that calls ALERT_EMAIL. Without that the alerts keep the
# channels that they have.
make_channel() {
  [ -n "$ALERT_EMAIL" ] || return 0
  local -a labels=(--project="$project" '--filter=userLabels.onbehalf="alerts"' '--format=value(name)')
  local name email
  look gcloud beta monitoring channels list --project="$project" '--format=value[separator="|"](name,userLabels.onbehalf,labels.email_address)' || true
  IFS='|' read -r name _ email <<<"$(grep -m1 '^[^|]*|alerts|' <<<"$answer" || true)"
  if [ -z "$name" ]; then
    detail "makes the notification channel for $ALERT_EMAIL"
    run gcloud beta monitoring channels create --project="$project" --type=email --display-name='onbehalf: who is called' --channel-labels=email_address="$ALERT_EMAIL" --user-labels=onbehalf=alerts
    name=$(later gcloud beta monitoring channels list "${labels[@]}")
    if [ -z "$name" ]; then # alerts without it would call nobody, and look right
      say "Google does not list the channel yet. What to do: run the same again in a minute."
      exit 1
    fi
  elif [ "$email" != "$ALERT_EMAIL" ]; then
    detail "calls $ALERT_EMAIL in place of $email"
    run gcloud beta monitoring channels update "$name" --project="$project" --update-channel-labels=email_address="$ALERT_EMAIL"
  fi
  channel=$name
}

# make_alerts. Channels that somebody has added to an alert stay with it.
make_alerts() {
  local file name digest there id old channels
  look gcloud alpha monitoring policies list --project="$project" '--format=value[separator="|"](name,userLabels.onbehalf,userLabels.digest,notificationChannels.list(separator=","))' || true
  there=$answer
  for file in deploy/monitoring/alerts/*.yaml; do
    name=$(named "$file") digest=$(digest_of "$file")
    IFS='|' read -r id _ old channels <<<"$(grep -m1 "^[^|]*|$name|" <<<"$there" || true)"
    if [ -z "$id" ]; then
      detail "makes the alert $name"
      run gcloud alpha monitoring policies create --project="$project" --policy-from-file="$file" --user-labels="onbehalf=$name,digest=$digest" ${channel:+"--notification-channels=$channel"}
      continue
    fi
    local -a change=()
    [ "$old" = "$digest" ] || change+=(--policy-from-file="$file" --update-user-labels="onbehalf=$name,digest=$digest")
    if [ -n "$channel" ] && [[ ,$channels, != *,$channel,* ]]; then
      channels+=${channels:+,}$channel
      change+=(--set-notification-channels="$channels")
    elif [ ${#change[@]} -gt 0 ] && [ -n "$channels" ]; then # a policy from a file has none
      change+=(--set-notification-channels="$channels")
    fi
    [ ${#change[@]} -gt 0 ] || continue
    detail "updates the alert $name"
    run gcloud alpha monitoring policies update "$id" --project="$project" "${change[@]}"
  done
  end_old_alerts
}

# end_old_alerts deletes those of an earlier version that there is no file of any more. One without a digest was not
# made here, whatever its label.
end_old_alerts() {
  local id name old
  while IFS='|' read -r id name old _; do
    if [ -n "$name" ] && [ -n "$old" ] && [ ! -e "deploy/monitoring/alerts/$name.yaml" ]; then
      detail "deletes the alert $name, which is no more"
      run gcloud alpha monitoring policies delete "$id" --project="$project" --quiet
    fi
  done <<<"$there"
}

# make_dashboard. Its digest is one of its labels, which are part of the file; and who replaces a dashboard says
# which version of it, in etag.
make_dashboard() {
  local file=deploy/monitoring/dashboard.yaml digest id etag old
  digest=$(digest_of "$file")
  find_dashboard
  [ "$old" != "$digest" ] || return 0
  local -a text=(sed -e "s/^  onbehalf: .*/  onbehalf: \"$digest\"/")
  if [ -n "$id" ]; then
    detail "updates the dashboard"
    text+=(-e "1s|.*|etag: \"$etag\"|") # it may be base64, with / in it
    run gcloud monitoring dashboards update "$id" --project="$project" --config="$(later "${text[@]}" "$file")"
  else
    detail "makes the dashboard"
    run gcloud monitoring dashboards create --project="$project" --config="$(later "${text[@]}" "$file")"
  fi
}

find_dashboard() {
  look gcloud monitoring dashboards list --project="$project" '--format=value[separator="|"](name,etag,labels.onbehalf)' || true
  IFS='|' read -r id etag old <<<"$(grep -m1 '|[0-9a-f]\{16\}$' <<<"$answer" || true)"
}

# teardown_monitoring: alerts before what they look at and whom they call.
teardown_monitoring() {
  say "Metrics, alerts and the dashboard"
  local name id etag old file
  look gcloud alpha monitoring policies list --project="$project" '--format=value[separator="|"](name,userLabels.onbehalf,userLabels.digest)' || true
  delete_labelled 'gcloud alpha monitoring policies' "$(basename -s .yaml deploy/monitoring/alerts/*.yaml)"
  look gcloud beta monitoring channels list --project="$project" '--format=value[separator="|"](name,userLabels.onbehalf)' || true
  delete_labelled 'gcloud beta monitoring channels' alerts
  find_dashboard
  if $dry_run; then
    id=$(later gcloud monitoring dashboards list --project="$project" --filter='labels.onbehalf:*' '--format=value(name)')
  fi
  [ -z "$id" ] || run gcloud monitoring dashboards delete "$id" --project="$project" --quiet
  look gcloud logging metrics list --project="$project" '--format=value(name)' || true
  for file in deploy/monitoring/metrics/*.yaml; do
    name=$(named "$file")
    if $dry_run || [[ $'\n'$answer$'\n' == *$'\n'$name$'\n'* ]]; then
      run gcloud logging metrics delete "$name" --project="$project" --quiet
    fi
  done
}

# delete_labelled COMMAND LABELS deletes what $answer lists with a label of ours: the channel's, or an alert's, which has a
# digest beside it. With --dry-run it deletes what each of LABELS finds.
delete_labelled() {
  local id label digest
  local -a command
  read -ra command <<<"$1"
  if $dry_run; then
    for label in $2; do
      run "${command[@]}" delete "$(later "${command[@]}" list --project="$project" --filter="userLabels.onbehalf=\"$label\"" '--format=value(name)')" --project="$project" --quiet
    done
    return
  fi
  while IFS='|' read -r id label digest; do
    [[ $label != alerts && (-z $label || -z $digest) ]] || run "${command[@]}" delete "$id" --project="$project" --quiet
  done <<<"$answer"
}
