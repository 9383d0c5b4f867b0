package actions_test

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestFields(t *testing.T) {
	a := newActions(t, &google{})
	refused := func(action, fields string) string {
		text, _ := json.Marshal(fields)
		return refusal(t, a, `{"user":"ada@example.com","action":"`+action+`","params":{"calendarId":"c","fields":`+string(text)+`}}`)
	}
	// The forms of https://developers.google.com/workspace/gmail/api/guides/performance#partial.
	for _, fields := range []string{
		"*", "items", "kind,items", "items/id", "items(id)", "items/organizer/email", "items(id,organizer/email)", "items(id,organizer(email,self))",
		"items.organizer.email", "items/*", "items(*)", "*/id", "items/extendedProperties/private/any", "items(extendedProperties/shared/*),nextPageToken",
		"items(attendees(email),id),etag", " kind , items ( id , etag ) ", "items/attendees/email,items/id", "kind,kind", "items/conferenceData/entryPoints(pin)",
	} {
		if got := refused("calendar.events.list", fields); got != "" {
			t.Errorf("%q: %s", fields, got)
		}
	}
	const missing = "params.fields: has a place where a field's name is missing; a list such as id,labelIds is expected"
	for fields, says := range map[string]string{
		"":                                     missing,
		" ":                                    missing,
		",":                                    missing,
		"kind,":                                missing,
		",kind":                                missing,
		"kind,,etag":                           missing,
		"items/":                               missing,
		"items//id":                            missing,
		"/items":                               missing,
		"items()":                              missing,
		"items(id,)":                           missing,
		"(id)":                                 missing,
		"items(id":                             `params.fields: has a parenthesis that is not closed at its end`,
		"items((id))":                          missing,
		"items(id))":                           `params.fields: is "items(id))"; ")" is not expected there`,
		"items(id)etag":                        `params.fields: is "items(id)etag"; "etag" is not expected there`,
		"items(id)/etag":                       `params.fields: is "items(id)/etag"; "/etag" is not expected there`,
		")":                                    missing,
		"item":                                 `params.fields: names "item", which is no field of Events (did you mean items?); accepted are `,
		"Items":                                `params.fields: names "Items", which is no field of Events (did you mean items?); accepted are `,
		"items/ID":                             `params.fields: names "ID", which is no field of Event (did you mean id?); accepted are `,
		"items(atendees)":                      `params.fields: names "atendees", which is no field of Event (did you mean attendees?); accepted are `,
		"kind/x":                               `params.fields: names "x" below a field that has none`,
		"kind(x)":                              `params.fields: names "x" below a field that has none`,
		"items/organizer/self/x":               `params.fields: names "x" below a field that has none`,
		"items/extendedProperties/private/a/b": `params.fields: names "b" below a field that has none`,
		"items\nid":                            `params.fields: names "items\nid", which is no field of Events; accepted are `,
		"items&key=1":                          `params.fields: names "items&key=1", which is no field of Events`,
		"items(id)&access_token=1":             `params.fields: is "items(id)&access_token=1"; "&access_token=1" is not expected there`,
		strings.Repeat("items(", 40):           `params.fields: names "items", which is no field of Event`,
		strings.Repeat("*(", 40):               `params.fields: has more than 32 parentheses in each other`,
		strings.Repeat("*(", 30):               missing,
		strings.Repeat("x", 100000):            `params.fields: names "` + strings.Repeat("x", 64) + `"…, which is no field of Events; accepted are `,
		"items(" + strings.Repeat("id,", 50000) + "x)": `params.fields: names "x", which is no field of Event`,
	} {
		if got := refused("calendar.events.list", fields); !strings.HasPrefix(got, says) {
			t.Errorf("%.80q:\nsays %s\nwant %s", fields, got, says)
		}
	}
	for _, value := range []string{`null`, `1`, `["id"]`, `{}`} {
		if got := refusal(t, a, `{"user":"ada@example.com","action":"drive.files.list","params":{"fields":`+value+`}}`); !strings.HasPrefix(got, "params.fields: is ") {
			t.Errorf("%s: %s", value, got)
		}
	}
	// A method that answers nothing has no fields; Google passes over what is asked for.
	if got := refusal(t, a, `{"user":"ada@example.com","action":"calendar.events.delete","params":{"calendarId":"c","eventId":"e","fields":"x"}}`); got != "" {
		t.Error(got)
	}
	// A list whose pages are followed has to say where they go on.
	for _, c := range []struct {
		fields string
		fine   bool
	}{
		{"*", true},
		{"nextPageToken,users(id)", true},
		{"users/id, nextPageToken ", true},
		{"users(id),*", true},
		{"users(emails,name(fullName)),nextPageToken", true},
		{"users", false},
		{"users(id,name),kind", false},
		{"users/name", false},
	} {
		got := refusal(t, a, `{"user":"ada@example.com","action":"directory.users.list","pages":{"max":2},"params":{"fields":"`+c.fields+`"}}`)
		if c.fine != (got == "") || !c.fine && !strings.HasSuffix(got, "with pages it must ask for nextPageToken, too") {
			t.Errorf("pages with %s: %q", c.fields, got)
		}
	}
}
