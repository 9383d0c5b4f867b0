package actions

import (
	"net/url"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Lookup says how it is found out whether a call took effect whose answer was lost.
type Lookup string

// The ways.
const (
	ByMessageID Lookup = "rfc822msgid" // search the mailbox for the letter's Message-ID
	ByID        Lookup = "id"          // get what has the id that the call gave it
	ReadBack    Lookup = "readBack"    // read what has the same key, and compare
	ByAbsence   Lookup = "absence"     // see that it is not there any more
	ByRequestID Lookup = "requestId"   // no need to look: Google does a request of one id once
)

// lookRow says how calls of some methods are looked up.
type lookRow struct {
	glob   string
	lookup Lookup
	// when says which calls; nil is all. If is that in words.
	when func(*Call) bool
	If   string
	// read is the method that reads, and then the one that gets what it has found.
	read, then string
	// params are those of read; the call's own of the same names need not be here.
	// {body.x} is a field of the call's body, {params.x} one of its parameters, and
	// {body.x|body.y} the first that is there. A call in which one is missing cannot
	// be looked up.
	params map[string]string
	// items is the field of a list's answer that holds the items, and keys are the
	// fields that no two of them have alike; without keys all of an item is its key.
	items string
	keys  []string
	// body is the field of the body that holds what is compared; empty is all of it.
	body string
	// but are its fields that do not come back, or not as they were given.
	but []string
	// whole are fields in which nothing else may stand than the body says: an item
	// with more in them is another one.
	whole []string
	// other is what it means that what has the key is not as the body says. Another is
	// for methods of which Google refuses a second call with the key, or lets it take
	// the first one's place: in both cases nothing is there twice.
	other Sight
	// hides says that what was done may not be found.
	hides bool
	// label is one that the letter must have.
	label string
	// fields are those that the method answers with, unless the job names others;
	// empty is all.
	fields string
}

// Only calls that are not to be made twice need one. Sources are the methods'
// reference pages and their descriptions in Discovery.
var lookRows = []lookRow{
	// https://developers.google.com/workspace/gmail/api/guides/filtering
	{glob: "gmail.users.messages.insert", lookup: ByMessageID, when: stays, If: "params.deleted is not true", read: "gmail.users.messages.list", then: "gmail.users.messages.get", params: byMessageID},
	{glob: "gmail.users.messages.import", lookup: ByMessageID, when: stays, If: "params.deleted is not true", read: "gmail.users.messages.list", then: "gmail.users.messages.get", params: byMessageID},
	{glob: "gmail.users.drafts.create", lookup: ByMessageID, read: "gmail.users.drafts.list", then: "gmail.users.drafts.get", params: byMessageID},
	// Gmail may give what it sends another Message-ID, as is reported in public; so
	// what is not found may have been sent. And a draft, or a letter that came from
	// elsewhere, is not one that was sent.
	{glob: "gmail.users.messages.send", lookup: ByMessageID, read: "gmail.users.messages.list", then: "gmail.users.messages.get", params: byMessageID, hides: true, label: "SENT"},
	{glob: "gmail.users.drafts.send", lookup: ByMessageID, when: sendsLetter, If: "message is given, and no draft in body.id", read: "gmail.users.messages.list", then: "gmail.users.messages.get", params: byMessageID, hides: true, label: "SENT"},

	// Names that conflict are refused with 409.
	{glob: "gmail.users.labels.create", lookup: ReadBack, read: "gmail.users.labels.list", items: "labels", keys: []string{"name"}, other: Another},
	// A filter like one that is there is refused.
	{glob: "gmail.users.settings.filters.create", lookup: ReadBack, read: "gmail.users.settings.filters.list", items: "filter", whole: []string{"criteria", "action"}, other: Another},
	// Of these there is one for each address. Gmail cleans the signature's HTML, and
	// shows no server's user name nor password.
	{glob: "gmail.users.settings.sendAs.create", lookup: ReadBack, read: "gmail.users.settings.sendAs.get", params: map[string]string{"sendAsEmail": "{body.sendAsEmail}"}, but: []string{"signature", "smtpMsa"}, other: Another},
	{glob: "gmail.users.settings.forwardingAddresses.create", lookup: ReadBack, read: "gmail.users.settings.forwardingAddresses.get", params: map[string]string{"forwardingEmail": "{body.forwardingEmail}"}, other: Another},
	{glob: "gmail.users.settings.delegates.create", lookup: ReadBack, read: "gmail.users.settings.delegates.get", params: map[string]string{"delegateEmail": "{body.delegateEmail}"}, other: Another},

	// https://developers.google.com/workspace/calendar/api/v3/reference/events#id
	{glob: "calendar.events.insert", lookup: ByID, read: "calendar.events.get", params: map[string]string{"eventId": "{body.id}"}},
	// Whether an event that differs is that of an earlier import, or was changed since,
	// cannot be told.
	{glob: "calendar.events.import", lookup: ReadBack, read: "calendar.events.list", params: map[string]string{"iCalUID": "{body.iCalUID}", "showDeleted": "true"}, items: "items", keys: []string{"iCalUID"}},
	// A second change would be mailed to the guests, so that one which was only written
	// otherwise must not count as missing.
	{glob: "calendar.events.patch", lookup: ReadBack, when: mailed, If: mailedIf, read: "calendar.events.get"},
	{glob: "calendar.events.update", lookup: ReadBack, when: mailed, If: mailedIf, read: "calendar.events.get"},
	{glob: "calendar.events.delete", lookup: ByAbsence, when: mailed, If: mailedIf, read: "calendar.events.get"},
	// There is one rule for each scope: a second call sets its role.
	{glob: "calendar.acl.insert", lookup: ReadBack, read: "calendar.acl.list", items: "items", keys: []string{"scope.type", "scope.value"}, other: Another},

	// https://developers.google.com/workspace/drive/api/guides/create-file
	{glob: "drive.files.create", lookup: ByID, If: "it is no Google document, which can have no id of ours", read: "drive.files.get", params: map[string]string{"fileId": "{body.id}", "supportsAllDrives": "true"}},
	{glob: "drive.files.copy", lookup: ByID, If: "it is no Google document, which can have no id of ours", read: "drive.files.get", params: map[string]string{"fileId": "{body.id}", "supportsAllDrives": "true"}},
	// There is one permission for each of whom it is for: a second call sets its role.
	{
		glob: "drive.permissions.create", lookup: ReadBack, read: "drive.permissions.list", items: "permissions", keys: []string{"type", "emailAddress", "domain"},
		params: map[string]string{"fields": "nextPageToken,permissions", "pageSize": "100", "supportsAllDrives": "true"}, other: Another, fields: "kind,id,type,role",
	},

	// What the Directory has with such a key it refuses a second time with 409. A
	// password is never shown.
	{glob: "directory.users.insert", lookup: ReadBack, read: "directory.users.get", params: map[string]string{"userKey": "{body.primaryEmail}", "projection": "full"}, but: []string{"password", "hashFunction"}, other: Another},
	{glob: "directory.users.aliases.insert", lookup: ReadBack, read: "directory.users.aliases.list", items: "aliases", keys: []string{"alias"}, other: Another},
	{glob: "directory.groups.insert", lookup: ReadBack, read: "directory.groups.get", params: map[string]string{"groupKey": "{body.email}"}, other: Another},
	{glob: "directory.groups.aliases.insert", lookup: ReadBack, read: "directory.groups.aliases.list", items: "aliases", keys: []string{"alias"}, other: Another},
	// delivery_settings is not returned.
	{glob: "directory.members.insert", lookup: ReadBack, read: "directory.members.get", params: map[string]string{"memberKey": "{body.email|body.id}"}, but: []string{"delivery_settings"}, other: Another},
	{glob: "directory.orgunits.insert", lookup: ReadBack, read: "directory.orgunits.get", params: map[string]string{"orgUnitPath": "{body.parentOrgUnitPath}/{body.name}"}, other: Another},
	{glob: "directory.schemas.insert", lookup: ReadBack, read: "directory.schemas.get", params: map[string]string{"schemaKey": "{body.schemaName}"}, other: Another},
	{glob: "directory.domains.insert", lookup: ReadBack, read: "directory.domains.get", params: map[string]string{"domainName": "{body.domainName}"}, other: Another},
	{glob: "directory.domainAliases.insert", lookup: ReadBack, read: "directory.domainAliases.get", params: map[string]string{"domainAliasName": "{body.domainAliasName}"}, other: Another},
	{glob: "directory.resources.buildings.insert", lookup: ReadBack, read: "directory.resources.buildings.get", params: map[string]string{"buildingId": "{body.buildingId}"}, other: Another},
	{glob: "directory.resources.calendars.insert", lookup: ReadBack, read: "directory.resources.calendars.get", params: map[string]string{"calendarResourceId": "{body.resourceId}"}, other: Another},
	{glob: "directory.resources.features.insert", lookup: ReadBack, read: "directory.resources.features.get", params: map[string]string{"featureKey": "{body.name}"}, other: Another},
	// A user has a SKU once: the second time is refused with 412.
	{glob: "licensing.licenseAssignments.insert", lookup: ReadBack, read: "licensing.licenseAssignments.get", params: map[string]string{"userId": "{body.userId}"}, other: Another},

	{glob: "chat.spaces.messages.create", lookup: ByID, read: "chat.spaces.messages.get", params: map[string]string{"name": "{params.parent}/messages/{params.messageId}"}},
	// The id is an alias of the author's, with which a second course is refused; the
	// course has another. Nor do people come back as they may be named.
	{glob: "classroom.courses.create", lookup: ByID, read: "classroom.courses.get", params: map[string]string{"id": "{body.id}"}},
	{glob: "classroom.courses.aliases.create", lookup: ReadBack, read: "classroom.courses.aliases.list", items: "aliases", keys: []string{"alias"}, other: Another},
	{glob: "classroom.courses.students.create", lookup: ReadBack, read: "classroom.courses.students.get", params: map[string]string{"userId": "{body.userId}"}, but: []string{"userId", "courseId"}, other: Another},
	{glob: "classroom.courses.teachers.create", lookup: ReadBack, read: "classroom.courses.teachers.get", params: map[string]string{"userId": "{body.userId}"}, but: []string{"userId", "courseId"}, other: Another},
	{glob: "people.contactGroups.create", lookup: ReadBack, read: "people.contactGroups.list", params: map[string]string{"groupFields": "clientData,groupType,memberCount,metadata,name", "pageSize": "1000"}, items: "contactGroups", keys: []string{"name"}, body: "contactGroup", other: Another},
}

// Otherwise such a change is made again where its answer is lost.
const mailedIf = "its guests are mailed"

// byMessageID are a search's parameters; the id itself is in the letter.
var byMessageID = map[string]string{"q": messageIDQuery, "includeSpamTrash": "true"}

const messageIDQuery = "rfc822msgid:"

func stays(c *Call) bool       { return c.query.Get("deleted") != "true" } // otherwise only Vault sees it
func mailed(c *Call) bool      { return mailsGuests(c.job, c.query) }
func sendsLetter(c *Call) bool { return c.job.Message != nil && !names(c.job.Body, "id") }

// Until then what was done may not show. Gmail's search index lags behind; of the
// others it is what repeated reads of one key are known to need.
const (
	searchLag = time.Minute
	readLag   = 10 * time.Second
)

// repeatRow is a method of which Google does a request that has the same id again
// not again. Then the id is put in where the job gives none, and the call is made
// anew where its answer is lost. The source is the description of requestId in
// Discovery.
type repeatRow struct {
	glob   string
	inBody bool // and not a parameter
	when   func(jobs.Job, url.Values) bool
	// refused says that the second request is answered with 409, and not as the first.
	refused bool
}

var repeatRows = []repeatRow{
	{glob: "chat.spaces.create"},
	{glob: "chat.spaces.messages.create", when: unnamed},
	{glob: "chat.spaces.setup", inBody: true},
	{glob: "compute.*"},
	{glob: "drive.drives.create", refused: true},
	{glob: "drive.teamdrives.create", refused: true},
}

// unnamed is a message without an id of its author's, by which it can be got.
func unnamed(_ jobs.Job, q url.Values) bool { return q.Get("messageId") == "" }

// ourIDs are the methods whose body gets an id that is derived from the job.
var ourIDs = []string{"calendar.events.insert"}

// googlesIDs are those whose body takes an id that Google has given before.
var googlesIDs = []string{"drive.files.copy", "drive.files.create"}
