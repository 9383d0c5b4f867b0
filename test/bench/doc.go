// Package bench measures the whole product against two others, in one run and
// against one server on the same machine:
//
//   - limit: a bare HTTP loop that posts the same letter with a ready token,
//     which is as little as the job can cost;
//   - peer: what people write today, Google's impersonate package with Subject
//     and a new gmail.Service for each job;
//   - ours: the event posted to the served function, up to the published result.
//
// The server (the sandbox and a Pub/Sub) and the function are processes of
// their own, so that each arm is charged for its own CPU and allocations only.
// The sandbox answers each call to Google after a fixed time; Pub/Sub answers
// at once.
//
//	go test -run '^$' -bench . -benchtime 5s ./test/bench
//
// A storm of jobs, of which the quota allows half at once, takes four minutes:
//
//	go test -run '^$' -bench Storm ./test/bench
package bench
