# onbehalf by its defaults. After terraform apply an administrator of the Workspace opens the page that
# admin_console names.

provider "google" {
  project = "my-project-1"
}

provider "google-beta" {
  project = "my-project-1"
}

module "onbehalf" {
  source = "../.." # elsewhere: git::https://github.com/onbehalf-dev/onbehalf.git//deploy/terraform?ref=VERSION

  project = "my-project-1"
  region  = "europe-west1"
  policy  = "${path.module}/policy.yaml"

  # What "onbehalf policy scopes policy.yaml" prints.
  scopes = [
    "https://www.googleapis.com/auth/gmail.insert",
    "https://www.googleapis.com/auth/gmail.readonly",
  ]
}

output "client_id" {
  value = module.onbehalf.client_id
}

output "admin_console" {
  value = module.onbehalf.admin_console
}
