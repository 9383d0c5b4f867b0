# What is uploaded: all that .gcloudignore leaves of this module's own source tree.

locals {
  source = abspath("${path.module}/../..")
  ignored = compact([
    for line in flatten([
      for line in split("\n", file("${local.source}/.gcloudignore")) :
      startswith(line, "#!include:") ? split("\n", file("${local.source}/${trimspace(trimprefix(line, "#!include:"))}")) : [line]
    ]) : startswith(line, "#") ? "" : trimspace(line)
  ])
  # A pattern with a slash, but at its end, is seen from the root; others are for every folder. What is below a
  # folder is ignored with it.
  excludes = flatten([
    for pattern in local.ignored : [
      for path in ["${strcontains(trimsuffix(pattern, "/"), "/") ? "" : "**/"}${trim(pattern, "/")}"] : [path, "${path}/**"]
    ]
  ])
}

# One mode for all files, so that the archive is the same on each machine and an unchanged source changes nothing.
data "archive_file" "source" {
  type             = "zip"
  source_dir       = local.source
  excludes         = local.excludes
  output_file_mode = "0644"
  output_path      = "${path.root}/.terraform/onbehalf-source.zip"
}

resource "google_storage_bucket" "source" {
  project  = var.project
  name     = "${replace(replace(var.project, ":", "_"), ".", "_")}-onbehalf-source"
  location = var.region

  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true # it holds nothing that is not in the tree

  depends_on = [google_project_service.api]
}

# The digest is in the name: another source is another object, and that is a change of the functions.
resource "google_storage_bucket_object" "source" {
  bucket = google_storage_bucket.source.name
  name   = "source-${data.archive_file.source.output_sha256}.zip"
  source = data.archive_file.source.output_path

  lifecycle {
    create_before_destroy = true
  }
}
