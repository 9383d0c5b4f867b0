package doctor_test

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/iam/apiv1/iampb"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/doctor"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func TestMain(m *testing.M) {
	// That one is of a library of Google's and never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const (
	project = "onbehalf-sandbox"
	robot   = "onbehalf@onbehalf-sandbox.iam.gserviceaccount.com"
	robotID = "100000000000000000042"
	other   = "other@onbehalf-sandbox.iam.gserviceaccount.com"
	third   = "third@onbehalf-sandbox.iam.gserviceaccount.com"
	ada     = "ada@example.com"
	admin   = "admin@example.com"
	op      = "op@example.com"

	insert  = "gmail.users.messages.insert"
	labels  = "gmail.users.labels.list"
	events  = "calendar.events.insert"
	files   = "drive.files.list"
	scopes  = "https://www.googleapis.com/auth/"
	reading = scopes + "admin.directory.user.readonly"
)

// patient is a set-up to be examined, and what surrounds it. Tests break it.
type patient struct {
	world   sandbox.World
	options sandbox.Options
	// broken, unless nil, breaks the sandbox that serves the world.
	broken func(*testing.T, *sandbox.Server, *patient)
	// settings are beside those of the sandbox.
	settings []string
	project  string
	policy   string // "": none
	user     string
	actions  []string
	topics   []string // that exist
	publish  []string // permissions on them; nil: as an emulator, which does not tell
	silent   bool     // Pub/Sub takes connections, and never answers
	database firestore
	file     string // of credentials; "": the runtime's of the world
	patience time.Duration
	told     []string
}

func healthy() *patient {
	return &patient{
		world: sandbox.DefaultWorld(), options: sandbox.Options{KeyBits: 1024}, project: project,
		policy:  "domains: [example.com]\nactions: ['*']\n",
		user:    ada,
		actions: []string{insert, labels, events, files},
		topics:  []string{"onbehalf-jobs", "onbehalf-results"},
	}
}

func (p *patient) robot() *sandbox.ServiceAccount { return &p.world.ServiceAccounts[0] }

func (p *patient) ada() *sandbox.User {
	i := slices.IndexFunc(p.world.Users, func(u sandbox.User) bool { return u.PrimaryEmail == ada })
	return &p.world.Users[i]
}

// examine serves the world, and looks at it. No secret may be in what is found.
func (p *patient) examine(t *testing.T) *doctor.Report {
	t.Helper()
	server, err := sandbox.New(p.world, p.options)
	if err != nil {
		t.Fatal(err)
	}
	if p.broken != nil {
		p.broken(t, server, p)
	}
	listening := httptest.NewServer(server)
	t.Cleanup(listening.Close)
	o := doctor.Options{
		Environ: append([]string{"GOOGLE_CLOUD_PROJECT=" + p.project, "ONBEHALF_SANDBOX=" + listening.URL}, p.settings...),
		User:    p.user, Actions: p.actions, From: "policy.yaml", Run: "onbehalf run jobs.jsonl",
		Access: access.Options{Caller: p.world.Runtime, Credentials: func() (*auth.Credentials, error) { return server.Credentials(p.world.Runtime), nil }},
		PubSub: p.pubSub(t), Firestore: p.database.serve(t),
		Patience: p.patience,
		Tell:     func(text string) { p.told = append(p.told, text) },
	}
	if p.policy != "" {
		if o.Policy, err = policy.Parse([]byte(p.policy)); err != nil {
			t.Fatal(err)
		}
	}
	if p.file != "" {
		t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", p.file)
		o.Access = access.Options{}
	}
	report, err := doctor.Examine(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(report)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range server.Secrets() {
		if strings.Contains(string(text)+strings.Join(p.told, "\n"), secret) {
			t.Error("a secret of the sandbox's is in what was found")
		}
	}
	return report
}

// iamPolicy tells who may do what to topics, as the emulator does not.
type iamPolicy struct {
	iampb.UnimplementedIAMPolicyServer
	permissions, topics []string
}

func (s iamPolicy) TestIamPermissions(_ context.Context, r *iampb.TestIamPermissionsRequest) (*iampb.TestIamPermissionsResponse, error) {
	if !slices.Contains(s.topics, r.GetResource()) {
		return nil, status.Error(codes.NotFound, "Resource not found")
	}
	return &iampb.TestIamPermissionsResponse{Permissions: s.permissions}, nil
}

// pubSub serves Pub/Sub with the topics, and says how it is reached.
func (p *patient) pubSub(t *testing.T) []option.ClientOption {
	t.Helper()
	switch {
	case p.silent:
		listening, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listening.Close() })
		return reachedAt(listening.Addr().String())
	case p.topics == nil:
		return nil // whatever the environment names
	}
	var names []string
	for _, id := range p.topics {
		names = append(names, "projects/"+project+"/topics/"+id)
	}
	server := pstest.NewServerWithCallback(0, func(s *grpc.Server) {
		if p.publish != nil {
			iampb.RegisterIAMPolicyServer(s, iamPolicy{permissions: p.publish, topics: names})
		}
	})
	t.Cleanup(func() { _ = server.Close() })
	for _, name := range names {
		if _, err := server.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	return reachedAt(server.Addr)
}

func reachedAt(address string) []option.ClientOption {
	return []option.ClientOption{
		option.WithEndpoint(address), option.WithoutAuthentication(),
		option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials())),
	}
}

func ids(r *doctor.Report, s doctor.Status) []string {
	var all []string
	for _, c := range r.Checks {
		if c.Status == s {
			all = append(all, c.ID())
		}
	}
	return all
}

// writeFile puts a text into a file of the test's own.
func writeFile(t *testing.T, name string, data []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// scope is the id of a scope's check.
func scope(name string) string { return "scope " + scopes + name }

// Where nothing is wrong nothing fails, and every step is reached.
func TestNothingIsWrong(t *testing.T) {
	p := healthy()
	p.settings = []string{"ONBEHALF_ADMIN=" + admin}
	p.publish = []string{"pubsub.topics.publish"}
	r := p.examine(t)
	want := []string{
		"settings", "identity", "project",
		"policy " + insert, "policy " + labels, "policy " + events, "policy " + files,
		"signer", "service account", "clock",
		"api iamcredentials.googleapis.com", "api pubsub.googleapis.com", "api calendar-json.googleapis.com", "api drive.googleapis.com", "api gmail.googleapis.com", "api admin.googleapis.com",
		"sign", "client id", "administrator", "user",
		scope("calendar.events"), scope("drive.metadata.readonly"), scope("gmail.insert"), scope("gmail.labels"),
		"call calendar-json.googleapis.com", "call drive.googleapis.com", "call gmail.googleapis.com",
		"topic onbehalf-jobs", "topic onbehalf-results", "ledger",
	}
	if diff := cmp.Diff(want, ids(r, doctor.Passed)); diff != "" {
		t.Error(diff)
	}
	if len(r.Checks) != len(want) || r.Failed() || !strings.Contains(r.Next, "onbehalf run jobs.jsonl") {
		t.Errorf("%+v", r)
	}
	for _, c := range r.Checks {
		if c.Says == "" || c.Fix != "" || c.Fault != "" {
			t.Errorf("%+v", c)
		}
	}
}

// cases are set-ups that are wrong in one way each.
var cases = map[string]struct {
	breaks func(*testing.T, *patient)
	failed []string
	fault  jobs.Fault
	fix    []string // stand in the remedy of what failed first, which is the next thing to do
}{
	"IAM Credentials is off": {
		func(_ *testing.T, p *patient) { p.world.DisabledAPIs = []string{"iamcredentials.googleapis.com"} },
		[]string{"api iamcredentials.googleapis.com"},
		jobs.FaultOperator,
		[]string{"gcloud services enable iamcredentials.googleapis.com --project=onbehalf-sandbox"},
	},
	"IAM Credentials is off, and nobody may ask": {
		func(_ *testing.T, p *patient) {
			p.world.DisabledAPIs, p.world.Viewers = []string{"iamcredentials.googleapis.com"}, []string{}
		},
		[]string{"sign"},
		jobs.FaultOperator,
		[]string{"gcloud services enable iamcredentials.googleapis.com --project=424242424242"},
	},
	"Gmail's API is off": {
		func(_ *testing.T, p *patient) { p.world.DisabledAPIs = []string{"gmail.googleapis.com"} },
		[]string{"api gmail.googleapis.com"},
		jobs.FaultOperator,
		[]string{"gcloud services enable gmail.googleapis.com --project=onbehalf-sandbox"},
	},
	"Gmail's API is off, and nobody may ask": {
		func(_ *testing.T, p *patient) {
			p.world.DisabledAPIs, p.world.Viewers = []string{"gmail.googleapis.com"}, []string{}
		},
		[]string{"call gmail.googleapis.com"},
		jobs.FaultOperator,
		[]string{"gcloud services enable gmail.googleapis.com --project=424242424242"},
	},
	"the Directory's API is off": {
		func(_ *testing.T, p *patient) {
			p.world.DisabledAPIs, p.settings = []string{"admin.googleapis.com"}, []string{"ONBEHALF_ADMIN=" + admin}
		},
		[]string{"api admin.googleapis.com"},
		jobs.FaultOperator,
		[]string{"gcloud services enable admin.googleapis.com --project=onbehalf-sandbox"},
	},
	"Pub/Sub's API is off": {
		func(_ *testing.T, p *patient) { p.world.DisabledAPIs = []string{"pubsub.googleapis.com"} },
		[]string{"api pubsub.googleapis.com"},
		jobs.FaultOperator,
		[]string{"gcloud services enable pubsub.googleapis.com --project=onbehalf-sandbox"},
	},
	"no grant on itself": {
		func(_ *testing.T, p *patient) { p.robot().Signers = nil },
		[]string{"sign"},
		jobs.FaultOperator,
		[]string{"gcloud iam service-accounts add-iam-policy-binding " + robot + " --member=serviceAccount:" + robot + " --role=roles/iam.serviceAccountTokenCreator"},
	},
	"a grant on another account alone": {
		func(_ *testing.T, p *patient) {
			p.world.ServiceAccounts = append(p.world.ServiceAccounts, sandbox.ServiceAccount{Email: other, DelegatedScopes: p.robot().DelegatedScopes})
			p.settings = []string{"ONBEHALF_SERVICE_ACCOUNT=" + other}
		},
		[]string{"sign"},
		jobs.FaultOperator,
		[]string{"add-iam-policy-binding " + other + " --member=serviceAccount:" + robot},
	},
	"the chain's first link is broken": {
		func(_ *testing.T, p *patient) { p.chain(nil, []string{other}) },
		[]string{"sign"},
		jobs.FaultOperator,
		[]string{"add-iam-policy-binding " + other + " --member=serviceAccount:" + robot},
	},
	"the chain's last link is broken": {
		func(_ *testing.T, p *patient) { p.chain([]string{robot}, []string{robot}) },
		[]string{"sign"},
		jobs.FaultOperator,
		[]string{"add-iam-policy-binding " + third + " --member=serviceAccount:" + other},
	},
	"the entry is another client id's": {
		func(_ *testing.T, p *patient) {
			p.world.ServiceAccounts = append(p.world.ServiceAccounts, sandbox.ServiceAccount{Email: other, DelegatedScopes: p.robot().DelegatedScopes})
			p.robot().DelegatedScopes = nil
		},
		[]string{scope("calendar.events"), scope("drive.metadata.readonly"), scope("gmail.insert"), scope("gmail.labels")},
		jobs.FaultAdmin,
		[]string{"clientIdToAdd=" + robotID, "calendar.events%2C", "gmail.labels&", "example.com"},
	},
	"no entry at all": {
		func(_ *testing.T, p *patient) { p.robot().DelegatedScopes, p.actions = nil, []string{insert} },
		[]string{scope("gmail.insert")},
		jobs.FaultAdmin,
		[]string{"clientIdToAdd=" + robotID, "clientScopeToAdd=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fgmail.insert&"},
	},
	"nobody has the user's address": {
		func(_ *testing.T, p *patient) { p.user = "nobody@example.com" },
		[]string{"user"},
		jobs.FaultUser,
		[]string{"primary address"},
	},
	"nobody has the user's address, by the Directory": {
		func(_ *testing.T, p *patient) {
			p.user, p.settings = "nobody@example.com", []string{"ONBEHALF_ADMIN=" + admin}
		},
		[]string{"user"},
		jobs.FaultUser,
		[]string{"primary address"},
	},
	"the address is an alias": {
		func(_ *testing.T, p *patient) {
			p.ada().Aliases = []string{"countess@example.com"}
			p.user, p.settings = "countess@example.com", []string{"ONBEHALF_ADMIN=" + admin}
		},
		[]string{"user"},
		jobs.FaultJob,
		[]string{"onbehalf doctor --user " + ada},
	},
	"suspended": {
		func(_ *testing.T, p *patient) { p.ada().Suspended = true },
		[]string{"user"},
		jobs.FaultUser,
		[]string{"suspended"},
	},
	"suspended, by the Directory": {
		func(_ *testing.T, p *patient) {
			p.ada().Suspended, p.settings = true, []string{"ONBEHALF_ADMIN=" + admin}
		},
		[]string{"user"},
		jobs.FaultUser,
		[]string{"reactivate", ada},
	},
	"archived, by the Directory": {
		func(_ *testing.T, p *patient) {
			p.ada().Archived, p.settings = true, []string{"ONBEHALF_ADMIN=" + admin}
		},
		[]string{"user"},
		jobs.FaultUser,
		[]string{"unarchive", ada},
	},
	"without a mailbox": {
		func(_ *testing.T, p *patient) { p.ada().NoMailbox = true },
		[]string{"call gmail.googleapis.com"},
		jobs.FaultUser,
		[]string{"gives " + ada + " a licence with Gmail"},
	},
	"without a mailbox, by the Directory": {
		func(_ *testing.T, p *patient) {
			p.ada().NoMailbox, p.settings = true, []string{"ONBEHALF_ADMIN=" + admin}
		},
		[]string{"user"},
		jobs.FaultUser,
		[]string{"gives " + ada + " a licence with Gmail"},
	},
	"Gmail is off for the user": {
		func(_ *testing.T, p *patient) { p.ada().ServicesOff = []string{"gmail"} },
		[]string{"call gmail.googleapis.com"},
		jobs.FaultUser,
		[]string{ada},
	},
	"Calendar is off for the user": {
		func(_ *testing.T, p *patient) { p.ada().ServicesOff = []string{"calendar"} },
		[]string{"call calendar-json.googleapis.com"},
		jobs.FaultUser,
		[]string{"switches it on for " + ada},
	},
	"Drive is off for the user": {
		func(_ *testing.T, p *patient) { p.ada().ServicesOff = []string{"drive"} },
		[]string{"call drive.googleapis.com"},
		jobs.FaultUser,
		[]string{ada},
	},
	"the administrator is none": {
		func(_ *testing.T, p *patient) { p.settings = []string{"ONBEHALF_ADMIN=grace@example.com"} },
		[]string{"administrator"},
		jobs.FaultOperator,
		[]string{"grace@example.com"},
	},
	"nobody has the administrator's address": {
		func(_ *testing.T, p *patient) { p.settings = []string{"ONBEHALF_ADMIN=nobody@example.com"} },
		[]string{"administrator"},
		jobs.FaultOperator,
		[]string{"ONBEHALF_ADMIN", "nobody@example.com"},
	},
	"the administrator's scope is missing": {
		func(_ *testing.T, p *patient) { p.settings = []string{"ONBEHALF_ADMIN=" + admin}; p.without(reading) },
		[]string{"administrator " + reading},
		jobs.FaultAdmin,
		[]string{"clientScopeToAdd=https%3A%2F%2Fwww.googleapis.com%2Fauth%2Fadmin.directory.user.readonly&clientIdToAdd=" + robotID},
	},
	"the administrator's scope and the user's are missing": {
		func(_ *testing.T, p *patient) {
			p.settings = []string{"ONBEHALF_ADMIN=" + admin}
			p.without(reading, scopes+"gmail.insert")
		},
		[]string{"administrator " + reading, scope("gmail.insert")},
		jobs.FaultAdmin,
		[]string{"admin.directory.user.readonly%2Chttps%3A%2F%2Fwww.googleapis.com%2Fauth%2Fgmail.insert&clientIdToAdd=" + robotID},
	},
	"the administrator's scope is missing, and the action's is the same": {
		func(_ *testing.T, p *patient) {
			p.settings, p.actions = []string{"ONBEHALF_ADMIN=" + admin}, []string{"directory.users.get"}
			p.without(reading)
		},
		[]string{"administrator " + reading},
		jobs.FaultAdmin,
		[]string{"admin.directory.user.readonly&clientIdToAdd=" + robotID},
	},
	"no policy": {
		func(_ *testing.T, p *patient) { p.policy = "" },
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{"ONBEHALF_POLICY", "domains: [example.com]\nactions: [" + insert + "]"},
	},
	"no policy and no action": {
		func(_ *testing.T, p *patient) { p.policy, p.actions = "", nil },
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{"ONBEHALF_POLICY"},
	},
	"the policy does not list an action": {
		func(_ *testing.T, p *patient) { p.policy, p.actions = "domains: [example.com]", nil },
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{"actions in policy.yaml"},
	},
	"the policy refuses the domain": {
		func(_ *testing.T, p *patient) { p.policy = "domains: [example.org]\nactions: ['*']\n" },
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{ada, "domains"},
	},
	"the policy refuses the user": {
		func(_ *testing.T, p *patient) { p.policy += "denyUsers: [" + ada + "]\n" },
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{"denyUsers"},
	},
	"the policy refuses an action": {
		func(_ *testing.T, p *patient) {
			p.policy = "domains: [example.com]\nactions: ['gmail.*', 'calendar.*']\n"
		},
		[]string{"policy " + files},
		jobs.FaultOperator,
		[]string{"actions in the policy"},
	},
	"the policy's condition refuses an action": {
		func(_ *testing.T, p *patient) { p.policy += "when: job.action != '" + insert + "'\n" },
		[]string{"policy " + insert},
		jobs.FaultOperator,
		[]string{"when"},
	},
	"the policy protects the user, whatever its condition needs": {
		func(_ *testing.T, p *patient) {
			p.policy += "when: job.labels.campaign == 'welcome'\n"
			p.user, p.settings = admin, []string{"ONBEHALF_ADMIN=" + admin}
		},
		[]string{"policy protectAdmins"},
		jobs.FaultOperator,
		[]string{"protectAdmins: false"},
	},
	"the policy protects the user": {
		func(_ *testing.T, p *patient) { p.user, p.settings = admin, []string{"ONBEHALF_ADMIN=" + admin} },
		[]string{"policy protectAdmins"},
		jobs.FaultOperator,
		[]string{"protectAdmins: false"},
	},
	"nobody can tell whom the policy protects": {
		func(_ *testing.T, p *patient) { p.policy += "protectAdmins: true\n" },
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{"export ONBEHALF_ADMIN=ADMIN@example.com"},
	},
	"the policy is broken": {
		func(t *testing.T, p *patient) {
			p.policy, p.settings = "", []string{"ONBEHALF_POLICY=" + writeFile(t, "broken.yaml", []byte("domian: [example.com]"))}
		},
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{"onbehalf schema policy"},
	},
	"the policy is not there": {
		func(_ *testing.T, p *patient) { p.policy, p.settings = "", []string{"ONBEHALF_POLICY=none.yaml"} },
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{"ONBEHALF_POLICY"},
	},
	"the policy is in no secret": {
		func(_ *testing.T, p *patient) {
			p.policy, p.settings = "", []string{"ONBEHALF_POLICY=sm://onbehalf-sandbox/policy/3"}
		},
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{"gcloud secrets versions list policy --project=onbehalf-sandbox"},
	},
	"the policy's secret may not be read": {
		func(_ *testing.T, p *patient) {
			p.policy, p.settings = "", []string{"ONBEHALF_POLICY=sm://onbehalf-sandbox/policy/3"}
			p.order(sandbox.Fault{Row: "A15", Call: "secretmanager.versions.access"})
		},
		[]string{"policy"},
		jobs.FaultOperator,
		[]string{"gcloud secrets add-iam-policy-binding policy --project=onbehalf-sandbox --member=serviceAccount:" + robot + " --role=roles/secretmanager.secretAccessor"},
	},
	"the key's secret may not be read": {
		func(_ *testing.T, p *patient) {
			p.settings = []string{"ONBEHALF_SIGNER=key:sm://onbehalf-sandbox/key/1"}
			p.order(sandbox.Fault{Row: "A15", Call: "secretmanager.versions.access"})
		},
		[]string{"signer"},
		jobs.FaultOperator,
		[]string{"gcloud secrets add-iam-policy-binding key --project=onbehalf-sandbox"},
	},
	"Secret Manager's API is off": {
		func(_ *testing.T, p *patient) {
			p.policy, p.settings = "", []string{"ONBEHALF_POLICY=sm://onbehalf-sandbox/policy/3"}
			p.world.DisabledAPIs = []string{"secretmanager.googleapis.com"}
		},
		[]string{"api secretmanager.googleapis.com"},
		jobs.FaultOperator,
		[]string{"gcloud services enable secretmanager.googleapis.com --project=onbehalf-sandbox"},
	},
	"Secret Manager does not answer": {
		func(_ *testing.T, p *patient) {
			p.policy, p.settings = "", []string{"ONBEHALF_POLICY=sm://onbehalf-sandbox/policy/3"}
			p.order(sandbox.Fault{Row: "A17", Call: "secretmanager.versions.access"})
		},
		[]string{"policy"},
		jobs.FaultGoogle,
		[]string{"status.cloud.google.com"},
	},
	"no topic of results": {
		func(_ *testing.T, p *patient) { p.topics = p.topics[:1] },
		[]string{"topic onbehalf-results"},
		jobs.FaultOperator,
		[]string{"gcloud pubsub topics create onbehalf-results --project=onbehalf-sandbox"},
	},
	"no topic of jobs": {
		func(_ *testing.T, p *patient) { p.topics = p.topics[1:] },
		[]string{"topic onbehalf-jobs"},
		jobs.FaultOperator,
		[]string{"gcloud pubsub topics create onbehalf-jobs --project=onbehalf-sandbox"},
	},
	"no topic of results, at Google": {
		func(_ *testing.T, p *patient) { p.topics, p.publish = p.topics[:1], []string{"pubsub.topics.publish"} },
		[]string{"topic onbehalf-results"},
		jobs.FaultOperator,
		[]string{"gcloud pubsub topics create onbehalf-results"},
	},
	"results may not be published": {
		func(_ *testing.T, p *patient) { p.publish = []string{} },
		[]string{"topic onbehalf-results"},
		jobs.FaultOperator,
		[]string{"gcloud pubsub topics add-iam-policy-binding onbehalf-results --member=serviceAccount:" + robot + " --role=roles/pubsub.publisher"},
	},
	"a ledger that there is not": {
		func(_ *testing.T, p *patient) { p.settings = []string{"ONBEHALF_LEDGER=paper"} },
		[]string{"settings"},
		jobs.FaultOperator,
		[]string{"environment variables"},
	},
	"this clock is 2 h behind": {
		func(_ *testing.T, p *patient) { p.options.Skew = 2 * time.Hour },
		[]string{"clock"},
		jobs.FaultOperator,
		[]string{"timedatectl"},
	},
	"this clock is 2 h ahead": {
		func(_ *testing.T, p *patient) { p.options.Skew = -2 * time.Hour },
		[]string{"clock"},
		jobs.FaultOperator,
		[]string{"timedatectl"},
	},
	"another account's key in JSON": {
		func(_ *testing.T, p *patient) {
			p.settings = []string{"ONBEHALF_SERVICE_ACCOUNT=" + robot}
			p.keyOf(other, (*sandbox.Server).KeyFile)
		},
		[]string{"signer"},
		jobs.FaultOperator,
		[]string{"gcloud iam service-accounts keys list --iam-account=" + robot},
	},
	"another account's key in P12": {
		func(_ *testing.T, p *patient) {
			p.settings = []string{"ONBEHALF_SERVICE_ACCOUNT=" + robot}
			p.keyOf(other, (*sandbox.Server).KeyP12)
		},
		[]string{"client id"},
		jobs.FaultOperator,
		[]string{"gcloud iam service-accounts keys list --iam-account=" + robot},
	},
	"a key that was removed": {
		func(_ *testing.T, p *patient) {
			p.keyOf(robot, func(*sandbox.Server, string) ([]byte, error) {
				before, err := sandbox.New(p.world, p.options) // the same account with other keys
				if err != nil {
					return nil, err
				}
				return before.KeyFile(robot)
			})
		},
		[]string{"key"},
		jobs.FaultOperator,
		[]string{"gcloud iam service-accounts keys list --iam-account=" + robot},
	},
	"no key where it should be": {
		func(_ *testing.T, p *patient) { p.settings = []string{"ONBEHALF_SIGNER=key:/none.json"} },
		[]string{"signer"},
		jobs.FaultOperator,
		[]string{"ONBEHALF_SIGNER"},
	},
	"the account is disabled": {
		func(_ *testing.T, p *patient) { p.robot().Disabled = true },
		[]string{"client id"},
		jobs.FaultOperator,
		[]string{"gcloud iam service-accounts enable " + robot + " --project=onbehalf-sandbox"},
	},
	"there is no such account": {
		func(_ *testing.T, p *patient) { p.settings = []string{"ONBEHALF_SERVICE_ACCOUNT=" + third} },
		[]string{"service account"},
		jobs.FaultOperator,
		[]string{"gcloud iam service-accounts list --project=" + project},
	},
	"a policy of the Workspace blocks one scope": {
		func(_ *testing.T, p *patient) {
			p.actions = []string{insert}
			p.order(sandbox.Fault{Row: "T20", User: ada})
		},
		[]string{scope("gmail.insert")},
		jobs.FaultAdmin,
		[]string{"App access control", robotID},
	},
	"a scope is missing, or a service is off": {
		func(_ *testing.T, p *patient) {
			p.actions = []string{insert}
			p.order(sandbox.Fault{Row: "T4", User: ada})
		},
		[]string{scope("gmail.insert")},
		jobs.FaultAdmin,
		[]string{"See first that the service is on for " + ada, "gmail.insert&clientIdToAdd=" + robotID},
	},
	"a scope that Google does not know": {
		func(_ *testing.T, p *patient) {
			p.actions = []string{insert}
			p.order(sandbox.Fault{Row: "T14", User: ada})
		},
		[]string{scope("gmail.insert")},
		jobs.FaultOperator,
		[]string{"oauth2/scopes"},
	},
	"the account is of another organisation": {
		func(_ *testing.T, p *patient) { p.order(sandbox.Fault{Row: "T21", User: ada}) },
		[]string{scope("calendar.events")},
		jobs.FaultOperator,
		[]string{"organisation of example.com"},
	},
	"VPC Service Controls": {
		func(_ *testing.T, p *patient) { p.order(sandbox.Fault{Row: "S6"}) },
		[]string{"sign"},
		jobs.FaultOperator,
		[]string{"serviceAccount:" + robot},
	},
	"Google does not sign": {
		func(_ *testing.T, p *patient) { p.order(sandbox.Fault{Kind: "5xx", Call: "signJwt"}) },
		[]string{"sign"},
		jobs.FaultGoogle,
		[]string{"status.cloud.google.com"},
	},
	"Google publishes no keys": {
		func(_ *testing.T, p *patient) { p.order(sandbox.Fault{Kind: "cut", Call: "keys.jwk"}) },
		[]string{"service account"},
		jobs.FaultGoogle,
		[]string{"status.cloud.google.com"},
	},
	"administrators have disabled Gmail": {
		func(_ *testing.T, p *patient) { p.order(sandbox.Fault{Row: "A9", Call: "gmail.users.labels.list"}) },
		[]string{"call gmail.googleapis.com"},
		jobs.FaultAdmin,
		[]string{ada},
	},
}

// chain makes it the robot that signs for the third account by way of the other.
func (p *patient) chain(toOther, toThird []string) {
	p.world.ServiceAccounts = append(p.world.ServiceAccounts,
		sandbox.ServiceAccount{Email: other, Signers: toOther},
		sandbox.ServiceAccount{Email: third, Signers: toThird, DelegatedScopes: p.robot().DelegatedScopes})
	p.settings = []string{"ONBEHALF_SERVICE_ACCOUNT=" + third, "ONBEHALF_DELEGATES=" + other}
}

// without takes scopes out of the robot's entry.
func (p *patient) without(scopes ...string) {
	entry := slices.Clone(p.robot().DelegatedScopes)
	p.robot().DelegatedScopes = slices.DeleteFunc(entry, func(s string) bool { return slices.Contains(scopes, s) })
}

// keyOf has a key of that account sign.
func (p *patient) keyOf(account string, makes func(*sandbox.Server, string) ([]byte, error)) {
	p.world.ServiceAccounts = append(p.world.ServiceAccounts, sandbox.ServiceAccount{Email: other})
	p.broken = func(t *testing.T, s *sandbox.Server, p *patient) {
		data, err := makes(s, account)
		if err != nil {
			t.Fatal(err)
		}
		p.settings = append(p.settings, "ONBEHALF_SIGNER=key:"+writeFile(t, "key", data))
	}
}

func (p *patient) order(f sandbox.Fault) {
	p.broken = func(t *testing.T, s *sandbox.Server, _ *patient) {
		if err := s.Order(f); err != nil {
			t.Fatal(err)
		}
	}
}

// Exactly what is wrong fails, with who must act and what to do, in real names.
// The rest passes, or was not reached and says why.
func TestWhatIsWrong(t *testing.T) {
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := healthy()
			c.breaks(t, p)
			check(t, p.examine(t), c.failed, c.fault, c.fix)
		})
	}
}

func check(t *testing.T, r *doctor.Report, failed []string, fault jobs.Fault, fix []string) {
	t.Helper()
	if diff := cmp.Diff(failed, ids(r, doctor.Failed)); diff != "" {
		t.Errorf("%s\n%+v", diff, r)
		return
	}
	if len(failed) == 0 {
		return
	}
	for _, c := range r.Checks {
		switch {
		case c.Says == "":
			t.Errorf("%s says nothing", c.ID())
		case c.Status == doctor.Failed && (c.Fault != fault || c.Fix == ""):
			t.Errorf("%s: fault %q, want %q; %s", c.ID(), c.Fault, fault, c.Fix)
		case c.Status == doctor.Failed && strings.ContainsAny(c.Says+c.Fix, "{}"):
			t.Errorf("%s: a name is missing: %s %s", c.ID(), c.Says, c.Fix)
		case strings.HasPrefix(c.Says, "because of ") && !slices.Contains(failed, strings.TrimSuffix(strings.TrimPrefix(c.Says, "because of "), "; the steps below show most of it")):
			t.Errorf("%s: %s, which did not fail", c.ID(), c.Says)
		}
	}
	for _, words := range fix {
		if !strings.Contains(r.Next, words) {
			t.Errorf("next: %q does not have %q", r.Next, words)
		}
	}
}

// Of several scopes it is the missing one that is named, and no other, and the
// link has that alone.
func TestEachScopeMissingAlone(t *testing.T) {
	all := []string{"calendar.events", "drive.metadata.readonly", "gmail.insert", "gmail.labels"}
	for _, missing := range all {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			p := healthy()
			p.without(scopes + missing)
			r := p.examine(t)
			check(t, r, []string{scope(missing)}, jobs.FaultAdmin, []string{"clientScopeToAdd=https%3A%2F%2Fwww.googleapis.com%2Fauth%2F" + missing + "&clientIdToAdd=" + robotID})
			for _, s := range all {
				if s != missing && !slices.Contains(ids(r, doctor.Passed), scope(s)) {
					t.Errorf("%s: not passed\n%+v", s, r)
				}
			}
		})
	}
}

// That there may be no entry is said where no scope at all is authorized.
func TestWhetherThereIsAnEntry(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func(*patient)
		failed string
		none   bool
	}{
		"no scope": {func(p *patient) { p.robot().DelegatedScopes = nil }, scope("gmail.insert"), true},
		"no scope, the administrator's neither": {
			func(p *patient) {
				p.robot().DelegatedScopes, p.settings = nil, []string{"ONBEHALF_ADMIN=" + admin}
			},
			"administrator " + reading, true,
		},
		"the administrator's alone": {
			func(p *patient) {
				p.robot().DelegatedScopes, p.settings = []string{reading}, []string{"ONBEHALF_ADMIN=" + admin}
			},
			scope("gmail.insert"), false,
		},
		"that of an administrator who is none": {
			func(p *patient) {
				p.robot().DelegatedScopes, p.settings = []string{reading}, []string{"ONBEHALF_ADMIN=grace@example.com"}
			},
			scope("gmail.insert"), false,
		},
		"the user's other one": {
			func(p *patient) {
				p.robot().DelegatedScopes, p.actions = []string{scopes + "gmail.labels"}, []string{insert, labels}
			},
			scope("gmail.insert"), false,
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := healthy()
			p.actions = []string{insert}
			c.breaks(p)
			r := p.examine(t)
			i := slices.IndexFunc(r.Checks, func(check doctor.Check) bool { return check.ID() == c.failed && check.Status == doctor.Failed })
			if i < 0 {
				t.Fatalf("%s did not fail: %+v", c.failed, r)
			}
			if says := r.Checks[i].Says; strings.Contains(says, "there may be no entry at all") != c.none {
				t.Error(says)
			}
		})
	}
}

// A policy's refusal keeps the doctor from acting as the user.
func TestWhomThePolicyRefusesNobodyActsAs(t *testing.T) {
	for name, breaks := range map[string]func(*patient){
		"denied":    func(p *patient) { p.policy += "denyUsers: [" + ada + "]\n" },
		"protected": func(p *patient) { p.user, p.settings = admin, []string{"ONBEHALF_ADMIN=grace.admin@example.com"} },
		"no action": func(p *patient) { p.policy = "domains: [example.com]\nactions: [sheets.*]\n" },
	} {
		t.Run(name, func(t *testing.T) {
			p := healthy()
			p.world.Users = append(p.world.Users, sandbox.User{PrimaryEmail: "grace.admin@example.com", IsAdmin: true})
			breaks(p)
			p.order(sandbox.Fault{Row: "A17", User: p.user}) // would show
			r := p.examine(t)
			for _, c := range r.Checks {
				if (c.Name == "scope" || c.Name == "call") && !strings.HasPrefix(c.Says, "because of policy") {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

// What signs with a key works as well, and so does one's own sign-in.
func TestOtherWaysThatWork(t *testing.T) {
	for name, breaks := range map[string]func(*testing.T, *patient){
		"key in JSON": func(_ *testing.T, p *patient) { p.keyOf(robot, (*sandbox.Server).KeyFile) },
		"key in P12": func(_ *testing.T, p *patient) {
			p.settings = []string{"ONBEHALF_SERVICE_ACCOUNT=" + robot}
			p.keyOf(robot, (*sandbox.Server).KeyP12)
		},
		"own sign-in":                  func(t *testing.T, p *patient) { p.signIn(t, project) },
		"workload identity federation": func(t *testing.T, p *patient) { p.federate(t) },
		"a chain":                      func(_ *testing.T, p *patient) { p.chain([]string{robot}, []string{other}) },
		"what the policy lists": func(_ *testing.T, p *patient) {
			p.actions, p.policy = nil, "domains: [example.com]\nactions: ['gmail.users.labels.*', '"+insert+"']\n"
		},
		"a right that is just there": func(_ *testing.T, p *patient) {
			p.patience = time.Second
			p.order(sandbox.Fault{Row: "S1", Times: 1})
		},
		"what Service Usage does not tell": func(_ *testing.T, p *patient) { p.world.Viewers = []string{} },
		"a mailbox that no action needs": func(_ *testing.T, p *patient) {
			p.ada().NoMailbox, p.settings, p.actions = true, []string{"ONBEHALF_ADMIN=" + admin}, []string{events}
		},
		"keys that Google does not list": func(_ *testing.T, p *patient) { p.order(sandbox.Fault{Kind: "5xx", Call: "keys.jwk"}) },
		"a clock that is a little off":   func(_ *testing.T, p *patient) { p.options.Skew = 20 * time.Minute },
	} {
		t.Run(name, func(t *testing.T) {
			p := healthy()
			breaks(t, p)
			r := p.examine(t)
			check(t, r, nil, "", nil)
			if waited := len(p.told) > 0; waited != (p.patience > 0) {
				t.Errorf("told %q", p.told)
			}
			if passed := ids(r, doctor.Passed); !slices.ContainsFunc(passed, func(id string) bool { return strings.HasPrefix(id, "call ") }) {
				t.Errorf("no API was called: %+v", r)
			}
		})
	}
}

// builds is the pool of an identity from outside Google.
const builds = "iam.googleapis.com/projects/424242424242/locations/global/workloadIdentityPools/builds"

// federate makes the identity one from outside Google, without an account.
func (p *patient) federate(t *testing.T) {
	t.Helper()
	who := "principal://" + builds + "/subject/ci"
	p.world.Federated = []sandbox.Federated{{Audience: "//" + builds + "/providers/ci", SubjectToken: "made-up-subject", Principal: who}}
	p.robot().Signers = []string{who}
	data, err := json.Marshal(map[string]any{
		"type": "external_account", "audience": "//" + builds + "/providers/ci", "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
		"token_url": "https://sts.googleapis.com/v1/token", "credential_source": map[string]any{"file": writeFile(t, "subject", []byte("made-up-subject"))},
	})
	if err != nil {
		t.Fatal(err)
	}
	p.file = writeFile(t, "adc.json", data)
	p.settings = append(p.settings, "ONBEHALF_SERVICE_ACCOUNT="+robot)
}

// signIn makes the identity a person's own sign-in, who may sign for the robot.
func (p *patient) signIn(t *testing.T, quotaProject string) {
	t.Helper()
	p.world.SignIns = []sandbox.SignIn{{Email: op, RefreshToken: "placeholder-refresh", ClientID: "client", ClientSecret: "placeholder-secret"}}
	p.world.Viewers = []string{op}
	p.robot().Signers = []string{op}
	data, err := json.Marshal(map[string]string{
		"type": "authorized_user", "client_id": "client", "client_secret": "placeholder-secret", "refresh_token": "placeholder-refresh", "quota_project_id": quotaProject,
	})
	if err != nil {
		t.Fatal(err)
	}
	p.file = writeFile(t, "adc.json", data)
	p.settings = append(p.settings, "ONBEHALF_SERVICE_ACCOUNT="+robot)
}

// A person's own sign-in can be wrong in ways of its own.
func TestOwnSignIn(t *testing.T) {
	for name, c := range map[string]struct {
		breaks func(*patient)
		quota  string
		failed string
		fix    string
	}{
		"no quota project":        {func(*patient) {}, "", "sign", "gcloud auth application-default set-quota-project " + project},
		"no right to the project": {func(p *patient) { p.world.SignIns[0].QuotaProjects = []string{"elsewhere"} }, project, "sign", "roles/serviceusage.serviceUsageConsumer"},
		"it has ended":            {func(p *patient) { p.world.SignIns = nil; p.robot().Signers = nil }, project, "identity", "gcloud auth application-default login"},
		"no account is named":     {func(p *patient) { p.settings = nil }, project, "signer", "ONBEHALF_SERVICE_ACCOUNT"},
		"no file":                 {func(p *patient) { p.file += ".none" }, project, "identity", "gcloud auth application-default login"},
		"no project":              {func(p *patient) { p.project = "" }, project, "project", "export GOOGLE_CLOUD_PROJECT="},
		"no grant":                {func(p *patient) { p.robot().Signers = nil }, project, "sign", "--member=user:" + op},
	} {
		t.Run(name, func(t *testing.T) {
			p := healthy()
			p.signIn(t, c.quota)
			c.breaks(p)
			check(t, p.examine(t), []string{c.failed}, jobs.FaultOperator, []string{c.fix})
		})
	}
}

// An identity from outside Google is granted its right alone, and not with its whole pool.
func TestFederatedIdentity(t *testing.T) {
	const member = "--member=principal://" + builds + "/subject/SUBJECT --role="
	for failed, breaks := range map[string]func(*patient){
		"sign":                   func(p *patient) { p.robot().Signers = nil },
		"topic onbehalf-results": func(p *patient) { p.publish = []string{} },
		"policy": func(p *patient) {
			p.policy, p.settings = "", append(p.settings, "ONBEHALF_POLICY=sm://onbehalf-sandbox/policy/3")
			p.order(sandbox.Fault{Row: "A15", Call: "secretmanager.versions.access"})
		},
	} {
		t.Run(failed, func(t *testing.T) {
			p := healthy()
			p.federate(t)
			breaks(p)
			check(t, p.examine(t), []string{failed}, jobs.FaultOperator, []string{member, "SUBJECT is the identity's own"})
		})
	}
}

// With a key that signs there may be no identity; what takes one says so.
func TestNoIdentity(t *testing.T) {
	setUp := func() *patient {
		p := healthy()
		p.keyOf(robot, (*sandbox.Server).KeyFile)
		p.file = "none.json"
		return p
	}
	p := setUp()
	p.topics = nil
	r := p.examine(t)
	check(t, r, nil, "", nil)
	for _, c := range r.Checks {
		if c.Name == "identity" && (c.Status != doctor.NotReached || !strings.Contains(c.Says, "none is needed to sign with a key")) {
			t.Errorf("%+v", c)
		}
	}
	p = setUp()
	p.policy, p.settings = "", []string{"ONBEHALF_POLICY=sm://onbehalf-sandbox/policy/3"}
	check(t, p.examine(t), []string{"policy"}, jobs.FaultOperator, []string{"gcloud auth application-default login"})
	p = healthy()
	p.file, p.settings = "none.json", []string{"ONBEHALF_SIGNER=key:sm://onbehalf-sandbox/key/1"}
	check(t, p.examine(t), []string{"signer"}, jobs.FaultOperator, []string{"gcloud auth application-default login"})
}

// Where an API has no read that would show it, or has none here, nothing is said of
// the set-up.
func TestWhatIsNotToBeSeen(t *testing.T) {
	p := healthy()
	p.actions = []string{"sheets.spreadsheets.get", "siteVerification.webResource.list", insert}
	r := p.examine(t)
	check(t, r, nil, "", nil)
	says := make(map[string]string)
	for _, c := range r.Checks {
		says[c.ID()] = c.Says
	}
	for id, words := range map[string]string{
		"call sheets.googleapis.com":           "no read that needs nothing but the user",
		"call siteverification.googleapis.com": "siteVerification.webResource.list was not answered",
		"call gmail.googleapis.com":            "no read that needs nothing but the user is permitted",
	} {
		if !strings.Contains(says[id], words) {
			t.Errorf("%s: %q, want %q", id, says[id], words)
		}
	}
}

// What nothing has shown is not said to be in order: the last line names it. It is
// no failure.
func TestWhatWasNotSeen(t *testing.T) {
	const mail = "gmail.googleapis.com"
	for name, c := range map[string]struct {
		breaks func(*patient)
		unseen []string
		says   string // of the last one
	}{
		"an answered call shows the rest":       {func(*patient) {}, nil, ""},
		"it shows an API that may not be asked": {func(p *patient) { p.world.Viewers = []string{} }, nil, ""},
		"the policy depends on the job": {
			func(p *patient) {
				p.actions = []string{labels}
				p.policy += "when: job.labels.campaign == 'welcome'\n"
			},
			[]string{"policy " + labels},
			"depends on the job (policy.yaml: when, line 3: job.labels.campaign == 'welcome'); try: onbehalf policy check policy.yaml --job FILE",
		},
		"no read is permitted": {
			func(p *patient) { p.actions = []string{insert} },
			[]string{"user", "call " + mail},
			"so whether " + mail + " is on for " + ada + " shows only in a job",
		},
		"another API's call shows no mailbox": {
			func(p *patient) { p.actions = []string{insert, events} },
			[]string{"user", "call " + mail},
			"gmail.insert, so",
		},
		"the Directory shows the user": {
			func(p *patient) {
				p.actions, p.settings = []string{insert}, []string{"ONBEHALF_ADMIN=" + admin}
			},
			[]string{"call " + mail},
			"so whether " + mail,
		},
		"no read is permitted, and the API may not be asked": {
			func(p *patient) { p.actions, p.world.Viewers = []string{insert}, []string{} },
			[]string{"api " + mail, "user", "call " + mail},
			"so whether the API is on, and whether " + mail + " is on for " + ada + ", shows only in a job",
		},
		"the Directory shows its own API": {
			func(p *patient) {
				p.actions, p.settings, p.world.Viewers = []string{"directory.groups.insert"}, []string{"ONBEHALF_ADMIN=" + admin}, []string{}
				p.order(sandbox.Fault{Row: "A4", Call: "directory.groups.list"})
			},
			[]string{"call admin.googleapis.com"},
			"",
		},
		"the API has no read": {
			func(p *patient) { p.actions = []string{labels, "sheets.spreadsheets.get"} },
			[]string{"call sheets.googleapis.com"},
			"a job shows it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := healthy()
			c.breaks(p)
			r := p.examine(t)
			check(t, r, nil, "", nil)
			var unseen []string
			says := ""
			for _, check := range r.Checks {
				if check.Unseen {
					unseen, says = append(unseen, check.ID()), check.Says
				}
			}
			if diff := cmp.Diff(c.unseen, unseen); diff != "" || !strings.Contains(says, c.says) {
				t.Errorf("%s: %s", diff, says)
			}
			next := "Nothing has to be mended. Publish"
			if c.unseen != nil {
				next = "Nothing that could be seen has to be mended; not seen: " + strings.Join(c.unseen, ", ") + ". Publish"
			}
			if !strings.HasPrefix(r.Next, next) {
				t.Errorf("next: %q, want %q", r.Next, next)
			}
		})
	}
}

// Whoever ends it gets no report that could be taken for one.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := doctor.Examine(ctx, doctor.Options{User: ada})
	if r != nil || !errors.Is(err, context.Canceled) {
		t.Errorf("%+v, %v", r, err)
	}
}

// The emulator that the environment names is asked, and the real Pub/Sub is not where
// a sandbox stands in for Google.
func TestPubSubOfASandbox(t *testing.T) {
	p := healthy()
	server := pstest.NewServer()
	defer server.Close()
	if _, err := server.GServer.CreateTopic(t.Context(), &pubsubpb.Topic{Name: "projects/" + project + "/topics/onbehalf-jobs"}); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PUBSUB_EMULATOR_HOST", server.Addr)
	p.topics, p.settings = nil, []string{"PUBSUB_EMULATOR_HOST=" + server.Addr}
	check(t, p.examine(t), []string{"topic onbehalf-results"}, jobs.FaultOperator, []string{"topics create onbehalf-results"})

	p.settings = nil
	r := p.examine(t)
	check(t, r, nil, "", nil)
	if got := ids(r, doctor.NotReached); !slices.Contains(got, "topic") {
		t.Errorf("not reached: %q", got)
	}
	if strings.Contains(r.Next, "not seen") { // for it was not to be looked at
		t.Error(r.Next)
	}

	server.Close()
	p.settings = []string{"PUBSUB_EMULATOR_HOST=" + server.Addr}
	check(t, p.examine(t), []string{"topic"}, jobs.FaultOperator, []string{"Start the emulator", "unset PUBSUB_EMULATOR_HOST"})
}

// A Pub/Sub that never answers is one failure, and soon.
func TestPubSubIsSilent(t *testing.T) {
	t.Parallel()
	p := healthy()
	p.silent = true
	begun := time.Now()
	check(t, p.examine(t), []string{"topic"}, jobs.FaultGoogle, []string{"status.cloud.google.com"})
	if took := time.Since(begun); took > 15*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A policy that is not about users is not wrong: the doctor is the wrong one to ask.
func TestPolicyForTheServiceAccountAlone(t *testing.T) {
	p, err := policy.Parse([]byte("serviceAccountActions: ['sql.instances.list']"))
	if err != nil {
		t.Fatal(err)
	}
	server, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	listening := httptest.NewServer(server)
	defer listening.Close()
	_, err = doctor.Examine(t.Context(), doctor.Options{
		Environ: []string{"GOOGLE_CLOUD_PROJECT=" + project, "ONBEHALF_SANDBOX=" + listening.URL}, User: ada, Policy: p, From: "policy.yaml",
		Access: access.Options{Caller: robot, Credentials: func() (*auth.Credentials, error) { return server.Credentials(robot), nil }},
	})
	if err == nil || !strings.Contains(err.Error(), "policy.yaml: has nothing for users") {
		t.Error(err)
	}
}

// Wrong use is told before anybody is asked.
func TestWrongUse(t *testing.T) {
	for name, c := range map[string]struct {
		o    doctor.Options
		want string
	}{
		"no address":     {doctor.Options{User: "ada"}, `--user: is "ada"; a primary e-mail address`},
		"a name as well": {doctor.Options{User: "Ada <ada@example.com>"}, "--user"},
		"no such method": {doctor.Options{User: ada, Actions: []string{"gmail.users.mesages.insert"}}, "did you mean gmail.users.messages.insert"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := doctor.Examine(t.Context(), c.o); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want %s", err, c.want)
			}
		})
	}
}
