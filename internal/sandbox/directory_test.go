package sandbox_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func (b *bundle) users(token, query string) answer {
	b.t.Helper()
	return b.must("GET", "/admin.googleapis.com/admin/directory/v1/users?"+query, nil, bearer(token)...)
}

func names(t *testing.T, a answer) string {
	t.Helper()
	var out []string
	list, _ := a.says(t, 200).decode(t)["users"].([]any)
	for _, u := range list {
		email, _, _ := strings.Cut(u.(map[string]any)["primaryEmail"].(string), "@")
		out = append(out, email)
	}
	return strings.Join(out, " ")
}

func TestDirectoryList(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) { w.Users[1].Aliases = []string{"amazing@example.com"} })
	token := b.as(admin, "admin.directory.user.readonly")
	for query, want := range map[string]string{
		"":                              "ada admin alan archie.archived barbara edsger grace margaret olive.nomailbox sam.suspended",
		"email:a*":                      "ada admin alan archie.archived grace",
		"email:ad":                      "ada admin",
		"email=amazing@example.com":     "grace",
		"orgUnitPath=/Engineering":      "ada alan grace",
		"orgUnitPath='/sales'":          "barbara edsger",
		"orgUnitPath=/ isAdmin=true":    "admin",
		"isSuspended=true":              "sam.suspended",
		"isArchived=true":               "archie.archived",
		"isSuspended=false email:s":     "",
		"givenName:Gra familyName:Hopp": "grace",
		"name:'Ada Love'":               "ada",
		"lisk":                          "barbara",
	} {
		a := b.users(token, "customer=my_customer&query="+url.QueryEscape(query))
		if got := names(t, a); got != want {
			t.Errorf("%q: %s, want %s", query, got, want)
		}
	}
	if got := names(t, b.users(token, "domain=example.com&sortOrder=DESCENDING&maxResults=2")); got != "sam.suspended olive.nomailbox" {
		t.Errorf("descending: %s", got)
	}
	b.users(token, "customer=my_customer&query=x:y").says(t, 400, "Invalid Input: query")
	b.users(token, "customer=my_customer&query=isAdmin%3Dmaybe").says(t, 400, "Invalid Input: query")
	b.users(token, "customer=my_customer&pageToken=x").says(t, 400, "pageToken")
	b.users(token, "").says(t, 400, "Bad Request")
	b.users(token, "domain=elsewhere.example").says(t, 404, "Domain not found.")
	b.users(token, "customer=C1").says(t, 403, "Not Authorized")
	b.users(token, "customer=my_customer&orderBy=givenName").says(t, 501)
	b.users(token, "customer=my_customer&x=1").says(t, 400, "Cannot bind query parameter")
	b.users(token, "customer=my_customer&showDeleted=true").says(t, 200, "admin#directory#users")
}

func TestDirectoryPages(t *testing.T) {
	b := setup(t)
	token := b.as(admin, "admin.directory.user.readonly")
	var all []string
	next := ""
	for range 10 {
		a := b.users(token, "customer=my_customer&maxResults=3&fields=nextPageToken,users(primaryEmail)&pageToken="+next)
		all = append(all, names(t, a))
		if next, _ = a.decode(t)["nextPageToken"].(string); next == "" {
			break
		}
	}
	if fmt.Sprint(all) != "[ada admin alan archie.archived barbara edsger grace margaret olive.nomailbox sam.suspended]" || len(all) != 4 {
		t.Errorf("%q", all)
	}
}

func TestDirectoryAdmission(t *testing.T) {
	b := setup(t)
	b.users(b.as(ada, "admin.directory.user.readonly"), "customer=my_customer").says(t, 403, "Not Authorized to access this resource/api", "forbidden")
	b.users(b.as(ada, "admin.directory.user.readonly"), "customer=my_customer&viewType=domain_public").says(t, 200)
	b.users(b.as(admin, "gmail.insert"), "customer=my_customer").says(t, 403, "insufficient authentication scopes")
	b.users(b.machine(), "customer=my_customer").says(t, 403, "Not Authorized")
	b.users("forged", "customer=my_customer").says(t, 401)
}

func TestDirectoryGet(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) { w.Users[1].Aliases = []string{"amazing@example.com"} })
	token := b.as(admin, "admin.directory.user.readonly")
	get := func(key string) answer {
		return b.must("GET", "/admin.googleapis.com/admin/directory/v1/users/"+key, nil, bearer(token)...)
	}
	u := get("amazing@example.com").says(t, 200, "Grace Hopper", `"isMailboxSetup": true`).decode(t)
	if u["primaryEmail"] != grace {
		t.Errorf("%v", u)
	}
	get(u["id"].(string)).says(t, 200, grace)
	get("olive.nomailbox@example.com").says(t, 200, `"isMailboxSetup": false`)
	get("nobody@example.com").says(t, 404, "Resource Not Found: userKey", "notFound")
}

// What says whether somebody is an administrator, and can be acted as, is there
// whether it is so or not.
func TestDirectoryStates(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) { w.Users[1].IsDelegatedAdmin = true })
	token := b.as(admin, "admin.directory.user")
	states := []string{"isAdmin", "isDelegatedAdmin", "suspended", "archived", "isMailboxSetup"}
	want := map[string]string{
		ada: "false false false false true", grace: "false true false false true", admin: "true false false false true",
		"sam.suspended@example.com": "false false true false true", "archie.archived@example.com": "false false false true true",
		"olive.nomailbox@example.com": "false false false false false",
	}
	check := func(u map[string]any) {
		t.Helper()
		var got []any
		for _, state := range states {
			got = append(got, u[state])
		}
		email := u["primaryEmail"].(string)
		if w, ok := want[email]; ok && strings.Trim(fmt.Sprint(got), "[]") != w {
			t.Errorf("%s: %v are %v; want %s", email, states, got, w)
		}
	}
	for _, u := range b.users(token, "customer=my_customer").says(t, 200).decode(t)["users"].([]any) {
		check(u.(map[string]any))
	}
	const base = "/admin.googleapis.com/admin/directory/v1/users/"
	for email := range want {
		check(b.must("GET", base+email, nil, bearer(token)...).says(t, 200).decode(t))
	}
	if got := names(t, b.users(token, "customer=my_customer&query=isDelegatedAdmin%3Dtrue")); got != "grace" {
		t.Errorf("delegated administrators: %s", got)
	}

	delegated := bearer(b.as(grace, "admin.directory.user"))
	b.must("GET", base+ada, nil, delegated...).says(t, 200)
	b.must("PATCH", base+ada, map[string]any{"suspended": true}, delegated...).says(t, 403, "Not Authorized to access this resource/api")
	b.must("PATCH", "/_sandbox/users/"+grace, `{"isDelegatedAdmin": false}`).says(t, 200)
	b.must("GET", base+ada, nil, delegated...).says(t, 403, "Not Authorized to access this resource/api")
}
