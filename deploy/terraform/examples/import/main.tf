# Takes over what deploy/setup.sh and deploy/deploy.sh have made, so that Terraform does not fail on what is there.
# Read "Coming from the scripts" in ../../README.md before the first apply. What is not named here (APIs, rights,
# versions of secrets, expiry) can be made again where it is there, and needs no import.

terraform {
  required_version = ">= 1.7" # import blocks with for_each
}

locals {
  project  = "my-project-1"
  region   = "europe-west1"
  database = "(default)"
  at       = "projects/${local.project}"
}

provider "google" {
  project = local.project
}

provider "google-beta" {
  project = local.project
}

module "onbehalf" {
  source = "../.." # elsewhere: git::https://github.com/onbehalf-dev/onbehalf.git//deploy/terraform?ref=VERSION

  project = local.project
  region  = local.region
  ledger  = "firestore:${local.database}"
  policy  = "${path.module}/policy.yaml"
}

import {
  to = module.onbehalf.google_service_account.runtime
  id = "${local.at}/serviceAccounts/onbehalf-runtime@${local.project}.iam.gserviceaccount.com"
}

import {
  to = module.onbehalf.google_service_account.trigger
  id = "${local.at}/serviceAccounts/onbehalf-trigger@${local.project}.iam.gserviceaccount.com"
}

import {
  to = module.onbehalf.google_service_account.delegated[0]
  id = "${local.at}/serviceAccounts/onbehalf-delegated@${local.project}.iam.gserviceaccount.com"
}

import {
  to = module.onbehalf.google_project_iam_custom_role.signer
  id = "${local.at}/roles/onbehalfSigner"
}

import {
  for_each = toset(["onbehalf-jobs", "onbehalf-results", "onbehalf-batches", "onbehalf-sweep", "onbehalf-dead-letters", "onbehalf-mail"])

  to = module.onbehalf.google_pubsub_topic.topic[each.key]
  id = "${local.at}/topics/${each.key}"
}

import {
  to = module.onbehalf.google_pubsub_subscription.results
  id = "${local.at}/subscriptions/onbehalf-results"
}

import {
  to = module.onbehalf.google_pubsub_subscription.dead_letters
  id = "${local.at}/subscriptions/onbehalf-dead-letters"
}

import {
  to = module.onbehalf.google_firestore_database.ledger
  id = "${local.at}/databases/${local.database}"
}

import {
  for_each = toset(["onbehalf-policy"]) # and onbehalf-rules, where there are rules

  to = module.onbehalf.google_secret_manager_secret.setting[each.key]
  id = "${local.at}/secrets/${each.key}"
}

import {
  to = module.onbehalf.google_cloud_scheduler_job.sweep
  id = "${local.at}/locations/${local.region}/jobs/onbehalf-sweep"
}

# Schedules of batches, by their names:
# import {
#   for_each = toset(["signatures"])
#
#   to = module.onbehalf.google_cloud_scheduler_job.batch[each.key]
#   id = "${local.at}/locations/${local.region}/jobs/onbehalf-batch-${each.key}"
# }

import {
  for_each = toset(["onbehalf-execute", "onbehalf-dead-letter", "onbehalf-fanout", "onbehalf-sweep"])

  to = module.onbehalf.google_cloudfunctions2_function.function[each.key]
  id = "${local.at}/locations/${local.region}/functions/${each.key}"
}

# Results in BigQuery, where bigquery_dataset is set:
# import {
#   to = module.onbehalf.google_bigquery_dataset.results[0]
#   id = "${local.at}/datasets/onbehalf"
# }
#
# import {
#   to = module.onbehalf.google_bigquery_table.results[0]
#   id = "${local.at}/datasets/onbehalf/tables/results"
# }
#
# import {
#   to = module.onbehalf.google_pubsub_subscription.bigquery[0]
#   id = "${local.at}/subscriptions/onbehalf-results-bigquery"
# }
