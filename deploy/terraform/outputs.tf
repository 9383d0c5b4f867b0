output "client_id" {
  description = "The delegated account's numeric client id, which an administrator of the Workspace authorizes."
  value       = local.delegated.unique_id
}

output "scopes" {
  description = "The scopes to authorize it for, or how to find them."
  value       = length(var.scopes) > 0 ? join("\n", var.scopes) : "onbehalf policy scopes ${startswith(var.policy, "sm://") ? "POLICY" : var.policy}${var.admin == "" ? "" : " --admin --batches"}"
}

output "admin_console" {
  description = "The page on which the administrator does that; with the variable scopes all is filled in. What the client has already stays."
  value       = "https://admin.google.com/ac/owl/domainwidedelegation?clientScopeToAdd=${join(",", var.scopes)}&clientIdToAdd=${local.delegated.unique_id}"
}

output "service_accounts" {
  description = "E-mail addresses of the three accounts."
  value = {
    delegated = local.service_account
    runtime   = google_service_account.runtime.email
    trigger   = google_service_account.trigger.email
  }
}

output "topics" {
  description = "Ids of the topics, as projects/PROJECT/topics/NAME, by their names."
  value       = { for name, topic in google_pubsub_topic.topic : name => topic.id }
}

output "uris" {
  description = "Addresses of the functions, by their names. Only the trigger's account may call them, from inside Google Cloud."
  value       = { for name, function in google_cloudfunctions2_function.function : name => function.service_config[0].uri }
}
