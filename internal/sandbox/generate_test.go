package sandbox_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	directory "google.golang.org/api/admin/directory/v1"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func TestGenerate(t *testing.T) {
	w, err := sandbox.LoadWorld(strings.NewReader("generate: {count: 6, domain: Big.example, orgUnits: [/A, /A/B], suspendedEvery: 2, archivedEvery: 3, noMailboxEvery: 6}"))
	if err != nil || len(w.Users) != 16 {
		t.Fatalf("%d users, %v", len(w.Users), err)
	}
	for i, want := range map[int]sandbox.User{
		10: {PrimaryEmail: "user0000001@big.example", FamilyName: "0000001", OrgUnitPath: "/A"},
		15: {PrimaryEmail: "user0000006@big.example", FamilyName: "0000006", OrgUnitPath: "/A/B", Suspended: true, Archived: true, NoMailbox: true},
	} {
		if want.GivenName, want.Aliases = "User", []string{}; fmt.Sprint(w.Users[i]) != fmt.Sprint(want) {
			t.Errorf("%+v, want %+v", w.Users[i], want)
		}
	}
	if w, err = sandbox.LoadWorld(strings.NewReader("users: []\ngenerate: {count: 2}")); err != nil || len(w.Users) != 2 || w.Users[1].PrimaryEmail != "user0000002@example.com" {
		t.Errorf("%+v, %v", w.Users, err)
	}
}

// large makes a sandbox of so many users more.
func large(t testing.TB, n int) *bundle {
	return setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.Users = append(w.Users, sandbox.Generate{Count: n, OrgUnits: []string{"/", "/Staff", "/Staff/O'Neill's\\team"}}.Users()...)
	})
}

// eachPage follows a list to its end, and counts the pages.
func eachPage(t testing.TB, b *bundle, token, query string, items string, page func([]any)) (pages int) {
	t.Helper()
	for next := ""; ; {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, query+"&pageToken="+next, nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		b.s.ServeHTTP(w, r)
		var answer map[string]any
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil || w.Code != http.StatusOK {
			t.Fatal(w.Code, w.Body, err)
		}
		list, _ := answer[items].([]any)
		page(list)
		pages++
		if next, _ = answer["nextPageToken"].(string); next == "" {
			return pages
		}
	}
}

const usersPath = "/admin.googleapis.com/admin/directory/v1/users?customer=my_customer&maxResults=500&prettyPrint=false&fields=nextPageToken,users(primaryEmail,suspended,name)"

func TestALargeOrganisation(t *testing.T) {
	b := large(t, 20_000)
	token := b.as(admin, "admin.directory.user.readonly")
	for query, want := range map[string][2]int{
		"": {20_010, 41}, "orgUnitPath=/Staff": {13_333, 27}, `orgUnitPath='/Staff/O\'Neill\'s\\team'`: {6666, 14}, "email:user00199*": {100, 1}, "isSuspended=true": {1, 1},
	} {
		seen := map[string]bool{}
		last := ""
		pages := eachPage(t, b, token, usersPath+"&query="+url.QueryEscape(query), "users", func(users []any) {
			for _, u := range users {
				email := u.(map[string]any)["primaryEmail"].(string)
				if email <= last {
					t.Errorf("%s after %s", email, last)
				}
				seen[email], last = true, email
			}
		})
		if len(seen) != want[0] || pages != want[1] {
			t.Errorf("%q: %d users on %d pages, want %v", query, len(seen), pages, want)
		}
	}
}

// A list goes on behind the one that a page ended with, who may be gone by then.
func TestAListGoesOn(t *testing.T) {
	for order, want := range map[string]string{
		"&maxResults=3":                      "alan archie.archived",
		"&maxResults=9&sortOrder=DESCENDING": "admin ada",
	} {
		b := setup(t)
		token := b.as(admin, "admin.directory.user")
		b.must("POST", "/_sandbox/users", map[string]any{"primaryEmail": "ae@example.com"}).says(t, 200)
		query := "customer=my_customer" + order
		next, _ := b.users(token, query).decode(t)["nextPageToken"].(string)
		b.must("DELETE", "/admin.googleapis.com/admin/directory/v1/users/ae@example.com", nil, bearer(token)...).says(t, 204)
		if got := names(t, b.users(token, query+"&pageToken="+next)); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s", order, got)
		}
	}
}

func TestUnitsThatAreNotThere(t *testing.T) {
	b := setup(t)
	token := b.as(admin, "admin.directory.user.readonly")
	b.users(token, "customer=my_customer&query="+url.QueryEscape("orgUnitPath='/Nowhere'")).says(t, 400, "Invalid Input: INVALID_OU_ID")
	if got := names(t, b.users(token, "customer=my_customer&query="+url.QueryEscape("orgUnitPath=/sales isAdmin=true"))); got != "" {
		t.Errorf("administrators in sales: %s", got)
	}
}

// Custom fields are shown where they are asked for.
func TestProjection(t *testing.T) {
	b := setup(t)
	svc := must(directory.NewService(t.Context(), b.client(b.as(admin, "admin.directory.user"))))(t)
	schemas := map[string]any{"customSchemas": map[string]any{"HR": map[string]any{"desk": "4"}, "IT": map[string]any{"laptop": "x"}}, "phones": []any{map[string]any{"value": "1"}}}
	b.must("PATCH", "/admin.googleapis.com/admin/directory/v1/users/"+ada, schemas, bearer(b.as(admin, "admin.directory.user"))...).says(t, 200, "laptop")
	for projection, want := range map[string]int{"": 0, "basic": 0, "custom": 1, "full": 2} {
		get := svc.Users.Get(ada)
		list := svc.Users.List().Customer("my_customer").Query("email=" + ada)
		if projection != "" {
			get, list = get.Projection(projection), list.Projection(projection)
		}
		if projection == "custom" {
			get, list = get.CustomFieldMask("IT,other"), list.CustomFieldMask("IT,other")
		}
		one := must(get.Do())(t)
		all := must(list.Do())(t)
		if len(one.CustomSchemas) != want || len(all.Users[0].CustomSchemas) != want || one.Phones == nil {
			t.Errorf("%q: %v, %v", projection, one.CustomSchemas, all.Users[0].CustomSchemas)
		}
	}
}

// Members of groups in a group are its members, each once, also where groups are in
// each other.
func TestNestedGroups(t *testing.T) {
	b := setup(t, func(w *sandbox.World, _ *sandbox.Options) {
		w.Groups = append(w.Groups,
			sandbox.Group{Email: "all@example.com", Members: []string{"engineers@example.com", "sales@example.com", "margaret@example.com", ada}},
			sandbox.Group{Email: "sales@example.com", Members: []string{"barbara@example.com", "margaret@example.com", "all@example.com", "x@other.example"}},
		)
	})
	svc := must(directory.NewService(t.Context(), b.client(b.as(admin, "admin.directory.group"))))(t)
	list := func(derived bool) string {
		var out []string
		for next := ""; ; {
			m := must(svc.Members.List("all@example.com").IncludeDerivedMembership(derived).MaxResults(3).PageToken(next).Do())(t)
			for _, one := range m.Members {
				name, _, _ := strings.Cut(one.Email, "@")
				out = append(out, name+" "+one.Type)
			}
			if next = m.NextPageToken; next == "" {
				return strings.Join(out, ", ")
			}
		}
	}
	if got := list(false); got != "engineers GROUP, sales GROUP, margaret USER, ada USER" {
		t.Error(got)
	}
	if got := list(true); got != "engineers GROUP, ada USER, grace USER, alan USER, sales GROUP, barbara USER, margaret USER, all GROUP, x USER" {
		t.Error(got)
	}
	for user, want := range map[string]bool{"grace@example.com": true, "edsger@example.com": false} {
		if m := must(svc.Members.HasMember("all@example.com", user).Do())(t); m.IsMember != want {
			t.Errorf("%s: %t", user, m.IsMember)
		}
	}
}

// What a page of 500 costs does not depend on how many users there are.
func BenchmarkListUsers(b *testing.B) {
	for _, n := range []int{2_000, 200_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := large(b, n)
			token := s.as(admin, "admin.directory.user.readonly")
			pages := 0
			for b.Loop() {
				pages += eachPage(b, s, token, usersPath, "users", func([]any) {})
			}
			b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(pages), "µs/page")
		})
	}
}
