# onbehalf in a project, as deploy/setup.sh and deploy/deploy.sh make it: the same resources, names, roles and
# settings. README.md says what is otherwise here, and why.

locals {
  # example.com:my-project has its accounts at my-project.example.com.
  domain = join(".", reverse(split(":", var.project)))
  at     = "${local.domain}.iam.gserviceaccount.com"

  topics = toset([
    var.jobs_topic, var.results_topic, var.batches_topic,
    "onbehalf-sweep", "onbehalf-dead-letters", "onbehalf-mail",
  ])
  database = trimprefix(var.ledger, "firestore:")

  apis = toset(concat([
    "iam", "iamcredentials", "serviceusage", "cloudresourcemanager", # accounts, signJwt
    "pubsub", "cloudfunctions", "run", "cloudbuild", "artifactregistry", "storage", "logging",
    "firestore", "secretmanager", "cloudscheduler", "monitoring",
    "gmail", "admin", # what the jobs call; others are enabled by who needs them
  ], var.bigquery_dataset == "" ? [] : ["bigquery"]))
}

resource "google_project_service" "api" {
  for_each = local.apis

  project = var.project
  service = "${each.key}.googleapis.com"

  disable_on_destroy = false # others in the project may need it
}

# Pub/Sub itself moves dead letters, and writes to BigQuery. Its agent is made when it is first asked for.
resource "google_project_service_identity" "pubsub" {
  provider = google-beta

  project = var.project
  service = "pubsub.googleapis.com"

  depends_on = [google_project_service.api]
}
