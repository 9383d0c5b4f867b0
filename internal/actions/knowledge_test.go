package actions_test

import (
	"flag"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

var update = flag.Bool("update", false, "write the golden files anew")

const auth = "https://www.googleapis.com/auth/"

// methods are those of the APIs of these names, or of all.
func methods(names ...string) []*discovery.Method {
	table := discovery.New()
	if len(names) == 0 {
		names = table.Names()
	}
	var all []*discovery.Method
	for _, name := range names {
		api, _ := table.API(name)
		all = append(all, api.Methods...)
	}
	return all
}

func short(scopes []string) string {
	var all []string
	for _, s := range scopes {
		all = append(all, strings.TrimPrefix(s, auth))
	}
	return strings.Join(all, " + ")
}

// The choice for every method of mail, calendars, files and the directory, one a
// line, to be read by people. With -update it is written anew.
func TestScopesOfEveryMailCalendarDriveAndDirectoryMethod(t *testing.T) {
	var b strings.Builder
	for _, m := range methods("gmail", "calendar", "drive", "directory") {
		if actions.SecretAnswer(m.ID) {
			continue // it cannot be called
		}
		for _, c := range actions.Choices(m) {
			fmt.Fprintf(&b, "%-52s %s", m.ID, short(c.Scopes))
			if c.If != "" {
				fmt.Fprintf(&b, "   if %s", c.If)
			}
			b.WriteByte('\n')
		}
	}
	golden := filepath.Join("testdata", "scopes.txt")
	if *update {
		if err := os.WriteFile(golden, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(b.String(), "\n")); d != "" {
		t.Errorf("the choice of scopes is another than %s says; if that is meant, run go test ./internal/actions -run Scopes -update and read the difference (-want +got):\n%s", golden, d)
	}
}

// What decides between scopes is in the job: each condition with a job that meets
// it, and with one that does not.
func TestScopesByJob(t *testing.T) {
	a := newActions(t, &google{})
	for _, c := range []struct{ job, scopes string }{
		{`"gmail.users.messages.get","params":{"id":"1"}`, "gmail.readonly"},
		{`"gmail.users.messages.get","params":{"id":"1","format":"full"}`, "gmail.readonly"},
		{`"gmail.users.messages.get","params":{"id":"1","format":"raw"}`, "gmail.readonly"},
		{`"gmail.users.messages.get","params":{"id":"1","format":"metadata"}`, "gmail.metadata"},
		{`"gmail.users.threads.get","params":{"id":"1","format":"minimal"}`, "gmail.metadata"},
		{`"gmail.users.messages.list"`, "gmail.metadata"},
		{`"gmail.users.messages.list","params":{"q":""}`, "gmail.metadata"},
		{`"gmail.users.messages.list","params":{"q":"in:inbox"}`, "gmail.readonly"},
		{`"gmail.users.threads.list","params":{"q":"x"}`, "gmail.readonly"},
		{`"drive.files.create","body":{"name":"a"}`, "drive.file"},
		{`"drive.files.create","body":{"parents":["f"]}`, "drive"},
		{`"drive.files.create","body":{"parents":["appDataFolder"]}`, "drive.appdata"},
		{`"drive.files.create","body":{"shortcutDetails":{"targetId":"f"}}`, "drive"},
		{`"drive.files.list"`, "drive.metadata.readonly"},
		{`"drive.files.list","params":{"spaces":"appDataFolder"}`, "drive.appdata"},
		{`"drive.files.generateIds","params":{"space":"appDataFolder"}`, "drive.appdata"},
		{`"drive.files.update","params":{"fileId":"f"},"body":{"name":"a"}`, "drive.metadata"},
		{`"drive.files.update","params":{"fileId":"f","addParents":"g"}`, "drive"},
		{`"drive.files.update","params":{"fileId":"f"},"body":{"trashed":true}`, "drive"},
		{`"drive.files.update","params":{"fileId":"f"},"media":{"data":"YQ==","contentType":"text/plain"}`, "drive"},
		{`"drive.files.get","params":{"fileId":"f"}`, "drive.metadata.readonly"},
		{`"drive.files.get","params":{"fileId":"f"},"output":"gs://bucket/o"`, "drive.readonly"},
		{`"drive.revisions.get","params":{"fileId":"f","revisionId":"1"},"output":"gs://bucket/o"`, "drive.readonly"},
		{`"drivelabels.labels.list"`, "drive.labels.readonly"},
		{`"drivelabels.labels.list","params":{"useAdminAccess":true}`, "drive.admin.labels.readonly"},
		{`"drivelabels.labels.publish","params":{"name":"labels/a"},"body":{"useAdminAccess":true}`, "drive.admin.labels"},
		{`"drivelabels.labels.publish","params":{"name":"labels/a"}`, "drive.labels"},
		{`"slides.presentations.batchUpdate","params":{"presentationId":"p"},"body":{"requests":[{"createSlide":{}}]}`, "presentations"},
		{`"slides.presentations.batchUpdate","params":{"presentationId":"p"},"body":{"requests":[{"createSlide":{}},{"createSheetsChart":{}}]}`, "presentations + spreadsheets.readonly"},
		{`"forms.forms.watches.create","params":{"formId":"f"},"body":{"watch":{"eventType":"SCHEMA"}}`, "forms.body.readonly"},
		{`"forms.forms.watches.create","params":{"formId":"f"},"body":{"watch":{"eventType":"RESPONSES"}}`, "forms.responses.readonly"},
		{`"chat.spaces.get","params":{"name":"spaces/a"}`, "chat.spaces.readonly"},
		{`"chat.spaces.get","params":{"name":"spaces/a","useAdminAccess":"true"}`, "chat.admin.spaces.readonly"},
		{`"chat.spaces.members.list","params":{"parent":"spaces/a","useAdminAccess":true}`, "chat.admin.memberships.readonly"},
		{`"chat.spaces.delete","params":{"name":"spaces/a","useAdminAccess":true}`, "chat.admin.delete"},
		{`"workspaceevents.subscriptions.create","body":{"eventTypes":["google.workspace.chat.message.v1.created"]}`, "chat.messages.readonly"},
		{`"workspaceevents.subscriptions.create","body":{"eventTypes":["google.workspace.chat.membership.v1.created","google.workspace.chat.message.v1.created"]}`, "chat.memberships.readonly + chat.messages.readonly + chat.spaces.readonly"},
		{`"workspaceevents.subscriptions.create","body":{"eventTypes":["google.workspace.meet.conference.v2.started"]}`, "meetings.space.readonly"},
		{`"workspaceevents.subscriptions.get","params":{"name":"subscriptions/drive-files-1"}`, "drive.metadata.readonly"},
	} {
		job, err := jobs.Decode([]byte(`{"user":"ada@example.com","action":`+c.job+`}`), "1")
		if err != nil {
			t.Fatal(c.job, err)
		}
		call, err := a.Prepare(t.Context(), job)
		if err != nil {
			t.Errorf("%s: %v", c.job, err)
		} else if got := short(call.Scopes); got != c.scopes {
			t.Errorf("%s: %s; want %s", c.job, got, c.scopes)
		} else {
			wantsNoMore(t, a, job.Action, call)
		}
	}
	for action, scopes := range map[string]string{
		`"chat.spaces.messages.create","params":{"parent":"spaces/a"}`: "chat.bot",
		`"chat.spaces.members.create","params":{"parent":"spaces/a"}`:  "chat.app.memberships",
		`"chat.spaces.messages.list","params":{"parent":"spaces/a"}`:   "chat.app.messages.readonly",
		`"drive.files.list"`:                                                           "drive.metadata.readonly",
		`"sql.instances.list","params":{"project":"p"}`:                                "sqlservice.admin",
		`"compute.instances.list","params":{"project":"p","zone":"z"}`:                 "compute.readonly",
		`"compute.instances.start","params":{"project":"p","zone":"z","instance":"i"}`: "compute",
	} {
		job, err := jobs.Decode([]byte(`{"as":"serviceAccount","action":`+action+`}`), "1")
		if err != nil {
			t.Fatal(err)
		}
		if call, err := a.Prepare(t.Context(), job); err != nil || short(call.Scopes) != scopes {
			t.Errorf("as the service account: %s: %v; want %s (%v)", action, call, scopes, err)
		}
	}
}

// wantsNoMore sees that who has authorized all that the method's jobs may need has
// authorized what this one asks for.
func wantsNoMore(t *testing.T, a *actions.Actions, id string, call *actions.Call) {
	t.Helper()
	all, err := a.UserScopes(id)
	if err != nil {
		t.Fatal(id, err)
	}
	asked := slices.Clone(call.Scopes)
	if look := call.Look(); look != nil {
		asked = append(asked, look.Scopes...)
	}
	for _, scope := range asked {
		if !slices.Contains(all, scope) {
			t.Errorf("%s: asks for %s, which is none of %s", id, scope, short(all))
		}
	}
}

// What has to be authorized is that of each choice and look-up, and nothing that is
// for the service account alone.
func TestUserScopes(t *testing.T) {
	ms := actions.NewMethods()
	for id, want := range map[string]string{
		"gmail.users.messages.insert":  "gmail.insert + gmail.readonly", // and its look-up
		"gmail.users.messages.get":     "gmail.metadata + gmail.readonly",
		"gmail.users.labels.list":      "gmail.labels",
		"calendar.events.insert":       "calendar.events",
		"drive.files.create":           "drive + drive.appdata + drive.file",
		"chat.spaces.messages.create":  "chat.messages.create + chat.messages.readonly", // where messageId is given
		"chat.spaces.messages.list":    "chat.messages.readonly",
		"drivelabels.labels.list":      "drive.admin.labels.readonly + drive.labels.readonly",
		"directory.users.insert":       "admin.directory.user",
		"sql.instances.list":           "sqlservice.admin",
		"drive.files.generateCseToken": "",
		"gmail.users.mesages.insert":   "",
	} {
		got, err := ms.UserScopes(id)
		if short(got) != want || (err == nil) != (want != "") {
			t.Errorf("%s: %s (%v); want %s", id, short(got), err, want)
		}
	}
}

// What is listed is told apart from what is listed in vain.
func TestListed(t *testing.T) {
	ids, not := actions.NewMethods().Listed(func(id string) bool { return strings.HasPrefix(id, "drive.files.gen") })
	if !slices.Equal(ids, []string{"drive.files.generateIds"}) || len(not) != 1 || !strings.Contains(not[0].Error(), "drive.files.generateCseToken, which answers with a secret") {
		t.Errorf("%q, %v", ids, not)
	}
}

// readOnly tells whether a scope changes nothing, by its name.
func readOnly(url string) bool {
	return regexp.MustCompile(`[._](readonly|read[_-]only)$|\.read$|/gmail\.metadata$|/calendar\.freebusy$|cloud-identity\.devices\.lookup$|/cloud_search\.(debug|query|stats)$|/script\.(processes|metrics)$`).MatchString(url)
}

// canWrite are the methods that read, with a scope that does not only: nothing
// narrower would do.
var canWrite = map[string]string{
	"gmail.users.labels.get":  "gmail.metadata shows all headers, and gmail.labels only labels",
	"gmail.users.labels.list": "gmail.metadata shows all headers, and gmail.labels only labels",
	"gmail.users.settings.*":  "gmail.readonly shows all mail, and gmail.settings.basic none",
}

// These change something with a scope that is called read-only: Google has it so.
var changesByReading = map[string]string{
	"*.watch":                         "a channel tells of what may be read",
	"*.channels.stop":                 "likewise",
	"forms.forms.watches.*":           "likewise",
	"workspaceevents.subscriptions.*": "likewise",
	"chromemanagement.customers.telemetry.notificationConfigs.*": "likewise, and there is no other",
	"cloudsearch.query.removeActivity":                           "there is no other that is as narrow",
	"gmail.users.watch":                                          "likewise",
	"gmail.users.stop":                                           "likewise",
	"people.otherContacts.copyOtherContactToMyContactsGroup":     "it needs contacts beside it",
}

// listed tells whether a table has a row for a name, and marks that in used.
func listed(table map[string]string, used map[string]bool, name string) bool {
	found := false
	for glob := range table {
		if ok, _ := path.Match(glob, name); ok {
			used[glob], found = true, true
		}
	}
	return found
}

func allUsed(t *testing.T, table map[string]string, used map[string]bool) {
	t.Helper()
	for glob := range table {
		if !used[glob] {
			t.Errorf("%s: the test makes an exception that is none", glob)
		}
	}
}

func TestScopesAreNarrow(t *testing.T) {
	// opened are the ids of the methods that a scope opens.
	opened := map[string]map[string]bool{}
	for _, m := range methods() {
		for _, s := range m.Scopes {
			if opened[s.URL] == nil {
				opened[s.URL] = map[string]bool{}
			}
			opened[s.URL][m.ID] = true
		}
	}
	within := func(a, b string) bool { // a opens less than b
		for id := range opened[a] {
			if !opened[b][id] {
				return false
			}
		}
		return len(opened[a]) < len(opened[b])
	}
	rows, used := actions.ScopeRows(), map[string]bool{}
	for _, m := range methods() {
		if len(m.Scopes) == 0 {
			continue
		}
		hasRow := slices.ContainsFunc(rows, func(r actions.ScopeRow) bool {
			ok, _ := path.Match(r.Glob, m.ID)
			return ok && actions.Accepts(m, r.Scopes)
		})
		for _, c := range actions.Choices(m) {
			if len(c.Scopes) == 0 || !actions.Accepts(m, c.Scopes) {
				t.Errorf("%s: asks for %q, which it does not accept: %v", m.ID, c.Scopes, m.Scopes)
			}
		}
		chosen := actions.ScopesOf(m)
		for _, s := range m.Scopes {
			if actions.IsPartial(s) || slices.Contains(chosen, s.URL) {
				continue
			}
			if actions.ClassOf(m) == actions.Read && readOnly(s.URL) && !slices.ContainsFunc(chosen, readOnly) && !listed(canWrite, used, m.ID) {
				t.Errorf("%s: only reads, and asks for %s; %s would do", m.ID, short(chosen), s.URL)
			}
			if len(chosen) == 1 && within(s.URL, chosen[0]) && !hasRow {
				t.Errorf("%s: asks for %s; %s would do, and opens less", m.ID, short(chosen), s.URL)
			}
		}
		if actions.ClassOf(m) != actions.Read && slices.ContainsFunc(chosen, readOnly) && !listed(changesByReading, used, m.ID) {
			t.Errorf("%s: is %s, and asks for %s, which only reads", m.ID, actions.ClassOf(m), short(chosen))
		}
	}
	allUsed(t, canWrite, used)
	allUsed(t, changesByReading, used)
}

func TestNoRowIsDead(t *testing.T) {
	all := methods()
	var ids, scopes []string
	for _, m := range all {
		ids = append(ids, m.ID)
		for _, s := range m.Scopes {
			scopes = append(scopes, strings.TrimPrefix(s.URL, auth))
		}
	}
	matched := func(t *testing.T, glob string, names []string) map[string]bool {
		found := map[string]bool{}
		for _, name := range names {
			ok, err := path.Match(glob, name)
			if err != nil {
				t.Fatalf("%s: %v", glob, err)
			}
			if ok {
				found[name] = true
			}
		}
		return found
	}
	for table, globs := range actions.Globs() {
		t.Run(table, func(t *testing.T) {
			names := ids
			if table == "partial" {
				names = scopes
			}
			before := map[string]bool{}
			for _, glob := range globs {
				adds := false
				for name := range matched(t, glob, names) {
					adds = adds || !before[name]
					before[name] = true
				}
				if !adds {
					t.Errorf("%s: matches nothing, or nothing that no earlier row matches", glob)
				}
			}
		})
	}
	t.Run("scopeRows", func(t *testing.T) {
		always := map[string]bool{}
		for _, row := range actions.ScopeRows() {
			adds := false
			for _, m := range all {
				if ok, err := path.Match(row.Glob, m.ID); err != nil || !ok || !actions.Accepts(m, row.Scopes) || always[m.ID] {
					continue
				}
				adds = true
				always[m.ID] = row.Always
			}
			if !adds {
				t.Errorf("%s, %s: is for no method, or for none that an earlier row leaves over", row.Glob, short(row.Scopes))
			}
			if row.Always != (row.If == "") {
				t.Errorf("%s: the condition has the words %q", row.Glob, row.If)
			}
		}
	})
}

// Only what is not to be made twice has to be looked up; a class that repeats the
// rule for its HTTP method says nothing.
func TestClasses(t *testing.T) {
	a := newActions(t, &google{})
	ofHTTP := map[string]actions.Class{"GET": actions.Read, "POST": actions.Once, "PUT": actions.Idempotent, "PATCH": actions.Idempotent, "DELETE": actions.Idempotent}
	for _, m := range methods() {
		class := actions.ClassOf(m)
		empties := m.ID == "drive.files.emptyTrash" // what came into it since, too
		if m.HTTPMethod != "POST" && class != ofHTTP[m.HTTPMethod] && !empties {
			t.Errorf("%s: is %s by %s", m.ID, class, m.HTTPMethod)
		}
		if d, err := a.Describe(m.ID); err == nil && d.Lookup != "" && class != actions.Once && d.LookupIf == "" {
			t.Errorf("%s: is looked up by %s, though it is %s", m.ID, d.Lookup, class)
		}
	}
	// The words in a method's name by which it can only read, and by which it cannot.
	reads := regexp.MustCompile(`\.(get|list|search|query|lookup|test|count|batchGet|fetch|find|check|suggest|validate|lint|preview)[A-Z]?[A-Za-z]*$`)
	writes := regexp.MustCompile(`\.(remove|delete|insert|create|update|patch|send|import|move|start|stop|set|add|clear|reset)[A-Z]?[A-Za-z]*$`)
	for _, m := range methods() {
		switch class := actions.ClassOf(m); {
		case class != actions.Read && reads.MatchString(m.ID):
			t.Errorf("%s: is %s, and is called like one that reads", m.ID, class)
		case class == actions.Read && writes.MatchString(m.ID):
			t.Errorf("%s: is %s, and is called like one that changes something", m.ID, class)
		}
	}
}

// Gmail's units as Google states them since May 2026.
func TestUnits(t *testing.T) {
	const gmail = "gmail.users."
	for units, list := range map[int]string{
		1:   "getProfile labels.get labels.list settings.getVacation settings.getImap settings.sendAs.get settings.sendAs.list settings.filters.list settings.delegates.list",
		2:   "history.list",
		5:   "messages.list messages.modify messages.untrash labels.create labels.update labels.patch labels.delete settings.updateVacation settings.updateImap settings.updateAutoForwarding settings.filters.create settings.filters.delete settings.sendAs.delete settings.delegates.delete drafts.list",
		10:  "messages.delete drafts.create drafts.delete threads.list threads.modify",
		15:  "drafts.update",
		20:  "messages.get messages.trash messages.attachments.get drafts.get threads.trash threads.delete",
		25:  "messages.insert messages.import",
		40:  "threads.get",
		50:  "messages.batchModify messages.batchDelete stop",
		100: "messages.send drafts.send watch settings.sendAs.create settings.sendAs.update settings.sendAs.patch settings.sendAs.verify settings.delegates.create settings.forwardingAddresses.create settings.updatePop",
	} {
		for _, id := range strings.Fields(list) {
			if _, ok := discovery.New().Method(gmail + id); !ok {
				t.Errorf("there is no %s", gmail+id)
			}
			if got := actions.UnitsOf(gmail + id); got != units {
				t.Errorf("%s: %d units; want %d", gmail+id, got, units)
			}
		}
	}
	for _, id := range []string{"calendar.events.insert", "drive.files.list", "directory.users.list"} {
		if got := actions.UnitsOf(id); got != 1 {
			t.Errorf("%s: %d units; a request is one", id, got)
		}
	}
}

// secretLike is what fields are called whose values may open something.
var secretLike = regexp.MustCompile(`(?i)(secret|password|passphrase|privatekey(data)?|rawkey|encryptedkey|wrappedkey|clientkey|accesskey|pairingkey|resourcekey|authenticationkeys?|presharedkeys?|cak|ckn|accesscode|enrollmentcode|verificationcodes?|pin|jwt|token|pkcs12)$`)

// harmless are the fields of answers that are called like secrets and are none, and why.
var harmless = map[string]string{
	"*.nextPageToken": "leads to the next page, for whoever may read this one", "*.nextSyncToken": "likewise",
	"*.newStartPageToken": "likewise", "*.startPageToken": "likewise", "*.rewriteToken": "goes on with one's own copying",
	"*.restoreToken": "names a deleted object, for whoever may restore it",
	"AttachmentDataRef.attachmentUploadToken": "only its uploader can send what it names",
	"Channel.token":                  "is what the caller gave",
	"EntryPoint.*":                   "of a conference, shown to each guest of the event",
	"GatewaySipAccess.sipAccessCode": "of a conference, shown to each guest",
	"PhoneAccess.pin":                "likewise",
	"Course.enrollmentCode":          "stands on the blackboard",
	"*.resourceKey":                  "a part of the file's link", "*.targetResourceKey": "likewise",
	"DecryptionMetadata.*":          "wrapped by a key that Google does not have",
	"DomainVerificationToken.token": "is made public, in the DNS", "SiteVerificationWebResourceGettokenResponse.token": "likewise",
	"PublicAdvertisedPrefix.sharedSecret": "likewise",
	"InterconnectAttachment.pairingKey":   "is for handing on, and serves once",
	"User.password":                       "Google takes it and never gives it", "SmtpMsa.password": "likewise", "SmimeInfo.*": "likewise",
	"DatabaseInstance.rootPassword": "likewise", "OnPremisesConfiguration.*": "likewise", "OidcRpConfig.clientSecret": "likewise",
	"ExportContext.*": "likewise", "ImportContext.*": "likewise", "MySqlReplicaConfiguration.*": "likewise",
	"AWSV4Signature.accessKey": "likewise", "BackendServiceIAP.oauth2ClientSecret": "likewise", "CustomerEncryptionKey.*": "likewise",
	"Router.md5AuthenticationKeys": "likewise", "SslCertificate*.privateKey": "likewise",
	"VpnTunnel.sharedSecret":                  "comes crossed out",
	"InterconnectDiagnosticsMacsecStatus.ckn": "is a name",
	"InterconnectMacsec.preSharedKeys":        "are names; getMacsecConfig has the keys",
	"ServiceAccountKey.privateKeyData":        "comes with keys.create only",
}

func TestNoAnswerHasASecret(t *testing.T) {
	used, reported := map[string]bool{}, map[string]bool{}
	for _, m := range methods() {
		if m.Response == nil || len(m.Scopes) == 0 || actions.SecretAnswer(m.ID) {
			continue
		}
		eachField(m.Response, func(s *discovery.Schema, f discovery.Field) {
			name := s.Name + "." + f.Name
			text := f.Type.Kind == discovery.String && f.Type.Enum == nil || f.Type.Kind == discovery.Array
			if text && secretLike.MatchString(f.Name) && !listed(harmless, used, name) && !reported[name] {
				reported[name] = true
				t.Errorf("%s: answers with %s: put it into secretAnswers, or say in harmless why it may be published", m.ID, name)
			}
		})
	}
	allUsed(t, harmless, used)
	for _, id := range []string{"iam.projects.serviceAccounts.keys.create", "iam.projects.serviceAccounts.signJwt", "directory.verificationCodes.list", "compute.interconnects.getMacsecConfig", "storage.projects.hmacKeys.create"} {
		if _, err := newActions(t, &google{}).Describe(id); err == nil || !strings.Contains(err.Error(), "answers with a secret") {
			t.Errorf("%s: %v", id, err)
		}
	}
}

// eachField walks through all that a schema has below it.
func eachField(s *discovery.Schema, do func(*discovery.Schema, discovery.Field)) {
	seen := map[*discovery.Schema]bool{}
	var ofType func(*discovery.Type)
	var of func(*discovery.Schema)
	ofType = func(typ *discovery.Type) {
		switch {
		case typ.Elem != nil:
			ofType(typ.Elem)
		case typ.Schema != nil:
			of(typ.Schema)
		}
	}
	of = func(s *discovery.Schema) {
		if seen[s] {
			return
		}
		seen[s] = true
		for _, f := range s.Fields {
			do(s, f)
			ofType(f.Type)
		}
		if s.Extra != nil {
			ofType(s.Extra)
		}
	}
	of(s)
}

// For every method with a userId of its own: me and the job's user are me, and
// nobody else is accepted.
func TestUserID(t *testing.T) {
	a := newActions(t, &google{})
	tested := 0
	for _, m := range methods() {
		p, ok := m.Param("userId")
		d, err := a.Describe(m.ID)
		if !ok || err != nil {
			continue
		}
		prepare := func(who, userID string) (*actions.Call, error) {
			job, err := jobs.Decode(d.Example, "1")
			if err != nil {
				t.Fatal(err)
			}
			params := `{`
			if job.Params != nil {
				params = strings.TrimSuffix(string(job.Params), "}")
			}
			params = regexp.MustCompile(`"userId":"[^"]*",?`).ReplaceAllString(params, "")
			if userID != "" {
				params = strings.TrimSuffix(params, ",") + `,"userId":"` + userID + `"`
			}
			job.Params = []byte(strings.Replace(strings.TrimSuffix(params, ",")+"}", "{,", "{", 1))
			if who == jobs.AsServiceAccount {
				job.User, job.As = "", who
			}
			return a.Prepare(t.Context(), job)
		}
		if actions.OthersUserID(m.ID) {
			if _, err := prepare("", "grace@example.com"); err != nil {
				t.Errorf("%s: about somebody else: %v", m.ID, err)
			}
			continue
		}
		tested++
		for _, userID := range []string{"", "me", "ada@example.com", "ADA@example.COM"} {
			if _, err := prepare("", userID); err != nil {
				t.Errorf("%s: userId %q: %v", m.ID, userID, err)
			}
			if p.In != "path" || !strings.Contains(m.Path, "{userId}") {
				t.Errorf("%s: its userId is of the %s", m.ID, p.In)
			}
		}
		for _, userID := range []string{"grace@example.com", "ada@example.org", "Me", "me ", " me", "ada", "-", "me/../grace@example.com", "ada@example.com,grace@example.com", "ada@example.com\\u0000", "117"} {
			if _, err := prepare("", userID); err == nil || !strings.HasPrefix(err.Error(), "params.userId: is ") || !strings.Contains(err.Error(), "ada@example.com") {
				t.Errorf("%s: userId %q: %v", m.ID, userID, err)
			}
		}
		if _, err := prepare(jobs.AsServiceAccount, ""); err == nil || !strings.HasPrefix(err.Error(), "as: is serviceAccount; ") {
			t.Errorf("%s: as the service account: %v", m.ID, err)
		}
	}
	if tested < 75 {
		t.Errorf("only %d methods have a userId", tested)
	}
}
