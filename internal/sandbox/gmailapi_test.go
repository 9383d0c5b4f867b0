package sandbox_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	gmailapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
)

func (b *bundle) gmailUsers(user string, scopes ...string) *gmailapi.UsersService {
	b.t.Helper()
	return must(gmailapi.NewService(b.t.Context(), b.client(b.as(user, scopes...))))(b.t).Users
}

func rfc822(raw string) *gmailapi.Message {
	return &gmailapi.Message{Raw: base64.URLEncoding.EncodeToString([]byte(raw))}
}

func TestDrafts(t *testing.T) {
	b := setup(t)
	drafts := b.gmailUsers(grace, "gmail.compose").Drafts
	letter := googleapi.ContentType("message/rfc822")
	d := must(drafts.Create("me", &gmailapi.Draft{Message: rfc822(hello)}).Do())(t)
	if d.Message.LabelIds[0] != "DRAFT" {
		t.Errorf("%+v", d.Message)
	}
	changed := strings.Replace(hello, "Hello, Ada.", "Hello again.", 1)
	updated := must(drafts.Update("me", d.Id, &gmailapi.Draft{Message: rfc822(changed)}).Do())(t)
	if updated.Id != d.Id || updated.Message.Id == d.Message.Id || updated.Message.ThreadId != d.Message.ThreadId {
		t.Errorf("%+v", updated)
	}
	if got := must(drafts.Get("me", d.Id).Do())(t); got.Message.Snippet != "Hello again." {
		t.Errorf("%+v", got.Message)
	}
	big := hello + strings.Repeat("0123456789abcde\n", 20_000)
	uploaded := must(drafts.Create("me", &gmailapi.Draft{}).Media(strings.NewReader(big), letter, googleapi.ChunkSize(256<<10)).Do())(t)
	if all := must(drafts.List("me").Do())(t); len(all.Drafts) != 2 || all.ResultSizeEstimate != 2 {
		t.Errorf("%+v", all)
	}
	sent := must(drafts.Send("me", &gmailapi.Draft{Id: d.Id}).Do())(t)
	if sent.LabelIds[0] != "SENT" {
		t.Errorf("%+v", sent)
	}
	if sent.ThreadId != d.Message.ThreadId {
		t.Errorf("sent in thread %s, drafted in %s", sent.ThreadId, d.Message.ThreadId)
	}
	_, err := drafts.Get("me", d.Id).Do()
	refusedWith(t, err, 404, "Requested entity was not found.")
	must(drafts.Send("me", &gmailapi.Draft{Id: uploaded.Id}).Media(strings.NewReader(hello), letter).Do())(t)
	got := b.s.Letters(ada)
	if len(got) != 2 || string(got[0].Raw) != changed || string(got[1].Raw) != hello {
		t.Errorf("%d letters arrived", len(got))
	}
	for _, l := range b.s.Letters(grace) {
		if l.Via == "draft" {
			t.Errorf("a draft is left: %s", l.ID)
		}
	}
	_, err = drafts.Create("me", &gmailapi.Draft{}).Do()
	refusedWith(t, err, 400, "Missing draft message")
	_, err = drafts.Send("me", &gmailapi.Draft{Id: "r99"}).Do()
	refusedWith(t, err, 404, "notFound")
	_, err = drafts.Create("me", &gmailapi.Draft{}).Media(strings.NewReader("x"), googleapi.ContentType("text/plain")).Do()
	refusedWith(t, err, 400, "Media type")
	last := must(drafts.Create("me", &gmailapi.Draft{Message: rfc822(hello)}).Do())(t)
	if err := drafts.Delete("me", last.Id).Do(); err != nil {
		t.Error(err)
	}
	refusedWith(t, drafts.Delete("me", last.Id).Do(), 404, "notFound")
}

// A draft that cannot be sent is still there, and one that two send goes out once.
func TestDraftsAreSentOnce(t *testing.T) {
	b := setup(t)
	drafts := b.gmailUsers(grace, "gmail.compose").Drafts
	lost := must(drafts.Create("me", &gmailapi.Draft{Message: rfc822("Subject: to nobody\r\n\r\nx")}).Do())(t)
	for range 2 {
		_, err := drafts.Send("me", &gmailapi.Draft{Id: lost.Id}).Do()
		refusedWith(t, err, 400, "Recipient address required")
	}
	d := must(drafts.Create("me", &gmailapi.Draft{Message: rfc822(hello)}).Do())(t)
	var g sync.WaitGroup
	for range 8 {
		g.Go(func() { _, _ = drafts.Send("me", &gmailapi.Draft{Id: d.Id}).Do() })
	}
	g.Wait()
	if n := len(b.s.Letters(ada)); n != 1 {
		t.Errorf("%d letters arrived", n)
	}
}

func TestThreadsClient(t *testing.T) {
	b := setup(t)
	users := b.gmailUsers(ada, "https://mail.google.com/")
	first := must(users.Messages.Insert("me", rfc822(hello)).Do())(t)
	b.now = b.now.Add(time.Second)
	must(users.Messages.Insert("me", rfc822("In-Reply-To: <hello@example.com>\r\nMessage-ID: <2@example.com>\r\n\r\nx")).Do())(t)
	must(users.Messages.Insert("me", rfc822("Subject: other\r\n\r\nx")).Do())(t)
	list := must(users.Threads.List("me").Do())(t)
	if len(list.Threads) != 2 || list.Threads[1].Id != first.ThreadId {
		t.Errorf("%+v", list.Threads)
	}
	thread := must(users.Threads.Get("me", first.ThreadId).Format("metadata").Do())(t)
	if len(thread.Messages) != 2 || thread.Messages[0].Id != first.Id || thread.Messages[0].Payload.Headers == nil {
		t.Errorf("%+v", thread)
	}
	must(users.Threads.Modify("me", first.ThreadId, &gmailapi.ModifyThreadRequest{AddLabelIds: []string{"STARRED"}}).Do())(t)
	if l := must(users.Messages.List("me").LabelIds("STARRED").Do())(t); len(l.Messages) != 2 {
		t.Errorf("%+v", l)
	}
	_, err := users.Threads.Modify("me", first.ThreadId, &gmailapi.ModifyThreadRequest{AddLabelIds: []string{"x"}}).Do()
	refusedWith(t, err, 400, "Invalid label: x")
	must(users.Threads.Trash("me", first.ThreadId).Do())(t)
	if l := must(users.Threads.List("me").Do())(t); len(l.Threads) != 1 {
		t.Errorf("%+v", l)
	}
	must(users.Threads.Untrash("me", first.ThreadId).Do())(t)
	if err := users.Threads.Delete("me", first.ThreadId).Do(); err != nil || len(b.s.Letters(ada)) != 1 {
		t.Errorf("%v, %d letters", err, len(b.s.Letters(ada)))
	}
	_, err = users.Threads.Get("me", first.ThreadId).Do()
	refusedWith(t, err, 404, "notFound")
}

func TestHistoryClient(t *testing.T) {
	b := setup(t)
	users := b.gmailUsers(ada, "https://mail.google.com/")
	watch := must(users.Watch("me", &gmailapi.WatchRequest{TopicName: "projects/onbehalf-sandbox/topics/mail", LabelIds: []string{"INBOX"}}).Do())(t)
	if got := time.UnixMilli(watch.Expiration); !got.Equal(b.now.Add(7 * 24 * time.Hour)) {
		t.Errorf("expires at %v", got)
	}
	for _, topic := range []string{"", "mail", "projects/other/topics/mail"} {
		_, err := users.Watch("me", &gmailapi.WatchRequest{TopicName: topic}).Do()
		refusedWith(t, err, 400, "Invalid topicName")
	}
	_, err := users.Watch("me", &gmailapi.WatchRequest{TopicName: "projects/onbehalf-sandbox/topics/mail", LabelIds: []string{"x"}}).Do()
	refusedWith(t, err, 400, "Invalid label")

	m := must(users.Messages.Insert("me", rfc822(hello)).Do())(t)
	must(users.Messages.Modify("me", m.Id, &gmailapi.ModifyMessageRequest{AddLabelIds: []string{"INBOX"}}).Do())(t)
	must(users.Messages.Trash("me", m.Id).Do())(t)
	if err := users.Messages.Delete("me", m.Id).Do(); err != nil {
		t.Error(err)
	}
	whole := must(users.History.List("me").StartHistoryId(watch.HistoryId).Do())(t)
	var got []string
	for _, h := range whole.History {
		got = append(got, fmt.Sprint(len(h.MessagesAdded), len(h.LabelsAdded), len(h.LabelsRemoved), len(h.MessagesDeleted)))
	}
	if fmt.Sprint(got) != "[1 0 0 0 0 1 0 0 0 1 0 0 0 0 1 0 0 0 0 1]" {
		t.Errorf("%v", got)
	}
	added := must(users.History.List("me").StartHistoryId(watch.HistoryId).HistoryTypes("labelAdded").LabelId("INBOX").Do())(t)
	if len(added.History) != 1 || added.History[0].LabelsAdded[0].LabelIds[0] != "INBOX" {
		t.Errorf("%+v", added)
	}
	var pages int
	err = users.History.List("me").StartHistoryId(watch.HistoryId).MaxResults(2).Pages(t.Context(), func(*gmailapi.ListHistoryResponse) error {
		pages++
		return nil
	})
	if err != nil || pages != 3 {
		t.Errorf("%d pages, %v", pages, err)
	}
	if now := must(users.History.List("me").StartHistoryId(whole.HistoryId).Do())(t); len(now.History) != 0 {
		t.Errorf("%+v", now)
	}
	_, err = users.History.List("me").StartHistoryId(1).Do()
	refusedWith(t, err, 404, "Requested entity was not found.")
	_, err = users.History.List("me").Do()
	refusedWith(t, err, 400, "startHistoryId")
	if err := users.Stop("me").Do(); err != nil {
		t.Error(err)
	}
}

func TestSettings(t *testing.T) {
	b := setup(t)
	s := b.gmailUsers(ada, "gmail.settings.basic", "gmail.settings.sharing").Settings
	vacation := must(s.UpdateVacation("me", &gmailapi.VacationSettings{
		EnableAutoReply: true, ResponseSubject: "Away", ResponseBodyHtml: `<b onclick="x()">Back soon</b><script>alert(1)</script>`,
		StartTime: 1_800_000_000_000, EndTime: 1_800_000_100_000,
	}).Do())(t)
	if got := must(s.GetVacation("me").Do())(t); got.ResponseBodyHtml != "<b>Back soon</b>" || got.StartTime != vacation.StartTime || !got.EnableAutoReply {
		t.Errorf("%+v", got)
	}
	_, err := s.UpdateVacation("me", &gmailapi.VacationSettings{EnableAutoReply: true}).Do()
	refusedWith(t, err, 400, "subject or a body")
	_, err = s.UpdateVacation("me", &gmailapi.VacationSettings{StartTime: 2, EndTime: 1}).Do()
	refusedWith(t, err, 400, "before its end time")
	if got := must(b.gmailUsers(grace, "gmail.settings.basic").Settings.GetVacation("me").Do())(t); got.EnableAutoReply {
		t.Error("the settings of ada are those of grace")
	}

	signature := must(s.SendAs.Patch("me", ada, &gmailapi.SendAs{Signature: "<b>Ada</b><script src=x></script>"}).Do())(t)
	if signature.Signature != "<b>Ada</b>" || !signature.IsPrimary || !signature.IsDefault {
		t.Errorf("%+v", signature)
	}
	alias := must(s.SendAs.Create("me", &gmailapi.SendAs{SendAsEmail: "me@elsewhere.example", DisplayName: "A"}).Do())(t)
	if alias.VerificationStatus != "pending" || alias.IsDefault {
		t.Errorf("%+v", alias)
	}
	_, err = s.SendAs.Create("me", &gmailapi.SendAs{SendAsEmail: "me@elsewhere.example"}).Do()
	refusedWith(t, err, 409, "already exists")
	if err := s.SendAs.Verify("me", alias.SendAsEmail).Do(); err != nil {
		t.Error(err)
	}
	must(s.SendAs.Update("me", alias.SendAsEmail, &gmailapi.SendAs{SendAsEmail: alias.SendAsEmail, IsDefault: true}).Do())(t)
	all := must(s.SendAs.List("me").Do())(t)
	if len(all.SendAs) != 2 || all.SendAs[0].IsDefault || !all.SendAs[1].IsDefault {
		t.Errorf("%+v %+v", all.SendAs[0], all.SendAs[1])
	}
	refusedWith(t, s.SendAs.Delete("me", ada).Do(), 400, "primary")
	if err := s.SendAs.Delete("me", alias.SendAsEmail).Do(); err != nil {
		t.Error(err)
	}
	_, err = s.SendAs.Get("me", alias.SendAsEmail).Do()
	refusedWith(t, err, 404, "notFound")

	filter := must(s.Filters.Create("me", &gmailapi.Filter{Criteria: &gmailapi.FilterCriteria{From: grace}, Action: &gmailapi.FilterAction{AddLabelIds: []string{"STARRED"}}}).Do())(t)
	_, err = s.Filters.Create("me", &gmailapi.Filter{Criteria: &gmailapi.FilterCriteria{From: grace}, Action: &gmailapi.FilterAction{AddLabelIds: []string{"x"}}}).Do()
	refusedWith(t, err, 400, "Invalid label: x")
	_, err = s.Filters.Create("me", &gmailapi.Filter{Criteria: &gmailapi.FilterCriteria{From: grace}, Action: &gmailapi.FilterAction{AddLabelIds: []string{"STARRED"}}}).Do()
	refusedWith(t, err, 400, "Filter already exists")
	if l := must(s.Filters.List("me").Do())(t); len(l.Filter) != 1 || l.Filter[0].Id != filter.Id {
		t.Errorf("%+v", l)
	}
	if err := s.Filters.Delete("me", filter.Id).Do(); err != nil {
		t.Error(err)
	}

	_, err = s.UpdateAutoForwarding("me", &gmailapi.AutoForwarding{Enabled: true, EmailAddress: grace, Disposition: "archive"}).Do()
	refusedWith(t, err, 400, "Unrecognized forwarding address")
	must(s.ForwardingAddresses.Create("me", &gmailapi.ForwardingAddress{ForwardingEmail: grace}).Do())(t)
	must(s.UpdateAutoForwarding("me", &gmailapi.AutoForwarding{Enabled: true, EmailAddress: grace, Disposition: "archive"}).Do())(t)
	if f := must(s.GetAutoForwarding("me").Do())(t); !f.Enabled || f.EmailAddress != grace {
		t.Errorf("%+v", f)
	}
	if d := must(s.Delegates.Create("me", &gmailapi.Delegate{DelegateEmail: grace}).Do())(t); d.VerificationStatus != "accepted" {
		t.Errorf("%+v", d)
	}
	_, err = s.Delegates.Create("me", &gmailapi.Delegate{DelegateEmail: "x@elsewhere.example"}).Do()
	refusedWith(t, err, 400, "Invalid delegate")

	must(s.UpdateImap("me", &gmailapi.ImapSettings{Enabled: false, ForceSendFields: []string{"Enabled"}, ExpungeBehavior: "trash"}).Do())(t)
	if i := must(s.GetImap("me").Do())(t); i.Enabled || i.ExpungeBehavior != "trash" {
		t.Errorf("%+v", i)
	}
	must(s.UpdatePop("me", &gmailapi.PopSettings{AccessWindow: "allMail", Disposition: "archive"}).Do())(t)
	must(s.UpdateLanguage("me", &gmailapi.LanguageSettings{DisplayLanguage: "fr"}).Do())(t)
	if l := must(s.GetLanguage("me").Do())(t); l.DisplayLanguage != "fr" {
		t.Errorf("%+v", l)
	}
	_, err = b.gmailUsers(ada, "gmail.settings.basic").Settings.Delegates.Create("me", &gmailapi.Delegate{DelegateEmail: grace}).Do()
	refusedWith(t, err, 403, "insufficientPermissions")
}
