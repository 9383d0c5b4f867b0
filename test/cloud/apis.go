package cloud

// apis are those that gcloud's and bq's commands need, each with gcloud's name for it in
// api_endpoint_overrides.
func apis() []api {
	return []api{
		{host: "cloudresourcemanager.googleapis.com", override: "cloudresourcemanager", title: "Cloud Resource Manager API", methods: projectMethods()},
		{host: "serviceusage.googleapis.com", override: "serviceusage", title: "Service Usage API", methods: serviceMethods(), always: true},
		{host: "iam.googleapis.com", override: "iam", title: "Identity and Access Management (IAM) API", methods: iamMethods()},
		{host: "pubsub.googleapis.com", override: "pubsub", title: "Cloud Pub/Sub API", methods: pubsubMethods()},
		{host: "secretmanager.googleapis.com", override: "secretmanager", title: "Secret Manager API", methods: secretMethods()},
		{host: "cloudfunctions.googleapis.com", override: "cloudfunctions", title: "Cloud Functions API", methods: functionMethods()},
		{host: "storage.googleapis.com", override: "storage", title: "Cloud Storage API", methods: storageMethods()},
		{host: "eventarc.googleapis.com", override: "eventarc", title: "Eventarc API", methods: eventarcMethods()},
		{host: "run.googleapis.com", override: "run", title: "Cloud Run Admin API", methods: runMethods(), regional: true},
		{host: "firestore.googleapis.com", override: "firestore", title: "Cloud Firestore API", methods: firestoreMethods()},
		{host: "cloudscheduler.googleapis.com", override: "cloudscheduler", title: "Cloud Scheduler API", methods: schedulerMethods()},
		{host: "logging.googleapis.com", override: "logging", title: "Cloud Logging API", methods: loggingMethods()},
		{host: "monitoring.googleapis.com", override: "monitoring", title: "Cloud Monitoring API", methods: monitoringMethods()},
		{host: "bigquery.googleapis.com", override: "bigquery", title: "BigQuery API", methods: bigqueryMethods()},
		{host: "cloudbuild.googleapis.com", override: "cloudbuild", title: "Cloud Build API", methods: buildMethods()},
	}
}
