# With bigquery_dataset: Pub/Sub writes each result into a table, with no program of ours in between. The results
# stay when all else is destroyed.

locals {
  bigquery = var.bigquery_dataset == "" ? 0 : 1
}

resource "google_bigquery_dataset" "results" {
  count = local.bigquery

  project         = var.project
  dataset_id      = var.bigquery_dataset
  location        = var.bigquery_location == "" ? var.region : var.bigquery_location
  deletion_policy = "ABANDON"

  depends_on = [google_project_service.api]
}

resource "google_bigquery_table" "results" {
  count = local.bigquery

  project             = var.project
  dataset_id          = google_bigquery_dataset.results[0].dataset_id
  table_id            = "results"
  description         = "What came of jobs: onbehalf schema result"
  schema              = file("${path.module}/../bigquery/results.json")
  deletion_protection = false # deletion_policy protects it, and lets the rest be destroyed
  deletion_policy     = "ABANDON"

  time_partitioning {
    type  = "DAY"
    field = "publish_time"
  }
}

# Pub/Sub's agent writes into this table, and into no other.
resource "google_bigquery_table_iam_member" "results" {
  count = local.bigquery

  project    = var.project
  dataset_id = google_bigquery_table.results[0].dataset_id
  table_id   = google_bigquery_table.results[0].table_id
  role       = "roles/bigquery.dataEditor"
  member     = google_project_service_identity.pubsub.member
}

# Only results of jobs have the attribute "job"; summaries of batches have not. What cannot be written waits in the
# subscription: a dead letter would go to a function that takes it for a job.
resource "google_pubsub_subscription" "bigquery" {
  count = local.bigquery

  project                    = var.project
  name                       = "onbehalf-results-bigquery"
  topic                      = google_pubsub_topic.topic[var.results_topic].id
  filter                     = "attributes:job"
  message_retention_duration = "604800s"

  bigquery_config {
    table          = "${var.project}.${google_bigquery_table.results[0].dataset_id}.${google_bigquery_table.results[0].table_id}"
    write_metadata = true
  }

  expiration_policy {
    ttl = ""
  }

  # The agent must be able to write when the subscription is made.
  depends_on = [google_bigquery_table_iam_member.results]
}
