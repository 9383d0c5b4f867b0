terraform {
  required_version = ">= 1.5"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "~> 7.40" # whose google_firestore_field has skip_wait; deletion_policy of BigQuery's is of 7.33
    }
    google-beta = {
      source  = "hashicorp/google-beta"
      version = "~> 7.0" # for one resource, google_project_service_identity
    }
    archive = {
      source  = "hashicorp/archive"
      version = "~> 2.4" # whose excludes are patterns; older ones take names only
    }
  }
}
