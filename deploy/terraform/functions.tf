locals {
  functions = {
    onbehalf-dead-letter = { entry_point = "DeadLetter", topic = "onbehalf-dead-letters", retention = "604800s", gives_up = false, instance = var.dead_letter }
    onbehalf-execute     = { entry_point = "Execute", topic = var.jobs_topic, retention = "604800s", gives_up = true, instance = var.execute }
    onbehalf-fanout      = { entry_point = "FanOut", topic = var.batches_topic, retention = "604800s", gives_up = false, instance = var.fanout }
    onbehalf-sweep       = { entry_point = "Sweep", topic = "onbehalf-sweep", retention = "600s", gives_up = false, instance = var.sweep } # the next minute's does as well
  }

  environment = merge(
    {
      ONBEHALF_SERVICE_ACCOUNT = local.service_account
      ONBEHALF_POLICY          = local.named["onbehalf-policy"]
      ONBEHALF_LEDGER          = var.ledger
      ONBEHALF_JOBS_TOPIC      = var.jobs_topic
      ONBEHALF_RESULTS_TOPIC   = var.results_topic
      ONBEHALF_BATCHES_TOPIC   = var.batches_topic
    },
    var.admin == "" ? {} : { ONBEHALF_ADMIN = var.admin },
    var.rules == "" ? {} : { ONBEHALF_RULES = local.named["onbehalf-rules"] },
    var.gmail_units_per_user == null ? {} : { ONBEHALF_GMAIL_UNITS_PER_USER = tostring(var.gmail_units_per_user) },
    var.gmail_units_per_project == null ? {} : { ONBEHALF_GMAIL_UNITS_PER_PROJECT = tostring(var.gmail_units_per_project) },
  )
}

# They have no event_trigger: the subscriptions below deliver.
resource "google_cloudfunctions2_function" "function" {
  for_each = local.functions

  project  = var.project
  location = var.region
  name     = each.key

  build_config {
    runtime         = "go126"
    entry_point     = each.value.entry_point
    service_account = var.build_service_account == "" ? null : "projects/${var.project}/serviceAccounts/${var.build_service_account}"

    source {
      storage_source {
        bucket = google_storage_bucket.source.name
        object = google_storage_bucket_object.source.name
      }
    }
  }

  service_config {
    service_account_email            = google_service_account.runtime.email
    ingress_settings                 = "ALLOW_INTERNAL_ONLY"
    available_cpu                    = tostring(each.value.instance.cpu)
    available_memory                 = each.value.instance.memory
    max_instance_request_concurrency = each.value.instance.concurrency
    timeout_seconds                  = each.value.instance.timeout
    min_instance_count               = each.value.instance.min_instances
    max_instance_count               = each.value.instance.max_instances

    # Each instance takes its share of the project's quota.
    environment_variables = merge(local.environment, { ONBEHALF_MAX_INSTANCES = tostring(each.value.instance.max_instances) })

    dynamic "secret_volumes" {
      for_each = google_secret_manager_secret_version.setting

      content {
        mount_path = "/secrets/${secret_volumes.key}"
        project_id = var.project
        secret     = secret_volumes.key

        versions {
          version = secret_volumes.value.version
          path    = "${secret_volumes.key}.yaml"
        }
      }
    }
  }

  # What an instance needs to start, and its first job to succeed.
  depends_on = [
    google_firestore_database.ledger,
    google_project_iam_member.ledger,
    google_pubsub_topic_iam_member.runtime,
    google_secret_manager_secret_iam_member.runtime,
    google_service_account_iam_member.signer,
  ]
}

# The trigger's account, and nobody else, calls them.
resource "google_cloud_run_v2_service_iam_member" "trigger" {
  for_each = local.functions

  project  = var.project
  location = var.region
  name     = google_cloudfunctions2_function.function[each.key].name
  role     = "roles/run.invoker"
  member   = google_service_account.trigger.member
}

# In place of an event_trigger, whose subscription belongs to Eventarc: Terraform could give that neither back-off
# nor dead letters, and a job that keeps failing would be forgotten after a day, with no result. The functions
# take a plain push as they take an event. Without the deadline of 600 s a long job is delivered again while it
# is being done.
resource "google_pubsub_subscription" "push" {
  for_each = local.functions

  project                    = var.project
  name                       = each.key
  topic                      = google_pubsub_topic.topic[each.value.topic].id
  ack_deadline_seconds       = 600
  message_retention_duration = each.value.retention

  push_config {
    push_endpoint = google_cloudfunctions2_function.function[each.key].service_config[0].uri

    oidc_token {
      service_account_email = google_service_account.trigger.email
      audience              = google_cloudfunctions2_function.function[each.key].service_config[0].uri
    }
  }

  retry_policy {
    minimum_backoff = "10s"
    maximum_backoff = "600s"
  }

  dynamic "dead_letter_policy" {
    for_each = each.value.gives_up ? [google_pubsub_topic.topic["onbehalf-dead-letters"].id] : []

    content {
      dead_letter_topic     = dead_letter_policy.value
      max_delivery_attempts = 100
    }
  }

  expiration_policy {
    ttl = ""
  }

  # The first delivery must not be refused, nor the first that is given up be lost.
  depends_on = [
    google_cloud_run_v2_service_iam_member.trigger,
    google_pubsub_subscription.dead_letters,
    google_pubsub_topic_iam_member.dead_letters,
  ]
}

# Pub/Sub takes from it what is given up.
resource "google_pubsub_subscription_iam_member" "dead_letters" {
  for_each = { for name, function in local.functions : name => function if function.gives_up }

  project      = var.project
  subscription = google_pubsub_subscription.push[each.key].name
  role         = "roles/pubsub.subscriber"
  member       = google_project_service_identity.pubsub.member
}
