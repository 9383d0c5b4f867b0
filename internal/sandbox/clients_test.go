package sandbox_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/credentials/impersonate"
	"cloud.google.com/go/auth/httptransport"
	gmailapi "google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// googleClient is Google's own way to act as a user: impersonate with a
// Subject, over a transport that leads here. Nothing in it is ours.
func googleClient(t *testing.T, b *bundle, user string, scopes ...string) *http.Client {
	t.Helper()
	rewrite := b.rewritten().Transport
	machine, err := httptransport.NewClient(&httptransport.Options{
		Credentials: b.s.Credentials(robot), BaseRoundTripper: rewrite, DisableTelemetry: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	creds, err := impersonate.NewCredentials(&impersonate.CredentialsOptions{
		TargetPrincipal: robot, Subject: user, Scopes: scopes, Client: machine, Lifetime: 3600e9,
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := httptransport.NewClient(&httptransport.Options{Credentials: creds, BaseRoundTripper: rewrite, DisableTelemetry: true})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// rewritten is a client whose calls to Google come here.
func (b *bundle) rewritten() *http.Client {
	b.t.Helper()
	rewrite, err := sandbox.RewriteTransport(b.url, b.c.Transport)
	if err != nil {
		b.t.Fatal(err)
	}
	return &http.Client{Transport: rewrite}
}

// realClock undoes the fixed clock: the clients sign with the machine's time.
func realClock(_ *sandbox.World, o *sandbox.Options) { o.Now = nil }

func gmailService(t *testing.T, b *bundle, user string, scopes ...string) *gmailapi.Service {
	t.Helper()
	svc, err := gmailapi.NewService(t.Context(), option.WithHTTPClient(googleClient(t, b, user, scopes...)))
	if err != nil {
		t.Fatal(err)
	}
	return svc
}

func TestGoogleGoClient(t *testing.T) {
	b := setup(t, realClock)
	svc := gmailService(t, b, ada, gmailapi.GmailInsertScope, gmailapi.GmailModifyScope, gmailapi.GmailLabelsScope)
	label, err := svc.Users.Labels.Create("me", &gmailapi.Label{Name: "Welcome"}).Do()
	if err != nil {
		t.Fatal(err)
	}
	m, err := svc.Users.Messages.Insert("me", &gmailapi.Message{LabelIds: []string{"INBOX", label.Id}}).
		InternalDateSource("dateHeader").Media(strings.NewReader(hello), googleapi.ContentType("message/rfc822")).Do()
	if err != nil {
		t.Fatal(err)
	}
	if l := b.s.Letters(ada); len(l) != 1 || string(l[0].Raw) != hello || l[0].InternalDate.Year() != 2006 {
		t.Fatalf("%+v", l)
	}
	list, err := svc.Users.Messages.List("me").Q("rfc822msgid:hello@example.com").LabelIds(label.Id).Do()
	if err != nil || len(list.Messages) != 1 || list.Messages[0].Id != m.Id {
		t.Fatalf("%+v %v", list, err)
	}
	full, err := svc.Users.Messages.Get("me", m.Id).Do()
	if err != nil || full.Payload.Headers[2].Value != "Hello" || full.InternalDate != b.s.Letters(ada)[0].InternalDate.UnixMilli() {
		t.Fatalf("%+v %v", full, err)
	}
	labels, err := svc.Users.Labels.List("me").Fields("labels(id,name)").Do()
	if err != nil || len(labels.Labels) != 15 || labels.Labels[0].Type != "" {
		t.Fatalf("%+v %v", labels, err)
	}
	if _, err := svc.Users.Messages.Modify("me", m.Id, &gmailapi.ModifyMessageRequest{RemoveLabelIds: []string{"INBOX"}}).Do(); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Users.Messages.Import("me", &gmailapi.Message{}).Media(strings.NewReader(hello), googleapi.ContentType("message/rfc822")).Do(); err != nil {
		t.Fatal(err)
	}
	if _, err := svc.Users.GetProfile("me").Do(); err != nil {
		t.Fatal(err)
	}
}

func TestGoogleGoClientSends(t *testing.T) {
	b := setup(t, realClock)
	svc := gmailService(t, b, grace, gmailapi.GmailSendScope)
	m, err := svc.Users.Messages.Send("me", &gmailapi.Message{}).Media(strings.NewReader(hello), googleapi.ContentType("message/rfc822")).Do()
	if err != nil || m.LabelIds[0] != "SENT" {
		t.Fatalf("%+v %v", m, err)
	}
	if l := b.s.Letters(ada); len(l) != 1 || string(l[0].Raw) != hello {
		t.Fatalf("%+v", l)
	}
}

// Media of more than a chunk goes by resumable upload.
func TestGoogleGoClientResumable(t *testing.T) {
	b := setup(t, realClock)
	svc := gmailService(t, b, ada, gmailapi.GmailInsertScope)
	raw := hello + strings.Repeat("0123456789abcde\n", 40_000)
	_, err := svc.Users.Messages.Insert("me", &gmailapi.Message{LabelIds: []string{"STARRED"}}).
		Media(strings.NewReader(raw), googleapi.ContentType("message/rfc822"), googleapi.ChunkSize(256<<10)).Do()
	if err != nil {
		t.Fatal(err)
	}
	if l := b.s.Letters(ada); len(l) != 1 || string(l[0].Raw) != raw || l[0].LabelIDs[0] != "STARRED" {
		t.Fatalf("%d letters", len(l))
	}
	if n := b.s.Calls()["gmail.users.messages.insert.chunk"]; n < 3 {
		t.Errorf("%d chunks", n)
	}
}

// Errors arrive as the client's own type, with Google's reasons in them.
func TestGoogleGoClientErrors(t *testing.T) {
	b := setup(t, realClock)
	svc := gmailService(t, b, ada, gmailapi.GmailInsertScope)
	_, err := svc.Users.Messages.List("me").Do()
	var api *googleapi.Error
	if !errors.As(err, &api) || api.Code != 403 || api.Errors[0].Reason != "insufficientPermissions" {
		t.Errorf("%v", err)
	}
	_, err = gmailService(t, b, "nobody@example.com", gmailapi.GmailInsertScope).Users.Messages.List("me").Do()
	if err == nil || !strings.Contains(err.Error(), "Invalid email or User ID") {
		t.Errorf("%v", err)
	}
}

// Google's search for default credentials finds the metadata server here, as on
// Cloud Run.
func TestGoogleGoDefaultCredentials(t *testing.T) {
	b := setup(t, realClock)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CLOUDSDK_CONFIG", "")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(b.url, "http://"))
	creds, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{auth + "cloud-platform"}})
	if err != nil {
		t.Fatal(err)
	}
	tok, err := creds.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	b.must("POST", b.signPath(robot), map[string]any{"payload": "{}"}, bearer(tok.Value)...).says(t, 200)
	project, err := creds.ProjectID(t.Context())
	if err != nil || project != "onbehalf-sandbox" {
		t.Errorf("project %q %v", project, err)
	}
	universe, err := creds.UniverseDomain(t.Context())
	if err != nil || universe != "googleapis.com" {
		t.Errorf("universe %q %v", universe, err)
	}
}
