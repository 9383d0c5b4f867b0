package sandbox

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"maps"
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
	photos := &kind{name: userPhotos, id: "id", shared: true, alias: userID, gone: resourceNotFound("photo")}
	return behind((*call).directoryDoor, append(groupMethods(),
		method{id: "directory.users.list", do: (*call).listUsers},
		method{id: "directory.users.get", do: (*call).getUser},
		method{id: "directory.users.insert", do: (*call).insertUser},
		method{id: "directory.users.patch", do: (*call).changeUser},
		method{id: "directory.users.update", do: (*call).changeUser},
		method{id: "directory.users.delete", do: (*call).deleteUser},
		method{id: "directory.users.photos.get", do: ofUser(photos.get)},
		method{id: "directory.users.photos.update", do: ofUser(func(c *call) reply { return c.putPhoto(photos) })},
		method{id: "directory.orgunits.list", do: (*call).listUnits},
		method{id: "directory.orgunits.get", do: (*call).getUnit},
		method{id: "reports.activities.list", do: func(c *call) reply {
			// Nothing is recorded here that Google would report.
			return c.ok(doc{"kind": "admin#reports#activities", "etag": `"0"`})
		}},
	)...)
}

// userID takes an address or an alias for the id.
func userID(c *call, key string) string {
	if p := c.people.find(key); p != nil {
		return p.id
	}
	return key
}

// ofUser makes sure that there is the user.
func ofUser(h func(*call) reply) func(*call) reply {
	return func(c *call) reply {
		if c.people.find(c.vars[0]) == nil {
			return resourceNotFound("userKey")(c, "")
		}
		return h(c)
	}
}

func (c *call) putPhoto(photos *kind) reply {
	p := c.people.find(c.vars[0])
	d := doc(merge(nil, c.said()))
	if d.text("photoData") == "" {
		return *c.badInput("photoData")
	}
	d["kind"], d["id"], d["primaryEmail"] = "admin#directory#user#photo", p.id, p.email
	d["etag"] = etagOf(d)
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	photos.shelf(c, address{kind: photos.name}).put(p.id, d)
	return c.ok(d)
}

// directoryDoor lets administrators in, and those with some rights where nothing is
// changed. Everybody may see the public view.
func (c *call) directoryDoor() *reply {
	if p := c.tok.person; p != nil {
		u := p.user()
		if u.IsAdmin || u.IsDelegatedAdmin && c.req.Method == http.MethodGet || c.query.Get("viewType") == "domain_public" {
			return nil
		}
	}
	a := c.row("A19")
	return &a
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
		IsAdmin: u.IsAdmin, IsDelegated: u.IsDelegatedAdmin, AgreedTerms: true, Suspended: u.Suspended, Archived: u.Archived,
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
		return resourceNotFound("userKey")(c, "")
	}
	return c.ok(c.shownUser(p))
}

// shownUser is what the sandbox knows of a user, and what else was ever said. Custom
// fields are shown to who reads users only where projection says so.
func (c *call) shownUser(p *person) any {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	said := c.store.shelfOf(address{kind: userFields}).byID[p.id]
	if len(said) == 0 {
		return p.directory()
	}
	b, err := marshal(p.directory(), false)
	var known doc
	if err != nil || json.Unmarshal(b, &known) != nil { // cannot be: the type has nothing that fails
		return doc{}
	}
	out := merge(said, known)
	if custom := c.projected(doc(out).under("customSchemas")); len(custom) > 0 {
		out["customSchemas"] = custom
	} else {
		delete(out, "customSchemas")
	}
	return out
}

// projected are those of a user's custom fields that the call shows.
func (c *call) projected(schemas doc) map[string]any {
	out := merge(schemas, nil)
	switch mask := strings.Split(c.query.Get("customFieldMask"), ","); {
	case c.req.Method != http.MethodGet || c.query.Get("projection") == "full":
	case c.query.Get("projection") == "custom":
		maps.DeleteFunc(out, func(schema string, _ any) bool { return !slices.Contains(mask, schema) })
	default:
		clear(out)
	}
	return out
}

// userFields are what is kept of a user beside what the sandbox itself knows.
const (
	userFields = "directory.users"
	userPhotos = "directory.photos"
)

// userIn are the fields of a user that have an effect here.
type userIn struct {
	PrimaryEmail *string `json:"primaryEmail"`
	Password     *string `json:"password"`
	Name         struct {
		Given  *string `json:"givenName"`
		Family *string `json:"familyName"`
	} `json:"name"`
	OrgUnitPath *string `json:"orgUnitPath"`
	Suspended   *bool   `json:"suspended"`
	Archived    *bool   `json:"archived"`
}

func (in *userIn) apply(u *User) {
	set(&u.GivenName, in.Name.Given)
	set(&u.FamilyName, in.Name.Family)
	set(&u.OrgUnitPath, in.OrgUnitPath)
	set(&u.Suspended, in.Suspended)
	set(&u.Archived, in.Archived)
}

func (c *call) userIn() (in userIn, refused *reply) {
	if json.Unmarshal(orEmpty(c.body), &in) != nil { // it was checked
		return in, c.badInput("user")
	}
	if path := in.OrgUnitPath; path != nil && !slices.Contains(c.units(), *path) {
		return in, c.badInput("INVALID_OU_ID")
	}
	return in, nil
}

// remember keeps what else was said of a user.
func (c *call) remember(p *person) {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	said := c.said()
	for name := range said {
		switch name {
		case "password", "hashFunction", "primaryEmail", "name", "orgUnitPath", "suspended", "archived":
			delete(said, name)
		}
	}
	at := address{kind: userFields}
	sh := c.store.shelves[at]
	if sh == nil {
		sh = &shelf{byID: map[string]doc{}}
		c.store.shelves[at] = sh
	}
	sh.put(p.id, merge(sh.byID[p.id], said))
}

func (c *call) insertUser() reply {
	in, refused := c.userIn()
	switch {
	case refused != nil:
		return *refused
	case in.PrimaryEmail == nil:
		return *c.badInput("primary_user_email")
	case in.Name.Given == nil || in.Name.Family == nil:
		return *c.badInput("name")
	case in.Password == nil:
		return *c.badInput("password")
	}
	u := User{PrimaryEmail: *in.PrimaryEmail}
	in.apply(&u)
	u.normalize()
	if u.validate("user") != nil {
		return *c.badInput("primary_user_email")
	}
	if c.addUser(u) != nil {
		return entityExists(c)
	}
	p := c.people.find(u.PrimaryEmail)
	c.remember(p)
	return c.ok(c.shownUser(p))
}

// changeUser is PATCH and PUT, which are the same here as at Google.
func (c *call) changeUser() reply {
	p := c.people.find(c.vars[0])
	if p == nil {
		return resourceNotFound("userKey")(c, "")
	}
	in, refused := c.userIn()
	if refused != nil {
		return *refused
	}
	if in.PrimaryEmail != nil && !strings.EqualFold(*in.PrimaryEmail, p.email) {
		return c.notImplemented("primaryEmail")
	}
	c.people.change(p, in.apply)
	c.remember(p)
	return c.ok(c.shownUser(p))
}

func (c *call) deleteUser() reply {
	p := c.people.find(c.vars[0])
	if p == nil {
		return resourceNotFound("userKey")(c, "")
	}
	c.people.remove(p)
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	c.store.forget(p)
	return noContent()
}

// units are the paths of the organisational units: those of users, and what
// they lie in.
func (c *call) units() []string {
	seen := map[string]bool{"/": true}
	for _, p := range c.people.all() {
		for path := p.user().OrgUnitPath; path != "/"; path = cmp.Or(path[:strings.LastIndexByte(path, '/')], "/") {
			seen[path] = true
		}
	}
	return slices.Sorted(maps.Keys(seen))
}

func unit(path string) doc {
	parent := cmp.Or(path[:strings.LastIndexByte(path, '/')], "/")
	return doc{
		"kind": "admin#directory#orgUnit", "etag": `"0"`, "name": path[strings.LastIndexByte(path, '/')+1:], "description": "",
		"orgUnitPath": path, "orgUnitId": "id:" + numericID(path), "parentOrgUnitPath": parent, "parentOrgUnitId": "id:" + numericID(parent),
	}
}

// listUnits answers those right below a unit, or all of them. The root is not
// among them.
func (c *call) listUnits() reply {
	top, kind := "/"+strings.Trim(c.query.Get("orgUnitPath"), "/"), c.query.Get("type")
	var out []doc
	for _, path := range c.units() {
		rest, below := strings.CutPrefix(path, strings.TrimSuffix(top, "/")+"/")
		direct := strings.HasPrefix(kind, "all") || !strings.Contains(rest, "/")
		if below && rest != "" && direct || path == top && path != "/" && kind == "allIncludingParent" {
			out = append(out, unit(path))
		}
	}
	return c.ok(doc{"kind": "admin#directory#orgUnits", "etag": `"0"`, "organizationUnits": out})
}

func (c *call) getUnit() reply {
	key := c.arg("orgUnitPath")
	for _, path := range c.units() {
		if d := unit(path); path == "/"+strings.Trim(key, "/") || d["orgUnitId"] == key {
			return c.ok(d)
		}
	}
	return c.refuse(http.StatusNotFound, "notFound", "Org unit not found")
}

func (c *call) listUsers() reply {
	const normal, most = 100, 500
	limit := c.count("maxResults", normal, most)
	if refused := c.scopeOfList(); refused != nil {
		return *refused
	}
	query, ok := parseUserQuery(c.query.Get("query"))
	if !ok {
		return *c.badInput("query")
	}
	after, ok := userPage(c.query.Get("pageToken"))
	if !ok {
		return *c.badInput("pageToken")
	}
	domain := "@" + strings.ToLower(c.query.Get("domain"))
	in := func(p *person) bool { return domain == "@" || strings.HasSuffix(p.email, domain) }
	fits := func(p *person) bool { return in(p) && query.fits(p.user()) }
	if c.query.Get("showDeleted") == "true" { // who is deleted is not kept
		fits = func(*person) bool { return false }
	}
	people := c.people.some(after, c.query.Get("sortOrder") == "DESCENDING", limit+1, fits)
	if len(people) == 0 && after == "" {
		if refused := c.nobody(in, query); refused != nil {
			return *refused
		}
	}
	return c.ok(c.usersPage(people, limit))
}

// usersPage is a page of a list of users; one more than there is room for says that
// another page follows.
func (c *call) usersPage(people []*person, limit int) map[string]any {
	out := map[string]any{"kind": "admin#directory#users"}
	if len(people) > limit {
		people = people[:limit]
		out["nextPageToken"] = base64.RawURLEncoding.EncodeToString([]byte(people[limit-1].email))
	}
	var users []any
	for _, p := range people {
		users = append(users, c.shownUser(p))
	}
	if users != nil {
		out["users"] = users
	}
	return out
}

// nobody tells why a list is empty, where that is not to be: its domain, or the unit
// that the query names, is not there.
func (c *call) nobody(in func(*person) bool, query userQuery) *reply {
	if len(c.people.some("", false, 1, in)) == 0 {
		a := c.refuse(http.StatusNotFound, "notFound", "Domain not found.")
		return &a
	}
	known := c.units()
	for _, unit := range query.units {
		if !slices.ContainsFunc(known, func(path string) bool { return strings.EqualFold(path, unit) }) {
			return c.badInput("INVALID_OU_ID")
		}
	}
	return nil
}

// scopeOfList wants a customer or a domain. Any order but that of addresses is refused.
func (c *call) scopeOfList() *reply {
	refuse := func(a reply) *reply { return &a }
	if by := c.query.Get("orderBy"); by != "" && by != "email" {
		return refuse(c.notImplemented("orderBy=" + by))
	}
	switch customer := c.query.Get("customer"); {
	case customer == "" && c.query.Get("domain") == "":
		return refuse(c.refuse(http.StatusBadRequest, "badRequest", "Bad Request"))
	case customer != "" && customer != "my_customer" && customer != customerID:
		return refuse(c.row("A19"))
	}
	return nil
}

// userPage reads after whom a page begins.
func userPage(token string) (email string, ok bool) {
	if token == "" {
		return "", true
	}
	b, err := base64.RawURLEncoding.DecodeString(token)
	return string(b), err == nil && isAddress(string(b))
}
