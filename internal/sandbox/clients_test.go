package sandbox_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"path/filepath"
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

// foreign has somebody from outside who may sign for the robot.
func foreign(w *sandbox.World, _ *sandbox.Options) {
	const pool = "iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool"
	w.Federated = []sandbox.Federated{{Audience: "//" + pool + "/providers/ci", SubjectToken: "sandbox-subject", Principal: "principal://" + pool + "/subject/Build"}}
	w.ServiceAccounts[0].Signers = append(w.ServiceAccounts[0].Signers, w.Federated[0].Principal)
}

// Each kind of credentials file that Google's library knows signs for the robot.
func TestGoogleGoCredentialFiles(t *testing.T) {
	b := setup(t, realClock, signedIn, foreign)
	t.Setenv("HOME", t.TempDir())
	t.Setenv("CLOUDSDK_CONFIG", "")
	write := func(name string, v any) string {
		t.Helper()
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key, err := b.s.KeyFile(robot)
	if err != nil {
		t.Fatal(err)
	}
	type file map[string]any
	const impersonation = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/" + robot + ":generateAccessToken"
	user := file{"type": "authorized_user", "refresh_token": "sandbox-refresh", "client_id": "client", "client_secret": "sandbox-client"}
	external := func(subject string) file {
		source := filepath.Join(t.TempDir(), "subject")
		if err := os.WriteFile(source, []byte(subject), 0o600); err != nil {
			t.Fatal(err)
		}
		return file{
			"type": "external_account", "audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/ci",
			"subject_token_type": "urn:ietf:params:oauth:token-type:jwt", "token_url": "https://sts.googleapis.com/v1/token",
			"credential_source": file{"file": source},
		}
	}
	impersonated := external("sandbox-subject")
	impersonated["service_account_impersonation_url"] = impersonation
	for name, v := range map[string]any{
		"service_account":                      json.RawMessage(key),
		"authorized_user":                      user,
		"external_account":                     external("sandbox-subject"),
		"external_account, impersonating":      impersonated,
		"impersonated_service_account":         file{"type": "impersonated_service_account", "service_account_impersonation_url": impersonation, "source_credentials": user},
		"impersonated_service_account, by key": file{"type": "impersonated_service_account", "service_account_impersonation_url": impersonation, "source_credentials": json.RawMessage(key)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", write("credentials.json", v))
			creds, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{auth + "cloud-platform"}, Client: b.rewritten()})
			if err != nil {
				t.Fatal(err)
			}
			tok, err := creds.Token(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			b.must("POST", b.signPath(robot), map[string]any{"payload": "{}"}, append(bearer(tok.Value), "X-Goog-User-Project", "onbehalf-sandbox")...).says(t, 200)
			b.must("POST", b.signPath("nobody@example.com"), map[string]any{"payload": "{}"}, append(bearer(tok.Value), "X-Goog-User-Project", "onbehalf-sandbox")...).says(t, 403)
		})
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", write("credentials.json", external("sandbox-other")))
	creds, err := credentials.DetectDefault(&credentials.DetectOptions{Scopes: []string{auth + "cloud-platform"}, Client: b.rewritten()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := creds.Token(t.Context()); err == nil || !strings.Contains(err.Error(), "invalid_grant") {
		t.Errorf("another's token: %v", err)
	}
}
