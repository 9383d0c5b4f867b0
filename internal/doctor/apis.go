package doctor

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

const (
	iamCredentials = "iamcredentials.googleapis.com"
	pubSub         = "pubsub.googleapis.com"
	secretManager  = "secretmanager.googleapis.com"
	firestoreAPI   = "firestore.googleapis.com"
)

// apis asks which APIs are on, in the projects on whose account the calls go.
func (e *exam) apis(ctx context.Context) {
	own := cmp.Or(explain.AccountProject(e.who.Email), e.google.Project)
	for _, in := range []struct {
		project  string
		services []string
	}{
		{own, e.ownServices()},
		{cmp.Or(explain.AccountProject(e.account), own), e.usersServices()},
	} {
		if in.project != "" && len(in.services) > 0 {
			e.askAPIs(ctx, in.project, in.services)
		}
	}
}

// ownServices are called as the runtime itself.
func (e *exam) ownServices() []string {
	services := []string{pubSub}
	if _, isKey := e.cfg.Key(); !isKey {
		services = append(services, iamCredentials)
	}
	if strings.HasPrefix(e.cfg.Policy, "sm://") || strings.HasPrefix(e.cfg.Signer, "key:sm://") {
		services = append(services, secretManager)
	}
	if kind, _ := e.cfg.LedgerAt(); kind == "firestore" {
		services = append(services, firestoreAPI)
	}
	slices.Sort(services)
	return services
}

// usersServices are called as the user or the administrator.
func (e *exam) usersServices() []string {
	services := e.services()
	if e.cfg.Admin != "" && !slices.Contains(services, directory.Service) {
		services = append(services, directory.Service)
	}
	return services
}

// services are those of the actions.
func (e *exam) services() []string {
	var services []string
	for _, w := range e.wants {
		services = append(services, w.service)
	}
	slices.Sort(services)
	return slices.Compact(services)
}

func (e *exam) askAPIs(ctx context.Context, project string, services []string) {
	const most = 20 // that may be asked for at once
	for some := range slices.Chunk(services, most) {
		query := make(url.Values)
		for _, s := range some {
			query.Add("names", "projects/"+project+"/services/"+s)
		}
		var answer struct {
			Services []struct {
				State  string `json:"state"`
				Config struct {
					Name string `json:"name"`
				} `json:"config"`
			} `json:"services"`
		}
		status, _, err := ask(ctx, e.google.OwnHTTP, "https://serviceusage.googleapis.com/v1/projects/"+url.PathEscape(project)+"/services:batchGet?"+query.Encode(), &answer)
		on := make(map[string]bool)
		for _, s := range answer.Services {
			on[s.Config.Name] = s.State == "ENABLED"
		}
		for _, s := range some {
			is, told := on[s]
			switch {
			case err != nil || status != http.StatusOK || !told:
				e.skip("api", s, "whether it is on in "+project+" may not be asked with these rights; a call that is answered shows it")
			case is:
				e.pass("api", s, "is on in "+project)
			default:
				e.failAPI(project, s)
			}
		}
	}
}

// failAPI says that an API is off.
func (e *exam) failAPI(project, service string) {
	n := e.names()
	n.Project, n.Service = project, service
	e.fail("api", service, e.of(explain.Answer{Stage: "call", Status: http.StatusForbidden, Code: "SERVICE_DISABLED"}, n))
}
