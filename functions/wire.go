package functions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"cloud.google.com/go/auth"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/quota"
)

// Executor does jobs. One serves all users at once.
type Executor struct {
	google  *access.Access
	log     *slog.Logger
	ledger  ledger.Ledger
	batches *batch.Batches
	policy  *policy.Policy
	admins  *directory.Admins // nil: the Directory is not read
	learner learner
	// directory is read as admin; nil where there is none.
	directory *directory.Directory
	admin     string // as whom the Directory is read; empty: it is not
	actions   *actions.Actions
	results   Results
	// keepAll has the ledger keep every job; again tells which results do not count.
	keepAll bool
	again   func(jobs.Result) bool
	// deferrals and budget are what Google has said not to spend, and what this
	// instance may.
	deferrals *quota.Deferrals
	budget    *quota.Budget
	// ending is over when no work is to be begun, breakOff when calls are to end, too.
	ending, breakOff context.Context
	panics           atomic.Int64
	// unpublished is why and when a result could last not be published; nil once
	// one could.
	unpublished atomic.Pointer[againError]
	ends        sync.Mutex
	close       []func() error
}

// Results takes the final results of jobs, and the summaries of batches. What has
// returned nil is safe.
type Results interface {
	Publish(ctx context.Context, r jobs.Result) error
	Tell(ctx context.Context, s jobs.Summary) error
}

// Options are what an Executor is given beside its settings. The zero value is
// what a deployed function has.
type Options struct {
	Logger *slog.Logger
	// Credentials finds the runtime's own; nil finds the application default ones.
	Credentials func() (*auth.Credentials, error)
	// Caller is the e-mail address of whom Credentials are.
	Caller string
	// Policy stands in for the one that the settings name.
	Policy *policy.Policy
	// Results stands in for the topic that the settings name.
	Results Results
	// Ledger stands in for the one that the settings name. Its owner closes it.
	Ledger ledger.Ledger
	// Publish stands in for the topic of jobs, and Continue for that of batches.
	Publish  func(ctx context.Context, messages []batch.Message) (wait func(context.Context) error)
	Continue func(ctx context.Context, id string) error
	// LocalFiles lets a batch name a CSV file of this machine.
	LocalFiles bool
	// KeepAll has the ledger keep also what may as well be done again.
	KeepAll bool
	// Again tells of a job's final result that it does not count, so that the job is
	// done again; nil is never.
	Again func(jobs.Result) bool
	// Ending is over when no work is to be begun, and BreakOff, a while later, when
	// calls in hand are to be broken off, and looked up by another; nil is never.
	Ending, BreakOff context.Context
}

// New makes an Executor. It asks the metadata server who it is where the
// settings do not say, and reads the policy.
func New(ctx context.Context, cfg config.Config, o Options) (*Executor, error) {
	x := &Executor{
		log: cmp.Or(o.Logger, slog.New(slog.DiscardHandler)), ledger: o.Ledger, policy: o.Policy, results: o.Results,
		keepAll: o.KeepAll, again: o.Again, ending: o.Ending, breakOff: o.BreakOff,
	}
	for _, signal := range []*context.Context{&x.ending, &x.breakOff} {
		if *signal == nil {
			*signal = context.Background()
		}
	}
	user, project := cfg.GmailUnits()
	x.budget = quota.NewBudget(quota.Limits{PerUser: user, PerProject: project}, turnPatience)
	var err error
	if x.google, err = access.Open(ctx, cfg, access.Options{Credentials: o.Credentials, Caller: o.Caller, Tripped: x.breakerOpen}); err != nil {
		return nil, err
	}
	if x.policy == nil && cfg.Policy != "" {
		if x.policy, err = x.readPolicy(ctx, cfg.Policy); err != nil {
			return nil, fmt.Errorf("ONBEHALF_POLICY: %s: %w", cfg.Policy, err)
		}
	}
	if err := x.protectAdmins(cfg.Admin); err != nil {
		return nil, err
	}
	if x.actions, err = actions.New(ctx, actions.Config{HTTP: x.google.HTTP, Own: x.google.OwnHTTP, StorageEmulator: storageEmulator(cfg.StorageEmulator)}); err != nil {
		return nil, err
	}
	if err := x.policy.CheckActions(x.actions.Fits); err != nil {
		return nil, fmt.Errorf("ONBEHALF_POLICY: %w", err)
	}
	if err := x.connect(ctx, cfg); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	x.deferrals = quota.NewDeferrals(x.ledger)
	if x.batches, err = x.newBatches(cfg, o); err != nil { //nolint:contextcheck // topics are connected later, and bound themselves
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

// storageEmulator is the base URL of what STORAGE_EMULATOR_HOST names.
func storageEmulator(host string) string {
	if host != "" && !strings.Contains(host, "://") {
		host = "http://" + host
	}
	return strings.TrimSuffix(host, "/")
}

// atEnd has something be closed with the Executor. Topics connect whenever they are
// first needed.
func (x *Executor) atEnd(end func() error) {
	x.ends.Lock()
	defer x.ends.Unlock()
	x.close = append(x.close, end)
}

// Close ends the Executor's connections.
func (x *Executor) Close() error {
	x.ends.Lock()
	defer x.ends.Unlock()
	var problems []error
	for _, end := range x.close {
		problems = append(problems, end())
	}
	return errors.Join(problems...)
}

// connect opens what the settings name, where nothing stands in for it.
func (x *Executor) connect(ctx context.Context, cfg config.Config) error {
	if x.results == nil {
		if err := x.connectResults(ctx, cfg); err != nil {
			return err
		}
	}
	if x.ledger != nil {
		return nil
	}
	var err error
	if x.ledger, err = OpenLedger(ctx, cfg, x.google); err == nil {
		x.atEnd(x.ledger.Close)
	}
	return err
}

func (x *Executor) connectResults(ctx context.Context, cfg config.Config) error {
	project, err := x.google.FindProject(ctx, cfg)
	if err != nil {
		return err
	}
	opts, err := x.google.ClientOptions(cfg, "PUBSUB_EMULATOR_HOST", "Pub/Sub", "results")
	if err != nil {
		return fmt.Errorf("ONBEHALF_RESULTS_TOPIC: %w", err)
	}
	results, err := pubsubio.NewResults(ctx, project, cfg.ResultsTopic, opts...)
	if err != nil {
		return err
	}
	x.results = results
	x.atEnd(results.Close)
	return nil
}

// OpenLedger opens the ledger that the settings name; memory is a new one. It takes an
// identity of google's only for one in Firestore.
func OpenLedger(ctx context.Context, cfg config.Config, google *access.Access) (ledger.Ledger, error) {
	l, err := newLedger(ctx, cfg, google)
	if err != nil {
		return nil, fmt.Errorf("ONBEHALF_LEDGER: %w", ledgerFix(err))
	}
	return l, nil
}

func newLedger(ctx context.Context, cfg config.Config, google *access.Access) (ledger.Ledger, error) {
	switch kind, where := cfg.LedgerAt(); kind {
	case "file":
		return ledger.OpenFile(where) //nolint:contextcheck // it bounds itself
	case "firestore":
		project, err := google.FindProject(ctx, cfg)
		if err != nil {
			return nil, err
		}
		opts, err := google.ClientOptions(cfg, "FIRESTORE_EMULATOR_HOST", "Firestore", "a ledger")
		if err != nil {
			return nil, err
		}
		return ledger.OpenFirestore(ctx, project, where, opts...)
	default:
		return ledger.NewMemory(0), nil
	}
}

// ledgerFix has who opens a ledger told also what to do.
func ledgerFix(err error) error {
	var e *ledger.Error
	if errors.As(err, &e) && e.Fix != "" {
		return fmt.Errorf("%w %s", err, e.Fix)
	}
	return err
}

// protectAdmins has the policy ask the Directory who is an administrator, as
// this one; empty: nobody can tell.
func (x *Executor) protectAdmins(admin string) (err error) {
	var admins policy.Admins
	if x.admin = admin; admin != "" {
		d, err := x.google.Directory(admin)
		if err != nil {
			return err
		}
		x.directory, x.admins = d, directory.NewAdmins(d)
		admins = x.admins
	}
	if x.policy, err = x.policy.With(admins); err != nil {
		return fmt.Errorf("ONBEHALF_POLICY: %w", err)
	}
	return nil
}

// readPolicy reads the policy from a file or from Secret Manager.
func (x *Executor) readPolicy(ctx context.Context, from string) (*policy.Policy, error) {
	data, err := x.google.ReadSetting(ctx, from)
	if err != nil {
		return nil, err
	}
	return policy.Parse(data)
}
