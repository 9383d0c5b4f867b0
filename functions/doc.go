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
//
// # FanOut
//
// Triggered by: a Pub/Sub message on the topic of batches: a batch in YAML or JSON, by
// "onbehalf batch start" or Cloud Scheduler, or its own word to go on with one.
//
// Does: lists the users of one batch, page by page, and publishes one job for each; what
// there is no time for is left to a message of its own. It keeps each page before its
// jobs are published, so that another instance goes on where it has ended. A batch that
// is wrong is refused before its first job, and a summary says why.
//
// Retried: when it answers 429 or 503, by Pub/Sub, with back-off. Jobs that are published
// twice are one job. An instance that was killed is made up for by Sweep.
//
// Scopes: admin.directory.user.readonly, and for groups
// admin.directory.group.member.readonly, as ONBEHALF_ADMIN.
//
// IAM roles: a custom role with iam.serviceAccounts.signJwt on the delegated service
// account, pubsub.publisher on the topics of jobs, batches and results,
// secretmanager.secretAccessor on the policy's secret, storage.objectViewer on buckets
// that CSV files are read from; datastore.user.
//
// # Sweep
//
// Triggered by: Cloud Scheduler, every minute, by a Pub/Sub message, whatever is in it.
//
// Does: looks after all batches that have not ended: stops one that has failed too often,
// has one worked on that nobody works on, publishes again what was lost on the way, ends
// one whose jobs all have their results and publishes its summary.
//
// Retried: by the next minute's.
//
// Scopes: none.
//
// IAM roles: pubsub.publisher on the topics of batches and results; datastore.user, and
// secretmanager.secretAccessor on the policy's secret where it is given one.
package functions
