package sandbox_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	directory "google.golang.org/api/admin/directory/v1"
	reports "google.golang.org/api/admin/reports/v1"
	"google.golang.org/api/calendar/v3"
	"google.golang.org/api/chat/v1"
	"google.golang.org/api/classroom/v1"
	"google.golang.org/api/cloudidentity/v1"
	"google.golang.org/api/cloudresourcemanager/v3"
	"google.golang.org/api/docs/v1"
	"google.golang.org/api/drive/v3"
	"google.golang.org/api/forms/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/groupssettings/v1"
	"google.golang.org/api/iam/v1"
	"google.golang.org/api/keep/v1"
	"google.golang.org/api/licensing/v1"
	"google.golang.org/api/meet/v2"
	"google.golang.org/api/option"
	"google.golang.org/api/people/v1"
	"google.golang.org/api/script/v1"
	"google.golang.org/api/sheets/v4"
	"google.golang.org/api/slides/v1"
	"google.golang.org/api/sqladmin/v1"
	"google.golang.org/api/storage/v1"
	"google.golang.org/api/tasks/v1"
	"google.golang.org/api/vault/v1"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// withToken shows a token on every request.
type withToken struct {
	token string
	next  http.RoundTripper
}

func (w withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+w.token)
	return w.next.RoundTrip(r)
}

// client leads one of Google's clients here, with a token.
func (b *bundle) client(token string) option.ClientOption {
	b.t.Helper()
	rewrite, err := sandbox.RewriteTransport(b.url, b.c.Transport)
	if err != nil {
		b.t.Fatal(err)
	}
	return option.WithHTTPClient(&http.Client{Transport: withToken{token, rewrite}})
}

// itself is a token of the service account, without a user.
func (b *bundle) itself(scopes ...string) string {
	b.t.Helper()
	claims := b.claims("", scopes...)
	delete(claims, "sub")
	return b.exchange(b.sign(claims)).says(b.t, 200).decode(b.t)["access_token"].(string)
}

// must fails the test on an error.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// refusedWith tells whether Google's client got that refusal.
func refusedWith(t *testing.T, err error, code int, words string) {
	t.Helper()
	var api *googleapi.Error
	if !errors.As(err, &api) || api.Code != code || !strings.Contains(api.Error(), words) {
		t.Errorf("%v; want %d %q", err, code, words)
	}
}

func TestCalendarClient(t *testing.T) {
	b := setup(t)
	svc := must(calendar.NewService(t.Context(), b.client(b.as(ada, "calendar"))))(t)
	event := func(id, from string) *calendar.Event {
		at, err := time.Parse(time.RFC3339, from)
		if err != nil {
			t.Fatal(err)
		}
		return &calendar.Event{
			Id: id, Summary: "Talk " + id, Start: &calendar.EventDateTime{DateTime: from},
			End: &calendar.EventDateTime{DateTime: at.Add(time.Hour).Format(time.RFC3339)},
		}
	}
	second := must(svc.Events.Insert("primary", event("second00", "2026-11-22T10:00:00Z")).Do())(t)
	must(svc.Events.Insert(ada, event("first000", "2026-11-21T10:00:00Z")).Do())(t)
	if second.Status != "confirmed" || second.Creator.Email != ada || second.Etag == "" {
		t.Errorf("%+v", second)
	}
	_, err := svc.Events.Insert("primary", event("second00", "2026-11-22T10:00:00Z")).Do()
	refusedWith(t, err, 409, "The requested identifier already exists.")
	_, err = svc.Events.Insert("primary", event("UPPER", "2026-11-22T10:00:00Z")).Do()
	refusedWith(t, err, 400, "Invalid resource id value.")
	_, err = svc.Events.Insert("primary", &calendar.Event{Summary: "x"}).Do()
	refusedWith(t, err, 400, "Missing start time.")
	_, err = svc.Events.Insert("grace@example.com", event("", "2026-11-22T10:00:00Z")).Do()
	refusedWith(t, err, 404, "Not Found")
	_, err = svc.Events.Insert("primary", &calendar.Event{Recurrence: []string{"RRULE:FREQ=DAILY"}}).Do()
	refusedWith(t, err, 501, "recurrence")
	talk := event("", "2027-11-22T10:00:00Z")
	talk.ICalUID = "1@elsewhere.example"
	first := must(svc.Events.Import("primary", talk).Do())(t)
	talk.Location = "Room 3"
	if again := must(svc.Events.Import("primary", talk).Do())(t); again.Id != first.Id || again.Location != "Room 3" || again.ICalUID != talk.ICalUID {
		t.Errorf("%+v", again)
	}
	_, err = svc.Events.Import("primary", event("", "2027-11-22T10:00:00Z")).Do()
	refusedWith(t, err, 400, "Missing iCalUID.")
	if found := must(svc.Events.List("primary").ICalUID(talk.ICalUID).Do())(t); len(found.Items) != 1 {
		t.Errorf("%+v", found)
	}
	if err := svc.Events.Delete("primary", first.Id).Do(); err != nil {
		t.Error(err)
	}

	list := must(svc.Events.List("primary").OrderBy("startTime").SingleEvents(true).TimeMin("2026-11-21T00:00:00Z").Do())(t)
	if len(list.Items) != 2 || list.Items[0].Id != "first000" {
		t.Errorf("%+v", list)
	}
	page := must(svc.Events.List("primary").MaxResults(1).Do())(t)
	rest := must(svc.Events.List("primary").MaxResults(1).PageToken(page.NextPageToken).Do())(t)
	if len(page.Items) != 1 || len(rest.Items) != 1 || rest.NextPageToken != "" {
		t.Errorf("%+v %+v", page, rest)
	}
	patched := must(svc.Events.Patch("primary", "second00", &calendar.Event{Location: "Room 1", NullFields: []string{"Summary"}}).Do())(t)
	if patched.Location != "Room 1" || patched.Summary != "" || patched.Start == nil || patched.Etag == second.Etag {
		t.Errorf("%+v", patched)
	}
	stale := svc.Events.Patch("primary", "second00", &calendar.Event{Location: "Room 2"})
	stale.Header().Set("If-Match", second.Etag)
	_, err = stale.Do()
	refusedWith(t, err, 412, "conditionNotMet")
	busy := must(svc.Freebusy.Query(&calendar.FreeBusyRequest{
		TimeMin: "2026-11-22T00:00:00Z", TimeMax: "2026-11-23T00:00:00Z",
		Items: []*calendar.FreeBusyRequestItem{{Id: "primary"}, {Id: grace}, {Id: "nobody@example.com"}},
	}).Do())(t)
	if len(busy.Calendars["primary"].Busy) != 1 || len(busy.Calendars[grace].Busy) != 0 || len(busy.Calendars["nobody@example.com"].Errors) != 1 {
		t.Errorf("%+v", busy.Calendars)
	}
	if err := svc.Events.Delete("primary", "second00").Do(); err != nil {
		t.Error(err)
	}
	refusedWith(t, svc.Events.Delete("primary", "second00").Do(), 410, "deleted")
	_, err = svc.Events.Insert("primary", event("second00", "2026-11-22T10:00:00Z")).Do()
	refusedWith(t, err, 409, "duplicate")

	mine := must(svc.Calendars.Insert(&calendar.Calendar{Summary: "Holidays"}).Do())(t)
	must(svc.Acl.Insert(mine.Id, &calendar.AclRule{Role: "reader", Scope: &calendar.AclRuleScope{Type: "user", Value: grace}}).Do())(t)
	if rules := must(svc.Acl.List(mine.Id).Do())(t); len(rules.Items) != 2 {
		t.Errorf("%+v", rules)
	}
	all := must(svc.CalendarList.List().Do())(t)
	if len(all.Items) != 2 || !all.Items[0].Primary || all.Items[1].Summary != "Holidays" {
		t.Errorf("%+v", all.Items)
	}
	must(svc.Settings.List().Do())(t)
	refusedWith(t, svc.Calendars.Delete("primary").Do(), 400, "primary")
	if err := svc.Calendars.Delete(mine.Id).Do(); err != nil {
		t.Error(err)
	}
	_, err = svc.Acl.List(mine.Id).Do()
	refusedWith(t, err, 404, "Not Found")
}

func TestDriveClient(t *testing.T) {
	b := setup(t)
	svc := must(drive.NewService(t.Context(), b.client(b.as(ada, "drive"))))(t)
	ids := must(svc.Files.GenerateIds().Count(2).Do())(t).Ids
	folder := must(svc.Files.Create(&drive.File{Id: ids[0], Name: "Letters", MimeType: "application/vnd.google-apps.folder"}).Do())(t)
	_, err := svc.Files.Create(&drive.File{Id: ids[0], Name: "again"}).Do()
	refusedWith(t, err, 409, "fileIdInUse")
	_, err = svc.Files.Create(&drive.File{Id: "not-generated"}).Do()
	refusedWith(t, err, 400, "not usable")
	_, err = svc.Files.Create(&drive.File{Id: ids[1], MimeType: "application/vnd.google-apps.document"}).Do()
	refusedWith(t, err, 400, "generatedIdNotSupported")
	document := must(svc.Files.Create(&drive.File{MimeType: "application/vnd.google-apps.document"}).Do())(t)
	_, err = svc.Files.Copy(document.Id, &drive.File{Id: ids[1]}).Do()
	refusedWith(t, err, 400, "generatedIdNotSupported")
	if err := svc.Files.Delete(document.Id).Do(); err != nil {
		t.Error(err)
	}
	if space := must(svc.Files.GenerateIds().Space("appDataFolder").Count(1).Do())(t).Space; space != "appDataFolder" {
		t.Error(space)
	}
	_, err = svc.Files.Create(&drive.File{Parents: []string{"nowhere"}}).Do()
	refusedWith(t, err, 404, "File not found: nowhere.")

	big := strings.Repeat("0123456789abcde\n", 40_000)
	small := must(svc.Files.Create(&drive.File{Name: "it's small.txt", Parents: []string{folder.Id}}).Media(strings.NewReader("small")).Do())(t)
	large := must(svc.Files.Create(&drive.File{Id: ids[1], Name: "large.txt", Parents: []string{folder.Id}}).
		Media(strings.NewReader(big), googleapi.ChunkSize(256<<10)).Fields("id,size,parents,md5Checksum").Do())(t)
	if large.Size != int64(len(big)) || large.Parents[0] != folder.Id || small.Size != 0 || small.Kind != "drive#file" {
		t.Errorf("%+v %+v", large, small)
	}
	read := func(id, span string) string {
		call := svc.Files.Get(id)
		if span != "" {
			call.Header().Set("Range", span)
		}
		res, err := call.Download()
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return string(must(io.ReadAll(res.Body))(t))
	}
	if read(large.Id, "") != big || read(large.Id, "bytes=3-6") != "3456" || read(small.Id, "") != "small" {
		t.Error("what was stored is not what was read")
	}
	if res, err := svc.Files.Get(folder.Id).Download(); err == nil {
		res.Body.Close()
		t.Error("a folder was downloaded")
	} else {
		refusedWith(t, err, 403, "fileNotDownloadable")
	}
	must(svc.Files.Update(small.Id, &drive.File{Starred: true}).Media(strings.NewReader("changed")).Do())(t)
	if read(small.Id, "") != "changed" {
		t.Error("an update left the old bytes")
	}
	list := func(q string) int {
		return len(must(svc.Files.List().Q(q).Do())(t).Files)
	}
	for q, want := range map[string]int{
		"": 3, "'" + folder.Id + "' in parents": 2, `name = 'it\'s small.txt'`: 1, "name contains 'LARGE' and trashed = false": 1,
		"mimeType != 'application/vnd.google-apps.folder' and starred = true": 1, "trashed = true": 0, "'root' in parents": 1,
	} {
		if got := list(q); got != want {
			t.Errorf("%s: %d files, want %d", q, got, want)
		}
	}
	_, err = svc.Files.List().Q("fullText contains 'x'").Do()
	refusedWith(t, err, 501, "fullText")

	duplicate := must(svc.Files.Copy(small.Id, &drive.File{}).Do())(t)
	if duplicate.Name != "Copy of it's small.txt" || read(duplicate.Id, "") != "changed" {
		t.Errorf("%+v", duplicate)
	}
	p := must(svc.Permissions.Create(small.Id, &drive.Permission{Type: "user", Role: "reader", EmailAddress: grace}).Do())(t)
	if all := must(svc.Permissions.List(small.Id).Fields("permissions(emailAddress,role)").Do())(t); len(all.Permissions) != 2 || all.Permissions[1].EmailAddress != grace {
		t.Errorf("%+v", all.Permissions)
	}
	if err := svc.Permissions.Delete(small.Id, p.Id).Do(); err != nil {
		t.Error(err)
	}
	_, err = svc.Permissions.Create(small.Id, &drive.Permission{Type: "user", Role: "reader"}).Do()
	refusedWith(t, err, 400, "emailAddress")
	_, err = svc.About.Get().Do()
	refusedWith(t, err, 400, "The 'fields' parameter is required for this method.")
	if about := must(svc.About.Get().Fields("user").Do())(t); about.User.EmailAddress != ada {
		t.Errorf("%+v", about)
	}
	must(svc.Changes.GetStartPageToken().Do())(t)

	must(svc.Files.Update(duplicate.Id, &drive.File{Trashed: true}).Do())(t)
	if err := svc.Files.EmptyTrash().Do(); err != nil || list("") != 3 {
		t.Errorf("%v, %d files", err, list(""))
	}
	if err := svc.Files.Delete(folder.Id).Do(); err != nil || list("") != 0 {
		t.Errorf("%v, %d files", err, list(""))
	}
	_, err = svc.Files.Get(large.Id).Do()
	refusedWith(t, err, 404, "File not found: "+large.Id)

	// Nobody sees the files of others; a service account has its own.
	must(svc.Files.Create(&drive.File{Name: "mine"}).Do())(t)
	for _, token := range []string{b.as(grace, "drive"), b.itself("drive")} {
		other := must(drive.NewService(t.Context(), b.client(token)))(t)
		if files := must(other.Files.List().Do())(t).Files; len(files) != 0 {
			t.Errorf("sees %+v", files)
		}
	}
}

func TestTasksClient(t *testing.T) {
	b := setup(t)
	svc := must(tasks.NewService(t.Context(), b.client(b.as(ada, "tasks"))))(t)
	list := must(svc.Tasklists.Insert(&tasks.TaskList{Title: "Talks"}).Do())(t)
	task := must(svc.Tasks.Insert(list.Id, &tasks.Task{Title: "Write"}).Do())(t)
	must(svc.Tasks.Insert("@default", &tasks.Task{Title: "Read"}).Do())(t)
	done := must(svc.Tasks.Patch(list.Id, task.Id, &tasks.Task{Status: "completed"}).Do())(t)
	if done.Title != "Write" || done.Completed == nil {
		t.Errorf("%+v", done)
	}
	if n := len(must(svc.Tasks.List(list.Id).ShowCompleted(false).Do())(t).Items); n != 0 {
		t.Errorf("%d tasks to do", n)
	}
	if all := must(svc.Tasklists.List().Do())(t).Items; len(all) != 2 || all[0].Title != "My Tasks" {
		t.Errorf("%+v", all)
	}
	_, err := svc.Tasks.Insert("none", &tasks.Task{}).Do()
	refusedWith(t, err, 404, "notFound")
	if err := svc.Tasklists.Delete(list.Id).Do(); err != nil {
		t.Error(err)
	}
	_, err = svc.Tasks.Get(list.Id, task.Id).Do()
	refusedWith(t, err, 404, "notFound")
	refusedWith(t, svc.Tasklists.Delete("@default").Do(), 400, "Invalid Value")
}

func TestDirectoryClient(t *testing.T) {
	b := setup(t)
	scopes := []string{"admin.directory.user", "admin.directory.group", "admin.directory.orgunit.readonly"}
	svc := must(directory.NewService(t.Context(), b.client(b.as(admin, scopes...))))(t)
	user := must(svc.Users.Insert(&directory.User{
		PrimaryEmail: "Katherine@example.com", Password: "a secret one", OrgUnitPath: "/Sales",
		Name: &directory.UserName{GivenName: "Katherine", FamilyName: "Johnson"}, Phones: []map[string]string{{"value": "1", "type": "work"}},
	}).Do())(t)
	if user.PrimaryEmail != "katherine@example.com" || user.Name.FullName != "Katherine Johnson" || fmt.Sprint(user.Phones) != "[map[type:work value:1]]" {
		t.Errorf("%+v", user)
	}
	b.insert(b.as("katherine@example.com", "gmail.insert"), hello)
	_, err := svc.Users.Insert(&directory.User{PrimaryEmail: ada, Password: "x", Name: &directory.UserName{GivenName: "A", FamilyName: "B"}}).Do()
	refusedWith(t, err, 409, "Entity already exists.")
	_, err = svc.Users.Insert(&directory.User{PrimaryEmail: "new@example.com"}).Do()
	refusedWith(t, err, 400, "Invalid Input: name")
	changed := must(svc.Users.Patch(user.Id, &directory.User{Suspended: true, Relations: []map[string]string{{"value": ada, "type": "manager"}}}).Do())(t)
	if !changed.Suspended || fmt.Sprint(changed.Phones) == "<nil>" {
		t.Errorf("%+v", changed)
	}
	b.exchange(b.sign(b.claims("katherine@example.com", "gmail.insert"))).says(t, 400, "Invalid email or User ID")
	_, err = svc.Users.Patch(ada, &directory.User{OrgUnitPath: "/None"}).Do()
	refusedWith(t, err, 400, "INVALID_OU_ID")
	photo := base64.URLEncoding.EncodeToString([]byte("png"))
	must(svc.Users.Photos.Update(ada, &directory.UserPhoto{PhotoData: photo}).Do())(t)
	if got := must(svc.Users.Photos.Get(ada).Do())(t); got.PhotoData != photo || got.PrimaryEmail != ada {
		t.Errorf("%+v", got)
	}
	_, err = svc.Users.Photos.Get(grace).Do()
	refusedWith(t, err, 404, "Resource Not Found: photo")
	if err := svc.Users.Delete("katherine@example.com").Do(); err != nil {
		t.Error(err)
	}
	_, err = svc.Users.Get(user.Id).Do()
	refusedWith(t, err, 404, "Resource Not Found: userKey")

	group := must(svc.Groups.Insert(&directory.Group{Email: "Team@example.com", Name: "Team"}).Do())(t)
	_, err = svc.Groups.Insert(&directory.Group{Email: "team@example.com"}).Do()
	refusedWith(t, err, 409, "Entity already exists.")
	must(svc.Members.Insert(group.Id, &directory.Member{Email: ada, Role: "OWNER"}).Do())(t)
	_, err = svc.Members.Insert(group.Email, &directory.Member{Email: ada}).Do()
	refusedWith(t, err, 409, "Member already exists.")
	if m := must(svc.Members.HasMember(group.Email, ada).Do())(t); !m.IsMember {
		t.Error("ada is no member")
	}
	if m := must(svc.Members.HasMember(group.Email, grace).Do())(t); m.IsMember {
		t.Error("grace is a member")
	}
	if g := must(svc.Groups.Get(group.Email).Do())(t); g.DirectMembersCount != 1 || g.Name != "Team" {
		t.Errorf("%+v", g)
	}
	if all := must(svc.Groups.List().Customer("my_customer").Do())(t); len(all.Groups) != 2 || all.Groups[0].Email != "engineers@example.com" {
		t.Errorf("%+v", all)
	}
	if m := must(svc.Members.List("engineers@example.com").Do())(t); len(m.Members) != 3 {
		t.Errorf("%+v", m)
	}
	must(svc.Groups.Patch(group.Email, &directory.Group{Description: "Ours"}).Do())(t)
	if err := svc.Members.Delete(group.Email, ada).Do(); err != nil {
		t.Error(err)
	}
	if err := svc.Groups.Delete(group.Email).Do(); err != nil {
		t.Error(err)
	}
	_, err = svc.Members.List(group.Email).Do()
	refusedWith(t, err, 404, "Resource Not Found: groupKey")

	units := must(svc.Orgunits.List("my_customer").Do())(t)
	if len(units.OrganizationUnits) != 2 || units.OrganizationUnits[0].OrgUnitPath != "/Engineering" {
		t.Errorf("%+v", units)
	}
	if u := must(svc.Orgunits.Get("my_customer", "Sales").Do())(t); u.ParentOrgUnitPath != "/" {
		t.Errorf("%+v", u)
	}

	nobody := must(directory.NewService(t.Context(), b.client(b.as(ada, scopes...))))(t)
	_, err = nobody.Groups.List().Customer("my_customer").Do()
	refusedWith(t, err, 403, "Not Authorized to access this resource/api")
	refusedWith(t, nobody.Users.Delete(grace).Do(), 403, "Not Authorized")
}

// A group is found by its id before anybody listed groups, and its members by one
// of them.
func TestGroupsAreThereAtOnce(t *testing.T) {
	b := setup(t)
	svc := must(directory.NewService(t.Context(), b.client(b.as(admin, "admin.directory.group"))))(t)
	if all := must(svc.Groups.List().UserKey(ada).Do())(t); len(all.Groups) != 1 {
		t.Errorf("%+v", all)
	}
	id := must(svc.Groups.Get("engineers@example.com").Do())(t).Id
	b = setup(t)
	svc = must(directory.NewService(t.Context(), b.client(b.as(admin, "admin.directory.group"))))(t)
	if g := must(svc.Groups.Get(id).Do())(t); g.DirectMembersCount != 3 {
		t.Errorf("%+v", g)
	}
}

// Who gets the address of somebody who was deleted finds nothing of theirs.
func TestDeletedUsersAreForgotten(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "tasks")
	svc := must(tasks.NewService(t.Context(), b.client(token)))(t)
	must(svc.Tasklists.Insert(&tasks.TaskList{Title: "Secret"}).Do())(t)
	users := must(directory.NewService(t.Context(), b.client(b.as(admin, "admin.directory.user"))))(t).Users
	must(users.Patch(ada, &directory.User{Phones: []map[string]string{{"value": "1"}}}).Do())(t)
	if err := users.Delete(ada).Do(); err != nil {
		t.Fatal(err)
	}
	_, err := svc.Tasklists.List().Do()
	refusedWith(t, err, 401, "Invalid Credentials")
	again := must(users.Insert(&directory.User{PrimaryEmail: ada, Password: "x", Name: &directory.UserName{GivenName: "A", FamilyName: "B"}}).Do())(t)
	svc = must(tasks.NewService(t.Context(), b.client(b.as(ada, "tasks"))))(t)
	if all := must(svc.Tasklists.List().Do())(t); len(all.Items) != 1 || again.Phones != nil {
		t.Errorf("%+v %+v", all.Items, again.Phones)
	}
}

func TestAdministratorsClients(t *testing.T) {
	b := setup(t)
	token := b.client(b.as(admin, "apps.groups.settings", "apps.licensing", "ediscovery", "cloud-identity.groups", "admin.reports.audit.readonly"))
	settings := must(groupssettings.NewService(t.Context(), token))(t)
	if g := must(settings.Groups.Patch("engineers@example.com", &groupssettings.Groups{WhoCanJoin: "INVITED_CAN_JOIN"}).Do())(t); g.WhoCanJoin != "INVITED_CAN_JOIN" || g.Name != "Engineers" {
		t.Errorf("%+v", g)
	}
	_, err := settings.Groups.Get("none@example.com").Do()
	refusedWith(t, err, 404, "groupKey")

	licenses := must(licensing.NewService(t.Context(), token))(t).LicenseAssignments
	must(licenses.Insert("Google-Apps", "1010020027", &licensing.LicenseAssignmentInsert{UserId: ada}).Do())(t)
	_, err = licenses.Insert("Google-Apps", "1010020027", &licensing.LicenseAssignmentInsert{UserId: ada}).Do()
	refusedWith(t, err, 412, "already has a license")
	if l := must(licenses.ListForProduct("Google-Apps", "example.com").Do())(t); len(l.Items) != 1 || l.Items[0].UserId != ada {
		t.Errorf("%+v", l)
	}
	must(licenses.Delete("Google-Apps", "1010020027", ada).Do())(t)
	_, err = licenses.Get("Google-Apps", "1010020027", ada).Do()
	refusedWith(t, err, 404, "notFound")

	matters := must(vault.NewService(t.Context(), token))(t).Matters
	matter := must(matters.Create(&vault.Matter{Name: "Case"}).Do())(t)
	if closed := must(matters.Close(matter.MatterId, &vault.CloseMatterRequest{}).Do())(t); closed.Matter.State != "CLOSED" {
		t.Errorf("%+v", closed)
	}
	if open := must(matters.List().State("OPEN").Do())(t); len(open.Matters) != 0 {
		t.Errorf("%+v", open)
	}

	identity := must(cloudidentity.NewService(t.Context(), token))(t)
	found := must(identity.Groups.Lookup().GroupKeyId("engineers@example.com").Do())(t)
	if g := must(identity.Groups.Get(found.Name).Do())(t); g.DisplayName != "Engineers" {
		t.Errorf("%+v", g)
	}
	activities := must(must(reports.NewService(t.Context(), token))(t).Activities.List("all", "login").Do())(t)
	if len(activities.Items) != 0 {
		t.Errorf("%+v", activities)
	}
	other := must(vault.NewService(t.Context(), b.client(b.as(ada, "ediscovery"))))(t)
	_, err = other.Matters.Create(&vault.Matter{Name: "Case"}).Do()
	refusedWith(t, err, 403, "permission")
}

func TestEditorsClients(t *testing.T) {
	b := setup(t)
	token := b.client(b.as(ada, "documents", "spreadsheets", "presentations", "forms.body", "script.projects"))
	documents := must(docs.NewService(t.Context(), token))(t).Documents
	d := must(documents.Create(&docs.Document{Title: "Plan"}).Do())(t)
	insert := func(at int64, text string) *docs.Request {
		return &docs.Request{InsertText: &docs.InsertTextRequest{Text: text, Location: &docs.Location{Index: at}}}
	}
	must(documents.BatchUpdate(d.DocumentId, &docs.BatchUpdateDocumentRequest{Requests: []*docs.Request{insert(1, "world\n"), insert(1, "Héllo 🌍 ")}}).Do())(t)
	got := must(documents.Get(d.DocumentId).Do())(t)
	if got.Title != "Plan" || len(got.Body.Content) != 3 || got.Body.Content[1].Paragraph.Elements[0].TextRun.Content != "Héllo 🌍 world\n" || got.Body.Content[1].EndIndex != 16 {
		t.Errorf("%+v", got.Body.Content[1].Paragraph.Elements[0])
	}
	_, err := documents.BatchUpdate(d.DocumentId, &docs.BatchUpdateDocumentRequest{Requests: []*docs.Request{insert(99, "x")}}).Do()
	refusedWith(t, err, 400, "Index 99 must be less than")
	_, err = documents.BatchUpdate(d.DocumentId, &docs.BatchUpdateDocumentRequest{Requests: []*docs.Request{{DeleteContentRange: &docs.DeleteContentRangeRequest{}}}}).Do()
	refusedWith(t, err, 501, "deleteContentRange")
	_, err = documents.Get("none").Do()
	refusedWith(t, err, 404, "notFound")

	books := must(sheets.NewService(t.Context(), token))(t).Spreadsheets
	s := must(books.Create(&sheets.Spreadsheet{Properties: &sheets.SpreadsheetProperties{Title: "Numbers"}}).Do())(t)
	values := func(rows ...[]any) *sheets.ValueRange { return &sheets.ValueRange{Values: rows} }
	if u := must(books.Values.Update(s.SpreadsheetId, "Sheet1!A1:B2", values([]any{"a", 1}, []any{"b", 2})).ValueInputOption("RAW").Do())(t); u.UpdatedCells != 4 || u.UpdatedRange != "Sheet1!A1:B2" {
		t.Errorf("%+v", u)
	}
	if a := must(books.Values.Append(s.SpreadsheetId, "Sheet1", values([]any{"c", 3})).ValueInputOption("RAW").Do())(t); a.Updates.UpdatedRange != "Sheet1!A3:B3" || a.TableRange != "Sheet1!A1:B2" {
		t.Errorf("%+v %+v", a, a.Updates)
	}
	if v := must(books.Values.Get(s.SpreadsheetId, "A:A").Do())(t); fmt.Sprint(v.Values) != "[[a] [b] [c]]" {
		t.Errorf("%v", v.Values)
	}
	must(books.Values.Clear(s.SpreadsheetId, "Sheet1!A2:B2", &sheets.ClearValuesRequest{}).Do())(t)
	if v := must(books.Values.BatchGet(s.SpreadsheetId).Ranges("Sheet1!A1:B3", "Sheet1!B3").Do())(t); fmt.Sprint(v.ValueRanges[0].Values, v.ValueRanges[1].Values) != "[[a 1] [] [c 3]] [[3]]" {
		t.Errorf("%v %v", v.ValueRanges[0].Values, v.ValueRanges[1].Values)
	}
	_, err = books.Values.Update(s.SpreadsheetId, "Sheet1!A1", values([]any{1})).Do()
	refusedWith(t, err, 400, "'valueInputOption' is required but not specified")
	_, err = books.Values.Get(s.SpreadsheetId, "None!A1").Do()
	refusedWith(t, err, 400, "Unable to parse range: None!A1")
	if g := must(books.Get(s.SpreadsheetId).Do())(t); g.Properties.Title != "Numbers" || g.Sheets[0].Properties.Title != "Sheet1" {
		t.Errorf("%+v", g)
	}

	presentations := must(slides.NewService(t.Context(), token))(t).Presentations
	p := must(presentations.Create(&slides.Presentation{Title: "Show"}).Do())(t)
	if got := must(presentations.Get(p.PresentationId).Do())(t); got.Title != "Show" {
		t.Errorf("%+v", got)
	}
	form := must(forms.NewService(t.Context(), token))(t).Forms
	f := must(form.Create(&forms.Form{Info: &forms.Info{Title: "Survey"}}).Do())(t)
	if got := must(form.Get(f.FormId).Do())(t); got.Info.DocumentTitle != "Survey" {
		t.Errorf("%+v", got)
	}
	_, err = form.Create(&forms.Form{}).Do()
	refusedWith(t, err, 400, "title")
	projects := must(script.NewService(t.Context(), token))(t).Projects
	project := must(projects.Create(&script.CreateProjectRequest{Title: "Macro"}).Do())(t)
	if got := must(projects.Get(project.ScriptId).Do())(t); got.Title != "Macro" || got.Creator.Email != ada {
		t.Errorf("%+v", got)
	}
}

func TestPeopleClient(t *testing.T) {
	b := setup(t)
	svc := must(people.NewService(t.Context(), b.client(b.as(ada, "contacts", "userinfo.profile"))))(t).People
	c := must(svc.CreateContact(&people.Person{Names: []*people.Name{{GivenName: "Charles", FamilyName: "Babbage"}}}).Do())(t)
	if got := must(svc.Get(c.ResourceName).PersonFields("names").Do())(t); got.Names[0].DisplayName != "Charles Babbage" {
		t.Errorf("%+v", got)
	}
	me := must(svc.Get("people/me").PersonFields("emailAddresses").Do())(t)
	if me.EmailAddresses[0].Value != ada || me.Names != nil {
		t.Errorf("%+v", me)
	}
	must(svc.UpdateContactPhoto(c.ResourceName, &people.UpdateContactPhotoRequest{PhotoBytes: "cG5n"}).Do())(t)
	all := must(svc.Connections.List("people/me").PersonFields("names,photos").Do())(t)
	if len(all.Connections) != 1 || all.Connections[0].Photos == nil {
		t.Errorf("%+v", all)
	}
	_, err := svc.Get("people/me").Do()
	refusedWith(t, err, 400, "personFields mask is required")
	_, err = svc.Get("people/c1").PersonFields("names").Do()
	refusedWith(t, err, 404, "notFound")
}

func TestTogetherClients(t *testing.T) {
	b := setup(t)
	token := b.client(b.as(ada, "chat.spaces", "chat.messages", "chat.delete", "keep", "meetings.space.created", "meetings.space.settings", "classroom.courses"))
	spaces := must(chat.NewService(t.Context(), token))(t).Spaces
	space := must(spaces.Create(&chat.Space{SpaceType: "SPACE", DisplayName: "Team"}).Do())(t)
	asked := must(spaces.Create(&chat.Space{SpaceType: "SPACE", DisplayName: "Asked"}).RequestId("1").Do())(t)
	if again := must(spaces.Create(&chat.Space{SpaceType: "SPACE", DisplayName: "Asked"}).RequestId("1").Do())(t); again.Name != asked.Name {
		t.Errorf("one request made %s and %s", asked.Name, again.Name)
	}
	must(spaces.Delete(asked.Name).Do())(t)
	m := must(spaces.Messages.Create(space.Name, &chat.Message{Text: "Hello"}).MessageId("client-1").Do())(t)
	if m.Name != space.Name+"/messages/client-1" || m.Sender.Type != "HUMAN" {
		t.Errorf("%+v", m)
	}
	_, err := spaces.Messages.Create(space.Name, &chat.Message{Text: "Hello"}).MessageId("client-1").Do()
	refusedWith(t, err, 409, "already exists")
	_, err = spaces.Messages.Create("spaces/none", &chat.Message{Text: "Hello"}).Do()
	refusedWith(t, err, 404, "notFound")
	if l := must(spaces.Messages.List(space.Name).Do())(t); len(l.Messages) != 1 {
		t.Errorf("%+v", l)
	}
	must(spaces.Messages.Delete(m.Name).Do())(t)
	_, err = spaces.Messages.Get(m.Name).Do()
	refusedWith(t, err, 404, "notFound")
	must(spaces.Get(space.Name).Do())(t)
	must(spaces.Delete(space.Name).Do())(t)
	if l := must(spaces.List().Do())(t); len(l.Spaces) != 0 {
		t.Errorf("%+v", l)
	}

	notes := must(keep.NewService(t.Context(), token))(t).Notes
	note := must(notes.Create(&keep.Note{Title: "Milk", Body: &keep.Section{Text: &keep.TextContent{Text: "2 l"}}}).Do())(t)
	if got := must(notes.Get(note.Name).Do())(t); got.Body.Text.Text != "2 l" {
		t.Errorf("%+v", got)
	}
	must(notes.Delete(note.Name).Do())(t)
	if l := must(notes.List().Do())(t); len(l.Notes) != 0 {
		t.Errorf("%+v", l)
	}

	rooms := must(meet.NewService(t.Context(), token))(t).Spaces
	room := must(rooms.Create(&meet.Space{}).Do())(t)
	if got := must(rooms.Get("spaces/" + room.MeetingCode).Do())(t); got.Name != room.Name || got.MeetingUri != "https://meet.google.com/"+room.MeetingCode {
		t.Errorf("%+v", got)
	}
	if got := must(rooms.Patch(room.Name, &meet.Space{Config: &meet.SpaceConfig{AccessType: "OPEN"}}).UpdateMask("config.accessType").Do())(t); got.Config.AccessType != "OPEN" || got.Config.EntryPointAccess != "ALL" {
		t.Errorf("%+v", got.Config)
	}

	courses := must(classroom.NewService(t.Context(), token))(t).Courses
	course := must(courses.Create(&classroom.Course{Name: "Engines", OwnerId: "me"}).Do())(t)
	if got := must(courses.Patch(course.Id, &classroom.Course{CourseState: "ACTIVE", Name: "ignored"}).UpdateMask("courseState").Do())(t); got.CourseState != "ACTIVE" || got.Name != "Engines" {
		t.Errorf("%+v", got)
	}
	if l := must(courses.List().CourseStates("ACTIVE").TeacherId("me").Do())(t); len(l.Courses) != 1 {
		t.Errorf("%+v", l)
	}
	aliased := must(courses.Create(&classroom.Course{Id: "d:math", Name: "Mathematics", OwnerId: "me"}).Do())(t)
	if got := must(courses.Get("d:math").Do())(t); got.Id != aliased.Id || got.Id == "d:math" {
		t.Errorf("%+v", got)
	}
	_, err = courses.Create(&classroom.Course{Id: "d:math", Name: "Mathematics", OwnerId: "me"}).Do()
	refusedWith(t, err, 409, "already exists")
	_, err = courses.Create(&classroom.Course{Id: "math", Name: "Mathematics", OwnerId: "me"}).Do()
	refusedWith(t, err, 400, "alias")
	must(courses.Delete(course.Id).Do())(t)
	_, err = courses.Get(course.Id).Do()
	refusedWith(t, err, 404, "notFound")
	_, err = courses.Create(&classroom.Course{Name: "x", OwnerId: "nobody@example.com"}).Do()
	refusedWith(t, err, 400, "owner")
}

// A service account acts as itself with a token that names no user.
func TestProjectsClients(t *testing.T) {
	b := setup(t, stored)
	token := b.client(b.itself("cloud-platform"))
	sql := must(sqladmin.NewService(t.Context(), token))(t).Instances
	if l := must(sql.List("onbehalf-sandbox").Do())(t); len(l.Items) != 1 || l.Items[0].State != "RUNNABLE" {
		t.Errorf("%+v", l)
	}
	_, err := sql.Get("onbehalf-sandbox", "none").Do()
	refusedWith(t, err, 404, "instanceDoesNotExist")
	project := must(must(cloudresourcemanager.NewService(t.Context(), token))(t).Projects.Get("projects/onbehalf-sandbox").Do())(t)
	if project.Name != "projects/424242424242" {
		t.Errorf("%+v", project)
	}
	accounts := must(must(iam.NewService(t.Context(), token))(t).Projects.ServiceAccounts.List("projects/onbehalf-sandbox").Do())(t)
	if len(accounts.Accounts) != 1 || accounts.Accounts[0].Email != robot || accounts.Accounts[0].UniqueId != robotID {
		t.Errorf("%+v", accounts)
	}
	objects := must(storage.NewService(t.Context(), token))(t).Objects
	must(objects.Insert("new", &storage.Object{Name: "a", Metadata: map[string]string{"k": "v"}}).Media(strings.NewReader("text")).Do())(t)
	if l := must(objects.List("new").Prefix("a").Do())(t); len(l.Items) != 1 || l.Items[0].Size != 4 || l.Items[0].Metadata["k"] != "v" {
		t.Errorf("%+v", l)
	}
	if err := objects.Delete("new", "a").Do(); err != nil {
		t.Error(err)
	}
	_, err = objects.Insert("new", &storage.Object{Name: "a"}).IfGenerationMatch(5).Media(strings.NewReader("text")).Do()
	refusedWith(t, err, 412, "conditionNotMet")

	// Gmail has no mailbox for it.
	b.gmail(b.itself("gmail.readonly"), "GET", "/users/me/messages", nil).says(t, 400, "Precondition check failed.")
	// A user has nothing in the project.
	_, err = must(sqladmin.NewService(t.Context(), b.client(b.as(ada, "cloud-platform"))))(t).Instances.List("onbehalf-sandbox").Do()
	refusedWith(t, err, 403, "cloudsql.instances.list")
}

// Google's own client of Compute Engine takes half a minute to compile.
func TestInstances(t *testing.T) {
	b := setup(t)
	token := bearer(b.itself("compute"))
	const zone = "/compute.googleapis.com/compute/v1/projects/onbehalf-sandbox/zones/europe-west1-b"
	b.must("GET", zone+"/instances", nil, token...).says(t, 200, "worker-1", "RUNNING")
	op := b.must("POST", zone+"/instances/worker-1/stop", nil, token...).says(t, 200, `"status": "DONE"`, `"operationType": "stop"`).decode(t)
	b.must("GET", zone+"/instances/worker-1", nil, token...).says(t, 200, "TERMINATED")
	b.must("GET", zone+"/operations/"+op["name"].(string), nil, token...).says(t, 200, "DONE")
	b.must("POST", zone+"/instances/worker-1/start", nil, token...).says(t, 200)
	b.must("GET", zone+"/instances/worker-1", nil, token...).says(t, 200, "RUNNING")
	b.must("POST", zone+"/instances/none/stop", nil, token...).says(t, 404, "was not found")
	b.must("GET", strings.Replace(zone, "west1-b", "west1-c", 1)+"/instances/worker-1", nil, token...).says(t, 404)
	b.must("GET", strings.Replace(zone, "onbehalf-sandbox", "other-project", 1)+"/instances", nil, token...).says(t, 403)
	b.must("GET", strings.Replace(zone, "europe-west1-b", "Europe!", 1)+"/instances", nil, token...).says(t, 400, "Must be a match of regex")
}
