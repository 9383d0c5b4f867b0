package config_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/config"
)

func TestDefaults(t *testing.T) {
	got, err := config.Load([]string{"PATH=/bin"})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Signer: "iam", Ledger: "memory", JobsTopic: "onbehalf-jobs", ResultsTopic: "onbehalf-results", BatchesTopic: "onbehalf-batches",
		GmailUnitsPerUser: "6000", GmailUnitsPerProject: "1200000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLoad(t *testing.T) {
	got, err := config.Load([]string{
		"GOOGLE_CLOUD_PROJECT=my-project-1",
		"ONBEHALF_SERVICE_ACCOUNT=onbehalf@my-project-1.iam.gserviceaccount.com",
		"ONBEHALF_DELEGATES=a@my-project-1.iam.gserviceaccount.com,b@my-project-1.iam.gserviceaccount.com",
		"ONBEHALF_POLICY=sm://my-project-1/onbehalf-policy/3",
		"ONBEHALF_RESULTS_TOPIC=results",
		"ONBEHALF_ADMIN=Admin@example.com",
		"ONBEHALF_JOBS_TOPIC=jobs",
		"ONBEHALF_GMAIL_UNITS_PER_USER=15000",
		"ONBEHALF_SANDBOX=http://localhost:8085/",
		"GODEBUG=http2client=0,http2debug=0",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		Project: "my-project-1", ServiceAccount: "onbehalf@my-project-1.iam.gserviceaccount.com",
		Delegates: []string{"a@my-project-1.iam.gserviceaccount.com", "b@my-project-1.iam.gserviceaccount.com"},
		Signer:    "iam", Policy: "sm://my-project-1/onbehalf-policy/3", Ledger: "memory", ResultsTopic: "results",
		Debug:   "http2client=0,http2debug=0",
		Sandbox: "http://127.0.0.1:8085", JobsTopic: "jobs", BatchesTopic: "onbehalf-batches", Admin: "Admin@example.com", GmailUnitsPerUser: "15000", GmailUnitsPerProject: "1200000",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// A wrong value is named, shown, and put right.
func TestLoadRefuses(t *testing.T) {
	for _, c := range []struct{ entry, says string }{
		{"ONBEHALF_POLCY=p.yaml", "ONBEHALF_POLCY: no such variable; known are ONBEHALF_SERVICE_ACCOUNT,"},
		{"GOOGLE_CLOUD_PROJECT=My_Project", `GOOGLE_CLOUD_PROJECT: "My_Project" is not accepted; a project id`},
		{"ONBEHALF_SERVICE_ACCOUNT=ada@example.com", `ONBEHALF_SERVICE_ACCOUNT: "ada@example.com" is not accepted; a service account's`},
		{"ONBEHALF_DELEGATES=x", `ONBEHALF_DELEGATES: "x" is not accepted`},
		{"ONBEHALF_SIGNER=key.json", `ONBEHALF_SIGNER: its value, not shown because it may be a secret, is not accepted; iam is`},
		{"ONBEHALF_SIGNER=key:", "ONBEHALF_SIGNER"},
		{"ONBEHALF_SIGNER=key:sm:/p/s/1", `ONBEHALF_SIGNER: "key:sm:/p/s/1" is not accepted; iam is`},
		{"ONBEHALF_SIGNER=key:sm://p/s", "ONBEHALF_SIGNER"},
		{"ONBEHALF_SIGNER=key:sm://p/s/latest", "with the number of a version"},
		{"ONBEHALF_SIGNER=key:k.json ONBEHALF_DELEGATES=a@p.iam.gserviceaccount.com", `ONBEHALF_DELEGATES: "a@p.iam.gserviceaccount.com" is not accepted; nothing is beside a key`},
		{"ONBEHALF_LEDGER=paper", `ONBEHALF_LEDGER: "paper" is not accepted; memory is, or file:PATH, or firestore:DATABASE`},
		{"ONBEHALF_LEDGER=memory:", "ONBEHALF_LEDGER"},
		{"ONBEHALF_LEDGER=file:", "ONBEHALF_LEDGER"},
		{"ONBEHALF_LEDGER=file:/var/lib/", "ONBEHALF_LEDGER"},
		{"ONBEHALF_LEDGER=firestore:", "ONBEHALF_LEDGER"},
		{"ONBEHALF_LEDGER=firestore:Jobs", "ONBEHALF_LEDGER"},
		{"ONBEHALF_LEDGER=firestore:projects/p/databases/d", "ONBEHALF_LEDGER"},
		{"ONBEHALF_LEDGER=firestore:abc", "ONBEHALF_LEDGER"},
		{"ONBEHALF_POLICY=sm://p/s", `ONBEHALF_POLICY: "sm://p/s" is not accepted; a path is, or sm://PROJECT/SECRET/VERSION`},
		{"ONBEHALF_RESULTS_TOPIC=projects/p/topics/t", `ONBEHALF_RESULTS_TOPIC: "projects/p/topics/t" is not accepted; a topic's id`},
		{"ONBEHALF_JOBS_TOPIC=///", `ONBEHALF_JOBS_TOPIC: "///" is not accepted`},
		{"ONBEHALF_RULES=sm:bad", `ONBEHALF_RULES: "sm:bad" is not accepted`},
		{"ONBEHALF_GMAIL_UNITS_PER_USER=abc", `ONBEHALF_GMAIL_UNITS_PER_USER: "abc" is not accepted; a number of quota units`},
		{"ONBEHALF_MAX_INSTANCES=-4", `ONBEHALF_MAX_INSTANCES: "-4" is not accepted`},
		{"CLOUD_RUN_TIMEOUT_SECONDS=abc", `CLOUD_RUN_TIMEOUT_SECONDS: "abc" is not accepted`},
		{"ONBEHALF_ADMIN=admin", `ONBEHALF_ADMIN: "admin" is not accepted; the primary e-mail address of a Workspace administrator`},
		{"ONBEHALF_ADMIN=Addie <admin@example.com>", "ONBEHALF_ADMIN"},
		{"ONBEHALF_ADMIN=onbehalf@my-project-1.iam.gserviceaccount.com", "ONBEHALF_ADMIN"},
		{"GODEBUG=http2debug=1", `GODEBUG: "http2debug=1" is not accepted; anything is but http2debug=1`},
		{"GODEBUG=gctrace=1,http2debug=2", "GODEBUG"},
		{"ONBEHALF_SANDBOX=https://127.0.0.1:1", `ONBEHALF_SANDBOX: "https://127.0.0.1:1" is not accepted; an http URL of a loopback address is`},
		{"ONBEHALF_SANDBOX=http://example.com", "ONBEHALF_SANDBOX"},
		{"ONBEHALF_SANDBOX=http://10.0.0.1", "ONBEHALF_SANDBOX"},
		{"ONBEHALF_SANDBOX=http://127.0.0.1.example.com", "ONBEHALF_SANDBOX"},
		{"ONBEHALF_SANDBOX=http://localhost.example.com", "ONBEHALF_SANDBOX"},
		{"ONBEHALF_SANDBOX=http://127.0.0.1@example.com", "ONBEHALF_SANDBOX"},
		{"ONBEHALF_SANDBOX=http://0.0.0.0:80", "ONBEHALF_SANDBOX"},
		{"ONBEHALF_SANDBOX=127.0.0.1:8085", "ONBEHALF_SANDBOX"},
		{"ONBEHALF_SANDBOX=http://", "ONBEHALF_SANDBOX"},
	} {
		if _, err := config.Load(strings.Fields(c.entry)); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v, want … %s …", c.entry, err, c.says)
		}
	}
}

// A key that was set in place of where it is, however it was mangled, is neither
// accepted nor quoted.
func TestLoadQuotesNoKey(t *testing.T) {
	words := strings.Repeat("MIIEvQIBADANBgkq ", 100)
	for name, value := range map[string]string{
		"blanks for line ends": words,
		"escaped line ends":    strings.ReplaceAll(words, " ", `\n`),
		"as in a URL":          strings.ReplaceAll(words, " ", "%7B%22"),
		"base64":               strings.ReplaceAll(words, " ", ""),
	} {
		for _, variable := range []string{"ONBEHALF_SIGNER=key:", "ONBEHALF_POLICY=", "ONBEHALF_LEDGER=file:", "GOOGLE_APPLICATION_CREDENTIALS="} {
			if _, err := config.Load([]string{variable + value}); err == nil || strings.Contains(err.Error(), "MIIE") {
				t.Errorf("%s as %s is accepted or quoted", variable, name)
			}
		}
	}
}

// All that is wrong is said at once, not one after another.
func TestLoadNamesEveryProblem(t *testing.T) {
	_, err := config.Load([]string{"ONBEHALF_LEDGER=paper", "ONBEHALF_SIGNER=pen", "ONBEHALF_SANDBOX=http://[::2]:1"})
	for _, name := range []string{"ONBEHALF_LEDGER", "ONBEHALF_SIGNER", "ONBEHALF_SANDBOX"} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%v does not name %s", err, name)
		}
	}
}

func TestSandboxOnIPv6(t *testing.T) {
	if c, err := config.Load([]string{"ONBEHALF_SANDBOX=http://[::1]:8085/base"}); err != nil || c.Sandbox != "http://[::1]:8085/base" {
		t.Errorf("%q, %v", c.Sandbox, err)
	}
}

// A key in place of where it is, is the mistake that secrets in the environment
// invite, and the message goes into the log.
func TestLoadShowsNoSecret(t *testing.T) {
	const secret = "MADEUPkey"
	accepted := map[string]string{
		"ONBEHALF_SIGNER":                "key:PATH or key:sm://PROJECT/SECRET/VERSION",
		"ONBEHALF_POLICY":                "a path is, or sm://",
		"GOOGLE_APPLICATION_CREDENTIALS": "the path of a credentials file is, not what stands in the file",
		"ONBEHALF_SERVICE_ACCOUNT":       "a service account's e-mail address",
	}
	for kind, value := range map[string]string{
		"JSON":              `{"type": "service_account", "private_key": "` + secret + `"}`,
		"PEM":               "-----BEGIN KEY-----\n" + secret + "\n-----END KEY-----",
		"PEM in one line":   `-----BEGIN KEY-----\n` + secret + `\n-----END KEY-----`,
		"base64":            strings.Repeat(secret, 30),
		"base64, with some": strings.Repeat(secret+"/", 30) + "==",
		"base64 for URLs":   strings.Repeat(secret+"_", 12),
	} {
		for _, entry := range []string{
			"ONBEHALF_SIGNER=" + value, "ONBEHALF_SIGNER=key:" + value, "ONBEHALF_POLICY=" + value,
			"GOOGLE_APPLICATION_CREDENTIALS=" + value, "ONBEHALF_SERVICE_ACCOUNT=" + value,
		} {
			name, _, _ := strings.Cut(entry, "=")
			_, err := config.Load([]string{entry})
			if err == nil || !strings.Contains(err.Error(), name+": ") || !strings.Contains(err.Error(), accepted[name]) {
				t.Errorf("%s in %.20s: %v; want that %s", kind, entry, err, accepted[name])
			} else if strings.Contains(err.Error(), secret) {
				t.Errorf("%s in %s is shown", kind, name)
			}
		}
	}
	for _, entry := range []string{
		"ONBEHALF_SIGNER=" + secret, // no form of a key's place
		"ONBEHALF_SIGNER=key::" + strings.Repeat("/"+secret+".d", 20),
	} {
		if _, err := config.Load([]string{entry}); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%.20s: %v", entry, err)
		}
	}
}

// A ledger is named by its kind, and where it is.
func TestLedgerAt(t *testing.T) {
	for value, want := range map[string][2]string{
		"memory":                {"memory", ""},
		"file:ledger":           {"file", "ledger"},
		"file:/var/a b/l:1":     {"file", "/var/a b/l:1"},
		"firestore:(default)":   {"firestore", "(default)"},
		"firestore:onbehalf-eu": {"firestore", "onbehalf-eu"},
	} {
		c, err := config.Load([]string{"ONBEHALF_LEDGER=" + value})
		if err != nil {
			t.Error(err)
		}
		if kind, where := c.LedgerAt(); kind != want[0] || where != want[1] {
			t.Errorf("%s: %q, %q", value, kind, where)
		}
	}
}

// Paths that do not look like much are paths all the same.
func TestLoadTakesPaths(t *testing.T) {
	long := "/var/lib/kubelet/pods/0123456789/volumes/kubernetes.io~secret/" + strings.Repeat("a-long-name/", 20) + "key"
	for _, path := range []string{"k", "key.json", "../k", "/etc/onbehalf/key.p12", `keys\signer`, "a key", strings.Repeat("k", 100), long} {
		for _, entry := range []string{"ONBEHALF_SIGNER=key:" + path, "ONBEHALF_POLICY=" + path, "ONBEHALF_LEDGER=file:" + path, "GOOGLE_APPLICATION_CREDENTIALS=" + path} {
			if _, err := config.Load([]string{entry}); err != nil {
				t.Error(err)
			}
		}
	}
}
