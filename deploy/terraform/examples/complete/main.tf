# onbehalf with all that can be chosen.

terraform {
  required_version = ">= 1.5"

  # The state has the policy's text in it, and no secret value.
  # backend "gcs" {
  #   bucket = "my-terraform-states"
  #   prefix = "onbehalf"
  # }
}

provider "google" {
  project = "my-project-1"
  region  = "europe-west1"
}

provider "google-beta" {
  project = "my-project-1"
  region  = "europe-west1"
}

module "onbehalf" {
  source = "../.." # elsewhere: git::https://github.com/onbehalf-dev/onbehalf.git//deploy/terraform?ref=VERSION

  project = "my-project-1"
  region  = "europe-west1"

  policy = "${path.module}/policy.yaml"
  rules  = "${path.module}/rules.yaml"
  admin  = "admin@example.com"
  # What "onbehalf policy scopes policy.yaml --admin --batches" prints.
  scopes = [
    "https://www.googleapis.com/auth/admin.directory.group.member.readonly",
    "https://www.googleapis.com/auth/admin.directory.user.readonly",
    "https://www.googleapis.com/auth/gmail.settings.basic",
  ]

  service_account       = "robot@my-project-1.iam.gserviceaccount.com"
  build_service_account = "builder@my-project-1.iam.gserviceaccount.com"

  ledger             = "firestore:onbehalf"
  firestore_location = "eur3"

  jobs_topic    = "workspace-jobs"
  results_topic = "workspace-results"
  batches_topic = "workspace-batches"

  gmail_units_per_user    = 15000
  gmail_units_per_project = 1200000

  schedules = {
    signatures = {
      schedule  = "0 3 * * *"
      time_zone = "Europe/Paris"
      batch     = "${path.module}/signatures.yaml"
    }
  }

  alert_email       = "oncall@example.com"
  bigquery_dataset  = "onbehalf"
  bigquery_location = "EU"

  execute     = { max_instances = 20, min_instances = 1, cpu = 2, memory = "2Gi", concurrency = 100, timeout = 120 }
  dead_letter = { memory = "512Mi" }
  fanout      = { timeout = 540 }
  sweep       = { max_instances = 1 }
}

output "onbehalf" {
  value = module.onbehalf
}
