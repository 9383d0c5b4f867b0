package explain_test

import (
	"encoding/json"
	"fmt"
	"html"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/onbehalf-dev/onbehalf/internal/explain"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// ids are the rows that were found.
func ids(found []explain.Meaning) string {
	all := make([]string, 0, len(found))
	for _, m := range found {
		all = append(all, m.Row)
	}
	return strings.Join(all, " ")
}

// What other tools print, and what people remember of it.
func TestFind(t *testing.T) {
	const quoted = `{"error": "unauthorized_client", "error_description": "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested."}`
	for _, c := range []struct{ text, want string }{
		// Google's own JSON, as it is and on its way through logs.
		{quoted, "T1"},
		{"\n\n  " + quoted + "  \n", "T1"},
		{`time=2026-11-21T12:00:00Z level=ERROR msg="oauth2: cannot fetch token: 401 Unauthorized\nResponse: ` + strings.ReplaceAll(quoted, `"`, `\"`) + `"`, "T1"},
		{`{"textPayload": ` + strconv.Quote(strconv.Quote(quoted)) + `}`, "T1"},
		{html.EscapeString(quoted), "T1"},
		{strings.ReplaceAll(quoted, `"`, `\u0022`), "T1"},
		// Go.
		{`Get "https://gmail.googleapis.com/gmail/v1/users/me/profile": oauth2: "unauthorized_client" "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested."`, "T1"},
		{"googleapi: Error 403: Request had insufficient authentication scopes.\nDetails:\n[{\"@type\": \"type.googleapis.com/google.rpc.ErrorInfo\", \"reason\": \"ACCESS_TOKEN_SCOPE_INSUFFICIENT\"}]\nMore details:\nReason: insufficientPermissions, Message: Insufficient Permission", "A8"},
		{"googleapi: Error 400: Precondition check failed., failedPrecondition", "A1 A1"},
		{"googleapi: Error 403: Delegation denied for ada@example.com, forbidden", "A7"},
		{"googleapi: Error 404: Requested entity was not found., notFound", "A14"},
		{`impersonate: status code 403: {"error": {"code": 403, "message": "Permission 'iam.serviceAccounts.signJwt' denied on resource (or it may not exist).", "status": "PERMISSION_DENIED"}}`, "S1"},
		{`impersonate: status code 401: ` + quoted, "T1"},
		{`rpc error: code = PermissionDenied desc = Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist).`, "S9"},
		{`rpc error: code = PermissionDenied desc = The caller does not have permission`, "S2"},
		// Python.
		{"google.auth.exceptions.RefreshError: ('unauthorized_client: Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.', {'error': 'unauthorized_client', 'error_description': 'Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.'})", "T1"},
		{"google.auth.exceptions.RefreshError: ('invalid_grant: Invalid email or User ID', {'error': 'invalid_grant', 'error_description': 'Invalid email or User ID'})", "T6"},
		{`<HttpError 400 when requesting https://gmail.googleapis.com/gmail/v1/users/me/messages?alt=json returned "Precondition check failed.". Details: "[{'message': 'Precondition check failed.', 'domain': 'global', 'reason': 'failedPrecondition'}]">`, "A1 A1"},
		{`google.auth.exceptions.RefreshError: ('Unable to acquire impersonated credentials', '{\n  "error": {\n    "code": 403,\n    "message": "IAM Service Account Credentials API has not been used in project 515151515151 before or it is disabled. Enable it by visiting https://console.developers.google.com/apis/api/iamcredentials.googleapis.com/overview?project=515151515151 then retry.",\n    "status": "PERMISSION_DENIED" } }')`, "S3"},
		{"grpc_status: StatusCode.PERMISSION_DENIED The caller does not have permission", "S2"},
		{"google.auth.exceptions.RefreshError: ('invalid_grant: Token has been expired or revoked.', {'error': 'invalid_grant'})", "T26"},
		// Node, GAM, gcloud.
		{"GaxiosError: unauthorized_client\n    at Gaxios._request (gaxios.js:142:23) { status: 401, data: { error: 'unauthorized_client', error_description: 'Client is unauthorized to retrieve access tokens using this method.' } }", "T2"},
		{"GaxiosError: Login Required. code: 401, errors: [ { reason: 'authError' } ] Invalid Credentials", "A5"},
		{"ERROR: 400: failedPrecondition - Precondition check failed.", "A1 A1"},
		{"ERROR: 403: insufficientPermissions - Request had insufficient authentication scopes.", "A8"},
		{"User: ada@example.com, Service not applicable/Does not exist: ERROR: 400: failedPrecondition - Mail service not enabled", "A2"},
		{"ERROR: (gcloud.auth.print-access-token) USER_PROJECT_DENIED Caller does not have required permission to use project acme-tools.", "S5"},
		// Ours.
		{`{"severity":"ERROR","message":"attempt","user":"ada@example.com","stage":"exchange","fault":"user","code":400,"reason":"invalid_grant","error":"There is no active account ada@example.com.","fix":"Leave it out."}`, "T6"},
		// Words.
		{"precondition check failed", "A1 A1"},
		{"unauthorized_client", "T1"},
		{"client not authorized", "T1 T4"},
		{"Requested client not authorized", "T4"},
		{"access_denied", "T4"},
		{"User-rate limit exceeded. Retry after 2026-09-11T20:00:00Z", "A13"},
		{"Request had insufficient authentication scopes.", "S4 A8"},
		{"active session is invalid", "A6"},
		{"T10", "T10"},
		{"a13", "A13"},
		// What is not in the table is read by its status, or not at all.
		{"googleapi: Error 418: I am a teapot", ""},
		{"HTTP/1.1 503 Service Unavailable", ""},
	} {
		found := explain.Find(c.text, explain.Names{})
		if len(found) == 0 || ids(found) != c.want {
			t.Errorf("%q is read as %q (%d), want %q", c.text, ids(found), len(found), c.want)
		}
		for _, m := range found {
			if text := m.Message + m.Fix; strings.ContainsAny(text, "{}") || (m.Tell != "") != (len(found) > 1) {
				t.Errorf("%q: %+v", c.text, m)
			}
		}
	}
	for _, text := range []string{"", " ", "\n", "hello", "it does not work", "{}", `{"error": {}}`, "ya29.EXAMPLE"} {
		if found := explain.Find(text, explain.Names{}); len(found) != 0 {
			t.Errorf("%q is read as %+v", text, found)
		}
	}
}

// Each answer of Google's is recognised in its own JSON, and in the result that
// the function makes of it.
func TestFindKnowsEveryCase(t *testing.T) {
	files, err := filepath.Glob("../../functions/testdata/errors/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		id := strings.TrimRight(strings.TrimSuffix(filepath.Base(file), ".txtar"), "bcdefgh")
		for _, part := range archive.Files {
			switch part.Name {
			case "body":
				if id == "T14" { // it says nothing
					continue
				}
			case "result.json":
				var e jobs.Error
				if err := json.Unmarshal(part.Data, &e); err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(e.Message, "The call was begun") { // nor does this
					continue
				}
			default:
				continue
			}
			found := explain.Find(string(part.Data), explain.Names{})
			if !fits(found, id) {
				t.Errorf("%s: %s is read as %q", file, part.Name, ids(found))
			}
		}
	}
}

// fits tells whether the row is among what was found, or one that says the same.
func fits(found []explain.Meaning, id string) bool {
	for _, r := range explain.Rows() {
		for _, m := range found {
			if r.ID == id && (m.Row == id || r.Message == rowOf(m).Message && r.Fix == rowOf(m).Fix) {
				return true
			}
		}
	}
	return false
}

func rowOf(m explain.Meaning) explain.Row {
	for _, r := range explain.Rows() {
		if r.ID == m.Row {
			return r
		}
	}
	return explain.Row{}
}

// What the text names is filled in, but goes behind what is given.
func TestFindReadsNames(t *testing.T) {
	const text = `{"serviceAccount":"robot@acme-tools.iam.gserviceaccount.com","user":"ada@example.com","stage":"exchange","reason":"unauthorized_client"}`
	m := explain.Find(text, explain.Names{})[0]
	if !strings.Contains(m.Fix, "administrator of example.com") || !strings.Contains(m.Fix, "describe robot@acme-tools.iam.gserviceaccount.com") {
		t.Error(m.Fix)
	}
	m = explain.Find(text, explain.Names{Account: "other@acme-tools.iam.gserviceaccount.com", User: "bob@example.org"})[0]
	if !strings.Contains(m.Fix, "administrator of example.org") || !strings.Contains(m.Fix, "describe other@acme-tools") {
		t.Error(m.Fix)
	}
	m = explain.Find("accessNotConfigured projects/acme-tools drive.googleapis.com", explain.Names{})[0]
	if !strings.HasSuffix(m.Fix, "gcloud services enable drive.googleapis.com --project=acme-tools") {
		t.Error(m.Fix)
	}
}

// The scopes that an administrator is asked to authorize, and for which client,
// are never taken from a text: it may come from anybody.
func TestFindTakesNoScopesFromTheText(t *testing.T) {
	m := explain.Find(`unauthorized_client https://www.googleapis.com/auth/admin.directory.user client_id 100000000000000000066`, known())[0]
	if strings.Contains(m.Fix, "admin.directory") || strings.Contains(m.Fix, "0066") || !strings.HasSuffix(m.Fix, explain.DelegationLink(known().ClientID, known().Scopes)) {
		t.Error(m.Fix)
	}
}

var longRun = regexp.MustCompile(`[A-Za-z0-9_-]{41,}`)

// However hostile the text, none of it comes out but short names.
func FuzzFind(f *testing.F) {
	for _, r := range explain.Rows() {
		f.Add(r.Codes + " " + r.Google)
	}
	f.Add(`\\\u0022 ` + strings.Repeat(`\`, 99) + ` {account} {fix} &quot;`)
	f.Add("unauthorized_client ya29." + strings.Repeat("EXAMPLE", 20) + "@example.com")
	f.Add("SERVICE_DISABLED project " + strings.Repeat("1", 60) + " " + strings.Repeat("a", 60) + ".googleapis.com projects/" + strings.Repeat("b", 60))
	f.Fuzz(func(t *testing.T, text string) {
		said := fmt.Sprintf("%+v", explain.Find(text, explain.Names{}))
		for _, run := range longRun.FindAllString(text, -1) {
			if strings.Contains(said, run) && !strings.Contains(fmt.Sprintf("%+v", explain.Rows()), run) {
				t.Errorf("%q comes out in %s", run, said)
			}
		}
		for _, control := range []string{"\x1b", "\x00", "\x07"} {
			if strings.Contains(said, control) {
				t.Errorf("%q comes out in %q", control, said)
			}
		}
	})
}
