package actions_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// prepare checks ada's job.
func prepare(t testing.TB, a *actions.Actions, job string) (*actions.Call, error) {
	t.Helper()
	decoded, err := jobs.Decode([]byte(job), "1")
	if err != nil {
		return nil, err
	}
	return a.Prepare(t.Context(), decoded)
}

// refusal is the error of a job that is refused. It must be one that can be shown.
func refusal(t testing.TB, a *actions.Actions, job string) string {
	t.Helper()
	_, err := prepare(t, a, job)
	var field *jobs.FieldError
	switch {
	case err == nil:
		return ""
	case !errors.As(err, &field):
		t.Errorf("%.200s: %#v is no FieldError", job, err)
	case !utf8.ValidString(err.Error()) || strings.ContainsFunc(err.Error(), unicode.IsControl):
		t.Errorf("%.200s: %q cannot be shown", job, err)
	case len(err.Error()) > 2000:
		t.Errorf("%.200s: an error of %d bytes: %s", job, len(err.Error()), err)
	}
	return err.Error()
}

// Methods of many APIs, each with what is wrong in a job for it, and what its author
// is told.
var wrong = []struct{ action, with, says string }{
	{"gmail.users.messages.list", `"params":{"labelIDs":["INBOX"]}`, `params.labelIDs: is no parameter of gmail.users.messages.list (did you mean labelIds?); accepted are fields, userId, `},
	{"gmail.users.messages.list", `"params":{"maxResults":"many"}`, `params.maxResults: is the string "many"; an integer from 0 to 4294967295 is expected`},
	{"gmail.users.messages.list", `"params":{"labelIds":"INBOX"}`, `params.labelIds: is the string "INBOX"; an array is expected, each of its items a string`},
	{"gmail.users.messages.list", `"params":{"labelIds":["INBOX",7]}`, `params.labelIds[1]: is the number 7; a string is expected`},
	{"gmail.users.messages.list", `"params":{"userId":"grace@example.com"}`, `params.userId: is "grace@example.com"; accepted are me and the job's own user, ada@example.com`},
	{"gmail.users.messages.get", `"params":{"id":"1","format":"metdata"}`, `params.format: is the string "metdata" (did you mean metadata?); one of minimal, full, raw, metadata is expected`},
	{"gmail.users.messages.get", `"params":{}`, `params.id: is missing; gmail.users.messages.get needs it: a string`},
	{"gmail.users.messages.modify", `"params":{"id":"1"},"body":{"addLabelIDs":[]}`, `body.addLabelIDs: is no field of ModifyMessageRequest (did you mean addLabelIds?); accepted are add`},
	{"gmail.users.messages.modify", `"params":{"id":"1"},"body":{"":1,"addLabelIds":7}`, `body."": is no field of ModifyMessageRequest; accepted are add`},
	{"gmail.users.messages.modify", `"params":{"id":"1"},"body":{"addLabelIds":["a",{"b":1}]}`, `body.addLabelIds[1]: is an object; a string is expected`},
	{"gmail.users.messages.batchModify", `"body":{"ids":"1"}`, `body.ids: is the string "1"; an array is expected`},
	{"gmail.users.labels.create", `"body":{"name":"a","labelListVisibility":"labelShows"}`, `body.labelListVisibility: is the string "labelShows" (did you mean labelShow?); one of labelShow, `},
	{"gmail.users.labels.create", `"body":{"color":{"backgroundColour":"#fff"}}`, `body.color.backgroundColour: is no field of LabelColor (did you mean backgroundColor?); `},
	{"gmail.users.settings.updateVacation", `"body":{"endTime":"tomorrow"}`, `body.endTime: is the string "tomorrow"; an integer is expected`},
	{"gmail.users.settings.updateVacation", `"body":{"enableAutoReply":"true"}`, `body.enableAutoReply: is the string "true"; true or false is expected`},
	{"gmail.users.settings.sendAs.patch", `"params":{"sendAsEmail":"a@example.com"},"body":{"signatur":"x"}`, `body.signatur: is no field of SendAs (did you mean signature?)`},
	{"gmail.users.settings.filters.create", `"body":{"criteria":{"size":1.5}}`, `body.criteria.size: is the number 1.5; an integer is expected`},
	{"gmail.users.settings.updateImap", `"params":{"userId":"me@x"},"body":{}`, `params.userId: is "me@x"; `},
	{"gmail.users.watch", `"body":{"topicname":"t"}`, `body.topicname: is no field of WatchRequest (did you mean topicName?)`},
	{"gmail.users.history.list", `"params":{"startHistoryId":"-1"}`, `params.startHistoryId: is the string "-1"; an integer from 0 up is expected`},
	{"gmail.users.history.list", `"params":{"historyTypes":["messageAdded","labelAded"]}`, `params.historyTypes[1]: is the string "labelAded" (did you mean labelAdded?)`},
	{"calendar.events.insert", `"params":{"calendarId":"primary"},"body":{"end":{"date":"2026-11-30"},"start":{"date":"2026-11-31"}}`, `body.start.date: is the string "2026-11-31"; a date such as 2026-11-30 is expected`},
	{"calendar.events.insert", `"params":{"calendarId":"primary"},"body":{"start":{}}`, `body.end: is missing; calendar.events.insert needs it: an object`},
	{"calendar.events.insert", `"params":{"calendarId":"primary"},"body":{"start":{},"end":null}`, `body.end: is missing; calendar.events.insert needs it: an object`},
	{"calendar.events.insert", `"params":{"calendarId":"primary"},"body":{"start":{},"end":{},"attendees":[{"email":"a@x.yz"},{"emial":"b@x.yz"}]}`, `body.attendees[1].emial: is no field of EventAttendee (did you mean email?)`},
	{"calendar.events.insert", `"params":{"calendarId":"primary"},"body":{"start":{},"end":{},"attendees":[{"email":"a@x.yz"},{"email":7}]}`, `body.attendees[1].email: is the number 7; a string is expected`},
	{"calendar.events.insert", `"params":{"calendarId":"primary"},"body":{"start":{},"end":{},"attendees":[null]}`, `body.attendees[0]: is null; an object is expected`},
	{"calendar.events.insert", `"params":{"sendUpdates":"everyone","calendarId":"primary"},"body":{}`, `params.sendUpdates: is the string "everyone"; one of all, externalOnly, none is expected`},
	{"calendar.events.list", `"params":{"calendarId":"primary","timeMin":"2026-11-30T00:00:00"}`, `params.timeMin: is the string "2026-11-30T00:00:00"; a time as RFC 3339 has it, such as 2026-11-30T00:00:00Z, is expected`},
	{"calendar.events.list", `"params":{"calendarId":"primary","singleEvents":1}`, `params.singleEvents: is the number 1; true or false is expected`},
	{"calendar.events.list", `"params":{"calendarId":".."}`, `params.calendarId: is ".."; it stands in the address, and may not be empty nor have a part that is empty, . or ..`},
	{"calendar.freebusy.query", `"body":{"items":[{"ID":"a"}]}`, `body.items[0].ID: is no field of FreeBusyRequestItem (did you mean id?)`},
	{"calendar.acl.insert", `"params":{"calendarId":"primary"},"body":{"role":"reader","scope":{}}`, `body.scope.type: is missing; calendar.acl.insert needs it: a string`},
	{"tasks.tasks.insert", `"params":{"tasklist":"@default"},"body":{"title":"a","due":7}`, `body.due: is the number 7; a string is expected`},
	{"tasks.tasks.list", `"params":{"tasklist":"@default","maxResults":2147483648}`, `params.maxResults: is the number 2147483648; an integer is expected`},
	{"drive.files.list", `"params":{"pageSize":1001}`, `params.pageSize: is the number 1001; an integer from 1 to 1000 is expected`},
	{"drive.files.list", `"params":{"corpora":["user"]}`, `params.corpora: is an array; a string is expected`},
	{"drive.files.create", `"body":{"name":"a","Parents":[]}`, `body.Parents: is no field of File (did you mean parents?)`},
	{"drive.files.create", `"body":{"createdTime":"yesterday"}`, `body.createdTime: is the string "yesterday"; a time as RFC 3339 has it, `},
	{"drive.files.update", `"params":{"fileID":"f"}`, `params.fileID: is no parameter of drive.files.update (did you mean fileId?)`},
	{"drive.permissions.create", `"params":{"fileId":"f"},"body":{"role":"reader","expirationTime":""}`, `body.expirationTime: is the string ""; a time`},
	{"drive.files.export", `"params":{"fileId":"f"},"output":"gs://bucket/o"`, `params.mimeType: is missing; drive.files.export needs it: a string`},
	{"drive.files.export", `"params":{"fileId":"f","mimeType":"text/plain"}`, `output: is missing; drive.files.export answers with a file`},
	{"drive.files.delete", `"params":{"fileId":"f"},"body":{}`, `body: is given, but drive.files.delete takes none`},
	{"docs.documents.batchUpdate", `"params":{"documentId":"d"},"body":{"requests":[{"insertText":{"location":{"idx":1}}}]}`, `body.requests[0].insertText.location.idx: is no field of Location`},
	{"docs.documents.get", `"params":{"documentId":"d","suggestionsViewMode":"PREVIEW"}`, `params.suggestionsViewMode: is the string "PREVIEW"; one of DEFAULT_FOR_CURRENT_ACCESS, `},
	{"sheets.spreadsheets.values.update", `"params":{"spreadsheetId":"s","range":"A1","valueInputOption":"RAWS"},"body":{}`, `params.valueInputOption: is the string "RAWS" (did you mean RAW?)`},
	{"sheets.spreadsheets.values.update", `"params":{"spreadsheetId":"s","range":"A1"},"body":{"values":["a"]}`, `body.values[0]: is a string; an array is expected`},
	{"sheets.spreadsheets.batchUpdate", `"params":{"spreadsheetId":"s"},"body":{"requests":[{},{"addSheet":{"properties":{"index":"1"}}}]}`, `body.requests[1].addSheet.properties.index: is the string "1"; an integer is expected`},
	{"slides.presentations.batchUpdate", `"params":{"presentationId":"p"},"body":{"requests":{}}`, `body.requests: is an object; an array is expected`},
	{"forms.forms.create", `"params":{"unpublished":"maybe"},"body":{}`, `params.unpublished: is the string "maybe"; true or false is expected`},
	{"people.people.createContact", `"body":{"names":[{"given_name":"Ada"}]}`, `body.names[0].given_name: is no field of Name (did you mean givenName?)`},
	{"people.people.get", `"params":{"resourceName":"me","personFields":"names"}`, `params.resourceName: is the string "me"; a string of the form ^people/[^/]+$ is expected`},
	{"people.people.connections.list", `"params":{"resourceName":"people/me","sources":["READ_SOURCE_TYPE_PROFILES"]}`, `params.sources[0]: is the string "READ_SOURCE_TYPE_PROFILES" (did you mean READ_SOURCE_TYPE_PROFILE?)`},
	{"chat.spaces.messages.create", `"params":{"parent":"spaces/a/messages/b"},"body":{"text":"x"}`, `params.parent: is the string "spaces/a/messages/b"; a string of the form ^spaces/[^/]+$ is expected`},
	{"chat.spaces.messages.create", `"params":{"parent":"spaces/a"},"body":{"txt":"x"}`, `body.txt: is no field of Message (did you mean text?)`},
	{"meet.spaces.create", `"body":{"config":{"accessType":"OPENED"}}`, `body.config.accessType: is the string "OPENED" (did you mean OPEN?)`},
	{"keep.notes.create", `"body":{"body":{"text":"x"}}`, `body.body.text: is a string; an object is expected`},
	{"directory.users.insert", `"body":{"primaryEmail":"x@example.com","name":"X"}`, `body.name: is a string; an object is expected`},
	{"directory.users.insert", `"body":{"password":12345678}`, `body.password: is a number; a string is expected`},
	{"directory.users.list", `"params":{"orderBy":"mail"}`, `params.orderBy: is the string "mail" (did you mean email?)`},
	{"directory.members.insert", `"params":{"groupKey":"g"},"body":{"email":["a"]}`, `body.email: is an array; a string is expected`},
	{"directory.groups.patch", `"body":{}`, `params.groupKey: is missing; directory.groups.patch needs it: a string`},
	{"reports.activities.list", `"params":{"userKey":"all","applicationName":"logins"}`, `params.applicationName: is the string "logins" (did you mean login?)`},
	{"groupsSettings.groups.update", `"params":{"groupUniqueId":"g"},"body":{"whoCanjoin":"x"}`, `body.whoCanjoin: is no field of Groups (did you mean whoCanJoin?)`},
	{"cloudidentity.groups.create", `"params":{"initialGroupConfig":"FULL"},"body":{}`, `params.initialGroupConfig: is the string "FULL"; one of INITIAL_GROUP_CONFIG_UNSPECIFIED, `},
	{"licensing.licenseAssignments.insert", `"params":{"productId":"p","skuId":"s"},"body":{"userID":"a"}`, `body.userID: is no field of LicenseAssignmentInsert (did you mean userId?)`},
	{"classroom.courses.create", `"body":{"courseState":"ACTIV"}`, `body.courseState: is the string "ACTIV" (did you mean ACTIVE?)`},
	{"vault.matters.create", `"body":{"state":"OPENED"}`, `body.state: is the string "OPENED" (did you mean OPEN?)`},
	{"script.projects.create", `"body":{"titel":"x"}`, `body.titel: is no field of CreateProjectRequest (did you mean title?)`},
	{"drivelabels.labels.list", `"params":{"pageSize":"1e3"}`, `params.pageSize: is the string "1e3"; an integer is expected`},
	{"driveactivity.activity.query", `"body":{"pageSize":"10"}`, `body.pageSize: is the string "10"; an integer is expected`},
	{"sql.instances.list", `"params":{"project":"p","maxResults":-1}`, `params.maxResults: is the number -1; an integer from 0 to 4294967295 is expected`},
	{"compute.instances.start", `"params":{"project":"p","zone":"z"}`, `params.instance: is missing; compute.instances.start needs it: a string`},
	{"compute.instances.list", `"params":{"project":"P!","zone":"z"}`, `params.project: is the string "P!"; a string of the form `},
}

func TestWrongJobsAreRefused(t *testing.T) {
	a := newActions(t, &google{})
	seen := map[string]bool{}
	for _, c := range wrong {
		seen[c.action] = true
		job := `{"user":"ada@example.com","action":"` + c.action + `",` + c.with + `}`
		if got := refusal(t, a, job); !strings.HasPrefix(got, c.says) {
			t.Errorf("%s %s:\nsays %s\nwant %s", c.action, c.with, got, c.says)
		}
	}
	apis := map[string]bool{}
	for action := range seen {
		api, _, _ := strings.Cut(action, ".")
		apis[api] = true
	}
	if len(seen) < 40 || len(apis) < 12 {
		t.Errorf("only %d methods of %d APIs", len(seen), len(apis))
	}
}

// What is wrong with one thing in the example of any method is refused by its name.
func TestWrongExamplesAreRefused(t *testing.T) {
	a := newActions(t, &google{})
	refused, known := 0, map[*discovery.Type]bool{}
	for _, m := range methods() {
		d, err := a.Describe(m.ID)
		if err != nil {
			continue
		}
		// bad are the values to try: all of them once for each type of an API, and then one.
		bad := func(typ *discovery.Type, address bool) []any {
			all := notOf(typ, address)
			switch {
			case known[typ] && strings.HasPrefix(m.ID, "compute."):
				return nil // its thousand methods are alike
			case known[typ]:
				return all[:min(1, len(all))]
			}
			known[typ] = true
			return all
		}
		// with is the example with a value put in, and what its refusal must begin with.
		with := func(in, name string, value any, says string) {
			var job map[string]any
			if err := json.Unmarshal(d.Example, &job); err != nil {
				t.Fatal(err)
			}
			inner, _ := job[in].(map[string]any)
			if inner = maps.Clone(inner); inner == nil {
				inner = map[string]any{}
			}
			inner[name] = value
			job[in] = inner
			text, err := json.Marshal(job)
			if err != nil {
				t.Fatal(err)
			}
			refused++
			if got := refusal(t, a, string(text)); !strings.HasPrefix(got, says) {
				t.Errorf("%s: %s: says %q; want %q", m.ID, text, got, says)
			}
		}
		with("params", "unknown$parameter", "x", `params."unknown$parameter": is no parameter of `+m.ID)
		for _, p := range m.Params {
			if p.Repeated {
				with("params", p.Name, "x", "params."+p.Name+": is the string \"x\"; an array is expected, each of its items ")
			}
			for _, value := range bad(p.Type, true) {
				if p.Repeated {
					with("params", p.Name, []any{value}, "params."+p.Name+"[0]: is ")
				} else {
					with("params", p.Name, value, "params."+p.Name+": is ")
				}
			}
		}
		if m.Request == nil {
			with("body", "x", "y", "body: is given, but "+m.ID+" takes none")
			continue
		}
		if d.Takes == "message" {
			continue
		}
		if m.Request.Extra == nil {
			with("body", "unknown field", "x", `body."unknown field": is no field of `)
		}
		for _, f := range m.Request.Fields {
			for _, value := range bad(f.Type, false) {
				with("body", f.Name, value, "body."+f.Name+": is ")
			}
		}
	}
	t.Logf("%d jobs were refused", refused)
	if refused < 15000 {
		t.Errorf("only %d jobs were refused", refused)
	}
}

// notOf are values that are none of the type.
func notOf(typ *discovery.Type, address bool) []any {
	object, array := map[string]any{"x": 1}, []any{1}
	switch {
	case typ.Kind == discovery.Any:
		return nil
	case typ.Kind == discovery.Object, typ.Kind == discovery.Map:
		return []any{array, "x", 1, true}
	case typ.Kind == discovery.Array:
		return []any{object, "x", 1, true}
	case typ.Kind == discovery.Boolean:
		return []any{object, array, "x", "True", "", 1, 0}
	case typ.Kind == discovery.Integer, strings.HasSuffix(typ.Format, "int64"):
		bad := []any{object, array, "x", "", "1.0", "1e3", "+1", "0x1", "1 ", true, json.Number("1.5"), json.Number("1e3")}
		beyond := map[string][]string{
			"int32": {"2147483648", "-2147483649"}, "uint32": {"4294967296", "-1"}, "int64": {"9223372036854775808", "-9223372036854775809"}, "uint64": {"18446744073709551616", "-1"},
		}
		for _, n := range beyond[typ.Format] {
			bad = append(bad, n, json.Number(n))
		}
		if !address && typ.Kind == discovery.Integer {
			bad = append(bad, "1")
		}
		return bad
	case typ.Kind == discovery.Number:
		return []any{object, array, "x", "", "NaN", "Inf", "0x1p4", "1_0", true}
	}
	bad := []any{object, array, 1, true}
	switch {
	case typ.Enum != nil:
		bad = append(bad, "no such value", "", strings.ToLower(typ.Enum[0])+"X")
	case typ.Format == "date":
		bad = append(bad, "2026-1-1", "2026-02-29", "", "20261130", "2026-11-30T00:00:00Z")
	case typ.Format == "date-time", typ.Format == "google-datetime":
		bad = append(bad, "2026-11-30", "", "2026-11-30T25:00:00Z", "2026-11-30T00:00:00+25:00", "2026-11-30 00:00:00Z", "2026-11-30T0:00:00Z", "2026-11-30T00:00:00,5Z")
	case typ.Format == "google-duration":
		bad = append(bad, "3.5", "s", "", "1m", "1.0000000001s", "1e3s")
	case typ.Format == "byte":
		bad = append(bad, "a", "a b=", "YQ=", "YQ===", "YW==Y", "YQ\n==", "é")
	case typ.Format == "google-fieldmask":
		bad = append(bad, "a;b", "é")
	}
	return bad
}

// Values of each kind that are accepted, and how they go out.
func TestValuesThatAreAccepted(t *testing.T) {
	for _, c := range []struct{ job, query, body string }{
		{`"gmail.users.messages.list","params":{"maxResults":0,"includeSpamTrash":"true","q":"é & ü"}`, "alt=json&includeSpamTrash=true&maxResults=0&prettyPrint=false&q=%C3%A9+%26+%C3%BC", ""},
		{`"gmail.users.messages.list","params":{"maxResults":"4294967295","labelIds":["a","a&b",""]}`, "alt=json&labelIds=a&labelIds=a%26b&labelIds=&maxResults=4294967295&prettyPrint=false", ""},
		{`"gmail.users.messages.list","params":{"labelIds":[]}`, "alt=json&prettyPrint=false", ""},
		{`"gmail.users.history.list","params":{"startHistoryId":18446744073709551615}`, "alt=json&prettyPrint=false&startHistoryId=18446744073709551615", ""},
		{`"gmail.users.settings.updateVacation","body":{"startTime":9223372036854775807,"endTime":"-9223372036854775808","restrictToDomain":null}`, "alt=json&prettyPrint=false", `{"startTime":9223372036854775807,"endTime":"-9223372036854775808","restrictToDomain":null}`},
		{`"calendar.events.insert","params":{"calendarId":"a/b?c#d%2f@x.yz","alt":"json"},"body":{"id":"12345","start":{"dateTime":"2026-11-30T00:00:00"},"end":{"dateTime":"2026-11-30T00:00:00.5+01:00"},"extendedProperties":{"private":{"a":"<b>","c":null}}}`, "alt=json&prettyPrint=false", `{"id":"12345","start":{"dateTime":"2026-11-30T00:00:00"},"end":{"dateTime":"2026-11-30T00:00:00.5+01:00"},"extendedProperties":{"private":{"a":"\u003cb\u003e","c":null}}}`},
		{`"sheets.spreadsheets.values.update","params":{"spreadsheetId":"s","range":"'My sheet'!A1:B2"},"body":{"values":[[1.50,"007",null,true,-0,1e3]]}`, "alt=json&prettyPrint=false", `{"values":[[1.50,"007",null,true,-0,1e3]]}`},
		{`"people.people.updateContact","params":{"resourceName":"people/c1","updatePersonFields":"names,emailAddresses"},"body":{}`, "alt=json&prettyPrint=false&updatePersonFields=names%2CemailAddresses", `{}`},
	} {
		g := &google{status: 200, body: "{}"}
		if _, err := do(t, newActions(t, g), `{"user":"ada@example.com","action":`+c.job+`}`); err != nil {
			t.Errorf("%s: %v", c.job, err)
			continue
		}
		if g.request.URL.RawQuery != c.query || strings.TrimSuffix(g.sent, "\n") != c.body {
			t.Errorf("%s:\nsends %s %s\nwant  %s %s", c.job, g.request.URL.RawQuery, g.sent, c.query, c.body)
		}
	}
}

// What would change the call into another one, or as whom it is made.
func TestNothingIsSmuggled(t *testing.T) {
	a := newActions(t, &google{})
	for _, name := range []string{"key", "access_token", "oauth_token", "callback", "uploadType", "upload_protocol", "$.xgafv", "quotaUser", "userIp", "prettyPrint"} {
		for _, value := range []string{`"x"`, `null`, `["x"]`, `true`} {
			path := jobs.Path("params", jsontext.Pointer("").AppendToken(name))
			if got := refusal(t, a, `{"user":"ada@example.com","action":"drive.files.list","params":{"`+name+`":`+value+`}}`); got != path+": is set by the program, not by jobs" {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
	for _, name := range []string{"Key", "ACCESS_TOKEN", "bearer_token", "$alt", "$fields", "Alt", "pp", "a&key=1", "a=b", "a\\u0000", "a\\r\\nX-Goog-User-Project: p", "é", "", "q\\u200b"} {
		if got := refusal(t, a, `{"user":"ada@example.com","action":"drive.files.list","params":{"`+name+`":"x"}}`); !strings.HasPrefix(got, "params.") || !strings.Contains(got, ": is no parameter of drive.files.list") {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, value := range []string{`"media"`, `"JSON"`, `"proto"`, `""`, `1`, `null`, `["json"]`} {
		if got := refusal(t, a, `{"user":"ada@example.com","action":"drive.files.get","params":{"fileId":"f","alt":`+value+`}}`); !strings.HasPrefix(got, "params.alt: is ") {
			t.Errorf("alt %s: %s", value, got)
		}
	}
	for _, value := range []string{"", ".", "..", "a\\u0000", "a\\n", "a\\r\\nX: y", "\\u007f", "\\u0085"} {
		if got := refusal(t, a, `{"user":"ada@example.com","action":"drive.files.get","params":{"fileId":"`+value+`"}}`); !strings.HasPrefix(got, "params.fileId: is ") {
			t.Errorf("in a segment: %q: %s", value, got)
		}
	}
	for _, value := range []string{"", "/", "//", "a/", "/a", "a//b", "a/./b", "../b", "a/..", "a/../../b", "a\\u0009"} {
		if got := refusal(t, a, `{"user":"ada@example.com","action":"directory.orgunits.get","params":{"customerId":"c","orgUnitPath":"`+value+`"}}`); !strings.HasPrefix(got, "params.orgUnitPath: is ") {
			t.Errorf("in a path: %q: %s", value, got)
		}
	}
	// A name that ends as another method's address does would make that call.
	smuggled := 0
	for _, m := range methods() {
		d, err := a.Describe(m.ID)
		if _, verb, ok := strings.Cut(m.Path, "}:"); ok && err == nil {
			for _, other := range methods(strings.Split(m.ID, ".")[0]) {
				if !strings.HasSuffix(other.Path, "/{+name}") || other.HTTPMethod != m.HTTPMethod {
					continue
				}
				p, _ := other.Param("name")
				job := `{"user":"ada@example.com","action":"` + other.ID + `","params":{"name":"` + actions.Matching(p.Type.Pattern) + ":" + verb + `"}}`
				if got := refusal(t, a, job); !strings.HasPrefix(got, "params.name: is ") && !strings.HasPrefix(got, "action: is ") {
					t.Errorf("%s with %s: %q", job, d.Address, got)
				}
				smuggled++
			}
		}
	}
	if smuggled < 10 {
		t.Errorf("only %d names with a verb", smuggled)
	}
	if got := refusal(t, a, `{"as":"serviceAccount","action":"cloudresourcemanager.projects.get","params":{"name":"projects/example.com:p"}}`); got != "" {
		t.Errorf("a colon: %s", got)
	}
	// A header that is not the program's cannot be set, nor a second host named.
	g := &google{status: 200, body: "{}"}
	if _, err := do(t, newActions(t, g), `{"user":"ada@example.com","action":"drive.files.get","params":{"fileId":"@evil.example/..?x=y#z%2f;a"}}`); err != nil {
		t.Fatal(err)
	}
	if u := g.request.URL; u.Host != "www.googleapis.com" || u.EscapedPath() != "/drive/v3/files/%40evil.example%2F..%3Fx%3Dy%23z%252f%3Ba" {
		t.Errorf("%s", u)
	}
}

// A secret or a letter that stands in the wrong place is not in the error.
func TestErrorsHoldNoSecrets(t *testing.T) {
	a := newActions(t, &google{})
	const hidden = "correct horse battery staple"
	for _, job := range []string{
		`"directory.users.insert","body":{"password":["` + hidden + `"]}`,
		`"directory.users.insert","body":{"password":{"` + hidden + `":1}}`,
		`"compute.interconnects.insert","params":{"project":"p"},"body":{"macsec":{"preSharedKeys":"` + hidden + `"}}`,
		`"datastore.projects.runQuery","params":{"projectId":"p"},"body":{"readOptions":{"transaction":"` + hidden + `"}}`,
		`"gmail.users.drafts.create","body":{"message":"` + hidden + `"}`,
		`"gmail.users.messages.send","body":{"raw":"` + hidden + `"}`,
		`"gmail.users.messages.send","body":{"payload":{"body":{"data":"` + hidden + `"}}}`,
		`"gmail.users.messages.send","body":{"payload":"` + hidden + `"}`,
		`"gmail.users.settings.sendAs.smimeInfo.insert","params":{"sendAsEmail":"a@x.yz"},"body":{"pkcs12":"` + hidden + `"}`,
		`"directory.users.photos.update","params":{"userKey":"a"},"body":{"photoData":"` + hidden + `"}`,
	} {
		if got := refusal(t, a, `{"user":"ada@example.com","action":`+job+`}`); got == "" || strings.Contains(got, "horse") && !strings.HasPrefix(got, `body.password."correct`) {
			t.Errorf("%s: says %s", job, got)
		}
	}
}

// Whatever a body is nested into, it is checked in one go.
func TestDeepAndLargeBodies(t *testing.T) {
	a := newActions(t, &google{})
	// A MessagePart has parts, which are MessageParts.
	const levels = 4900 // JSON's own limit here is 10,000, of which a level takes two
	deep := strings.Repeat(`{"mimeType":"a","filename":"b","partId":"c","parts":[`, levels) + strings.Repeat(`]}`, levels)
	job := `{"user":"ada@example.com","action":"gmail.users.messages.insert","message":{"raw":"YQ"},"body":{"payload":` + deep + `}}`
	if got := refusal(t, a, job); got != "" {
		t.Errorf("%d levels: %s", levels, got)
	}
	wrong := strings.Replace(job, `[]}`, `[{"mimeType":1}]}`, 1)
	if got := refusal(t, a, wrong); !strings.HasPrefix(got, "body.payload.parts[0].parts[0].") || !strings.HasSuffix(got, `…: is a number; a string is expected`) {
		t.Errorf("%d levels, and a mistake: %s", levels, got)
	}
	tooDeep := strings.Replace(job, deep, strings.Repeat(`{"parts":[`, 6000)+strings.Repeat(`]}`, 6000), 1)
	if got := refusal(t, a, tooDeep); got == "" {
		t.Error("6000 levels were accepted")
	}
	ids := strings.TrimSuffix(strings.Repeat(`"0123456789",`, 39000), ",")
	if got := refusal(t, a, `{"user":"ada@example.com","action":"gmail.users.messages.batchDelete","body":{"ids":[`+ids+`]}}`); got != "" {
		t.Errorf("39,000 ids: %s", got)
	}
	if got := refusal(t, a, `{"user":"ada@example.com","action":"gmail.users.messages.batchDelete","body":{"ids":[`+ids+`,7]}}`); got != `body.ids[39000]: is the number 7; a string is expected` {
		t.Errorf("39,001 ids: %s", got)
	}
	many := &strings.Builder{}
	for i := range 20000 {
		fmt.Fprintf(many, `"parameter %d":1,`, i)
	}
	if got := refusal(t, a, `{"user":"ada@example.com","action":"drive.files.list","params":{`+strings.TrimSuffix(many.String(), ",")+`}}`); !strings.HasPrefix(got, `params."parameter 0": is no parameter`) {
		t.Errorf("many parameters: %s", got)
	}
	for _, twice := range []string{`"params":{"q":"a","q":"b"}`, `"params":{"q":"a","\u0071":"b"}`, `"body":{},"body":{}`} {
		if got := refusal(t, a, `{"user":"ada@example.com","action":"drive.files.list",`+twice+`}`); !strings.HasSuffix(got, "is given twice") {
			t.Errorf("%s: %s", twice, got)
		}
	}
}

// What is missing is asked for, also where an empty list is given.
func TestRequiredParameters(t *testing.T) {
	a := newActions(t, &google{})
	const job = `{"as":"serviceAccount","action":"storage.buckets.testIamPermissions","params":{"bucket":"b","permissions":%s}}`
	if got := refusal(t, a, fmt.Sprintf(job, `["a"]`)); got != "" {
		t.Error(got)
	}
	if got := refusal(t, a, fmt.Sprintf(job, `[]`)); !strings.HasPrefix(got, "params.permissions: is missing; ") {
		t.Errorf("an empty list: %q", got)
	}
	// Where letters or files take their place, bodies need not have what they would.
	if got := refusal(t, a, `{"user":"ada@example.com","action":"gmail.users.messages.send","message":{"raw":"YQ"}}`); got != "" {
		t.Errorf("a letter alone: %s", got)
	}
}
