# The ledger. The database is protected, and stays when all else is destroyed: without it every job that is
# delivered again is done again.
resource "google_firestore_database" "ledger" {
  project                 = var.project
  name                    = local.database
  location_id             = var.firestore_location == "" ? var.region : var.firestore_location
  type                    = "FIRESTORE_NATIVE"
  delete_protection_state = "DELETE_PROTECTION_ENABLED"
  deletion_policy         = "ABANDON"

  depends_on = [google_project_service.api]
}

# Has them forgotten when their time is over.
resource "google_firestore_field" "expiry" {
  for_each = toset(["onbehalf-jobs", "onbehalf-deferred", "onbehalf-batches", "onbehalf-counts"])

  project    = var.project
  database   = google_firestore_database.ledger.name
  collection = each.key
  field      = "expireAt"

  ttl_config {}

  # It takes Firestore long to look at all that is there, and nothing waits for it.
  skip_wait = true
}

locals {
  settings = { onbehalf-policy = var.policy, onbehalf-rules = var.rules }
  # Files become secrets, of which one version is mounted as a file: a change is a deployment, and nothing changes under a
  # function's feet. It is not named by sm:// as the scripts do: a new version's number is not known when
  # Terraform plans, and the provider fails to apply an environment of which one value was not known.
  uploads = { for name, value in local.settings : name => value if value != "" && !startswith(value, "sm://") }
  named = {
    for name, value in local.settings : name =>
    contains(keys(local.uploads), name) ? "/secrets/${name}/${name}.yaml" : value
  }
  there = {
    for name, value in local.settings : name => {
      project = split("/", value)[2]
      secret  = split("/", value)[3]
    } if startswith(value, "sm://")
  }
}

# Neither policy nor rules are secret values: Secret Manager is where the functions find them, in versions. So it
# does no harm that Terraform keeps their text in its state, though who reads it sees what is allowed.
resource "google_secret_manager_secret" "setting" {
  for_each = local.uploads

  project   = var.project
  secret_id = each.key

  replication {
    auto {}
  }

  depends_on = [google_project_service.api]
}

resource "google_secret_manager_secret_version" "setting" {
  for_each = local.uploads

  secret      = google_secret_manager_secret.setting[each.key].id
  secret_data = file(each.value)

  # A version that a running revision still reads must stay, so that its next instance starts.
  deletion_policy = "ABANDON"
}

# The runtime reads them at start.
resource "google_secret_manager_secret_iam_member" "runtime" {
  for_each = merge(
    { for name, _ in local.uploads : name => { project = var.project, secret = google_secret_manager_secret.setting[name].secret_id } },
    local.there,
  )

  project   = each.value.project
  secret_id = each.value.secret
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.runtime.member
}
