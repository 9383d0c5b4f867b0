# The settings of deploy/config.env, of the same names without ONBEHALF_ and with the same defaults and bounds.
# Only what runs the scripts has none here: DEPLOYER, for who applies this has the rights already.

variable "project" {
  type        = string
  nullable    = false
  description = "Id of the Google Cloud project, such as my-project-1. It exists and has a billing account."

  validation {
    condition     = can(regex("^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project))
    error_message = "project: a project id such as my-project-1 is accepted."
  }
}

variable "region" {
  type        = string
  nullable    = false
  description = "Region of the functions and of Cloud Scheduler, such as europe-west1."

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "region: a region of Cloud Run such as europe-west1 is accepted."
  }
}

variable "policy" {
  type        = string
  nullable    = false
  description = "What jobs may do: the path of the policy's file, which becomes the secret onbehalf-policy, or sm://PROJECT/SECRET/VERSION of one that is there. See \"The policy\" in README.md."

  validation {
    condition     = startswith(var.policy, "sm://") ? can(regex("^sm://[a-z0-9.:-]+/[A-Za-z0-9_-]{1,255}/[0-9]+$", var.policy)) : can(file(var.policy))
    error_message = "policy: the path of a file that is there is accepted, or sm://PROJECT/SECRET/VERSION with the number of a version."
  }
}

variable "rules" {
  type        = string
  default     = ""
  nullable    = false
  description = "Rules for new mail, as policy: a path or sm://PROJECT/SECRET/VERSION. Empty: none."

  validation {
    condition     = var.rules == "" || (startswith(var.rules, "sm://") ? can(regex("^sm://[a-z0-9.:-]+/[A-Za-z0-9_-]{1,255}/[0-9]+$", var.rules)) : can(file(var.rules)))
    error_message = "rules: the path of a file that is there is accepted, or sm://PROJECT/SECRET/VERSION with the number of a version."
  }
}

variable "service_account" {
  type        = string
  default     = ""
  nullable    = false
  description = "E-mail address of the delegated service account, where one is there already, in this project or another. Empty: onbehalf-delegated is made."

  validation {
    condition     = can(regex("^([a-z0-9.-]+@[a-z0-9.-]+\\.gserviceaccount\\.com)?$", var.service_account))
    error_message = "service_account: a service account's e-mail address is accepted, such as onbehalf-delegated@my-project-1.iam.gserviceaccount.com."
  }
}

variable "admin" {
  type        = string
  default     = ""
  nullable    = false
  description = "Primary e-mail address of the Workspace administrator as whom the Directory is read. Batches need it, and with it the policy protects administrators."

  validation {
    condition     = can(regex("^([A-Za-z0-9.!#%&*+/=?^_{|}~-]{1,64}@[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+)?$", var.admin))
    error_message = "admin: the primary e-mail address of a Workspace administrator such as admin@example.com is accepted."
  }
}

variable "ledger" {
  type        = string
  default     = "firestore:(default)"
  nullable    = false
  description = "Where jobs and results are kept: firestore:DATABASE. The database is made."

  validation {
    condition     = can(regex("^firestore:(\\(default\\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$", var.ledger))
    error_message = "ledger: firestore:DATABASE is accepted, with a database that all functions share, such as firestore:(default)."
  }
}

variable "firestore_location" {
  type        = string
  default     = ""
  nullable    = false
  description = "Location of that database, such as eur3, nam5 or europe-west1; it cannot be changed later. Empty: the region."

  validation {
    condition     = can(regex("^(eur3|nam5|nam7|[a-z]+-[a-z]+[0-9]{1,2})?$", var.firestore_location))
    error_message = "firestore_location: a location of Firestore such as eur3, nam5 or europe-west1 is accepted."
  }
}

variable "jobs_topic" {
  type        = string
  default     = "onbehalf-jobs"
  nullable    = false
  description = "Id of the topic that jobs are published to. It is made, as are the two below."

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$", var.jobs_topic)) && !contains(["onbehalf-sweep", "onbehalf-dead-letters", "onbehalf-mail"], var.jobs_topic)
    error_message = "jobs_topic: a topic's id such as onbehalf-jobs is accepted, not its path, and none of onbehalf-sweep, onbehalf-dead-letters and onbehalf-mail."
  }
}

variable "results_topic" {
  type        = string
  default     = "onbehalf-results"
  nullable    = false
  description = "Id of the topic that results are published to."

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$", var.results_topic)) && !contains(["onbehalf-sweep", "onbehalf-dead-letters", "onbehalf-mail"], var.results_topic)
    error_message = "results_topic: a topic's id such as onbehalf-results is accepted, not its path, and none of onbehalf-sweep, onbehalf-dead-letters and onbehalf-mail."
  }
}

variable "batches_topic" {
  type        = string
  default     = "onbehalf-batches"
  nullable    = false
  description = "Id of the topic that batches are published to."

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$", var.batches_topic)) && !contains(["onbehalf-sweep", "onbehalf-dead-letters", "onbehalf-mail"], var.batches_topic)
    error_message = "batches_topic: a topic's id such as onbehalf-batches is accepted, not its path, and none of onbehalf-sweep, onbehalf-dead-letters and onbehalf-mail."
  }
}

variable "gmail_units_per_user" {
  type        = number
  default     = null
  description = "Gmail's quota units a minute for each user. Null: 6000, as projects have that did not use the API before May 2026."

  validation {
    condition     = var.gmail_units_per_user == null ? true : can(regex("^[1-9][0-9]{0,9}$", tostring(var.gmail_units_per_user)))
    error_message = "gmail_units_per_user: a number of quota units a minute is accepted, such as 6000."
  }
}

variable "gmail_units_per_project" {
  type        = number
  default     = null
  description = "Gmail's quota units a minute for the project. Null: 1200000."

  validation {
    condition     = var.gmail_units_per_project == null ? true : can(regex("^[1-9][0-9]{0,9}$", tostring(var.gmail_units_per_project)))
    error_message = "gmail_units_per_project: a number of quota units a minute is accepted, such as 1200000."
  }
}

variable "schedules" {
  type = map(object({
    schedule  = string
    time_zone = string
    batch     = string
  }))
  default     = {}
  nullable    = false
  description = "Batches that begin by the clock, by their names: the five fields of cron, a time zone such as Europe/Paris, and the path of the batch's file."

  validation {
    condition     = alltrue([for name, _ in var.schedules : can(regex("^[a-z][a-z0-9-]{0,49}$", name))])
    error_message = "schedules: names of lower-case letters, digits and - are accepted, of at most 50 characters."
  }
  validation {
    condition     = alltrue([for s in var.schedules : can(regex("^([0-9*/,A-Za-z-]+ ){4}[0-9*/,A-Za-z-]+$", s.schedule))])
    error_message = "schedules: as schedule five fields of cron are accepted, with one blank between them, such as \"0 3 * * *\"."
  }
  validation {
    condition     = alltrue([for s in var.schedules : can(regex("^[A-Za-z0-9_+/-]+$", s.time_zone))])
    error_message = "schedules: as time_zone a name such as Europe/Paris or Etc/UTC is accepted."
  }
  validation {
    condition     = alltrue([for s in var.schedules : can(file(s.batch))])
    error_message = "schedules: as batch the path of a file that is there is accepted."
  }
}

variable "build_service_account" {
  type        = string
  default     = ""
  nullable    = false
  description = "E-mail address of the service account that Cloud Build builds the functions as. Empty: the project's own, which needs roles/cloudbuild.builds.builder."

  validation {
    condition     = can(regex("^([a-z0-9.-]+@[a-z0-9.-]+\\.gserviceaccount\\.com)?$", var.build_service_account))
    error_message = "build_service_account: a service account's e-mail address is accepted."
  }
}

variable "alert_email" {
  type        = string
  default     = ""
  nullable    = false
  description = "E-mail address that alerts are sent to. Empty: they are shown in Cloud Monitoring only."

  validation {
    condition     = can(regex("^([A-Za-z0-9.!#%&*+/=?^_{|}~-]{1,64}@[A-Za-z0-9-]+(\\.[A-Za-z0-9-]+)+)?$", var.alert_email))
    error_message = "alert_email: an e-mail address is accepted."
  }
}

variable "bigquery_dataset" {
  type        = string
  default     = ""
  nullable    = false
  description = "Id of the BigQuery dataset that results are kept in, too. It is made. Empty: they are not."

  validation {
    condition     = can(regex("^[A-Za-z0-9_]{0,1000}$", var.bigquery_dataset))
    error_message = "bigquery_dataset: the id of a dataset is accepted: letters, digits and _."
  }
}

variable "bigquery_location" {
  type        = string
  default     = ""
  nullable    = false
  description = "Location of that dataset: EU, US or a region. Empty: the region."

  validation {
    condition     = can(regex("^(EU|US|[a-z]+-[a-z]+[0-9]{1,2})?$", var.bigquery_location))
    error_message = "bigquery_location: EU, US or a region is accepted."
  }
}

variable "scopes" {
  type        = list(string)
  default     = []
  nullable    = false
  description = "OAuth scopes for the link to the Admin console: what \"onbehalf policy scopes POLICY\" prints (with --admin --batches where there is an admin). Terraform grants none of them: only an administrator of the Workspace can."

  validation {
    condition     = alltrue([for s in var.scopes : can(regex("^https://[A-Za-z0-9./_-]+$", s))])
    error_message = "scopes: whole scopes such as https://www.googleapis.com/auth/gmail.insert are accepted."
  }
}

variable "execute" {
  type = object({
    cpu           = optional(number, 1)
    memory        = optional(string, "1Gi")
    concurrency   = optional(number, 80)
    timeout       = optional(number, 300)
    max_instances = optional(number, 10)
    min_instances = optional(number, 0)
  })
  default     = {}
  nullable    = false
  description = "What an instance of Execute has and how many there are: CPUs, memory, events at once, seconds for one, instances. The bounds of the three below are the same."

  validation {
    condition     = contains([1, 2, 4, 6, 8], var.execute.cpu)
    error_message = "execute.cpu: whole CPUs are accepted: 1, 2, 4, 6 or 8."
  }
  validation {
    condition     = can(regex("^((512|[6-9][0-9]{2}|[1-9][0-9]{3,4})Mi|([1-9]|[12][0-9]|3[0-2])Gi)$", var.execute.memory))
    error_message = "execute.memory: from 512Mi to 32Gi is accepted."
  }
  validation {
    condition     = var.execute.concurrency >= 1 && var.execute.concurrency <= 1000 && floor(var.execute.concurrency) == var.execute.concurrency
    error_message = "execute.concurrency: events at once in one instance are accepted, from 1 to 1000."
  }
  validation {
    condition     = var.execute.timeout >= 30 && var.execute.timeout <= 540 && floor(var.execute.timeout) == var.execute.timeout
    error_message = "execute.timeout: seconds are accepted, from 30 to 540."
  }
  validation {
    condition     = var.execute.min_instances >= 0 && var.execute.min_instances <= var.execute.max_instances && var.execute.max_instances >= 1 && var.execute.max_instances <= 9999
    error_message = "execute.max_instances: a number of instances from 1 to 9999 is accepted, and min_instances from 0 to that."
  }
}

variable "dead_letter" {
  type = object({
    cpu           = optional(number, 1)
    memory        = optional(string, "1Gi")
    concurrency   = optional(number, 80)
    timeout       = optional(number, 300)
    max_instances = optional(number, 1)
    min_instances = optional(number, 0)
  })
  default     = {}
  nullable    = false
  description = "As execute, for DeadLetter."

  validation {
    condition     = contains([1, 2, 4, 6, 8], var.dead_letter.cpu)
    error_message = "dead_letter.cpu: whole CPUs are accepted: 1, 2, 4, 6 or 8."
  }
  validation {
    condition     = can(regex("^((512|[6-9][0-9]{2}|[1-9][0-9]{3,4})Mi|([1-9]|[12][0-9]|3[0-2])Gi)$", var.dead_letter.memory))
    error_message = "dead_letter.memory: from 512Mi to 32Gi is accepted."
  }
  validation {
    condition     = var.dead_letter.concurrency >= 1 && var.dead_letter.concurrency <= 1000 && floor(var.dead_letter.concurrency) == var.dead_letter.concurrency
    error_message = "dead_letter.concurrency: events at once in one instance are accepted, from 1 to 1000."
  }
  validation {
    condition     = var.dead_letter.timeout >= 30 && var.dead_letter.timeout <= 540 && floor(var.dead_letter.timeout) == var.dead_letter.timeout
    error_message = "dead_letter.timeout: seconds are accepted, from 30 to 540."
  }
  validation {
    condition     = var.dead_letter.min_instances >= 0 && var.dead_letter.min_instances <= var.dead_letter.max_instances && var.dead_letter.max_instances >= 1 && var.dead_letter.max_instances <= 9999
    error_message = "dead_letter.max_instances: a number of instances from 1 to 9999 is accepted, and min_instances from 0 to that."
  }
}

variable "fanout" {
  type = object({
    cpu           = optional(number, 1)
    memory        = optional(string, "1Gi")
    concurrency   = optional(number, 8)
    timeout       = optional(number, 540)
    max_instances = optional(number, 3)
    min_instances = optional(number, 0)
  })
  default     = {}
  nullable    = false
  description = "As execute, for FanOut."

  validation {
    condition     = contains([1, 2, 4, 6, 8], var.fanout.cpu)
    error_message = "fanout.cpu: whole CPUs are accepted: 1, 2, 4, 6 or 8."
  }
  validation {
    condition     = can(regex("^((512|[6-9][0-9]{2}|[1-9][0-9]{3,4})Mi|([1-9]|[12][0-9]|3[0-2])Gi)$", var.fanout.memory))
    error_message = "fanout.memory: from 512Mi to 32Gi is accepted."
  }
  validation {
    condition     = var.fanout.concurrency >= 1 && var.fanout.concurrency <= 1000 && floor(var.fanout.concurrency) == var.fanout.concurrency
    error_message = "fanout.concurrency: events at once in one instance are accepted, from 1 to 1000."
  }
  validation {
    condition     = var.fanout.timeout >= 30 && var.fanout.timeout <= 540 && floor(var.fanout.timeout) == var.fanout.timeout
    error_message = "fanout.timeout: seconds are accepted, from 30 to 540."
  }
  validation {
    condition     = var.fanout.min_instances >= 0 && var.fanout.min_instances <= var.fanout.max_instances && var.fanout.max_instances >= 1 && var.fanout.max_instances <= 9999
    error_message = "fanout.max_instances: a number of instances from 1 to 9999 is accepted, and min_instances from 0 to that."
  }
}

variable "sweep" {
  type = object({
    cpu           = optional(number, 1)
    memory        = optional(string, "1Gi")
    concurrency   = optional(number, 8)
    timeout       = optional(number, 300)
    max_instances = optional(number, 3)
    min_instances = optional(number, 0)
  })
  default     = {}
  nullable    = false
  description = "As execute, for Sweep."

  validation {
    condition     = contains([1, 2, 4, 6, 8], var.sweep.cpu)
    error_message = "sweep.cpu: whole CPUs are accepted: 1, 2, 4, 6 or 8."
  }
  validation {
    condition     = can(regex("^((512|[6-9][0-9]{2}|[1-9][0-9]{3,4})Mi|([1-9]|[12][0-9]|3[0-2])Gi)$", var.sweep.memory))
    error_message = "sweep.memory: from 512Mi to 32Gi is accepted."
  }
  validation {
    condition     = var.sweep.concurrency >= 1 && var.sweep.concurrency <= 1000 && floor(var.sweep.concurrency) == var.sweep.concurrency
    error_message = "sweep.concurrency: events at once in one instance are accepted, from 1 to 1000."
  }
  validation {
    condition     = var.sweep.timeout >= 30 && var.sweep.timeout <= 540 && floor(var.sweep.timeout) == var.sweep.timeout
    error_message = "sweep.timeout: seconds are accepted, from 30 to 540."
  }
  validation {
    condition     = var.sweep.min_instances >= 0 && var.sweep.min_instances <= var.sweep.max_instances && var.sweep.max_instances >= 1 && var.sweep.max_instances <= 9999
    error_message = "sweep.max_instances: a number of instances from 1 to 9999 is accepted, and min_instances from 0 to that."
  }
}
