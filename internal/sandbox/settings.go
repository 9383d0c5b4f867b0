package sandbox

import (
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// settingMethods are Gmail's settings. Facts: its Discovery document and
// https://developers.google.com/workspace/gmail/api/guides/alias_and_signature_settings.
func settingMethods() []method {
	const prefix = "gmail.users.settings."
	sendAs := &kind{
		name: "gmail.sendAs", id: "sendAsEmail", items: "sendAs", skip: 1, alias: lowerAlias,
		seed:   func(c *call, _ address) []doc { return []doc{c.primaryAddress()} },
		check:  checkSignature,
		makeID: (*call).newSendAs, edit: editSendAs, free: (*call).freeSendAs,
	}
	filters := &kind{name: "gmail.filters", id: "id", items: "filter", skip: 1, makeID: (*call).newFilter}
	filters.check = func(c *call, d doc) *reply { return c.checkFilter(filters, d) }
	forwarding := &kind{
		name: "gmail.forwarding", id: "forwardingEmail", items: "forwardingAddresses", skip: 1, alias: lowerAlias,
		makeID: func(c *call, d doc) (string, *reply) { return c.newAddress(d, "forwardingEmail") },
	}
	delegates := &kind{
		name: "gmail.delegates", id: "delegateEmail", items: "delegates", skip: 1, alias: lowerAlias,
		makeID: (*call).newDelegate,
	}
	out := slices.Concat(
		sendAs.methods(prefix+"sendAs", "list", "get", "create", "update", "patch", "delete"),
		filters.methods(prefix+"filters", "list", "get", "create", "delete"),
		forwarding.methods(prefix+"forwardingAddresses", "list", "get", "create", "delete"),
		delegates.methods(prefix+"delegates", "list", "get", "create", "delete"),
		[]method{{id: prefix + "sendAs.verify", do: sendAs.verify}},
	)
	for _, s := range []struct {
		name  string
		first doc
		check func(*call, doc) *reply
	}{
		{"Vacation", doc{"enableAutoReply": false, "restrictToContacts": false, "restrictToDomain": false}, (*call).checkVacation},
		{"AutoForwarding", doc{"enabled": false}, func(c *call, d doc) *reply { return c.checkForwarding(forwarding, d) }},
		{"Imap", doc{"enabled": true, "autoExpunge": true, "expungeBehavior": "archive", "maxFolderSize": 0}, nil},
		{"Pop", doc{"accessWindow": "disabled", "disposition": "leaveInInbox"}, nil},
		{"Language", doc{"displayLanguage": "en"}, nil},
	} {
		get, update := setting("gmail."+s.name, s.first, s.check)
		out = append(out, method{id: prefix + "get" + s.name, do: get}, method{id: prefix + "update" + s.name, do: update})
	}
	return out
}

// setting is one resource for each user, which is there from the first.
func setting(name string, first doc, check func(*call, doc) *reply) (get, update func(*call) reply) {
	k := &kind{name: name, id: "", seed: func(*call, address) []doc { return []doc{merge(nil, first)} }}
	shelfOf := func(c *call) *shelf { return k.shelf(c, address{owner: c.tok.principal(), kind: name}) }
	get = func(c *call) reply {
		c.store.mu.Lock()
		defer c.store.mu.Unlock()
		return c.ok(shelfOf(c).byID[""])
	}
	update = func(c *call) reply {
		c.store.mu.Lock()
		defer c.store.mu.Unlock()
		d := doc(merge(nil, c.said()))
		if check != nil {
			if a := check(c, d); a != nil {
				return *a
			}
		}
		for field, v := range first {
			d.fillIn(field, zeroOf(v))
		}
		shelfOf(c).put("", d)
		return c.ok(d)
	}
	return get, update
}

// zeroOf is what a field is when a PUT does not say it.
func zeroOf(v any) any {
	switch v.(type) {
	case bool:
		return false
	case int:
		return 0
	}
	return v // an enumeration has no empty value: that Gmail keeps the first is assumed
}

func lowerAlias(_ *call, id string) string { return strings.ToLower(id) }

func (c *call) badSetting(message string) *reply {
	a := c.refuse(http.StatusBadRequest, "invalidArgument", message)
	return &a
}

// checkVacation makes the conditions that the fields' descriptions state.
func (c *call) checkVacation(d doc) *reply {
	on, _ := d["enableAutoReply"].(bool)
	if on && d.text("responseSubject") == "" && d.text("responseBodyPlainText") == "" && d.text("responseBodyHtml") == "" {
		return c.badSetting("Vacation settings must have a subject or a body")
	}
	from, fromErr := strconv.ParseInt(d.text("startTime"), 10, 64)
	to, toErr := strconv.ParseInt(d.text("endTime"), 10, 64)
	if fromErr == nil && toErr == nil && from >= to {
		return c.badSetting("Vacation start time must be before its end time")
	}
	sanitize(d, "responseBodyHtml")
	return nil
}

// checkForwarding wants an address that was verified.
func (c *call) checkForwarding(forwarding *kind, d doc) *reply {
	to := strings.ToLower(d.text("emailAddress"))
	on, _ := d["enabled"].(bool)
	if !on && to == "" {
		return nil
	}
	at := address{owner: c.tok.principal(), kind: forwarding.name}
	if known := forwarding.shelf(c, at).byID[to]; known.text("verificationStatus") != "accepted" {
		return c.badSetting("Unrecognized forwarding address")
	}
	return nil
}

func (c *call) primaryAddress() doc {
	return doc{
		"sendAsEmail": c.tok.person.email, "displayName": "", "replyToAddress": "", "signature": "",
		"isPrimary": true, "isDefault": true,
	}
}

// scripts are what Gmail strips from HTML that is set.
var scripts = regexp.MustCompile(`(?is)<script\b.*?(</script\s*>|$)|\son[a-z]+\s*=\s*("[^"]*"|'[^']*'|[^\s>]+)`)

func sanitize(d doc, field string) {
	if html, ok := d[field].(string); ok {
		d[field] = scripts.ReplaceAllString(html, "")
	}
}

func checkSignature(_ *call, d doc) *reply {
	sanitize(d, "signature")
	return nil
}

// newAddress checks an address. One of the organisation needs no verification.
func (c *call) newAddress(d doc, field string) (string, *reply) {
	email := strings.ToLower(d.text(field))
	if !isAddress(email) {
		return "", c.badSetting("Invalid " + field)
	}
	d["verificationStatus"] = "pending"
	if c.people.find(email) != nil {
		d["verificationStatus"] = "accepted"
	}
	return email, nil
}

func (c *call) newSendAs(d doc) (string, *reply) {
	id, refused := c.newAddress(d, "sendAsEmail")
	d.fillIn("displayName", "")
	d.fillIn("signature", "")
	d["isDefault"] = false
	return id, refused
}

// editSendAs keeps what a change cannot take away. Only one address is the default.
func editSendAs(_ *call, sh *shelf, old, d doc) {
	for _, field := range []string{"isPrimary", "verificationStatus"} {
		if v, ok := old[field]; ok {
			d[field] = v
		}
	}
	if d["isDefault"] != true {
		d["isDefault"] = old["isDefault"]
		return
	}
	for _, other := range sh.all() {
		other["isDefault"] = false
	}
}

func (c *call) freeSendAs(d doc) *reply {
	if d["isPrimary"] == true {
		return c.badSetting("Cannot delete primary send-as address")
	}
	return nil
}

// verify sends a mail that nobody gets here.
func (k *kind) verify(c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	_, _, d, refused := k.found(c)
	if refused != nil {
		return *refused
	}
	if d.text("verificationStatus") != "pending" {
		return c.refuse(http.StatusBadRequest, "failedPrecondition", "Precondition check failed.")
	}
	return noContent()
}

// checkFilter refuses a filter like one that is there.
func (c *call) checkFilter(filters *kind, d doc) *reply {
	for _, other := range filters.shelf(c, address{owner: c.tok.principal(), kind: filters.name}).all() {
		if reflect.DeepEqual(other["criteria"], d["criteria"]) && reflect.DeepEqual(other["action"], d["action"]) {
			a := c.refuse(http.StatusBadRequest, "failedPrecondition", "Filter already exists")
			return &a
		}
	}
	return nil
}

// newFilter wants both halves of a filter, and labels that exist.
func (c *call) newFilter(d doc) (string, *reply) {
	criteria, _ := d["criteria"].(map[string]any)
	action, _ := d["action"].(map[string]any)
	if len(criteria) == 0 || len(action) == 0 {
		return "", c.badSetting("Filter must have criteria and an action")
	}
	box := c.tok.person.mailbox()
	box.mu.RLock()
	defer box.mu.RUnlock()
	for _, field := range []string{"addLabelIds", "removeLabelIds"} {
		labels, _ := action[field].([]any)
		for _, id := range labels {
			if s, _ := id.(string); box.labels[s] == nil {
				return "", c.badSetting("Invalid label: " + s)
			}
		}
	}
	return "ANe1Bm" + c.newID(), nil
}

// newDelegate wants a user of the organisation other than oneself.
func (c *call) newDelegate(d doc) (string, *reply) {
	email := strings.ToLower(d.text("delegateEmail"))
	p := c.people.find(email)
	if p == nil || p == c.tok.person || p.email != email {
		return "", c.badSetting("Invalid delegate")
	}
	d["verificationStatus"] = "accepted"
	return email, nil
}
