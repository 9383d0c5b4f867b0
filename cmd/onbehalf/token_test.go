package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// world is a Workspace that the command reaches by the environment, as it would
// reach Google.
func world(t *testing.T, change ...func(*sandbox.World)) (s *sandbox.Server, url string) {
	t.Helper()
	w := sandbox.DefaultWorld()
	for _, f := range change {
		f(&w)
	}
	s, err := sandbox.New(w, sandbox.Options{})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	policy := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(policy, []byte("domains: [example.com]\nactions: [gmail.users.messages.list]\ndenyUsers: [grace@example.com]\nserviceAccountActions: [sql.instances.list]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"ONBEHALF_SANDBOX": server.URL, "GCE_METADATA_HOST": strings.TrimPrefix(server.URL, "http://"), "ONBEHALF_POLICY": policy,
		"GOOGLE_APPLICATION_CREDENTIALS": "", "GOOGLE_CLOUD_PROJECT": "", "ONBEHALF_ADMIN": "", "ONBEHALF_SERVICE_ACCOUNT": "",
	} {
		t.Setenv(name, value)
	}
	return s, server.URL
}

// command runs the command, and gives what it wrote and its exit status.
func command(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return commandIn(t.Context(), args...)
}

// commandIn is command until ctx ends.
func commandIn(ctx context.Context, args ...string) (stdout, stderr string, status int) {
	var out, people bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&people)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return out.String(), people.String(), exitOK
	}
	exit := &exitError{exitUsage, err}
	errors.As(err, &exit)
	if exit.err != nil {
		people.WriteString(exit.err.Error())
	}
	return out.String(), people.String(), exit.status
}

const (
	labels   = "https://www.googleapis.com/auth/gmail.labels"
	metadata = "https://www.googleapis.com/auth/gmail.metadata"
)

// A token goes to standard output alone, is what was asked for, and works.
func TestToken(t *testing.T) {
	s, url := world(t, func(w *sandbox.World) { w.ServiceAccounts[0].LongLifetime = true })
	for name, c := range map[string]struct {
		args []string
		says string // of it, by tokeninfo
		call string // "" is not tried
	}{
		"a user's, by scope":   {[]string{"--user", "Ada@example.com", "--scope", labels}, `"scope":"` + labels + `"`, "/gmail.googleapis.com/gmail/v1/users/me/labels"},
		"a user's, by action":  {[]string{"--user", "ada@example.com", "--action", "gmail.users.messages.list"}, `"scope":"` + metadata + `"`, "/gmail.googleapis.com/gmail/v1/users/me/messages"},
		"both":                 {[]string{"--user", "ada@example.com", "--action", "gmail.users.messages.list", "--scope", labels}, labels + " " + metadata, ""},
		"the account's own":    {[]string{"--service-account", "--action", "sql.instances.list"}, "sqlservice.admin", ""},
		"the account's, 12 h":  {[]string{"--service-account", "--scope", labels, "--lifetime", "12h"}, `"expires_in":"43`, ""},
		"the account's, by ID": {[]string{"--id-token", "https://run.example"}, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			out, people, status := command(t, append([]string{"token"}, c.args...)...)
			token := strings.TrimSuffix(out, "\n")
			if status != exitOK || token == "" || strings.ContainsAny(token, " \n") || strings.Contains(people, token) || !strings.Contains(people, "expires 20") {
				t.Fatalf("exit status %d, %d bytes, %q", status, len(token), people)
			}
			if issued := s.Secrets(); issued[len(issued)-1] != token {
				t.Error("it is not the token that was issued last")
			}
			if c.says != "" {
				if info := get(t, url+"/oauth2.googleapis.com/tokeninfo?access_token="+token, ""); !strings.Contains(strings.ReplaceAll(info, `": "`, `":"`), c.says) {
					t.Errorf("it is %s; want %s", info, c.says)
				}
			}
			if c.call != "" {
				get(t, url+c.call, token)
			}
		})
	}
}

// With a key nothing else is needed to act as a user.
func TestTokenByAKeyAlone(t *testing.T) {
	s, _ := world(t)
	data, err := s.KeyFile(sandbox.DefaultWorld().Runtime)
	file := filepath.Join(t.TempDir(), "key.json")
	if err != nil || os.WriteFile(file, data, 0o600) != nil {
		t.Fatal("no key")
	}
	t.Setenv("ONBEHALF_SIGNER", "key:"+file)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file+".none")
	if out, people, status := command(t, "token", "--user", "ada@example.com", "--scope", labels); status != exitOK || out == "" {
		t.Errorf("exit status %d\n%s", status, people)
	}
}

func get(t *testing.T, url, token string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("HTTP %d %v", res.StatusCode, err)
	}
	return string(body)
}

// Whoever may not be acted for gets no token, nor does who asks wrongly; none is
// even asked for. Faults of the set-up are named as everywhere.
func TestNoToken(t *testing.T) {
	s, _ := world(t, func(w *sandbox.World) { w.ServiceAccounts[0].DelegatedScopes = []string{labels} })
	user := func(args ...string) []string { return append([]string{"token", "--user"}, args...) }
	for name, c := range map[string]struct {
		args   []string
		status int
		says   string
		asked  bool
	}{
		"a user who is denied":       {user("grace@example.com", "--scope", labels), 1, "The policy denies acting as grace@example.com.", false},
		"in other letters":           {user("GRACE@Example.com", "--scope", labels), 1, "The policy denies acting as grace@example.com.", false},
		"of another domain":          {user("ada@other.example", "--scope", labels), 1, "does not list the domain other.example", false},
		"for what is not allowed":    {user("ada@example.com", "--action", "gmail.users.messages.send"), 1, "does not allow gmail.users.messages.send", false},
		"one of them allowed":        {user("ada@example.com", "--action", "gmail.users.messages.list", "--action", "gmail.users.messages.send"), 1, "does not allow gmail.users.messages.send", false},
		"as itself, not allowed":     {[]string{"token", "--service-account", "--action", "gmail.users.messages.list"}, 1, "serviceAccountActions", false},
		"nobody":                     {[]string{"token", "--scope", labels}, 2, "exactly one of --user, --service-account and --id-token", false},
		"two":                        {user("ada@example.com", "--service-account", "--scope", labels), 2, "exactly one of", false},
		"for nothing":                {user("ada@example.com"), 2, "at least one --scope or --action", false},
		"no address":                 {user("ada", "--scope", labels), 2, `--user: is "ada"; a primary e-mail address`, false},
		"no such action":             {user("ada@example.com", "--action", "gmail.users.messages.lst"), 2, "gmail.users.messages.list", false},
		"scopes with commas":         {user("ada@example.com", "--scope", labels+","+metadata), 2, "--scope", false},
		"a long life":                {user("ada@example.com", "--scope", labels, "--lifetime", "2h"), 2, "--lifetime: is for --service-account", false},
		"too long a life":            {[]string{"token", "--service-account", "--scope", labels, "--lifetime", "13h"}, 2, "1s to 12h", false},
		"a scope for an ID token":    {[]string{"token", "--id-token", "a", "--scope", labels}, 2, "--id-token: goes without", false},
		"a policy in no file":        {user("ada@example.com", "--scope", labels, "--policy", "sm://p/policy/1"), 2, "sm://p/policy/1 is no file; name a policy in Secret Manager by ONBEHALF_POLICY", false},
		"an argument":                {[]string{"token", "ada@example.com"}, 2, "", false},
		"a scope not authorized":     {user("ada@example.com", "--scope", metadata), 3, "clientIdToAdd=100000000000000000042", true},
		"a life that is not allowed": {[]string{"token", "--service-account", "--scope", labels, "--lifetime", "2h"}, 3, "iam.allowServiceAccountCredentialLifetimeExtension", true},
		"nobody there":               {user("nobody@example.com", "--scope", labels), 1, "There is no active account nobody@example.com", true},
	} {
		t.Run(name, func(t *testing.T) {
			s.ResetCalls()
			out, people, status := command(t, c.args...)
			if out != "" || status != c.status || !strings.Contains(people, c.says) {
				t.Errorf("exit status %d, want %d\n%s\n%s", status, c.status, out, people)
			}
			calls := s.Calls()
			if asked := calls["signJwt"]+calls["generateAccessToken"] > 0; asked != c.asked {
				t.Errorf("a token was asked for: %v", asked)
			}
			for _, secret := range s.Secrets() {
				if strings.Contains(people, secret) {
					t.Error("a secret was let out")
				}
			}
		})
	}
}

// Without a policy there is no token of any kind; and none of the service account
// where the policy gives it nothing to do as itself.
func TestNoTokenWithoutAPolicy(t *testing.T) {
	s, _ := world(t)
	own := [][]string{
		{"--service-account", "--scope", labels},
		{"--service-account", "--action", "sql.instances.list"},
		{"--id-token", "https://run.example"},
	}
	refused := func(says string, kinds [][]string) {
		t.Helper()
		for _, kind := range kinds {
			out, people, status := command(t, append([]string{"token"}, kind...)...)
			if out != "" || status != exitSomeFailed || !strings.Contains(people, says) || !strings.Contains(people, "serviceAccountActions") && kind[0] != "--user" {
				t.Errorf("%v: exit status %d, %d bytes\n%s", kind, status, len(out), people)
			}
		}
	}
	policy := func(text string) {
		t.Helper()
		if err := os.WriteFile(os.Getenv("ONBEHALF_POLICY"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	policy("domains: [example.com]\nactions: ['*']\n")
	refused("The policy does not allow", own)
	policy("serviceAccountActions: [sql.instances.list]\nwhen: job.as == 'serviceAccount'\n")
	out, people, status := command(t, "token", "--service-account", "--scope", labels)
	if out != "" || status != exitSomeFailed || !strings.Contains(people, "Name the actions") {
		t.Errorf("with a condition: exit status %d\n%s", status, people)
	}
	t.Setenv("ONBEHALF_POLICY", "")
	refused("No policy is set", append(own, []string{"--user", "ada@example.com", "--scope", labels}))
	if calls := s.Calls(); calls["signJwt"]+calls["generateAccessToken"]+calls["generateIdToken"] > 0 {
		t.Errorf("a token was asked for: %v", calls)
	}
}

// An administrator is no more given away here than in a job.
func TestNoTokenOfAnAdministrator(t *testing.T) {
	s, _ := world(t)
	t.Setenv("ONBEHALF_ADMIN", "admin@example.com")
	for _, asked := range [][]string{{"--scope", labels}, {"--action", "gmail.users.messages.list"}} {
		out, people, status := command(t, append([]string{"token", "--user", "admin@example.com"}, asked...)...)
		if out != "" || status != exitSomeFailed || !strings.Contains(people, "is an administrator") {
			t.Errorf("exit status %d\n%s\n%s", status, out, people)
		}
	}
	if out, _, status := command(t, "token", "--user", "ada@example.com", "--scope", labels); out == "" || status != exitOK {
		t.Errorf("no token of ada: exit status %d", status)
	}
	if out, people, status := command(t, "token", "--user", "nobody@example.com", "--scope", labels); out != "" || status != exitSomeFailed || !strings.Contains(people, "does not know nobody@example.com") || !strings.Contains(people, "primary address") {
		t.Errorf("of whom the Directory does not know: exit status %d\n%s", status, people)
	}
	if s.Calls()["directory.users.get"] == 0 {
		t.Error("the Directory was not asked")
	}
	t.Setenv("ONBEHALF_ADMIN", "grace@example.com")
	out, people, status := command(t, "token", "--user", "ada@example.com", "--scope", labels)
	if out != "" || status != exitStopped || !strings.Contains(people, "grace@example.com is not an administrator") {
		t.Errorf("with an administrator who is none: exit status %d\n%s", status, people)
	}
}
