# Three accounts, so that none has more than its part: who takes over a function can sign as the delegated
# account, and who takes over a trigger can only deliver events.

resource "google_service_account" "runtime" {
  project      = var.project
  account_id   = "onbehalf-runtime"
  display_name = "onbehalf-runtime"
  description  = "What onbehalf's functions run as"

  depends_on = [google_project_service.api]
}

resource "google_service_account" "trigger" {
  project      = var.project
  account_id   = "onbehalf-trigger"
  display_name = "onbehalf-trigger"
  description  = "Delivers events to onbehalf's functions"

  depends_on = [google_project_service.api]
}

locals {
  made            = "onbehalf-delegated@${local.at}"
  service_account = var.service_account == "" ? local.made : var.service_account
  # One that is named is there, in this project or in another: Terraform must not make it, nor delete it.
  owned = local.service_account == local.made
  # Where it is at home: a project's own role serves in that project alone.
  labels = split(".", trimsuffix(split("@", local.service_account)[1], ".iam.gserviceaccount.com"))
  home = !endswith(local.service_account, ".iam.gserviceaccount.com") ? var.project : join(":", compact([
    join(".", slice(local.labels, 1, length(local.labels))), local.labels[0],
  ]))
}

resource "google_service_account" "delegated" {
  count = local.owned ? 1 : 0

  project      = var.project
  account_id   = "onbehalf-delegated"
  display_name = "onbehalf-delegated"
  description  = "Acts as Workspace users; has no role, but is authorized in the Admin console"

  depends_on = [google_project_service.api]
}

data "google_service_account" "delegated" {
  count = local.owned ? 0 : 1

  account_id = local.service_account
}

locals {
  delegated = one(concat(google_service_account.delegated, data.google_service_account.delegated))
}

# One permission: signing as the delegated account, and nothing else that roles/iam.serviceAccountTokenCreator
# would bring.
resource "google_project_iam_custom_role" "signer" {
  project     = local.home
  role_id     = "onbehalfSigner"
  title       = "onbehalf: sign as the delegated account"
  permissions = ["iam.serviceAccounts.signJwt"]
  stage       = "GA"

  depends_on = [google_project_service.api]
}

# To become users without a key.
resource "google_service_account_iam_member" "signer" {
  service_account_id = local.delegated.name
  role               = google_project_iam_custom_role.signer.name
  member             = google_service_account.runtime.member
}

# To keep the ledger.
resource "google_project_iam_member" "ledger" {
  project = var.project
  role    = "roles/datastore.user"
  member  = google_service_account.runtime.member
}
