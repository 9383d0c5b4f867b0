package functions

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"cloud.google.com/go/auth"
	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/access"
	"github.com/onbehalf-dev/onbehalf/internal/actions"
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
	policy  *policy.Policy
	admin   string // as whom the Directory is read; empty: it is not
	actions *actions.Actions
	results Results
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
	unpublished atomic.Pointer[unpublished]
	close       []func() error
}

// Results takes the final results of jobs. When Publish returns nil the result
// is safe.
type Results interface {
	Publish(ctx context.Context, r jobs.Result) error
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
	if x.ledger == nil {
		x.ledger = ledger.NewMemory(0)
	}
	if x.ending == nil {
		x.ending, x.breakOff = context.Background(), context.Background()
	}
	x.deferrals = quota.NewDeferrals(x.ledger)
	user, project := cfg.GmailUnits()
	x.budget = quota.NewBudget(quota.Limits{PerUser: user, PerProject: project}, turnPatience)
	var err error
	if x.google, err = access.Open(ctx, cfg, access.Options{Credentials: o.Credentials, Caller: o.Caller}); err != nil {
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
	if x.results == nil {
		err = x.connectResults(ctx, cfg)
	}
	return x, err
}

// storageEmulator is the base URL of what STORAGE_EMULATOR_HOST names.
func storageEmulator(host string) string {
	if host != "" && !strings.Contains(host, "://") {
		host = "http://" + host
	}
	return strings.TrimSuffix(host, "/")
}

// Close ends the Executor's connections.
func (x *Executor) Close() error {
	var problems []error
	for _, end := range x.close {
		problems = append(problems, end())
	}
	return errors.Join(problems...)
}

func (x *Executor) connectResults(ctx context.Context, cfg config.Config) error {
	project, err := x.google.FindProject(ctx, cfg)
	if err != nil {
		return err
	}
	var opts []option.ClientOption
	switch emulator := os.Getenv("PUBSUB_EMULATOR_HOST"); {
	case emulator == "" && cfg.Sandbox != "":
		return errors.New("PUBSUB_EMULATOR_HOST: is not set, but ONBEHALF_SANDBOX is; results of a sandbox must not go to the real Pub/Sub: set it to HOST:PORT of a Pub/Sub emulator")
	case emulator == "":
		if err := x.google.Own.Missing(); err != nil {
			return fmt.Errorf("ONBEHALF_RESULTS_TOPIC: to publish results takes an identity of the runtime's own, though a key signs (unless PUBSUB_EMULATOR_HOST names an emulator): %w", err)
		}
		opts = append(opts, option.WithAuthCredentials(x.google.Own.Credentials()))
	}
	results, err := pubsubio.NewResults(ctx, project, cfg.ResultsTopic, opts...)
	if err != nil {
		return err
	}
	x.results = results
	x.close = append(x.close, results.Close)
	return nil
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
		admins = directory.NewAdmins(d)
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
