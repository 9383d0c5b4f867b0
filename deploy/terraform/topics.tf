resource "google_pubsub_topic" "topic" {
  for_each = local.topics

  project = var.project
  name    = each.key

  # A result on the topic of jobs would be taken for a job, whose result would be the next one.
  lifecycle {
    precondition {
      condition     = length(local.topics) == 6
      error_message = "jobs_topic, results_topic, batches_topic: three names that differ are accepted."
    }
  }

  depends_on = [google_project_service.api]
}

# What is published while nobody is subscribed is lost. Left to itself a subscription ends after 31 idle days.

resource "google_pubsub_subscription" "results" {
  project                    = var.project
  name                       = "onbehalf-results"
  topic                      = google_pubsub_topic.topic[var.results_topic].id
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

resource "google_pubsub_subscription" "dead_letters" {
  project                    = var.project
  name                       = "onbehalf-dead-letters"
  topic                      = google_pubsub_topic.topic["onbehalf-dead-letters"].id
  message_retention_duration = "604800s"

  expiration_policy {
    ttl = ""
  }
}

# The runtime publishes results, a batch's jobs, and its own word to go on with a batch.
resource "google_pubsub_topic_iam_member" "runtime" {
  for_each = toset([var.jobs_topic, var.results_topic, var.batches_topic])

  project = var.project
  topic   = google_pubsub_topic.topic[each.key].name
  role    = "roles/pubsub.publisher"
  member  = google_service_account.runtime.member
}

# Gmail says that a mailbox has changed.
resource "google_pubsub_topic_iam_member" "gmail" {
  project = var.project
  topic   = google_pubsub_topic.topic["onbehalf-mail"].name
  role    = "roles/pubsub.publisher"
  member  = "serviceAccount:gmail-api-push@system.gserviceaccount.com"
}

# Pub/Sub puts there what is given up.
resource "google_pubsub_topic_iam_member" "dead_letters" {
  project = var.project
  topic   = google_pubsub_topic.topic["onbehalf-dead-letters"].name
  role    = "roles/pubsub.publisher"
  member  = google_project_service_identity.pubsub.member
}
