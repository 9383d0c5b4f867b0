package sandbox

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// workspaceMethods are those of the smaller Workspace APIs. Facts: their
// Discovery documents.
func workspaceMethods() []method {
	return slices.Concat(
		chatMethods(), contactMethods(), licenseMethods(), matterMethods(), courseMethods(),
		(&kind{
			name: "keep", id: "name", items: "notes", path: "notes",
			fill: func(c *call, d doc) {
				now := stamp(c.now())
				d["updateTime"], d["trashed"] = now, false
				d.fillIn("createTime", now)
				d.fillIn("permissions", []any{map[string]any{"role": "OWNER", "email": c.tok.principal(), "name": d.text("name") + "/permissions/0"}})
			},
			unable: []string{"filter"},
		}).methods("keep.notes", "create", "get", "list", "delete"),
		(&kind{
			name: "meet", id: "name", path: "spaces",
			fill: func(_ *call, d doc) {
				id := numericID(d.text("name"))
				code := letters(id[1:4]) + "-" + letters(id[4:8]) + "-" + letters(id[8:11])
				d["meetingCode"], d["meetingUri"] = code, "https://meet.google.com/"+code
				config := d.under("config")
				config.fillIn("accessType", "TRUSTED")
				config.fillIn("entryPointAccess", "ALL")
			},
			alias: func(c *call, id string) string {
				for _, d := range c.store.shelfOf(address{owner: c.tok.principal(), kind: "meet"}).all() {
					if "spaces/"+d.text("meetingCode") == id {
						return d.text("name")
					}
				}
				return id
			},
		}).methods("meet.spaces", "create", "get", "patch"),
		(&kind{
			name: "script", id: "scriptId",
			check: func(c *call, d doc) *reply {
				if d.text("title") == "" {
					return c.badSetting("Title must be specified.")
				}
				return nil
			},
			makeID: fileID,
			fill: func(c *call, d doc) {
				who := map[string]any{"email": c.tok.principal()}
				d["createTime"], d["updateTime"], d["creator"], d["lastModifyUser"] = stamp(c.now()), stamp(c.now()), who, who
			},
		}).methods("script.projects", "create", "get"),
	)
}

// letters turns digits into the letters of a meeting code.
func letters(digits string) string {
	return strings.Map(func(r rune) rune { return r - '0' + 'a' }, digits)
}

// fileID is an id such as Drive gives to what the editors make.
func fileID(c *call, _ doc) (string, *reply) { return "1" + c.newID() + c.newID(), nil }

// adminsOnly lets administrators in.
func adminsOnly(c *call) *reply {
	if p := c.tok.person; p != nil && p.user().IsAdmin {
		return nil
	}
	a := refuseRPC(http.StatusForbidden, "The caller does not have permission")
	return &a
}

// messageIDs are those that a client may choose in Chat.
var chatMessageIDs = regexp.MustCompile(`^client-[a-z0-9-]{1,56}$`)

// chatMethods are spaces of the whole organisation: who is a member is not kept.
func chatMethods() []method {
	requestID := func(c *call) string { return c.query.Get("requestId") }
	spaces := &kind{
		name: "chat", id: "name", items: "spaces", path: "spaces", shared: true, unable: []string{"filter"}, asked: requestID,
		check: func(c *call, d doc) *reply {
			if d.text("spaceType") == "" || d.text("spaceType") == "SPACE" && d.text("displayName") == "" {
				return c.badSetting("Space type and display name are required to create a space.")
			}
			return nil
		},
		fill: func(c *call, d doc) {
			d.fillIn("createTime", stamp(c.now()))
			d.fillIn("type", "ROOM")
			d.fillIn("spaceThreadingState", "THREADED_MESSAGES")
			d.fillIn("spaceHistoryState", "HISTORY_ON")
			d.fillIn("spaceUri", "https://chat.google.com/room/"+strings.TrimPrefix(d.text("name"), "spaces/"))
		},
	}
	messages := &kind{
		name: "chat.messages", id: "name", items: "messages", path: "messages", shared: true, below: spaces,
		unable: []string{"filter", "orderBy"}, asked: requestID,
		check: func(c *call, d doc) *reply {
			if d["text"] == nil && d["cardsV2"] == nil && d["attachment"] == nil {
				return c.badSetting("Message cannot be empty. Discarding empty create message request.")
			}
			return nil
		},
		makeID: func(c *call, d doc) (string, *reply) {
			id := c.query.Get("messageId")
			if id == "" {
				return c.newID() + "." + c.newID(), nil
			}
			if !chatMessageIDs.MatchString(id) {
				return "", c.badSetting("Message ID must begin with client- and have only lowercase letters, numbers and hyphens.")
			}
			d["clientAssignedMessageId"] = id
			return id, nil
		},
		taken: func(c *call) reply { return refuseRPC(http.StatusConflict, "The requested entity already exists") },
		fill: func(c *call, d doc) {
			space, _, _ := strings.Cut(d.text("name"), "/messages/")
			sender := map[string]any{"name": "users/" + numericID(c.tok.principal()), "type": "HUMAN"}
			if c.tok.person == nil {
				sender["type"] = "BOT"
			}
			d.fillIn("sender", sender)
			d.fillIn("space", map[string]any{"name": space})
			d.fillIn("createTime", stamp(c.now()))
			d.fillIn("thread", map[string]any{"name": space + "/threads/" + numericID(d.text("name"))})
			d.fillIn("formattedText", d["text"])
		},
	}
	return slices.Concat(
		spaces.methods("chat.spaces", "create", "list", "get", "delete"),
		messages.methods("chat.spaces.messages", "create", "list", "get", "delete"),
	)
}

// contactMethods are each user's contacts, and the user.
func contactMethods() []method {
	contacts := &kind{
		name: "people", id: "resourceName", path: "people", items: "connections", unable: []string{"syncToken", "sortOrder", "sources"},
		makeID: func(c *call, _ doc) (string, *reply) { return "c" + c.store.number(), nil },
		fill: func(_ *call, d doc) {
			if names, _ := d["names"].([]any); len(names) > 0 {
				if name, ok := names[0].(map[string]any); ok {
					n := doc(name)
					n["displayName"] = strings.TrimSpace(n.text("givenName") + " " + n.text("familyName"))
				}
			}
			d["etag"] = "%" + strings.Trim(etagOf(d), `"`)
		},
		answer: func(c *call, d doc) any { return masked(c, d) },
	}
	return []method{
		{id: "people.people.createContact", do: contacts.create},
		{id: "people.people.get", do: wantsFields(func(c *call) reply {
			if c.arg("resourceName") == "people/me" {
				return c.myself()
			}
			return contacts.get(c)
		})},
		{id: "people.people.connections.list", do: wantsFields(func(c *call) reply {
			if c.arg("resourceName") != "people/me" {
				return c.refuse(http.StatusBadRequest, "badRequest", `Invalid resourceName. Must be "people/me".`)
			}
			here := *c
			here.vars = nil // contacts lie below nobody but their user
			return contacts.list(&here)
		})},
		{id: "people.people.updateContactPhoto", do: contacts.updatePhoto},
	}
}

// wantsFields refuses calls that do not say what they want to see.
func wantsFields(h func(*call) reply) func(*call) reply {
	return func(c *call) reply {
		if c.query.Get("personFields") == "" {
			return *c.badSetting("personFields mask is required. Please specify one or more valid paths.")
		}
		return h(c)
	}
}

// masked is a person with the fields that personFields names.
func masked(c *call, d doc) doc {
	if c.query.Get("personFields") == "" {
		return d
	}
	out := doc{"resourceName": d["resourceName"], "etag": d["etag"]}
	for _, name := range strings.Split(c.query.Get("personFields"), ",") {
		if v, ok := d[camel(name)]; ok {
			out[camel(name)] = v
		}
	}
	return out
}

func (c *call) myself() reply {
	if c.tok.person == nil {
		return c.row("A14")
	}
	u := c.tok.person.directory()
	return c.ok(masked(c, doc{
		"resourceName": "people/" + c.tok.person.id, "etag": "%0",
		"names":          []any{doc{"displayName": u.Name.Full, "givenName": u.Name.Given, "familyName": u.Name.Family}},
		"emailAddresses": []any{doc{"value": u.PrimaryEmail}},
	}))
}

func (k *kind) updatePhoto(c *call) reply {
	said := c.said()
	if said.text("photoBytes") == "" {
		return *c.badSetting("photoBytes is required.")
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	_, id, d, refused := k.found(c)
	if refused != nil {
		return *refused
	}
	d["photos"] = []any{map[string]any{"url": "https://lh3.googleusercontent.com/contacts/" + strings.TrimPrefix(id, "people/")}}
	k.fill(c, d)
	return c.ok(doc{"person": d})
}

// licenseMethods are the organisation's, by product, SKU and user.
func licenseMethods() []method {
	k := &kind{
		name: "licensing", id: "userId", shared: true, alias: lowerAlias,
		check: func(c *call, d doc) *reply {
			if c.people.find(d.text("userId")) == nil {
				a := c.refuse(http.StatusBadRequest, "invalid", "Invalid value for userId")
				return &a
			}
			return nil
		},
		makeID: func(_ *call, d doc) (string, *reply) { return strings.ToLower(d.text("userId")), nil },
		fill: func(c *call, d doc) {
			d["kind"], d["productId"], d["skuId"] = "licensing#licenseAssignment", c.arg("productId"), c.arg("skuId")
			d["etags"] = etagOf(d)
		},
		taken: func(c *call) reply {
			return c.refuse(http.StatusPreconditionFailed, "conditionNotMet", "User already has a license for the specified product and SKU")
		},
	}
	listAll := func(c *call) reply {
		c.store.mu.Lock()
		defer c.store.mu.Unlock()
		var all []any
		for at, sh := range c.store.shelves {
			if at.kind == k.name && strings.HasPrefix(at.parent, c.arg("productId")+"/") {
				for _, d := range sh.all() {
					all = append(all, d)
				}
			}
		}
		slices.SortFunc(all, func(a, b any) int {
			key := func(v any) string { d, _ := v.(doc); return d.text("userId") + " " + d.text("skuId") }
			return strings.Compare(key(a), key(b))
		})
		return c.listed(doc{"kind": "licensing#licenseAssignmentList", "etag": `"0"`}, "items", all, 100, 1000)
	}
	return behind(adminsOnly, append(
		k.methods("licensing.licenseAssignments", "insert", "get", "delete"),
		method{id: "licensing.licenseAssignments.listForProduct", do: listAll},
	)...)
}

// matterMethods are Vault's.
func matterMethods() []method {
	k := &kind{
		name: "vault", id: "matterId", items: "matters", shared: true,
		check: func(c *call, d doc) *reply {
			if d.text("name") == "" {
				return c.badSetting("Matter name is required.")
			}
			return nil
		},
		fill: func(_ *call, d doc) { d.fillIn("state", "OPEN") },
		shows: func(c *call, d doc) bool {
			s := c.query.Get("state")
			return s == "" || s == d.text("state")
		},
	}
	shut := func(c *call) reply {
		c.store.mu.Lock()
		defer c.store.mu.Unlock()
		_, _, d, refused := k.found(c)
		if refused != nil {
			return *refused
		}
		if d["state"] != "OPEN" {
			return c.refuse(http.StatusBadRequest, "failedPrecondition", "Matter is not open.")
		}
		d["state"] = "CLOSED"
		return c.ok(doc{"matter": d})
	}
	return behind(adminsOnly, append(
		k.methods("vault.matters", "create", "get", "list", "update"),
		method{id: "vault.matters.close", do: shut},
	)...)
}

// courseMethods are Classroom's. Anybody may see any course.
func courseMethods() []method {
	k := &kind{
		name: "classroom", id: "id", items: "courses", shared: true, unable: []string{"studentId"},
		check: (*call).checkCourse, shows: (*call).showsCourse, makeID: newCourse, alias: courseAlias,
		taken: func(*call) reply { return refuseRPC(http.StatusConflict, "Requested entity already exists") },
		edit: func(_ *call, _ *shelf, old, d doc) {
			for _, name := range []string{"ownerId", "creationTime", "enrollmentCode"} {
				d[name] = old[name]
			}
		},
		fill: func(c *call, d doc) {
			now := stamp(c.now())
			d["updateTime"] = now
			d.fillIn("creationTime", now)
			d.fillIn("courseState", "PROVISIONED")
			d.fillIn("enrollmentCode", letters(d.text("id")[3:9]))
			d.fillIn("guardiansEnabled", false)
		},
	}
	return k.methods("classroom.courses", "create", "get", "list", "patch", "update", "delete")
}

// courseAliases are the ids under which courses can be got by their aliases.
var courseAliases = address{kind: "classroom.aliases"}

// courseAlias takes an alias for the id.
func courseAlias(c *call, id string) string {
	if d := c.store.shelfOf(courseAliases).byID[id]; d != nil {
		return d.text("courseId")
	}
	return id
}

// newCourse takes the id of a new course for an alias of it.
func newCourse(c *call, d doc) (string, *reply) {
	alias := d.text("id")
	if alias == "" {
		return c.store.number(), nil
	}
	if !strings.HasPrefix(alias, "d:") && !strings.HasPrefix(alias, "p:") {
		return "", c.badSetting("Course ID must be an alias that begins with d: or p:.")
	}
	if id := courseAlias(c, alias); id != alias {
		return id, nil // which is taken
	}
	if c.store.shelves[courseAliases] == nil {
		c.store.shelves[courseAliases] = &shelf{byID: map[string]doc{}}
	}
	id := c.store.number()
	c.store.shelves[courseAliases].put(alias, doc{"courseId": id})
	return id, nil
}

// checkCourse wants a name, and of a new course an owner.
func (c *call) checkCourse(d doc) *reply {
	if d.text("name") == "" && c.req.Method != http.MethodPatch {
		return c.badSetting("Course name is required.")
	}
	if c.req.Method != http.MethodPost {
		return nil
	}
	p := c.people.find(c.myselfFor(d.text("ownerId")))
	if p == nil {
		return c.badSetting("@OwnerIdInvalid Invalid owner ID.")
	}
	d["ownerId"] = p.id
	return nil
}

// myselfFor takes me for the caller.
func (c *call) myselfFor(key string) string {
	if key == "me" {
		return c.tok.principal()
	}
	return key
}

func (c *call) showsCourse(d doc) bool {
	states, teacher := c.query["courseStates"], c.myselfFor(c.query.Get("teacherId"))
	return (len(states) == 0 || slices.Contains(states, d.text("courseState"))) &&
		(teacher == "" || userID(c, teacher) == d.text("ownerId"))
}
