package explain

import (
	"cmp"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// Names are what messages and remedies are filled in with. Any may be empty;
// then a word in capitals stands for it.
type Names struct {
	Account  string // the delegated service account's e-mail address
	ClientID string // its numeric client id
	User     string // e-mail address
	Domain   string // the user's, unless given
	Scopes   []string
	// Project is the id of the service account's project; unless given, it is
	// read from the account's address.
	Project       string
	ProjectNumber string
	Service       string // the API's host, such as gmail.googleapis.com
	// Caller is who asked Google, as an IAM member: serviceAccount:…, user:…, or
	// principal:…/subject/ and the subject, or [Subject].
	Caller string
}

// Subject stands in a Caller for the subject of an identity from outside Google.
const Subject = "SUBJECT"

const delegationPage = "https://admin.google.com/ac/owl/domainwidedelegation"

// DelegationLink is the page of the Admin console on which a Workspace
// administrator authorizes a service account, filled in with its numeric client
// id and the scopes. The console adds them to what the client has: the
// parameter that would replace that is never set.
func DelegationLink(clientID string, scopes []string) string {
	return delegationPage + "?clientScopeToAdd=" + url.QueryEscape(strings.Join(scopes, ",")) + "&clientIdToAdd=" + url.QueryEscape(clientID)
}

// AccountProject is the id of the project that a service account belongs to:
// its address is NAME@PROJECT.iam.gserviceaccount.com. It is empty where the
// address has another form.
func AccountProject(account string) string {
	_, domain, _ := strings.Cut(account, "@")
	project, _ := strings.CutSuffix(domain, ".iam.gserviceaccount.com")
	if project == domain {
		return ""
	}
	return project
}

// For fills the names in.
func (m Meaning) For(n Names) Meaning {
	fill := m.found.fill(n.complete())
	m.Message, m.Fix = fill.Replace(m.Message), fill.Replace(m.Fix)
	return m
}

// WantsClientID tells whether the remedy names the numeric client id, which
// must be asked for.
func (m Meaning) WantsClientID() bool {
	return strings.Contains(m.Fix, "{delegate}") || strings.Contains(m.Fix, "{client")
}

// WantsCaller tells likewise of who asked Google.
func (m Meaning) WantsCaller() bool { return strings.Contains(m.Message+m.Fix, "{caller}") }

// complete has a word for whatever is not known.
func (n Names) complete() Names {
	_, domain, _ := strings.Cut(n.User, "@")
	n.Domain = cmp.Or(n.Domain, domain, "DOMAIN")
	n.Project = cmp.Or(n.Project, AccountProject(n.Account), "PROJECT")
	n.Account = cmp.Or(n.Account, "SERVICE_ACCOUNT")
	n.User = cmp.Or(n.User, "USER")
	n.Service = cmp.Or(n.Service, "SERVICE")
	return n
}

// fill replaces the placeholders. What Google's text names goes before what is
// known otherwise, for the answer is about that.
func (f found) fill(n Names) *strings.Replacer {
	consumer := f.project
	if consumer == "" || consumer == n.ProjectNumber {
		consumer = n.Project
	}
	until := "for now, often for 15 minutes and at times for hours"
	if !f.notBefore.IsZero() {
		until = "until " + f.notBefore.Format(time.RFC3339)
	}
	return strings.NewReplacer(
		"{account}", n.Account,
		"{clientID}", cmp.Or(n.ClientID, "CLIENT_ID"),
		"{client}", n.client(),
		"{delegate}", n.delegate(),
		"{user}", n.User,
		"{domain}", n.Domain,
		"{scopes}", n.scopes(),
		"{project}", n.Project,
		"{consumer}", consumer,
		"{service}", cmp.Or(f.service, n.Service),
		"{caller}", cmp.Or(n.Caller, "the caller"),
		"{grantee}", n.grantee(),
		"{member}", cmp.Or(n.Caller, "CALLER"),
		"{object}", cmp.Or(f.object, "the job"),
		"{until}", until,
	)
}

func (n Names) scopes() string { return cmp.Or(strings.Join(n.Scopes, " "), "SCOPES") }

// grantee is who is to be granted a right, and what the words in capitals are that the
// command has for it.
func (n Names) grantee() string {
	switch {
	case n.Caller == "":
		return "the caller (CALLER is serviceAccount:ADDRESS, or user:ADDRESS of one's own sign-in)"
	case strings.HasSuffix(n.Caller, "/subject/"+Subject):
		return n.Caller + " (" + Subject + " is the identity's own, which the pool's provider maps to google.subject)"
	}
	return n.Caller
}

// client names the numeric client id, the only name of the account that the
// Admin console accepts, or how it is read. It stands at the end of a sentence.
func (n Names) client() string {
	if n.ClientID != "" {
		return "numeric client id " + n.ClientID
	}
	return "numeric client id of " + n.Account + ", which the operator reads with: gcloud iam service-accounts describe " + n.Account + " --format='value(uniqueId)'"
}

// delegate says how the administrator authorizes the account.
func (n Names) delegate() string {
	const wait = " It takes effect in minutes, at times in 24 hours."
	who := "A Workspace administrator of " + n.Domain
	if n.ClientID != "" && len(n.Scopes) > 0 {
		return who + " opens this link, which fills in the numeric client id " + n.ClientID + " of " + n.Account + " and the scopes, and presses Authorize." + wait + " " + DelegationLink(n.ClientID, n.Scopes)
	}
	return who + " opens the Admin console › Security › Access and data control › API controls › Domain-wide delegation (" + delegationPage + ") and authorizes the client id for " + n.scopes() + "." + wait + " It is the " + n.client()
}

// found are the values that were read from Google's text.
type found struct {
	project, service string
	object           string
	notBefore        time.Time
}

var (
	projectNumber = regexp.MustCompile(`(?i)\bprojects?(?:_number:|[ /])([0-9]{6,20})\b`)
	serviceHost   = regexp.MustCompile(`\b([a-z][a-z0-9-]{1,40}\.googleapis\.com)\b`)
	retryAfter    = regexp.MustCompile(`(?i)\bretry after\s{1,4}([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{8,18}(?:Z|[+-][0-9]{2}:[0-9]{2}))`)
)

// find reads what Google's text names, as far as it has the form of it.
func find(text string) found {
	var f found
	f.project = first(projectNumber, text)
	f.service = first(serviceHost, text)
	if t, err := time.Parse(time.RFC3339, first(retryAfter, text)); err == nil {
		f.notBefore = t.UTC()
	}
	return f
}

func first(pattern *regexp.Regexp, text string) string {
	if m := pattern.FindStringSubmatch(text); m != nil {
		return m[1]
	}
	return ""
}
