// Package config reads the environment, once, into a [Config], and checks all
// of it in one place.
package config

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/sethvargo/go-envconfig"
)

// Config is what the environment says. README lists the variables.
type Config struct {
	// Project is the Google Cloud project's id; empty is the runtime's own.
	Project string `env:"GOOGLE_CLOUD_PROJECT"`
	// ServiceAccount is the delegated service account's e-mail address; empty
	// is the runtime's own.
	ServiceAccount string `env:"ONBEHALF_SERVICE_ACCOUNT"`
	// Delegates are the service accounts on the way to it, first to last.
	Delegates []string `env:"ONBEHALF_DELEGATES"`
	// Signer is iam, key:PATH or key:sm://PROJECT/SECRET/VERSION.
	Signer string `env:"ONBEHALF_SIGNER, default=iam"`
	// Policy is a path or sm://PROJECT/SECRET/VERSION; empty refuses every job.
	Policy string `env:"ONBEHALF_POLICY"`
	// Ledger is memory, file:PATH or firestore:DATABASE.
	Ledger string `env:"ONBEHALF_LEDGER, default=memory"`
	// ResultsTopic is the id of the topic that results are published to.
	ResultsTopic string `env:"ONBEHALF_RESULTS_TOPIC, default=onbehalf-results"`
	// Admin is the e-mail address of the administrator as whom the Directory is read;
	// empty: it is not read.
	Admin string `env:"ONBEHALF_ADMIN"`
	// What other entry points of the same deployment read, checked here for all.
	JobsTopic            string `env:"ONBEHALF_JOBS_TOPIC, default=onbehalf-jobs"`
	BatchesTopic         string `env:"ONBEHALF_BATCHES_TOPIC, default=onbehalf-batches"`
	Rules                string `env:"ONBEHALF_RULES"`
	GmailUnitsPerUser    string `env:"ONBEHALF_GMAIL_UNITS_PER_USER, default=6000"`
	GmailUnitsPerProject string `env:"ONBEHALF_GMAIL_UNITS_PER_PROJECT, default=1200000"`
	MaxInstances         string `env:"ONBEHALF_MAX_INSTANCES"`
	// Timeout is how many seconds Cloud Run gives a request.
	Timeout string `env:"CLOUD_RUN_TIMEOUT_SECONDS"`
	// StorageEmulator is HOST:PORT or the URL of an emulator of Cloud Storage.
	StorageEmulator string `env:"STORAGE_EMULATOR_HOST"`
	// CredentialsFile is a path that Google's library reads by itself; it is checked
	// here because the library quotes what it cannot read.
	CredentialsFile string `env:"GOOGLE_APPLICATION_CREDENTIALS"`
	// Debug is Go's own, of which some values log what is secret.
	Debug string `env:"GODEBUG"`
	// Sandbox is the base URL, on this machine, that every call to Google over
	// HTTP goes to instead; empty is Google.
	Sandbox string `env:"ONBEHALF_SANDBOX"`
}

// known are all variables of ours: those above, and those of entry points that
// share the same deployment's settings.
var known = []string{
	"ONBEHALF_SERVICE_ACCOUNT", "ONBEHALF_DELEGATES", "ONBEHALF_SIGNER", "ONBEHALF_POLICY", "ONBEHALF_LEDGER",
	"ONBEHALF_JOBS_TOPIC", "ONBEHALF_RESULTS_TOPIC", "ONBEHALF_BATCHES_TOPIC", "ONBEHALF_RULES", "ONBEHALF_ADMIN",
	"ONBEHALF_GMAIL_UNITS_PER_USER", "ONBEHALF_GMAIL_UNITS_PER_PROJECT", "ONBEHALF_MAX_INSTANCES", "ONBEHALF_SANDBOX",
}

var (
	accountPattern = regexp.MustCompile(`^[a-z0-9.-]+@[a-z0-9.-]+\.gserviceaccount\.com$`)
	adminPattern   = regexp.MustCompile(`^[A-Za-z0-9.!#$%&'*+/=?^_{|}~-]{1,64}@[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)
	projectPattern = regexp.MustCompile(`^([a-z0-9.-]+:)?[a-z][a-z0-9-]{4,28}[a-z0-9]$`)
	topicPattern   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)
	numberPattern  = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)
	secretPattern  = regexp.MustCompile(`^sm://[a-z0-9.:-]+/[A-Za-z0-9_-]{1,255}/([0-9]+|latest)$`)
	// keyPattern has no latest: another key must not come in without anybody's deciding so.
	keyPattern = regexp.MustCompile(`^key:(sm://[a-z0-9.:-]+/[A-Za-z0-9_-]{1,255}/[0-9]+|[^:]*[^:/][^:]*)$`)
	// ledgerPattern takes the ids that Firestore gives to databases.
	ledgerPattern = regexp.MustCompile(`^(memory|file:.*[^/]|firestore:(\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9]))$`)
	// encodedPattern is base64, which a path of that length does not look like.
	encodedPattern = regexp.MustCompile(`^([A-Za-z0-9+=_-]{101,}|[A-Za-z0-9+/=]{201,})$`)
)

const (
	// maxShown is how many characters of ONBEHALF_SIGNER a message may quote.
	maxShown = 200
	// maxPath is longer than paths are, and shorter than a key in any encoding.
	maxPath = 512
)

// Load reads and checks the environment, given as os.Environ gives it. An
// error names each wrong variable, its value unless that may be a key, and what is
// accepted.
func Load(environ []string) (Config, error) {
	var c Config
	values := make(map[string]string, len(environ))
	var problems []error
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if value != "" { // set to nothing is not set
			values[name] = value
		}
		if strings.HasPrefix(name, "ONBEHALF_") && !slices.Contains(known, name) {
			problems = append(problems, fmt.Errorf("%s: no such variable; known are %s", name, strings.Join(known, ", ")))
		}
	}
	if err := envconfig.ProcessWith(context.Background(), &envconfig.Config{Target: &c, Lookuper: envconfig.MapLookuper(values)}); err != nil {
		return Config{}, err
	}
	return c, errors.Join(append(problems, c.check()...)...)
}

// check holds every value that is set against what is accepted.
func (c *Config) check() []error {
	sandbox, onThisMachine := loopback(c.Sandbox)
	rules := []struct {
		name, value string
		accepted    bool
		hint        string
	}{
		{"GOOGLE_CLOUD_PROJECT", c.Project, projectPattern.MatchString(c.Project), "a project id such as my-project-1 is"},
		{"ONBEHALF_SERVICE_ACCOUNT", c.ServiceAccount, accountPattern.MatchString(c.ServiceAccount), "a service account's e-mail address such as onbehalf@my-project-1.iam.gserviceaccount.com is"},
		{"ONBEHALF_DELEGATES", strings.Join(c.Delegates, ","), !slices.ContainsFunc(c.Delegates, notAnAccount), "e-mail addresses of service accounts are, separated by commas, first to last"},
		{"ONBEHALF_SIGNER", c.Signer, c.Signer == "iam" || keyPattern.MatchString(c.Signer) && mayBePath(c.Signer), "iam is (no key), or a key in JSON or P12 for those who must: key:PATH or key:sm://PROJECT/SECRET/VERSION, with the number of a version"},
		{"ONBEHALF_DELEGATES", strings.Join(c.Delegates, ","), c.Signer == "iam", "nothing is beside a key in ONBEHALF_SIGNER: a chain of service accounts is for signing without one"},
		{"ONBEHALF_LEDGER", c.Ledger, ledgerPattern.MatchString(c.Ledger) && mayBePath(c.Ledger), "memory is, or file:PATH, or firestore:DATABASE with a database's id such as (default) or onbehalf"},
		{"ONBEHALF_POLICY", c.Policy, pathOrSecret(c.Policy), "a path is, or sm://PROJECT/SECRET/VERSION"},
		{"ONBEHALF_RULES", c.Rules, pathOrSecret(c.Rules), "a path is, or sm://PROJECT/SECRET/VERSION"},
		{"ONBEHALF_JOBS_TOPIC", c.JobsTopic, topicID(c.JobsTopic), "a topic's id such as onbehalf-jobs is, not its path"},
		{"ONBEHALF_RESULTS_TOPIC", c.ResultsTopic, topicID(c.ResultsTopic), "a topic's id such as onbehalf-results is, not its path"},
		{"ONBEHALF_BATCHES_TOPIC", c.BatchesTopic, topicID(c.BatchesTopic), "a topic's id such as onbehalf-batches is, not its path"},
		{"ONBEHALF_GMAIL_UNITS_PER_USER", c.GmailUnitsPerUser, numberPattern.MatchString(c.GmailUnitsPerUser), "a number of quota units a minute is, such as 6000"},
		{"ONBEHALF_GMAIL_UNITS_PER_PROJECT", c.GmailUnitsPerProject, numberPattern.MatchString(c.GmailUnitsPerProject), "a number of quota units a minute is, such as 1200000"},
		{"ONBEHALF_MAX_INSTANCES", c.MaxInstances, numberPattern.MatchString(c.MaxInstances), "a number of instances is, such as 10"},
		{"CLOUD_RUN_TIMEOUT_SECONDS", c.Timeout, numberPattern.MatchString(c.Timeout), "a number of seconds is, such as 60"},
		{"ONBEHALF_ADMIN", c.Admin, adminPattern.MatchString(c.Admin) && notAnAccount(c.Admin), "the primary e-mail address of a Workspace administrator such as admin@example.com is"},
		{"GOOGLE_APPLICATION_CREDENTIALS", c.CredentialsFile, mayBePath(c.CredentialsFile), "the path of a credentials file is, not what stands in the file"},
		{"GODEBUG", c.Debug, !logsTokens(c.Debug), "anything is but http2debug=1 and http2debug=2, with which Go logs the header of every request, and so every token"},
		{"ONBEHALF_SANDBOX", c.Sandbox, onThisMachine, "an http URL of a loopback address is, such as http://127.0.0.1:8085"},
	}
	c.Sandbox = sandbox
	var problems []error
	for _, r := range rules {
		if r.value != "" && !r.accepted {
			problems = append(problems, fmt.Errorf("%s: %s is not accepted; %s", r.name, shown(r.name, r.value), r.hint))
		}
	}
	return problems
}

// GmailUnits are how many quota units this instance may spend in a minute: for each
// user, and as its share of the project's.
func (c *Config) GmailUnits() (user, project int) {
	instances := max(1, number(c.MaxInstances))
	return number(c.GmailUnitsPerUser), max(1, number(c.GmailUnitsPerProject)/instances)
}

// number reads what numberPattern accepts.
func number(s string) int {
	n, _ := strconv.Atoi(s) // of ten digits
	return n
}

// Key is where the key that signs is; false where none does.
func (c *Config) Key() (from string, ok bool) { return strings.CutPrefix(c.Signer, "key:") }

// LedgerAt says which kind of ledger there is, memory, file or firestore, and where: the
// file's path or the database's id.
func (c *Config) LedgerAt() (kind, where string) {
	kind, where, _ = strings.Cut(c.Ledger, ":")
	return kind, where
}

// shown is a value as a message, which goes into the log, may show it: quoted, unless
// it may be a key that was set in place of where the key is.
func shown(name, value string) string {
	if !mayBePath(value) || name == "ONBEHALF_SIGNER" && (len(value) > maxShown || !strings.HasPrefix(value, "key:")) {
		return "its value, not shown because it may be a secret,"
	}
	return strconv.Quote(value)
}

// mayBePath tells whether a value may be a path, with its kind before it or not: what
// should stand in the file must not be opened as one, nor be quoted.
func mayBePath(value string) bool {
	for _, kind := range []string{"key:", "file:"} {
		value = strings.TrimPrefix(value, kind)
	}
	return len(value) <= maxPath && !strings.ContainsAny(value, "\r\n{") && !strings.Contains(value, "-----") && !encodedPattern.MatchString(value)
}

// logsTokens tells whether a GODEBUG switches on net/http's log of HTTP/2, which looks
// for these words anywhere in it.
func logsTokens(debug string) bool {
	return strings.Contains(debug, "http2debug=1") || strings.Contains(debug, "http2debug=2")
}

func pathOrSecret(s string) bool {
	return mayBePath(s) && (!strings.HasPrefix(s, "sm:") || secretPattern.MatchString(s))
}

func topicID(s string) bool { return topicPattern.MatchString(s) && !strings.HasPrefix(s, "goog") }

func notAnAccount(email string) bool { return !accountPattern.MatchString(email) }

// loopback gives base in the form that calls are sent to, and whether they can
// only end on this machine. The name localhost is taken for 127.0.0.1 here, so
// that no resolver can send letters and tokens elsewhere.
func loopback(base string) (string, bool) {
	u, err := url.Parse(base)
	if base == "" || err != nil || u.Scheme != "http" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return "", false
	}
	if u.Hostname() == "localhost" {
		u.Host = strings.Replace(u.Host, "localhost", "127.0.0.1", 1)
	}
	address, err := netip.ParseAddr(u.Hostname())
	return strings.TrimSuffix(u.String(), "/"), err == nil && address.IsLoopback()
}
