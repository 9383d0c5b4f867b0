package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"cloud.google.com/go/auth"
	"google.golang.org/api/googleapi"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

func (e *exam) settings(context.Context) {
	var err error
	if e.cfg, err = config.Load(e.o.Environ); err != nil { //nolint:contextcheck // it makes no call
		e.fail("settings", "", operators(strings.ReplaceAll(err.Error(), "\n", " · "), "Correct each of these environment variables; the README lists what they mean."))
		return
	}
	says := "every variable that is set is accepted"
	if e.cfg.Sandbox != "" {
		says += "; all calls go to the sandbox " + e.cfg.Sandbox
	}
	e.pass("settings", "", says)
}

// identity finds whose identity this is, and that it is good for a token.
func (e *exam) identity(ctx context.Context) {
	var err error
	if e.google, err = access.Connect(ctx, e.cfg, e.o.Access); err != nil {
		e.fail("identity", "", operators(err.Error(), e.noIdentity().Fix))
		return
	}
	if err := e.google.Own.Missing(); err != nil { // else it would have been an error
		e.skip("identity", "", "there is none, and none is needed to sign with a key ("+err.Error()+")")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := e.google.Own.Token(ctx); err != nil {
		m := e.minting(delegation.IdentityError(err), e.names())
		m.Message += " The credentials are " + e.google.Own.Source() + "."
		e.fail("identity", "", m)
		return
	}
	if e.who, err = e.google.Own.Who(ctx); err != nil {
		e.pass("identity", "", e.google.Own.Source()+"; whose it is cannot be told")
		return
	}
	e.pass("identity", "", e.who.String())
}

func (e *exam) noIdentity() explain.Meaning {
	return e.of(explain.Mint("sign", 0, "noIdentity", ""), e.names())
}

func (e *exam) project(ctx context.Context) {
	var err error
	if e.google.Project, err = e.google.FindProject(ctx, e.cfg); err != nil {
		e.fail("project", "", operators(strings.ReplaceAll(err.Error(), "\n", ": "), "export GOOGLE_CLOUD_PROJECT=PROJECT_ID"))
		return
	}
	number, region := e.google.Own.Place(ctx)
	if number == "" {
		number = e.askNumber(ctx)
	}
	e.number = number
	e.pass("project", "", fmt.Sprintf("%s, number %s, region %s", e.google.Project, cmp.Or(number, "not told with these rights"), cmp.Or(region, "not known here")))
}

// askNumber is the project's number, where the rights are enough to be told.
func (e *exam) askNumber(ctx context.Context) string {
	var project struct {
		Name string `json:"name"` // projects/NUMBER
	}
	status, _, err := ask(ctx, e.google.OwnHTTP, "https://cloudresourcemanager.googleapis.com/v3/projects/"+url.PathEscape(e.google.Project), &project)
	if err != nil || status != http.StatusOK {
		return ""
	}
	number := strings.TrimPrefix(project.Name, "projects/")
	if strings.Trim(number, "0123456789") != "" {
		return ""
	}
	return number
}

// failReading says why what a setting names is of no use. Where Secret Manager does
// not give it, fix is not what helps.
func (e *exam) failReading(check, from string, err error, fix string) {
	if none := e.google.Own.Missing(); none != nil && strings.HasPrefix(from, "sm://") {
		e.fail(check, "", operators(from+" is read with an identity of the runtime's own: "+none.Error(), e.noIdentity().Fix))
		return
	}
	var answer *googleapi.Error // whose text is Google's, and not shown, as is the other's
	var refused *auth.Error
	if errors.As(err, &refused) {
		e.fail(check, "", e.minting(delegation.IdentityError(refused), e.names()))
		return
	}
	parts := strings.Split(strings.TrimPrefix(from, "sm://"), "/")
	if !errors.As(err, &answer) || len(parts) != 3 { // which config has checked
		e.fail(check, "", operators(err.Error(), fix))
		return
	}
	project, secret, version := parts[0], parts[1], parts[2]
	switch {
	case answer.Code == http.StatusForbidden && strings.Contains(answer.Body, "SERVICE_DISABLED"):
		e.failAPI(cmp.Or(explain.AccountProject(e.who.Email), project), secretManager)
		e.block(check, "api "+secretManager)
	case answer.Code == http.StatusForbidden:
		e.fail(check, "", operators(fmt.Sprintf("%s may not be read as %s, or is not there.", from, e.who),
			fmt.Sprintf("Let {grantee} read it: gcloud secrets add-iam-policy-binding %s --project=%s --member={member} --role=roles/secretmanager.secretAccessor", secret, project)).For(e.names()))
	case answer.Code == http.StatusNotFound:
		e.fail(check, "", operators("There is no "+from+".", fmt.Sprintf("Name a version that is enabled, which %s is not: gcloud secrets versions list %s --project=%s", version, secret, project)))
	default:
		e.fail(check, "", e.of(explain.Answer{Stage: "call", Status: answer.Code}, e.names()))
	}
}
