package actions

import (
	"cmp"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// What is known of methods beyond what Discovery states. In each table the first
// row that fits counts. A glob is over method ids, * is any characters, dots
// included.

// Class says what it means to make a call twice.
type Class string

// The classes.
const (
	Read       Class = "read"       // it changes nothing
	Idempotent Class = "idempotent" // twice is as once
	Once       Class = "once"       // twice is not as once
)

// classRow gives methods another class than their HTTP method's.
type classRow struct {
	glob  string
	class Class
	when  func(jobs.Job, url.Values) bool // nil is for all jobs
}

// Sources are the methods' reference pages; what is not here has the class of its
// HTTP method, which RFC 9110, 9.2, defines.
var classRows = []classRow{
	{"*.getIamPolicy", Read, nil},
	{"*.testIamPermissions", Read, nil},
	{"calendar.freebusy.query", Read, nil},
	{"chat.spaces.messages.search", Read, nil},
	{"chromepolicy.customers.policies.resolve", Read, nil},
	{"chromepolicy.customers.policies.groups.listGroupPriorityOrdering", Read, nil},
	{"cloudsearch.query.search", Read, nil}, // and not removeActivity beside it
	{"cloudsearch.query.suggest", Read, nil},
	{"cloudsearch.debug.*", Read, nil},
	{"compute.advice.*", Read, nil},
	{"compute.*.getHealth", Read, nil},
	{"compute.*.getVersion", Read, nil},
	{"compute.*.listManagedInstances", Read, nil},
	{"compute.*.listPerInstanceConfigs", Read, nil},
	{"compute.*.listInstances", Read, nil},
	{"compute.*.listNetworkEndpoints", Read, nil},
	{"compute.*.listNodes", Read, nil},
	{"compute.*.validate", Read, nil},
	{"compute.*.wait", Read, nil},
	{"compute.projects.listXpnHosts", Read, nil},
	{"compute.routers.preview", Read, nil},
	{"datastore.projects.lookup", Read, nil},
	{"datastore.projects.runQuery", Read, nil},
	{"datastore.projects.runAggregationQuery", Read, nil},
	{"drive.files.download", Read, nil}, // begins an operation, which fetches the content
	{"driveactivity.activity.query", Read, nil},
	{"gmailpostmastertools.*uery", Read, nil},
	{"iam.*.query*", Read, nil},
	{"iam.iamPolicies.lintPolicy", Read, nil},
	{"sheets.spreadsheets.developerMetadata.search", Read, nil},
	{"sheets.spreadsheets.getByDataFilter", Read, nil},
	{"sheets.spreadsheets.values.batchGetByDataFilter", Read, nil},
	{"siteVerification.webResource.getToken", Read, nil},
	{"vault.matters.count", Read, nil},
	{"verifiedaccess.challenge.generate", Read, nil},

	// Guests would get the mail of each.
	{"calendar.events.delete", Once, mailsGuests},
	{"calendar.events.patch", Once, mailsGuests},
	{"calendar.events.update", Once, mailsGuests},

	// What came into the trash since would be lost, too.
	{"drive.files.emptyTrash", Once, nil},

	// They set labels to what the job says, or bring about a state.
	{"gmail.users.*.modify", Idempotent, nil},
	{"gmail.users.*.trash", Idempotent, nil},
	{"gmail.users.*.untrash", Idempotent, nil},
	{"gmail.users.messages.batchModify", Idempotent, nil},
	{"gmail.users.messages.batchDelete", Idempotent, nil},
	{"gmail.users.settings.sendAs.smimeInfo.setDefault", Idempotent, nil},
	{"gmail.users.watch", Idempotent, nil}, // a new one takes the old one's place
	{"gmail.users.stop", Idempotent, nil},
	{"calendar.calendarList.insert", Idempotent, nil},
	{"chat.users.availability.markAs*", Idempotent, nil},
	{"classroom.courses.*.modifyAssignees", Idempotent, nil},
	{"compute.*.set*", Idempotent, nil},
	{"compute.instances.start", Idempotent, nil},
	{"compute.instances.stop", Idempotent, nil},
	{"directory.chromeosdevices.moveDevicesToOu", Idempotent, nil},
	{"directory.twoStepVerification.turnOff", Idempotent, nil},
	{"directory.users.makeAdmin", Idempotent, nil},
	{"directory.users.signOut", Idempotent, nil},
	{"drive.drives.*hide", Idempotent, nil}, // and unhide
	{"drive.files.modifyLabels", Idempotent, nil},
	{"forms.forms.setPublishSettings", Idempotent, nil},
	{"iam.projects.serviceAccounts.*able", Idempotent, nil}, // enable and disable, of keys, too
	{"people.contactGroups.members.modify", Idempotent, nil},
	{"sheets.spreadsheets.values.batchUpdate*", Idempotent, nil},
}

func classOf(m *discovery.Method, job jobs.Job, q url.Values) Class {
	for _, row := range classRows {
		if matches(row.glob, m.ID) && (row.when == nil || row.when(job, q)) {
			return row.class
		}
	}
	switch m.HTTPMethod {
	case http.MethodGet:
		return Read
	case http.MethodPost:
		return Once
	}
	return Idempotent // PUT, PATCH and DELETE say what is to be, not what to add
}

// mailsGuests tells whether a change of an event is mailed.
func mailsGuests(_ jobs.Job, q url.Values) bool {
	updates := q.Get("sendUpdates")
	return updates != "" && updates != "none" || q.Get("sendNotifications") == "true"
}

type unitsRow struct {
	glob  string
	units int
}

// Gmail counts units; the others count requests. Source:
// https://developers.google.com/workspace/gmail/api/reference/quota, since May 2026.
var unitsRows = []unitsRow{
	{"gmail.users.messages.insert", 25},
	{"gmail.users.messages.import", 25},
	{"gmail.users.messages.send", 100},
	{"gmail.users.messages.get", 20},
	{"gmail.users.messages.attachments.get", 20},
	{"gmail.users.messages.trash", 20},
	{"gmail.users.messages.delete", 10},
	{"gmail.users.messages.batch*", 50},
	{"gmail.users.messages.*", 5}, // list, modify, untrash
	{"gmail.users.drafts.send", 100},
	{"gmail.users.drafts.get", 20},
	{"gmail.users.drafts.update", 15},
	{"gmail.users.drafts.list", 5},
	{"gmail.users.drafts.*", 10}, // create, delete
	{"gmail.users.threads.get", 40},
	{"gmail.users.threads.trash", 20},
	{"gmail.users.threads.delete", 20},
	{"gmail.users.threads.*", 10}, // list, modify, untrash
	{"gmail.users.history.list", 2},
	{"gmail.users.watch", 100},
	{"gmail.users.stop", 50},
	{"gmail.users.labels.get", 1},
	{"gmail.users.labels.list", 1},
	{"gmail.users.labels.*", 5},
	{"gmail.users.settings.*.get", 1},
	{"gmail.users.settings.*.list", 1},
	{"gmail.users.settings.get*", 1},
	{"gmail.users.settings.updatePop", 100},
	{"gmail.users.settings.*.delete", 5},
	{"gmail.users.settings.filters.create", 5},
	{"gmail.users.settings.update*", 5},
	{"gmail.users.settings.*", 100}, // what sends mail or changes sendAs
}

func unitsOf(id string) int {
	for _, row := range unitsRows {
		if matches(row.glob, id) {
			return row.units
		}
	}
	return 1
}

// scopeRow is a choice that the rule of narrowest would not make.
type scopeRow struct {
	glob string
	// scopes are those to ask for; without "https://", those that begin with
	// https://www.googleapis.com/auth/. Most often one.
	scopes []string
	// when says for which jobs; nil is all. If is that in words.
	when func(jobs.Job, url.Values) bool
	If   string
}

// ifItself is the If of what no job asks for as a user.
const ifItself = "as is serviceAccount"

// The sources are the methods' reference pages, and for what a scope shows
// https://developers.google.com/identity/protocols/oauth2/scopes.
var scopeRows = []scopeRow{
	// gmail.metadata shows no bodies, and cannot search.
	{"gmail.users.messages.get", []string{"gmail.metadata"}, headersOnly, "format is metadata or minimal"},
	{"gmail.users.threads.get", []string{"gmail.metadata"}, headersOnly, "format is metadata or minimal"},
	{"gmail.users.messages.get", []string{"gmail.readonly"}, nil, ""},
	{"gmail.users.threads.get", []string{"gmail.readonly"}, nil, ""},
	{"gmail.users.messages.list", []string{"gmail.readonly"}, searches, "q is given"},
	{"gmail.users.threads.list", []string{"gmail.readonly"}, searches, "q is given"},
	{"gmail.users.getProfile", []string{"gmail.metadata"}, nil, ""}, // gmail.compose, too, opens few methods, but may send
	{"gmail.users.drafts.get", []string{"gmail.readonly"}, nil, ""},
	{"gmail.users.drafts.list", []string{"gmail.readonly"}, nil, ""},
	// It shows no mail, which gmail.readonly does, and cannot forward it, which
	// gmail.settings.sharing can. Methods that do not accept it go by the rule.
	{"gmail.users.settings.*", []string{"gmail.settings.basic"}, nil, ""},

	{"meet.spaces.get", []string{"meetings.space.readonly"}, nil, ""},

	// Of the folder that an app keeps for itself, drive knows nothing.
	{"drive.files.create", []string{"drive.appdata"}, intoAppData, "body.parents is appDataFolder"},
	{"drive.files.generateIds", []string{"drive.appdata"}, ofAppData, "space or spaces is appDataFolder"},
	{"drive.files.list", []string{"drive.appdata"}, ofAppData, "space or spaces is appDataFolder"},
	{"drive.files.list", []string{"drive.appdata", "drive.metadata.readonly"}, withAppData, "spaces has appDataFolder among others"},
	{"drive.changes.list", []string{"drive.appdata"}, ofAppData, "space or spaces is appDataFolder"},
	{"drive.changes.watch", []string{"drive.appdata"}, ofAppData, "space or spaces is appDataFolder"},
	// Files that are made by the one who calls.
	{"drive.files.create", []string{"drive"}, namesFiles, "body.parents or body.shortcutDetails is given"},
	{"drive.files.create", []string{"drive.file"}, nil, ""},
	{"drive.files.generateIds", []string{"drive.file"}, nil, ""},
	{"docs.documents.create", []string{"drive.file"}, nil, ""},
	{"forms.forms.create", []string{"drive.file"}, nil, ""},
	{"sheets.spreadsheets.create", []string{"drive.file"}, nil, ""},
	{"slides.presentations.create", []string{"drive.file"}, nil, ""},
	// The content of files is not metadata.
	{"drive.files.update", []string{"drive"}, beyondMetadata, "media is given, or it moves or trashes the file"},
	{"drive.files.get", []string{"drive.readonly"}, downloads, "output is given"},
	{"drive.revisions.get", []string{"drive.readonly"}, downloads, "output is given"},

	// The scopes for administrators and for others open the same methods, and Google
	// wants those that fit the parameter.
	{"drivelabels.*", []string{"drive.admin.labels.readonly"}, asAdmin, "useAdminAccess is true"},
	{"drivelabels.*", []string{"drive.admin.labels"}, asAdmin, "useAdminAccess is true"},
	{"drivelabels.*", []string{"drive.labels.readonly"}, nil, ""},
	{"drivelabels.*", []string{"drive.labels"}, nil, ""},

	// A chart in a presentation is one of a spreadsheet.
	{"slides.presentations.batchUpdate", []string{"presentations", "spreadsheets.readonly"}, linksCharts, "a request makes or refreshes a chart"},
	{"slides.presentations.batchUpdate", []string{"presentations"}, nil, ""},
	{"forms.forms.watches.create", []string{"forms.responses.readonly"}, watchesResponses, "body.watch.eventType is RESPONSES"},
	// Discovery lists scopes that only read as well, or that are storage's.
	{"cloudresourcemanager.liens.create", []string{"cloud-platform"}, nil, ""},
	{"cloudresourcemanager.liens.delete", []string{"cloud-platform"}, nil, ""},
	{"compute.licenses.insert", []string{"compute"}, nil, ""},
	{"compute.projects.setUsageExportBucket", []string{"compute"}, nil, ""},

	{"people.people.get", []string{"contacts.readonly"}, nil, ""},
	{"people.people.getBatchGet", []string{"contacts.readonly"}, nil, ""},
	{"people.otherContacts.copyOtherContactToMyContactsGroup", []string{"contacts", "contacts.other.readonly"}, nil, ""}, // needs both
	// A service account is a Chat app.
	{"chat.*", []string{"chat.bot"}, asItself, ifItself},
	{"chat.spaces.create", []string{"chat.app.spaces.create"}, asItself, ifItself},
	{"chat.spaces.delete", []string{"chat.app.delete"}, asItself, ifItself},
	{"chat.spaces.members.*", []string{"chat.app.memberships"}, asItself, ifItself},
	{"chat.spaces.messages.list", []string{"chat.app.messages.readonly"}, asItself, ifItself},
	{"chat.spaces.patch", []string{"chat.app.spaces"}, asItself, ifItself},
	{"chat.spaces.spaceEvents.*", []string{"chat.app.memberships.readonly", "chat.app.messages.readonly", "chat.app.spaces.readonly"}, asItself, ifItself},
	{"chat.spaces.delete", []string{"chat.admin.delete"}, asAdmin, "useAdminAccess is true"},
	{"chat.*", []string{"chat.admin.memberships.readonly"}, asAdmin, "useAdminAccess is true"},
	{"chat.*", []string{"chat.admin.memberships"}, asAdmin, "useAdminAccess is true"},
	{"chat.*", []string{"chat.admin.spaces.readonly"}, asAdmin, "useAdminAccess is true"},
	{"chat.*", []string{"chat.admin.spaces"}, asAdmin, "useAdminAccess is true"},
	// A filter may name events of all three kinds.
	{"chat.spaces.spaceEvents.*", []string{"chat.memberships.readonly", "chat.messages.readonly", "chat.spaces.readonly"}, nil, ""},

	// A subscription needs what its events show; see
	// https://developers.google.com/workspace/events/guides/auth. Only who makes one
	// says what it is for, so that the others go by the name.
	{"workspaceevents.subscriptions.*", []string{"meetings.space.readonly"}, subscribesTo("meet"), "it is for events of Meet"},
	{"workspaceevents.subscriptions.*", []string{"drive.metadata.readonly"}, subscribesTo("drive"), "it is for events of Drive"},
	{"workspaceevents.subscriptions.*", []string{"chat.messages.readonly"}, subscribesTo("chat.message", "chat.reaction"), "it is for messages and reactions of Chat"},
	{"workspaceevents.subscriptions.*", []string{"chat.memberships.readonly"}, subscribesTo("chat.membership"), "it is for memberships of Chat"},
	{"workspaceevents.subscriptions.*", []string{"chat.spaces.readonly"}, subscribesTo("chat.space"), "it is for spaces of Chat"},
	{"workspaceevents.*", []string{"chat.memberships.readonly", "chat.messages.readonly", "chat.spaces.readonly"}, nil, ""},
}

func headersOnly(_ jobs.Job, q url.Values) bool {
	return slices.Contains([]string{"metadata", "minimal"}, q.Get("format"))
}
func searches(_ jobs.Job, q url.Values) bool    { return q.Get("q") != "" }
func downloads(job jobs.Job, _ url.Values) bool { return job.Output != "" }
func asItself(job jobs.Job, _ url.Values) bool  { return job.As == jobs.AsServiceAccount }

// drive.metadata neither shows nor changes content, and cannot move, share or trash
// files (https://developers.google.com/workspace/drive/api/guides/api-specific-auth).
func beyondMetadata(job jobs.Job, q url.Values) bool {
	return job.Media != nil || q.Has("addParents") || q.Has("removeParents") || names(job.Body, "trashed")
}

func namesFiles(job jobs.Job, _ url.Values) bool {
	return names(job.Body, "parents") || names(job.Body, "shortcutDetails")
}

const appData = "appDataFolder"

func intoAppData(job jobs.Job, _ url.Values) bool {
	var parents []string
	return json.Unmarshal(member(job.Body, "parents"), &parents) == nil && slices.Equal(parents, []string{appData})
}

func ofAppData(_ jobs.Job, q url.Values) bool {
	return q.Get("spaces") == appData || q.Get("space") == appData
}

func withAppData(_ jobs.Job, q url.Values) bool { return strings.Contains(q.Get("spaces"), appData) }

func asAdmin(job jobs.Job, q url.Values) bool {
	return q.Get("useAdminAccess") == "true" || member(job.Body, "useAdminAccess").Kind() == 't'
}

func linksCharts(job jobs.Job, _ url.Values) bool {
	var requests []map[string]jsontext.Value
	return json.Unmarshal(member(job.Body, "requests"), &requests) == nil && slices.ContainsFunc(requests, func(r map[string]jsontext.Value) bool {
		return r["createSheetsChart"] != nil || r["refreshSheetsChart"] != nil
	})
}

func watchesResponses(job jobs.Job, _ url.Values) bool {
	event, _ := stringOf(member(member(job.Body, "watch"), "eventType"))
	return event == "RESPONSES"
}

// subscribesTo tells whether a subscription is for events of these kinds only, such
// as chat.message, and of the kind in its name, where the job says no more.
func subscribesTo(kinds ...string) func(jobs.Job, url.Values) bool {
	return func(job jobs.Job, _ url.Values) bool {
		var events []string
		if json.Unmarshal(member(job.Body, "eventTypes"), &events) != nil || len(events) == 0 {
			name, _ := stringOf(member(job.Params, "name"))
			return strings.HasPrefix(name, "subscriptions/"+kinds[0]+"-")
		}
		return !slices.ContainsFunc(events, func(event string) bool {
			return !slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(event, "google.workspace."+kind+".") })
		})
	}
}

// partial are scopes that open a method only for some of what it can name: for
// files that the caller made, for one's own coursework, within an add-on. They are
// taken where a method accepts no others.
var partial = []string{
	"calendar.app.created", "calendar.events.freebusy", "calendar.events.owned", "calendar.events.owned.readonly", "calendar.events.public.readonly",
	"chat.admin.*", "chat.app.*", "chat.bot", "chat.import", "chat.memberships.app",
	"classroom.addons.*", "classroom.*.me", "classroom.*.me.readonly", "classroom.profile.*",
	"contacts.other.readonly", "directory.readonly", "user.*", "userinfo.*",
	"drive.appdata", "drive.file", "drive.meet.readonly", "drive.photos.readonly", "drive.scripts",
	"gmail.addons.*",
	"meetings.space.created",
}

const scopePrefix = "https://www.googleapis.com/auth/"

// scopesFor are the narrowest scopes with which the job's call can be made. For
// what has no row that is the scope that opens the fewest methods of all APIs, and
// of those that open as many, the one that only reads.
func scopesFor(m *discovery.Method, job jobs.Job, q url.Values) []string {
	for _, row := range scopeRows {
		if matches(row.glob, m.ID) && (row.when == nil || row.when(job, q)) && accepts(m, row.scopes) {
			return long(row.scopes)
		}
	}
	scopes := slices.DeleteFunc(slices.Clone(m.Scopes), isPartial)
	if len(scopes) == 0 {
		scopes = m.Scopes
	}
	if len(scopes) == 0 {
		return nil
	}
	return []string{slices.MinFunc(scopes, narrower).URL}
}

func narrower(a, b discovery.Scope) int {
	reads := func(s discovery.Scope) int {
		if strings.HasSuffix(s.URL, ".readonly") {
			return 0
		}
		return 1
	}
	return cmp.Or(cmp.Compare(a.Opens, b.Opens), cmp.Compare(reads(a), reads(b)), cmp.Compare(a.URL, b.URL))
}

func isPartial(s discovery.Scope) bool {
	short := strings.TrimPrefix(s.URL, scopePrefix)
	return slices.ContainsFunc(partial, func(glob string) bool { return matches(glob, short) })
}

// accepts tells whether the method's scopes have each of these.
func accepts(m *discovery.Method, scopes []string) bool {
	for _, want := range long(scopes) {
		if !slices.ContainsFunc(m.Scopes, func(s discovery.Scope) bool { return s.URL == want }) {
			return false
		}
	}
	return true
}

func long(scopes []string) []string {
	var all []string
	for _, scope := range scopes {
		all = append(all, scopePrefix+scope)
	}
	return all
}

// othersUserID are the methods whose userId is whom the call is about. Everywhere
// else it is who acts, and another than the job's user would at best be refused
// by Google, and at worst be done to somebody else.
var othersUserID = []string{
	"classroom.courses.courseWork.studentSubmissions.list",
	"classroom.courses.studentGroups.studentGroupMembers.delete",
	"classroom.courses.students.*",
	"classroom.courses.teachers.*",
	"classroom.invitations.list",
	"classroom.userProfiles.get",
	"cloudidentity.devices.deviceUsers.lookup",
	"licensing.licenseAssignments.*",
}

// secretAnswers are the methods that answer with a key, a token or a code. A
// result is published, and no place for one.
var secretAnswers = []string{
	"compute.interconnects.getMacsecConfig",
	"admin.customer.devices.chromeos.commands.get", // whose result may be a link into a session
	"directory.verificationCodes.list",
	"drive.files.generateCseToken",
	"iam.locations.workforcePools.providers.scimTenants.tokens.*",
	"iam.projects.locations.oauthClients.credentials.*",
	"iam.projects.serviceAccounts.keys.create",
	"iam.projects.serviceAccounts.sign*",
	"sql.sslCerts.insert",
	"storage.projects.hmacKeys.create",
}

// neededFields are the methods for which it is true what Discovery marks as required
// in their bodies. Elsewhere it marks more than Google asks for (a new label needs a
// name alone, not its two visibilities), and to refuse what Google takes is worse than
// to be refused by Google.
var neededFields = []string{
	"calendar.acl.insert", "calendar.calendarList.insert", "calendar.calendars.insert", "calendar.events.*",
	"directory.chromeosdevices.*", "directory.groups.insert", "directory.mobiledevices.action", "directory.orgunits.insert",
	"directory.users.insert", "directory.users.makeAdmin", "directory.users.photos.update",
	"drive.permissions.create",
	"licensing.licenseAssignments.insert",
}

// needs tells whether a body of the method must have the field.
func needs(id string, f discovery.Field) bool {
	return slices.Contains(f.RequiredBy, id) && anyMatches(neededFields, id)
}

// settable tells whether a request may set the field. Two that Drive's document marks
// as set by Google are whom a permission is for.
func settable(s *discovery.Schema, f discovery.Field) bool {
	return !f.ReadOnly || s.Name == "Permission" && (f.Name == "emailAddress" || f.Name == "domain")
}

// ownScopes are the methods that need scopes of somebody else's choice: a script
// runs with those that it uses itself, whatever Discovery lists.
var ownScopes = []string{"script.scripts.run"}

// mediaFields are the fields of request bodies that take media in base64, of
// methods without an upload address.
var mediaFields = map[string]string{
	"directory.users.photos.patch":     "photoData",
	"directory.users.photos.update":    "photoData",
	"people.people.updateContactPhoto": "photoBytes",
}

func matches(glob, name string) bool {
	if head, _, wild := strings.Cut(glob, "*"); !wild || !strings.HasPrefix(name, head) {
		return glob == name // most of a table's rows end here, for each job
	}
	ok, _ := path.Match(glob, name) // the globs are ours, and tested
	return ok
}

func anyMatches(globs []string, name string) bool {
	return slices.ContainsFunc(globs, func(glob string) bool { return matches(glob, name) })
}
