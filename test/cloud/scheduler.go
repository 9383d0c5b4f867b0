package cloud

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"strings"
	"time"

	"google.golang.org/api/cloudscheduler/v1"
)

func schedulerMethods() []method {
	const jobs = "/v1/projects/{project}/locations/{location}/jobs"
	key := func(c *call) string {
		return c.key("projects/%s/locations/%s/jobs/%s", c.vars["project"], c.vars["location"], c.vars["job"])
	}
	state := func(state string) func(*Server, *call) (any, error) {
		return func(s *Server, c *call) (any, error) {
			job, err := s.get(key(c))
			if err == nil {
				job["state"] = state
			}
			return job, err
		}
	}
	return []method{
		{verb: http.MethodGet, path: jobs, query: "pageSize pageToken", do: func(s *Server, c *call) (any, error) {
			if err := inRegion(c.vars["location"]); err != nil {
				return nil, err
			}
			return object{"jobs": s.list(c.key("projects/%s/locations/%s/jobs/", c.vars["project"], c.vars["location"]))}, nil
		}},
		{verb: http.MethodPost, path: jobs, body: new(cloudscheduler.Job), do: (*Server).createJob},
		{verb: http.MethodGet, path: jobs + "/{job}", do: func(s *Server, c *call) (any, error) { return s.get(key(c)) }},
		{verb: http.MethodPatch, path: jobs + "/{job}", query: "updateMask", body: new(cloudscheduler.Job), do: func(s *Server, c *call) (any, error) {
			return s.patchJob(c, key(c))
		}},
		{verb: http.MethodDelete, path: jobs + "/{job}", do: func(s *Server, c *call) (any, error) { return s.remove(key(c)) }},
		{verb: http.MethodPost, path: jobs + "/{job}:pause", body: new(cloudscheduler.PauseJobRequest), do: state("PAUSED")},
		{verb: http.MethodPost, path: jobs + "/{job}:resume", body: new(cloudscheduler.ResumeJobRequest), do: state("ENABLED")},
		{verb: http.MethodPost, path: jobs + "/{job}:run", body: new(cloudscheduler.RunJobRequest), do: func(s *Server, c *call) (any, error) { return s.get(key(c)) }},
	}
}

var jobID = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,500}$`)

func (s *Server) createJob(c *call) (any, error) {
	if err := inRegion(c.vars["location"]); err != nil {
		return nil, err
	}
	parent := fmt.Sprintf("projects/%s/locations/%s/jobs/", c.vars["project"], c.vars["location"])
	id, ok := strings.CutPrefix(text(c.body, "name"), parent)
	if !ok || !jobID.MatchString(id) {
		return nil, invalid("Job name must be formatted: \"projects/<PROJECT_ID>/locations/<LOCATION_ID>/jobs/<JOB_ID>\".")
	}
	key := c.key("%s%s", parent, id)
	if s.state[key] != nil {
		return nil, refuse(http.StatusConflict, "Job %s already exists.", parent+id)
	}
	job := object{"timeZone": "Etc/UTC", "state": "ENABLED"} // what Google fills in
	maps.Copy(job, clone(c.body))
	return s.keepJob(key, job)
}

func (s *Server) patchJob(c *call, key string) (any, error) {
	there, err := s.get(key)
	if err != nil {
		return nil, err
	}
	changed := clone(there)
	if err := merge(changed, c.body, c.query.Get("updateMask")); err != nil {
		return nil, err
	}
	return s.keepJob(key, changed)
}

// keepJob puts a job into the state, if Scheduler would take it.
func (s *Server) keepJob(key string, job object) (any, error) {
	if err := s.validJob(job); err != nil {
		return nil, err
	}
	retry := object{"maxBackoffDuration": "3600s", "maxDoublings": 16, "maxRetryDuration": "0s", "minBackoffDuration": "5s"}
	if given, ok := job["retryConfig"].(object); ok {
		maps.Copy(retry, given)
	}
	job["retryConfig"] = retry
	prune(job)
	job["userUpdateTime"], job["scheduleTime"] = now(), time.Now().UTC().Add(time.Minute).Format(time.RFC3339)
	s.state[key] = job
	return job, nil
}

// cron is a schedule in the form of unix-cron; the other form is App Engine's, in words
// (https://cloud.google.com/scheduler/docs/configuring/cron-job-schedules).
var cron = regexp.MustCompile(`^(([0-9*,/-]+|[A-Za-z,*-]{3,})\s+){4}([0-9*,/-]+|[A-Za-z,*-]{3,})$|^every .+$`)

func (s *Server) validJob(job object) error {
	if !cron.MatchString(strings.TrimSpace(text(job, "schedule"))) {
		return invalid("Schedule or time zone is invalid.")
	}
	if _, err := time.LoadLocation(text(job, "timeZone")); err != nil {
		return invalid("Schedule or time zone is invalid.")
	}
	if len(text(job, "description")) > 500 {
		return invalid("Job.description must not be longer than 500 characters.")
	}
	if n := whole(dig(job, "retryConfig", "retryCount")); n < 0 || n > 5 {
		return invalid("RetryConfig.retry_count must be between 0 and 5, inclusive.")
	}
	target, ok := job["pubsubTarget"].(object)
	if !ok {
		return invalid("This stand-in knows jobs with a pubsubTarget alone.")
	}
	topic := text(target, "topicName")
	if !strings.HasPrefix(topic, "projects/"+s.config.Project+"/topics/") {
		return invalid("PubsubTarget.topic_name %q must be a topic of the same project.", topic)
	}
	if s.state["//pubsub.googleapis.com/"+topic] == nil {
		return refuse(http.StatusNotFound, "The topic %s was not found.", topic)
	}
	attributes, _ := target["attributes"].(object)
	data, err := base64.StdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/").Replace(text(target, "data")))
	if err != nil {
		return invalid("Invalid value at 'job.pubsub_target.data' (TYPE_BYTES), Base64 decoding failed")
	}
	if len(data) == 0 && len(attributes) == 0 {
		return invalid("Either PubsubTarget.data or PubsubTarget.attributes must be set.")
	}
	return nil
}
