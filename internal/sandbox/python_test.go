package sandbox_test

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// gcloudPython returns the Cloud SDK's own interpreter and libraries. Without
// them the test is skipped, except in CI with gcloud on the PATH.
func gcloudPython(t *testing.T) (python, libs string) {
	t.Helper()
	gcloud, err := exec.LookPath("gcloud")
	if err != nil {
		t.Skip("no gcloud on the PATH: google-auth for Python is not tried")
	}
	give := t.Skipf
	if os.Getenv("CI") == "true" {
		give = t.Fatalf
	}
	out, err := exec.CommandContext(t.Context(), gcloud, "info", "--format=value[separator='\n'](basic.python_location,installation.sdk_root)").Output()
	lines := strings.Fields(string(out))
	if err != nil || len(lines) != 2 {
		give("gcloud info: %q %v", out, err)
	}
	libs = filepath.Join(lines[1], "lib", "third_party")
	if _, err := os.Stat(filepath.Join(libs, "google", "auth")); err != nil {
		give("the Cloud SDK has no google-auth: %v", err)
	}
	return lines[0], libs
}

// google-auth for Python, as the Cloud SDK ships it, acts as a user, and reads
// back the bytes that it filed: with its identity from the metadata server, for
// whom IAM signs, and with a key file.
func TestGooglePythonClient(t *testing.T) {
	python, libs := gcloudPython(t)
	for name, signatures := range map[string]int{"through IAM": 1, "with a key": 0} {
		t.Run(name, func(t *testing.T) {
			b := setup(t, realClock)
			key := ""
			if signatures == 0 {
				data, err := b.s.KeyFile(robot)
				if err != nil {
					t.Fatal(err)
				}
				key = filepath.Join(t.TempDir(), "key.json")
				if err := os.WriteFile(key, data, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			raw := hello + "\x00\xff bytes\r\n"
			address := strings.TrimPrefix(b.url, "http://")
			cmd := exec.CommandContext(t.Context(), python, filepath.Join("testdata", "google_auth.py"))
			cmd.Env = []string{
				"BASE=" + b.url, "SDK=" + libs, "USER=" + ada, "KEY=" + key, "PYTHONDONTWRITEBYTECODE=1",
				"GCE_METADATA_HOST=" + address, "GCE_METADATA_IP=" + address,
				"LETTER=" + base64.StdEncoding.EncodeToString([]byte(raw)),
			}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if !strings.HasPrefix(string(out), robot) {
				t.Errorf("%s", out)
			}
			if l := b.s.Letters(ada); len(l) != 1 || string(l[0].Raw) != raw {
				t.Errorf("%+v", l)
			}
			calls := b.s.Calls()
			if calls["signJwt"] != signatures || (calls["metadata.account"] > 0) != (signatures > 0) || calls["token"] != 1 || calls["token.withAuthorization"] != 0 {
				t.Errorf("%v", calls)
			}
		})
	}
}
