# Left out, retry_config is what Google answers for it, and a difference in each plan. This is what gcloud sets: no
# retry.
locals {
  retry = { max_retry_duration = "0s", min_backoff_duration = "5s", max_backoff_duration = "3600s", max_doublings = 5 }
}

# Sweep is woken every minute.
resource "google_cloud_scheduler_job" "sweep" {
  project   = var.project
  region    = var.region
  name      = "onbehalf-sweep"
  schedule  = "* * * * *"
  time_zone = "Etc/UTC"

  pubsub_target {
    topic_name = google_pubsub_topic.topic["onbehalf-sweep"].id
    data       = base64encode("sweep")
  }

  retry_config {
    max_retry_duration   = local.retry.max_retry_duration
    min_backoff_duration = local.retry.min_backoff_duration
    max_backoff_duration = local.retry.max_backoff_duration
    max_doublings        = local.retry.max_doublings
  }
}

# Each firing is a batch of its own.
resource "google_cloud_scheduler_job" "batch" {
  for_each = var.schedules

  project   = var.project
  region    = var.region
  name      = "onbehalf-batch-${each.key}"
  schedule  = each.value.schedule
  time_zone = each.value.time_zone

  pubsub_target {
    topic_name = google_pubsub_topic.topic[var.batches_topic].id
    data       = filebase64(each.value.batch)
  }

  retry_config {
    max_retry_duration   = local.retry.max_retry_duration
    min_backoff_duration = local.retry.min_backoff_duration
    max_backoff_duration = local.retry.max_backoff_duration
    max_doublings        = local.retry.max_doublings
  }
}
