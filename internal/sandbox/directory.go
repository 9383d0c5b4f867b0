package sandbox

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
)

// customerID stands for the organisation.
const customerID = "C0sandbox"

// The Directory API. Facts: its Discovery document, and for queries
// https://developers.google.com/workspace/admin/directory/v1/guides/search-users.
func directoryMethods() []method {
	return behind((*call).directoryDoor,
		method{id: "directory.users.list", do: (*call).listUsers},
		method{id: "directory.users.get", do: (*call).getUser},
	)
}

// directoryDoor lets administrators in. Everybody may see the public view.
func (c *call) directoryDoor() *reply {
	p := c.tok.person
	if p == nil || !p.user().IsAdmin && c.query.Get("viewType") != "domain_public" {
		a := c.row("A19")
		return &a
	}
	return nil
}

// userOut is the Directory's User, less what the sandbox has nothing to say of.
type userOut struct {
	Kind         string     `json:"kind"`
	ID           string     `json:"id"`
	PrimaryEmail string     `json:"primaryEmail"`
	Name         nameOut    `json:"name"`
	IsAdmin      bool       `json:"isAdmin"`
	IsDelegated  bool       `json:"isDelegatedAdmin"`
	AgreedTerms  bool       `json:"agreedToTerms"`
	Suspended    bool       `json:"suspended"`
	Archived     bool       `json:"archived"`
	Emails       []emailOut `json:"emails"`
	Aliases      []string   `json:"aliases,omitempty"`
	CustomerID   string     `json:"customerId"`
	OrgUnitPath  string     `json:"orgUnitPath"`
	HasMailbox   bool       `json:"isMailboxSetup"`
	Created      string     `json:"creationTime"`
}

type nameOut struct {
	Given  string `json:"givenName"`
	Family string `json:"familyName"`
	Full   string `json:"fullName"`
}

type emailOut struct {
	Address string `json:"address"`
	Primary bool   `json:"primary,omitempty"`
}

func (p *person) directory() userOut {
	u := p.user()
	out := userOut{
		Kind: "admin#directory#user", ID: p.id, PrimaryEmail: u.PrimaryEmail,
		Name:    nameOut{u.GivenName, u.FamilyName, strings.TrimSpace(u.GivenName + " " + u.FamilyName)},
		IsAdmin: u.IsAdmin, AgreedTerms: true, Suspended: u.Suspended, Archived: u.Archived,
		Emails: []emailOut{{u.PrimaryEmail, true}}, Aliases: u.Aliases, CustomerID: customerID,
		OrgUnitPath: u.OrgUnitPath, HasMailbox: !u.NoMailbox,
		Created: p.since.UTC().Format(time.RFC3339),
	}
	for _, a := range u.Aliases {
		out.Emails = append(out.Emails, emailOut{Address: a})
	}
	return out
}

func (c *call) getUser() reply {
	p := c.people.find(c.vars[0])
	if p == nil {
		return c.refuse(http.StatusNotFound, "notFound", "Resource Not Found: userKey")
	}
	return c.ok(p.directory())
}

func (c *call) listUsers() reply {
	const normal, most = 100, 500
	limit := c.count("maxResults", normal, most)
	people, refused := c.scopeOfList()
	if refused != nil {
		return *refused
	}
	fits, ok := parseUserQuery(c.query.Get("query"))
	if !ok {
		return c.refuse(http.StatusBadRequest, "invalid", "Invalid Input: query")
	}
	people = slices.DeleteFunc(people, func(p *person) bool { return !fits(p.user()) })
	if c.query.Get("sortOrder") == "DESCENDING" {
		slices.Reverse(people)
	}
	from, ok := userPage(people, c.query.Get("pageToken"))
	if !ok {
		return c.refuse(http.StatusBadRequest, "invalid", "Invalid Input: pageToken")
	}
	end := min(from+limit, len(people))
	out := map[string]any{"kind": "admin#directory#users"}
	var users []userOut
	for _, p := range people[from:end] {
		users = append(users, p.directory())
	}
	if users != nil {
		out["users"] = users
	}
	if end < len(people) {
		out["nextPageToken"] = base64.RawURLEncoding.EncodeToString([]byte(people[end-1].email))
	}
	return c.ok(out)
}

// scopeOfList wants a customer or a domain. Deleted users are not kept, so
// that asking for them finds nobody. Any order but that of addresses is refused.
func (c *call) scopeOfList() ([]*person, *reply) {
	refuse := func(a reply) ([]*person, *reply) { return nil, &a }
	if by := c.query.Get("orderBy"); by != "" && by != "email" {
		return refuse(c.notImplemented("orderBy=" + by))
	}
	customer, domain := c.query.Get("customer"), strings.ToLower(c.query.Get("domain"))
	switch {
	case customer == "" && domain == "":
		return refuse(c.refuse(http.StatusBadRequest, "badRequest", "Bad Request"))
	case customer != "" && customer != "my_customer" && customer != customerID:
		return refuse(c.row("A19"))
	case c.query.Get("showDeleted") == "true":
		return nil, nil
	}
	people := c.people.all()
	if domain == "" {
		return people, nil
	}
	people = slices.DeleteFunc(people, func(p *person) bool { return !strings.HasSuffix(p.email, "@"+domain) })
	if len(people) == 0 {
		return refuse(c.refuse(http.StatusNotFound, "notFound", "Domain not found."))
	}
	return people, nil
}

// userPage finds where the page after the one that ended with an address begins.
func userPage(people []*person, token string) (int, bool) {
	if token == "" {
		return 0, true
	}
	email, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, false
	}
	i := slices.IndexFunc(people, func(p *person) bool { return p.email == string(email) })
	return i + 1, i >= 0
}
