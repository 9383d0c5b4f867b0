package sandbox

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
)

// groupKind is the organisation's groups.
func groupKind() *kind {
	k := &kind{
		name: "directory.groups", id: "email", items: "groups", shared: true,
		gone: resourceNotFound("groupKey"), taken: entityExists,
		seed: func(c *call, _ address) []doc {
			var out []doc
			for _, g := range c.groups {
				out = append(out, doc{"email": g.Email, "name": g.Name})
			}
			return out
		},
		makeID: func(c *call, d doc) (string, *reply) {
			email := strings.ToLower(d.text("email"))
			if !isAddress(email) {
				return "", c.badInput("email")
			}
			if c.people.find(email) != nil {
				a := entityExists(c)
				return "", &a
			}
			return email, nil
		},
		fill: func(_ *call, d doc) {
			d["kind"] = "admin#directory#group"
			d.fillIn("id", "0"+numericID(d.text("email")))
			d.fillIn("name", d.text("email"))
			d.fillIn("description", "")
			d.fillIn("adminCreated", true)
			d["etag"] = etagOf(d)
		},
		order: func(_ *call, all []doc) {
			slices.SortFunc(all, func(a, b doc) int { return cmp.Compare(a.text("email"), b.text("email")) })
		},
		unable: []string{"query", "orderBy"},
		frame:  func(*call) doc { return doc{"kind": "admin#directory#groups"} },
		page:   struct{ normal, most int }{200, 200},
	}
	k.alias = func(c *call, key string) string { // its id
		key = strings.ToLower(key)
		for _, d := range k.shelf(c, address{kind: k.name}).all() {
			if d.text("id") == key {
				return d.text("email")
			}
		}
		return key
	}
	return k
}

// memberKind is the members of each group.
func memberKind(groups *kind) *kind {
	k := &kind{
		name: "directory.groups.members", id: "email", items: "members", shared: true, below: groups,
		alias: memberAlias, gone: resourceNotFound("memberKey"),
		taken: func(c *call) reply { return c.refuse(http.StatusConflict, "duplicate", "Member already exists.") },
		seed: func(c *call, at address) []doc {
			var out []doc
			for _, g := range c.groups {
				if g.Email != at.parent {
					continue
				}
				for _, m := range g.Members {
					out = append(out, doc{"email": m})
				}
			}
			return out
		},
		makeID: func(c *call, d doc) (string, *reply) {
			email := strings.ToLower(cmp.Or(d.text("email"), d.text("id")))
			if p := c.people.find(email); p != nil {
				return p.email, nil
			}
			if !isAddress(email) {
				return "", c.badInput("memberKey")
			}
			return email, nil
		},
		fill: func(c *call, d doc) {
			d["kind"] = "admin#directory#member"
			d.fillIn("id", numericID(d.text("email")))
			d.fillIn("role", "MEMBER")
			d.fillIn("type", memberType(c, groups, d.text("email")))
			d.fillIn("status", "ACTIVE")
			d["etag"] = etagOf(d)
		},
		shows: func(c *call, d doc) bool {
			roles := c.query.Get("roles")
			return roles == "" || slices.Contains(strings.Split(roles, ","), d.text("role"))
		},
		frame: func(*call) doc { return doc{"kind": "admin#directory#members"} },
		page:  struct{ normal, most int }{200, 200},
	}
	k.gather = func(c *call, sh *shelf) []doc {
		if c.query.Get("includeDerivedMembership") != "true" {
			return sh.all()
		}
		return derived(c, k, sh, map[*shelf]bool{}, map[string]bool{})
	}
	return k
}

func memberType(c *call, groups *kind, email string) string {
	if groups.shelf(c, address{kind: groups.name}).byID[email] != nil {
		return "GROUP"
	}
	return "USER"
}

// derived are the members of a group and of the groups in it, each once.
func derived(c *call, members *kind, sh *shelf, looked map[*shelf]bool, had map[string]bool) (out []doc) {
	if looked[sh] {
		return nil
	}
	looked[sh] = true
	for _, d := range sh.all() {
		email := d.text("email")
		if !had[email] {
			had[email] = true
			out = append(out, d)
		}
		if d.text("type") == "GROUP" {
			out = append(out, derived(c, members, members.shelf(c, address{kind: members.name, parent: email}), looked, had)...)
		}
	}
	return out
}

func groupMethods() []method {
	groups := groupKind()
	members := memberKind(groups)
	groups.answer = func(c *call, d doc) any {
		out := doc(merge(d, nil))
		n := len(members.shelf(c, address{kind: members.name, parent: d.text("email")}).order)
		out["directMembersCount"] = decimal(uint64(n))
		return out
	}
	groups.shows = func(c *call, d doc) bool {
		if domain := c.query.Get("domain"); domain != "" && !strings.HasSuffix(d.text("email"), "@"+strings.ToLower(domain)) {
			return false
		}
		user := c.query.Get("userKey")
		return user == "" || members.shelf(c, address{kind: members.name, parent: d.text("email")}).byID[memberAlias(c, user)] != nil
	}
	return slices.Concat(
		groups.methods("directory.groups", "insert", "list", "get", "patch", "update", "delete"),
		members.methods("directory.members", "insert", "list", "get", "delete"),
		[]method{{id: "directory.members.hasMember", do: func(c *call) reply { return hasMember(members, c) }}},
		settingsOfGroups(groups), lookups(groups),
	)
}

func memberAlias(c *call, key string) string {
	if p := c.people.find(key); p != nil {
		return p.email
	}
	return strings.ToLower(key)
}

func hasMember(members *kind, c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	sh, id, refused := members.open(c, true)
	if refused != nil {
		return *refused
	}
	is := func(d doc) bool { return d.text("email") == id }
	return c.ok(doc{"isMember": slices.ContainsFunc(derived(c, members, sh, map[*shelf]bool{}, map[string]bool{}), is)})
}

func resourceNotFound(what string) func(*call, string) reply {
	return func(c *call, _ string) reply {
		return c.refuse(http.StatusNotFound, "notFound", "Resource Not Found: "+what)
	}
}

func entityExists(c *call) reply {
	return c.refuse(http.StatusConflict, "duplicate", "Entity already exists.")
}

func (c *call) badInput(field string) *reply {
	a := c.refuse(http.StatusBadRequest, "invalid", "Invalid Input: "+field)
	return &a
}

// settingsOfGroups are those of the Groups Settings API. Which values a setting
// may have is not in Discovery, and not checked.
func settingsOfGroups(groups *kind) []method {
	k := &kind{name: "groupsSettings", id: "email", shared: true, alias: groups.alias, gone: groups.gone}
	// Every group has settings, and nothing else has.
	with := func(h func(*call) reply) func(*call) reply {
		return func(c *call) reply {
			c.store.mu.Lock()
			at := address{kind: k.name}
			id := groups.alias(c, c.vars[0])
			group := groups.shelf(c, address{kind: groups.name}).byID[id]
			if sh := k.shelf(c, at); group == nil {
				sh.remove(id)
			} else if sh.byID[id] == nil {
				sh.put(id, doc{
					"kind": "groupsSettings#groups", "email": id, "name": group["name"], "description": group["description"],
					"whoCanJoin": "CAN_REQUEST_TO_JOIN", "whoCanViewGroup": "ALL_MEMBERS_CAN_VIEW", "whoCanPostMessage": "ANYONE_CAN_POST",
					"allowExternalMembers": "false", "isArchived": "false", "messageModerationLevel": "MODERATE_NONE",
				})
			}
			c.store.mu.Unlock()
			return h(c)
		}
	}
	return []method{
		{id: "groupsSettings.groups.get", do: with(k.get)},
		{id: "groupsSettings.groups.patch", do: with(k.patch)},
		{id: "groupsSettings.groups.update", do: with(k.update)},
	}
}

// lookups are what Cloud Identity tells of the groups.
func lookups(groups *kind) []method {
	shown := func(d doc) doc {
		return doc{
			"name": "groups/" + d.text("id"), "groupKey": doc{"id": d["email"]}, "displayName": d["name"],
			"parent": "customers/" + customerID, "description": d["description"],
			"labels": doc{"cloudidentity.googleapis.com/groups.discussion_forum": ""},
		}
	}
	find := func(c *call, key string, answer func(doc) doc) reply {
		c.store.mu.Lock()
		defer c.store.mu.Unlock()
		sh := groups.shelf(c, address{kind: groups.name})
		if d := sh.byID[groups.alias(c, key)]; d != nil {
			return c.ok(answer(d))
		}
		return refuseRPC(http.StatusForbidden, "Error(2028): Permission denied for resource "+key+" (or it may not exist).")
	}
	return []method{
		{id: "cloudidentity.groups.lookup", do: func(c *call) reply {
			return find(c, c.query.Get("groupKey.id"), func(d doc) doc { return doc{"name": "groups/" + d.text("id")} })
		}},
		{id: "cloudidentity.groups.get", do: func(c *call) reply {
			return find(c, strings.TrimPrefix(c.vars[0], "groups/"), shown)
		}},
	}
}
