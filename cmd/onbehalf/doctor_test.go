package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// What is printed, in words or in JSON and whatever is wrong, holds no token, no
// assertion and no key; and the exit status says whether anything has to be mended.
func TestDoctorPrintsNoSecret(t *testing.T) {
	s, _ := world(t)
	data, err := s.KeyFile("onbehalf@onbehalf-sandbox.iam.gserviceaccount.com")
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(key, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, signer := range []string{"iam", "key:" + key} {
		t.Setenv("ONBEHALF_SIGNER", signer)
		for fault, want := range map[string]int{"": exitOK, "T1": exitStopped, "T6": exitStopped, "T12": exitStopped, "A2": exitStopped, "A6": exitStopped} {
			s.ClearFaults()
			if fault != "" {
				if err := s.Order(sandbox.Fault{Row: fault, User: "ada@example.com"}); err != nil {
					t.Fatal(err)
				}
			}
			for _, form := range []string{"--json=false", "--json"} {
				out, people, status := command(t, "doctor", "--user", "ada@example.com", "--action", "gmail.users.messages.list", form)
				if status != want || !strings.Contains(out, "100000000000000000042") {
					t.Errorf("%s, fault %q, %s: exit status %d, want %d\n%s%s", signer, fault, form, status, want, out, people)
				}
				if form == "--json" && !json.Valid([]byte(out)) {
					t.Errorf("%s, fault %q: no JSON: %s", signer, fault, out)
				}
				for _, secret := range s.Secrets() {
					if strings.Contains(out+people, secret) {
						t.Errorf("%s, fault %q, %s: a secret is printed", signer, fault, form)
					}
				}
			}
		}
	}
}
