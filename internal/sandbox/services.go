package sandbox

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

// services are the APIs that can be switched on and off in a project, and the
// titles by which Google speaks of them: those of the Discovery documents, but for
// Calendar, which has "Google" before it in the API library.
var services = map[string]string{
	"admin.googleapis.com":                "Admin SDK API",
	"alertcenter.googleapis.com":          "Google Workspace Alert Center API",
	"artifactregistry.googleapis.com":     "Artifact Registry API",
	"calendar-json.googleapis.com":        "Google Calendar API",
	"chat.googleapis.com":                 "Google Chat API",
	"chromemanagement.googleapis.com":     "Chrome Management API",
	"chromepolicy.googleapis.com":         "Chrome Policy API",
	"classroom.googleapis.com":            "Google Classroom API",
	"cloudbuild.googleapis.com":           "Cloud Build API",
	"cloudfunctions.googleapis.com":       "Cloud Functions API",
	"cloudidentity.googleapis.com":        "Cloud Identity API",
	"cloudresourcemanager.googleapis.com": "Cloud Resource Manager API",
	"cloudscheduler.googleapis.com":       "Cloud Scheduler API",
	"cloudsearch.googleapis.com":          "Cloud Search API",
	"cloudtrace.googleapis.com":           "Cloud Trace API",
	"compute.googleapis.com":              "Compute Engine API",
	"datastore.googleapis.com":            "Cloud Datastore API",
	"docs.googleapis.com":                 "Google Docs API",
	"drive.googleapis.com":                "Google Drive API",
	"driveactivity.googleapis.com":        "Drive Activity API",
	"drivelabels.googleapis.com":          "Drive Labels API",
	"eventarc.googleapis.com":             "Eventarc API",
	"firestore.googleapis.com":            "Cloud Firestore API",
	"forms.googleapis.com":                "Google Forms API",
	"gmail.googleapis.com":                "Gmail API",
	"gmailpostmastertools.googleapis.com": "Gmail Postmaster Tools API",
	"groupsmigration.googleapis.com":      "Groups Migration API",
	"groupssettings.googleapis.com":       "Groups Settings API",
	"iam.googleapis.com":                  "Identity and Access Management (IAM) API",
	"iamcredentials.googleapis.com":       "IAM Service Account Credentials API",
	"keep.googleapis.com":                 "Google Keep API",
	"licensing.googleapis.com":            "Enterprise License Manager API",
	"logging.googleapis.com":              "Stackdriver Logging API",
	"meet.googleapis.com":                 "Google Meet API",
	"monitoring.googleapis.com":           "Cloud Monitoring API",
	"people.googleapis.com":               "People API",
	"pubsub.googleapis.com":               "Cloud Pub/Sub API",
	"reseller.googleapis.com":             "Google Workspace Reseller API",
	"run.googleapis.com":                  "Cloud Run Admin API",
	"script.googleapis.com":               "Apps Script API",
	"secretmanager.googleapis.com":        "Secret Manager API",
	"serviceusage.googleapis.com":         "Service Usage API",
	"sheets.googleapis.com":               "Google Sheets API",
	"siteverification.googleapis.com":     "Google Site Verification API",
	"slides.googleapis.com":               "Google Slides API",
	"sqladmin.googleapis.com":             "Cloud SQL Admin API",
	"storage.googleapis.com":              "Cloud Storage JSON API",
	"sts.googleapis.com":                  "Security Token Service API",
	"tasks.googleapis.com":                "Google Tasks API",
	"vault.googleapis.com":                "Google Vault API",
	"verifiedaccess.googleapis.com":       "Chrome Verified Access API",
	"workspaceevents.googleapis.com":      "Google Workspace Events API",
}

func knownAPI(name string) error {
	if services[name] == "" {
		return fmt.Errorf("%q is no API that is known here; gmail.googleapis.com is one", name)
	}
	return nil
}

// SetAPI switches an API on or off in the project, by its name for gcloud services,
// such as "gmail.googleapis.com". A name that is not known is refused.
func (s *Server) SetAPI(name string, on bool) error {
	if err := knownAPI(name); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	s.apisOff.set(name, !on)
	return nil
}

// service is the API that the route is of, as Service Usage names it.
func (rt *route) service() string {
	if rt.facts != nil {
		return rt.facts.Service()
	}
	host, _, _ := strings.Cut(rt.path, "/")
	return host
}

// apiDoor lets calls in to APIs that are on in the project, on whose account they go. That it stands
// behind the checks of the token is assumed.
func (c *call) apiDoor() *reply {
	if a := c.quotaDoor(); a != nil {
		return a
	}
	if !c.apisOff.has(c.route.service()) {
		return nil
	}
	a := c.row("A10")
	if c.route.stage == stageSign {
		a = c.row("S3")
	}
	return &a
}

// serviceDoor lets users in to services that are on for them. Which row stands for
// which service is what people reported.
func (c *call) serviceDoor() *reply {
	name, _, _ := strings.Cut(c.route.name, ".")
	if c.tok.person == nil || !slices.Contains(c.tok.person.user().ServicesOff, name) {
		return nil
	}
	row, ok := map[string]string{"gmail": "A2", "drive": "A6"}[name]
	if !ok {
		row = "A18"
	}
	a := c.row(row)
	return &a
}

// nameSet is a set of names that changes while it is used.
type nameSet struct {
	mu    sync.RWMutex
	names map[string]bool
}

func newNameSet(names []string) *nameSet {
	s := &nameSet{names: map[string]bool{}}
	for _, name := range names {
		s.names[name] = true
	}
	return s
}

func (s *nameSet) has(name string) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.names[name]
}

func (s *nameSet) set(name string, in bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if in {
		s.names[name] = true
	} else {
		delete(s.names, name)
	}
}
