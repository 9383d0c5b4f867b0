package doctor

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cloud.google.com/go/auth"
	"google.golang.org/api/googleapi"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
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
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	if _, err := e.google.Own.Token(ctx); err != nil {
		m := e.ownToken(err)
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

// ownToken is why the identity is good for no token. The error quotes the answer,
// which is recognised and not shown.
func (e *exam) ownToken(err error) explain.Meaning {
	var refused *auth.Error
	var answer struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	if errors.As(err, &refused) && refused.Response != nil && json.Unmarshal(refused.Body, &answer) == nil {
		if m := explain.Of(explain.Mint("exchange", refused.Response.StatusCode, answer.Error, answer.Description)); m.Row != "" {
			return m.For(e.names())
		}
	}
	return e.noIdentity()
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
	return strings.TrimPrefix(project.Name, "projects/")
}

// makeSigner finds what signs, and for which account.
func (e *exam) makeSigner(ctx context.Context) {
	from, isKey := e.cfg.Key()
	var err error
	if e.signer, err = e.google.NewSigner(ctx, e.cfg); err == nil {
		e.google.Minter, err = e.google.NewMinter(e.signer)
	}
	if err != nil {
		fix := "export ONBEHALF_SERVICE_ACCOUNT=NAME@PROJECT.iam.gserviceaccount.com"
		if isKey {
			account := cmp.Or(e.cfg.ServiceAccount, "SERVICE_ACCOUNT")
			fix = "Name a key of " + account + " in ONBEHALF_SIGNER, or sign without one (ONBEHALF_SIGNER=iam). Its keys: gcloud iam service-accounts keys list --iam-account=" + account
		}
		e.failReading("signer", from, err, fix)
		return
	}
	e.account = e.signer.ServiceAccount()
	says := "no key: Google signs for " + e.account
	switch {
	case isKey:
		says = "a key of " + e.account + ", from " + from
	case len(e.cfg.Delegates) > 0:
		says += ", by way of " + strings.Join(e.cfg.Delegates, ", ")
	}
	e.pass("signer", "", says)
}

// failReading says why what a setting names is of no use. Where Secret Manager does
// not give it, fix is not what helps.
func (e *exam) failReading(check, from string, err error, fix string) {
	var answer *googleapi.Error // whose text is Google's, and not shown, as is the other's
	var refused *auth.Error
	if errors.As(err, &refused) {
		e.fail(check, "", e.ownToken(err))
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
			fmt.Sprintf("gcloud secrets add-iam-policy-binding %s --project=%s --member=%s --role=roles/secretmanager.secretAccessor", secret, project, cmp.Or(e.who.Member(), "CALLER"))))
	case answer.Code == http.StatusNotFound:
		e.fail(check, "", operators("There is no "+from+".", fmt.Sprintf("Name a version that is enabled, which %s is not: gcloud secrets versions list %s --project=%s", version, secret, project)))
	default:
		e.fail(check, "", e.of(explain.Answer{Stage: "call", Status: answer.Code}, e.names()))
	}
}

// failAPI says that an API is off.
func (e *exam) failAPI(project, service string) {
	n := e.names()
	n.Project, n.Service = project, service
	e.fail("api", service, e.of(explain.Answer{Stage: "call", Status: http.StatusForbidden, Code: "SERVICE_DISABLED"}, n))
}

// keySet are an account's public keys (RFC 7517).
type keySet struct {
	Keys []struct {
		ID string `json:"kid"`
	} `json:"keys"`
	asked time.Time     // on this machine's clock, in the middle of asking
	dated time.Time     // by Google's answer; zero where it has no date
	error time.Duration // by how much the two can be off each other for that alone
}

// serviceAccount sees whether the account exists: its public keys are for everybody
// to see.
func (e *exam) serviceAccount(ctx context.Context) {
	begun := time.Now()
	status, header, err := ask(ctx, e.google.HTTP, "https://www.googleapis.com/service_accounts/v1/metadata/jwk/"+url.PathEscape(e.account), &e.keys)
	took := time.Since(begun)
	e.keys.asked, e.keys.error = begun.Add(took/2), took/2+time.Second
	e.keys.dated, _ = http.ParseTime(header.Get("Date"))
	switch {
	case err != nil:
		e.fail("service account", "", e.of(explain.Mint("exchange", 0, "noAnswer", ""), e.names()))
	case status == http.StatusNotFound:
		e.fail("service account", "", e.of(explain.Mint("exchange", http.StatusBadRequest, "invalid_grant", "Invalid grant: account not found"), e.names()))
	case status != http.StatusOK:
		e.skip("service account", "", fmt.Sprintf("%s: Google does not tell whether it exists: HTTP %d; the steps below show it", e.account, status))
	default:
		e.pass("service account", "", e.account+" exists")
		e.matchKey(ctx)
	}
}

// matchKey sees whether the key that signs is still one of the account's.
func (e *exam) matchKey(ctx context.Context) {
	if _, isKey := e.cfg.Key(); !isKey {
		return
	}
	id := e.keyID(ctx)
	if id == "" {
		e.skip("key", "", "a key in P12 has no id; whether it is one of the account's shows below")
		return
	}
	for _, k := range e.keys.Keys {
		if k.ID == id {
			e.pass("key", "", id+" is one of the account's")
			return
		}
	}
	m := e.of(explain.Mint("exchange", http.StatusBadRequest, "invalid_grant", "Invalid JWT Signature."), e.names())
	m.Message += " It is " + id + "."
	e.fail("key", "", m)
}

// keyID is the id of the key that signs, as its JWTs have it.
func (e *exam) keyID(ctx context.Context) string {
	signed, err := e.signer.SignJWT(ctx, "{}")
	if err != nil {
		return ""
	}
	head, _, _ := strings.Cut(signed, ".")
	var header struct {
		ID string `json:"kid"`
	}
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || json.Unmarshal(text, &header) != nil {
		return ""
	}
	return header.ID
}

// How far this machine's clock may be from Google's. An assertion may be issued up
// to 5 minutes ahead and an hour ago
// (https://developers.google.com/identity/protocols/oauth2/service-account); what is
// nearer than that to the limit may soon be beyond it.
const (
	mostAhead  = time.Minute
	mostBehind = 30 * time.Minute
)

func (e *exam) clock(context.Context) {
	if e.keys.dated.IsZero() {
		e.skip("clock", "", "Google's answer has no date")
		return
	}
	off := e.keys.asked.Sub(e.keys.dated)
	says := "within " + e.keys.error.Round(time.Second).String() + " of Google's"
	switch {
	case off > e.keys.error:
		says = off.Round(time.Second).String() + " ahead of Google's"
	case off < -e.keys.error:
		says = (-off).Round(time.Second).String() + " behind Google's"
	}
	if off <= mostAhead && off >= -mostBehind {
		e.pass("clock", "", says)
		return
	}
	m := e.of(explain.Mint("exchange", http.StatusBadRequest, "invalid_grant", "Invalid JWT: Token must be a short-lived token"), e.names())
	m.Message = "This machine's clock is " + says + "."
	e.fail("clock", "", m)
}

const (
	iamCredentials = "iamcredentials.googleapis.com"
	pubSub         = "pubsub.googleapis.com"
	secretManager  = "secretmanager.googleapis.com"
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
				e.skip("api", s, "whether it is on in "+project+" may not be asked with these rights; the calls below show it")
			case is:
				e.pass("api", s, "is on in "+project)
			default:
				e.failAPI(project, s)
			}
		}
	}
}
