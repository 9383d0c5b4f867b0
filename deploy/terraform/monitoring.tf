# Metrics, alerts and the dashboard are the files of ../monitoring, as the scripts apply them. Only the fields that
# those have are mapped; a test compares all of them with what is made here.

locals {
  monitoring = "${path.module}/../monitoring"
  # The alerts look at the subscriptions of Eventarc's triggers, and here it is the push subscriptions that deliver.
  delivering = ["eventarc-.*-onbehalf-.*", "onbehalf-(${join("|", [for name in sort(keys(local.functions)) : trimprefix(name, "onbehalf-")])})"]

  metrics = {
    for name in fileset("${local.monitoring}/metrics", "*.yaml") :
    trimsuffix(name, ".yaml") => yamldecode(file("${local.monitoring}/metrics/${name}"))
  }
  alerts = {
    for name in fileset("${local.monitoring}/alerts", "*.yaml") :
    trimsuffix(name, ".yaml") => yamldecode(replace(file("${local.monitoring}/alerts/${name}"), local.delivering[0], local.delivering[1]))
  }
  dashboard = yamldecode(replace(file("${local.monitoring}/dashboard.yaml"), local.delivering[0], local.delivering[1]))
}

resource "google_logging_metric" "metric" {
  for_each = local.metrics

  project          = var.project
  name             = each.key
  description      = each.value.description
  filter           = each.value.filter
  label_extractors = try(each.value.labelExtractors, null)

  metric_descriptor {
    metric_kind  = each.value.metricDescriptor.metricKind
    value_type   = each.value.metricDescriptor.valueType
    unit         = each.value.metricDescriptor.unit
    display_name = each.value.metricDescriptor.displayName

    dynamic "labels" {
      for_each = try(each.value.metricDescriptor.labels, [])

      content {
        key         = labels.value.key
        value_type  = labels.value.valueType
        description = labels.value.description
      }
    }
  }

  depends_on = [google_project_service.api]
}

resource "google_monitoring_notification_channel" "email" {
  count = var.alert_email == "" ? 0 : 1

  project      = var.project
  type         = "email"
  display_name = "onbehalf: who is called"
  labels       = { email_address = var.alert_email }
  user_labels  = { onbehalf = "alerts" }

  depends_on = [google_project_service.api]
}

resource "google_monitoring_alert_policy" "alert" {
  for_each = local.alerts

  project               = var.project
  display_name          = each.value.displayName
  severity              = each.value.severity
  combiner              = each.value.combiner
  notification_channels = google_monitoring_notification_channel.email[*].name
  user_labels           = { onbehalf = each.key }

  documentation {
    mime_type = each.value.documentation.mimeType
    subject   = each.value.documentation.subject
    content   = each.value.documentation.content
  }

  alert_strategy {
    auto_close = each.value.alertStrategy.autoClose
  }

  dynamic "conditions" {
    for_each = each.value.conditions

    content {
      display_name = conditions.value.displayName

      condition_prometheus_query_language {
        query                     = conditions.value.conditionPrometheusQueryLanguage.query
        duration                  = conditions.value.conditionPrometheusQueryLanguage.duration
        evaluation_interval       = conditions.value.conditionPrometheusQueryLanguage.evaluationInterval
        disable_metric_validation = conditions.value.conditionPrometheusQueryLanguage.disableMetricValidation
      }
    }
  }

  # They ask for metrics that must have been made.
  depends_on = [google_logging_metric.metric]
}

# Its labels are the scripts' own: they tell them which version of the file is there.
resource "google_monitoring_dashboard" "dashboard" {
  project        = var.project
  dashboard_json = jsonencode({ for name, value in local.dashboard : name => value if name != "labels" })

  depends_on = [google_project_service.api]
}
