// Package functions holds the entry points, and is the only package that knows
// everyone. Execute is the product: read execute.go first.
//
// # Execute
//
// Triggered by: a Pub/Sub message on the topic of jobs.
//
// Does: one job, which is one call as one user, or as the service account;
// publishes its one result.
//
// Retried: when it answers 429 or 503, by Pub/Sub, with back-off. A job that
// has its result is answered from the ledger, with no second call.
//
// Scopes: the narrowest that the job's method accepts, as the user or as the
// delegated service account (onbehalf actions ID tells them); cloud-platform, as
// itself; admin.directory.user.readonly as ONBEHALF_ADMIN, to protect
// administrators.
//
// IAM roles: a custom role with iam.serviceAccounts.signJwt, and for jobs as the
// service account iam.serviceAccounts.getAccessToken, on the delegated
// service account, pubsub.publisher on the results topic,
// secretmanager.secretAccessor on the policy's secret, storage.objectViewer on
// buckets that letters and files are read from, storage.objectUser on those that
// downloads go to; datastore.user where the ledger is in Firestore.
//
// # DeadLetter
//
// Triggered by: a Pub/Sub message on the dead-letter topic of the jobs.
//
// Does: ends a job that Pub/Sub has given up: publishes the result that it has, or
// what can be found out of its call, or that it has failed, and why. It makes no call
// but to look.
//
// Retried: as Execute.
//
// Scopes: those that the job's method is looked up with (onbehalf actions ID tells
// them); cloud-platform, as itself.
//
// IAM roles: as Execute, and the same ledger. Pub/Sub's service agent needs
// pubsub.publisher on the dead-letter topic, and pubsub.subscriber on the
// subscription that messages come from.
package functions
