package sandbox

import (
	"cmp"
	"crypto/rand"
	"encoding/base32"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"
)

// calendarMethods are each user's own calendars; those of others are not shared,
// but for whether they are free. Facts: the Discovery document and
// https://developers.google.com/workspace/calendar/api/v3/reference.
func calendarMethods() []method {
	calendars := &kind{
		name: "calendar", id: "id", items: "items", alias: primaryCalendar, gone: notFound,
		seed: func(c *call, at address) []doc { return []doc{{"id": at.owner, "summary": at.owner}} },
		check: func(c *call, d doc) *reply {
			if d.text("summary") == "" && c.req.Method != http.MethodPatch {
				return c.missingField("Missing summary.")
			}
			return nil
		},
		makeID: func(c *call, _ doc) (string, *reply) { return c.newID() + "@group.calendar.google.com", nil },
		fill: func(_ *call, d doc) {
			d["kind"] = "calendar#calendar"
			d.fillIn("timeZone", "UTC")
			d["etag"] = etagOf(d)
		},
		free: func(c *call, d doc) *reply {
			if d["id"] == c.tok.principal() {
				return c.badSetting("Cannot delete primary calendar.")
			}
			return nil
		},
	}
	lists := *calendars // the same calendars as the user's list shows them
	lists.answer = func(c *call, d doc) any {
		entry := doc(merge(d, map[string]any{"kind": "calendar#calendarListEntry", "accessRole": "owner", "selected": true}))
		if d["id"] == c.tok.principal() {
			entry["primary"] = true
		}
		return entry
	}
	lists.frame = func(*call) doc { return doc{"kind": "calendar#calendarList", "etag": `"0"`} }
	acl := &kind{
		name: "calendar.acl", id: "id", items: "items", below: calendars, gone: notFound,
		seed: func(_ *call, at address) []doc {
			return []doc{{"id": "user:" + at.owner, "role": "owner", "scope": map[string]any{"type": "user", "value": at.owner}}}
		},
		makeID: newRule,
		fill:   func(_ *call, d doc) { d["kind"] = "calendar#aclRule"; d["etag"] = etagOf(d) },
		frame:  func(*call) doc { return doc{"kind": "calendar#acl", "etag": `"0"`} },
	}
	events := eventKind(calendars)
	return slices.Concat(
		calendars.methods("calendar.calendars", "get", "insert", "patch", "update", "delete"),
		lists.methods("calendar.calendarList", "list", "get"),
		acl.methods("calendar.acl", "list", "get", "insert", "delete"),
		events.methods("calendar.events", "insert", "get", "list", "patch", "update"),
		[]method{
			{id: "calendar.events.import", do: func(c *call) reply { return importEvent(events, c) }},
			{id: "calendar.events.delete", do: func(c *call) reply { return cancel(events, c) }},
			{id: "calendar.freebusy.query", do: func(c *call) reply { return c.freeBusy(events) }},
			{id: "calendar.settings.list", do: (*call).calendarSettings},
		},
	)
}

func notFound(c *call, _ string) reply { return c.refuse(http.StatusNotFound, "notFound", "Not Found") }

func (c *call) missingField(message string) *reply {
	a := c.refuse(http.StatusBadRequest, "required", message)
	return &a
}

func primaryCalendar(c *call, id string) string {
	if id == "primary" {
		return c.tok.principal()
	}
	return id
}

func newRule(c *call, d doc) (string, *reply) {
	scope := d.under("scope")
	kind, value := scope.text("type"), scope.text("value")
	if d.text("role") == "" {
		return "", c.missingField("Missing role.")
	}
	if kind == "" || (value == "") != (kind == "default") {
		return "", c.badSetting("Invalid scope value.")
	}
	return strings.TrimSuffix(kind+":"+value, ":"), nil
}

// eventIDs are what a client may choose, by the description of the field.
// Go's patterns count no further than 1000.
var eventIDs = regexp.MustCompile(`^[a-v0-9]{5,1000}[a-v0-9]{0,24}$`)

// eventKind has events that happen once: recurrence is answered with 501.
func eventKind(calendars *kind) *kind {
	return &kind{
		name: "calendar.events", id: "id", items: "items", below: calendars, gone: notFound,
		check: (*call).checkEvent, makeID: newEventID, fill: (*call).fillEvent, shows: (*call).showsEvent,
		order: func(c *call, all []doc) {
			switch c.query.Get("orderBy") {
			case "startTime":
				slices.SortStableFunc(all, func(a, b doc) int { return eventTime(a, "start").Compare(eventTime(b, "start")) })
			case "updated":
				slices.SortStableFunc(all, func(a, b doc) int { return cmp.Compare(a.text("updated"), b.text("updated")) })
			}
		},
		frame: func(c *call) doc {
			return doc{
				"kind": "calendar#events", "etag": `"0"`, "summary": primaryCalendar(c, c.arg("calendarId")),
				"timeZone": "UTC", "accessRole": "owner", "updated": stamp(c.now()), "defaultReminders": []any{},
			}
		},
		page:   struct{ normal, most int }{250, 2500},
		unable: []string{"syncToken", "updatedMin", "privateExtendedProperty", "sharedExtendedProperty", "eventTypes"},
	}
}

func newEventID(c *call, d doc) (string, *reply) {
	id := d.text("id")
	if id == "" {
		raw := make([]byte, 16)
		rand.Read(raw) // never fails, since Go 1.24
		return strings.ToLower(base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(raw)), nil
	}
	if !eventIDs.MatchString(id) {
		a := c.refuse(http.StatusBadRequest, "invalid", "Invalid resource id value.")
		return "", &a
	}
	return id, nil
}

func (c *call) checkEvent(d doc) *reply {
	if c.req.Method == http.MethodPatch && d["recurrence"] == nil {
		return nil
	}
	from, to := eventTime(d, "start"), eventTime(d, "end")
	switch {
	case d["recurrence"] != nil:
		a := c.notImplemented("recurrence")
		return &a
	case from.IsZero():
		return c.missingField("Missing start time.")
	case to.IsZero():
		return c.missingField("Missing end time.")
	case to.Before(from):
		a := c.refuse(http.StatusBadRequest, "timeRangeEmpty", "The specified time range is empty.")
		return &a
	}
	return nil
}

// eventTime is when an event starts or ends; a date is its midnight. It is zero
// where nothing is said.
func eventTime(d doc, field string) time.Time {
	at, _ := d[field].(map[string]any)
	if t, err := time.Parse(time.RFC3339, doc(at).text("dateTime")); err == nil {
		return t
	}
	// Without an offset it is in the event's time zone, here taken for UTC.
	if t, err := time.Parse("2006-01-02T15:04:05", doc(at).text("dateTime")); err == nil {
		return t
	}
	t, _ := time.Parse(time.DateOnly, doc(at).text("date"))
	return t
}

func (c *call) fillEvent(d doc) {
	now := stamp(c.now())
	d["kind"], d["updated"] = "calendar#event", now
	d.fillIn("created", now)
	d.fillIn("status", "confirmed")
	d.fillIn("eventType", "default")
	d.fillIn("sequence", 0)
	d.fillIn("iCalUID", d.text("id")+"@google.com")
	d.fillIn("htmlLink", "https://www.google.com/calendar/event?eid="+d.text("id"))
	d.fillIn("reminders", map[string]any{"useDefault": true})
	who := map[string]any{"email": c.tok.principal(), "self": true}
	d.fillIn("creator", who)
	d.fillIn("organizer", who)
	d["etag"] = etagOf(d)
}

// etagOf changes with the resource.
func etagOf(d doc) string {
	delete(d, "etag")
	b, err := marshal(d, false)
	if err != nil { // cannot be: it came as JSON
		return ""
	}
	return `"` + decimal(uint64(castagnoli(b))) + `"`
}

func (c *call) showsEvent(d doc) bool {
	after := func(name string, t time.Time) bool {
		limit, err := time.Parse(time.RFC3339, c.query.Get(name))
		return err != nil || t.After(limit)
	}
	before := func(name string, t time.Time) bool {
		limit, err := time.Parse(time.RFC3339, c.query.Get(name))
		return err != nil || t.Before(limit)
	}
	text := strings.ToLower(d.text("summary") + "\n" + d.text("description") + "\n" + d.text("location"))
	uid := c.query.Get("iCalUID")
	return (d["status"] != "cancelled" || c.flag("showDeleted")) &&
		after("timeMin", eventTime(d, "end")) && before("timeMax", eventTime(d, "start")) &&
		strings.Contains(text, strings.ToLower(c.query.Get("q"))) && (uid == "" || uid == d["iCalUID"])
}

// importEvent makes a private copy of an event. That another import of the event
// takes the copy's place is assumed.
func importEvent(events *kind, c *call) reply {
	said := doc(merge(nil, c.said()))
	if said.text("iCalUID") == "" {
		return *c.missingField("Missing iCalUID.")
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	sh, _, refused := events.open(c, false)
	if refused != nil {
		return *refused
	}
	for _, old := range sh.all() {
		if old["iCalUID"] == said["iCalUID"] {
			sh.remove(old.text("id"))
			said["id"] = old["id"]
		}
	}
	d, refused := events.made(c, said)
	if refused != nil {
		return *refused
	}
	return c.ok(d)
}

// cancel removes an event as Google does: its id stays taken.
func cancel(events *kind, c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	_, _, d, refused := events.found(c)
	if refused != nil {
		return *refused
	}
	if d["status"] == "cancelled" {
		return c.refuse(http.StatusGone, "deleted", "Resource has been deleted")
	}
	d["status"] = "cancelled"
	c.fillEvent(d)
	return noContent()
}

// freeBusy tells when anybody of the organisation is busy, and not why.
func (c *call) freeBusy(events *kind) reply {
	said := c.said()
	from, fromErr := time.Parse(time.RFC3339, said.text("timeMin"))
	to, toErr := time.Parse(time.RFC3339, said.text("timeMax"))
	if fromErr != nil || toErr != nil || !from.Before(to) {
		return *c.missingField("Missing timeMin or timeMax parameter, or the range between them is empty.")
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	calendars := doc{}
	items, _ := said["items"].([]any)
	for _, item := range items {
		one, _ := item.(map[string]any)
		id := doc(one).text("id")
		owner := primaryCalendar(c, id)
		if owner != c.tok.principal() && c.people.find(owner) == nil {
			calendars[id] = doc{"errors": []doc{{"domain": "global", "reason": "notFound"}}, "busy": []doc{}}
			continue
		}
		busy := []doc{}
		for _, d := range events.shelf(c, address{owner, events.name, owner}).all() {
			start, end := eventTime(d, "start"), eventTime(d, "end")
			if d["status"] != "cancelled" && d["transparency"] != "transparent" && start.Before(to) && end.After(from) {
				busy = append(busy, doc{"start": start.UTC().Format(time.RFC3339), "end": end.UTC().Format(time.RFC3339)})
			}
		}
		calendars[id] = doc{"busy": busy}
	}
	return c.ok(doc{"kind": "calendar#freeBusy", "timeMin": said["timeMin"], "timeMax": said["timeMax"], "calendars": calendars})
}

func (c *call) calendarSettings() reply {
	var all []any
	for _, s := range [][2]string{{"format24HourTime", "true"}, {"locale", "en"}, {"timezone", "UTC"}, {"weekStart", "0"}} {
		all = append(all, doc{"kind": "calendar#setting", "etag": `"0"`, "id": s[0], "value": s[1]})
	}
	return c.listed(doc{"kind": "calendar#settings", "etag": `"0"`}, "items", all, 100, 250)
}
