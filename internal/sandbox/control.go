package sandbox

import (
	"fmt"
	"net/http"
	"strings"
)

const controlPrefix = "_sandbox/"

// controlRoutes are the sandbox's own; see the package comment.
func controlRoutes() []*route {
	r := func(method, path, does string, h func(*call) reply) *route {
		return &route{name: does, method: method, path: controlPrefix + path, limit: limitSmall, who: nobody, handle: h}
	}
	return []*route{
		r("GET", "", "this list", (*call).controlList),
		r("POST", "faults", "order a fault", (*call).controlOrder),
		r("DELETE", "faults", "clear all faults", func(c *call) reply { c.ClearFaults(); return noContent() }),
		r("GET", "calls", "calls by name", func(c *call) reply { return c.ok(c.Calls()) }),
		r("DELETE", "calls", "set the counts to zero", func(c *call) reply { c.ResetCalls(); return noContent() }),
		r("GET", "rows", "the table of errors", func(c *call) reply { return c.ok(c.Rows()) }),
		r("GET", "users/{}/letters", "a user's letters; raw is base64", (*call).controlLetters),
		r("POST", "keys/rotate", "a new key for each account", (*call).controlRotate),
		r("POST", "users", "add a user", (*call).controlAddUser),
		r("PATCH", "users/{}", "change a user: suspend, archive …", (*call).controlPatchUser),
		r("POST", "accounts/{}/keys", `make a key of an account: {"type": "json"} or "p12"; answers the file`, (*call).controlKey),
		r("PUT", "accounts/{}/signers", "set who may sign for an account: a list of addresses", (*call).controlSigners),
		r("PUT", "quota", `set what Gmail lets be done: {"gmailUnitsPerUser", "gmailUnitsPerProject", "gmailConcurrentPerUser"}; 0 is no limit`, (*call).controlQuota),
		r("PUT", "services/{}", "switch an API on or off in the project: true or false", (*call).controlService),
		r("PUT", "clients/{}/scopes", "set the delegation entry of a numeric client id: a list of scopes, or null", (*call).controlScopes),
	}
}

func (s *Server) serveControl(w http.ResponseWriter, r *http.Request, path string) {
	rt, vars := s.control.find(r.Method, path, r.URL.RawQuery)
	if rt == nil {
		refuseRPC(http.StatusNotFound, "sandbox: no such control; GET /_sandbox/ lists them").send(w, r)
		return
	}
	c := &call{Server: s, req: r, route: rt, vars: vars, query: r.URL.Query()}
	if err := c.read(rt.limit); err != nil {
		c.tooLarge().send(w, r)
		return
	}
	rt.handle(c).send(w, r)
}

func wrong(err error) reply {
	return refuseRPC(http.StatusBadRequest, err.Error())
}

func (c *call) controlList() reply {
	does := map[string]string{}
	for _, rt := range c.control.list {
		does[rt.method+" /"+strings.ReplaceAll(rt.path, "{}", "*")] = rt.name
	}
	return c.ok(map[string]any{"project": c.project, "runtime": c.runtime.email, "controls": does, "calls": c.faults.names})
}

func (c *call) controlOrder() reply {
	var f Fault
	if err := strictJSON(c.body, &f); err != nil {
		return wrong(fmt.Errorf("fault: %w", err))
	}
	if err := c.Order(f); err != nil {
		return wrong(err)
	}
	return c.ok(f)
}

func (c *call) controlLetters() reply {
	if c.people.find(c.vars[0]) == nil {
		return c.noUser()
	}
	return c.ok(map[string]any{"letters": c.Letters(c.vars[0])})
}

func (c *call) noUser() reply {
	return refuseRPC(http.StatusNotFound, fmt.Sprintf("sandbox: no user %q", c.vars[0]))
}

func (c *call) controlRotate() reply {
	if err := c.RotateKeys(); err != nil {
		return c.broken(err)
	}
	return noContent()
}

func (c *call) controlAddUser() reply {
	var u User
	if err := strictJSON(c.body, &u); err != nil {
		return wrong(fmt.Errorf("user: %w", err))
	}
	u.normalize()
	if err := u.validate("user"); err != nil {
		return wrong(err)
	}
	if err := c.addUser(u); err != nil {
		return wrong(err)
	}
	return c.ok(u)
}

// userPatch has the fields of a user that may change.
type userPatch struct {
	GivenName   *string   `json:"givenName"`
	FamilyName  *string   `json:"familyName"`
	OrgUnitPath *string   `json:"orgUnitPath"`
	Suspended   *bool     `json:"suspended"`
	Archived    *bool     `json:"archived"`
	IsAdmin     *bool     `json:"isAdmin"`
	IsDelegated *bool     `json:"isDelegatedAdmin"`
	NoMailbox   *bool     `json:"noMailbox"`
	ServicesOff *[]string `json:"servicesOff"`
}

func (c *call) controlPatchUser() reply {
	p := c.people.find(c.vars[0])
	if p == nil {
		return c.noUser()
	}
	var patch userPatch
	if err := strictJSON(c.body, &patch); err != nil {
		return wrong(fmt.Errorf("user: %w", err))
	}
	if off := patch.ServicesOff; off != nil {
		if err := validServices("user", *off); err != nil {
			return wrong(err)
		}
	}
	return c.ok(c.people.change(p, func(u *User) {
		set(&u.GivenName, patch.GivenName)
		set(&u.FamilyName, patch.FamilyName)
		set(&u.OrgUnitPath, patch.OrgUnitPath)
		set(&u.Suspended, patch.Suspended)
		set(&u.Archived, patch.Archived)
		set(&u.IsAdmin, patch.IsAdmin)
		set(&u.IsDelegatedAdmin, patch.IsDelegated)
		set(&u.NoMailbox, patch.NoMailbox)
		set(&u.ServicesOff, patch.ServicesOff)
	}))
}

func set[T any](field, to *T) {
	if to != nil {
		*field = *to
	}
}

func (c *call) controlScopes() reply {
	a := c.accounts.find(c.vars[0])
	if a == nil || a.id != c.vars[0] {
		return refuseRPC(http.StatusNotFound, fmt.Sprintf("sandbox: no account with the numeric client id %q", c.vars[0]))
	}
	var scopes []string
	if err := strictJSON(c.body, &scopes); err != nil {
		return wrong(fmt.Errorf("scopes: %w", err))
	}
	a.delegate(scopes)
	return noContent()
}

func (c *call) controlKey() reply {
	var in struct {
		Type string `json:"type"`
	}
	if err := strictJSON(c.body, &in); err != nil {
		return wrong(fmt.Errorf("key: %w", err))
	}
	if c.accounts.find(c.vars[0]) == nil {
		return c.noAccount()
	}
	var file []byte
	var err error
	mime := mimeJSON
	switch in.Type {
	case "json":
		file, err = c.KeyFile(c.vars[0])
	case "p12":
		mime = "application/octet-stream"
		file, err = c.KeyP12(c.vars[0])
	default:
		return wrong(fmt.Errorf("key: type %q is neither json nor p12", in.Type))
	}
	if err != nil {
		return c.broken(err)
	}
	return reply{status: http.StatusOK, mime: mime, body: file}
}

func (c *call) controlSigners() reply {
	var signers []string
	if err := strictJSON(c.body, &signers); err != nil {
		return wrong(fmt.Errorf("signers: %w", err))
	}
	if c.accounts.find(c.vars[0]) == nil {
		return c.noAccount()
	}
	if err := c.SetSigners(c.vars[0], signers); err != nil {
		return wrong(err)
	}
	return noContent()
}

func (c *call) noAccount() reply {
	return refuseRPC(http.StatusNotFound, fmt.Sprintf("sandbox: no service account %q", c.vars[0]))
}

func (c *call) controlQuota() reply {
	var q Quota
	if err := strictJSON(c.body, &q); err != nil {
		return wrong(fmt.Errorf("quota: %w", err))
	}
	if err := c.SetQuota(q); err != nil {
		return wrong(err)
	}
	return c.ok(q)
}

func (c *call) controlService() reply {
	var on bool
	if err := strictJSON(c.body, &on); err != nil {
		return wrong(fmt.Errorf("service: %w", err))
	}
	if err := c.SetAPI(c.vars[0], on); err != nil {
		return refuseRPC(http.StatusNotFound, err.Error())
	}
	return noContent()
}
