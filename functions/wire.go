package functions

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync/atomic"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/compute/metadata"
	"google.golang.org/api/option"

	"github.com/onbehalf-dev/onbehalf/internal/actions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/delegation"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// Executor does jobs. One serves all users at once.
type Executor struct {
	project string
	log     *slog.Logger
	ledger  ledger.Ledger
	policy  *policy.Policy
	own     *identity
	minter  *delegation.Minter
	actions *actions.Actions
	results Results
	panics  atomic.Int64
	// unpublished is why and when a result could last not be published; nil once
	// one could.
	unpublished atomic.Pointer[unpublishedError]
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
	// Policy stands in for the one that the settings name.
	Policy *policy.Policy
	// Results stands in for the topic that the settings name.
	Results Results
	// Ledger stands in for the one that the settings name.
	Ledger ledger.Ledger
}

// New makes an Executor. It asks the metadata server who it is where the
// settings do not say, and reads the policy.
func New(ctx context.Context, cfg config.Config, o Options) (*Executor, error) {
	x := &Executor{log: o.Logger, ledger: o.Ledger, policy: o.Policy, results: o.Results}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	if x.ledger == nil {
		x.ledger = ledger.NewMemory(0)
	}
	client := &http.Client{Transport: transport(cfg.Sandbox), CheckRedirect: noRedirect}
	if o.Credentials == nil {
		o.Credentials = findDefault(client)
		if cfg.Sandbox != "" && os.Getenv("GOOGLE_APPLICATION_CREDENTIALS") == "" {
			o.Credentials = fromMetadata // a developer's own sign-in has no business there
		}
	}
	var err error
	if x.own, err = newIdentity(o.Credentials); err != nil {
		return nil, err
	}
	own := &http.Client{Transport: ownTransport{x.own, client.Transport}, CheckRedirect: noRedirect}
	account, err := x.locate(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if x.policy == nil && cfg.Policy != "" {
		if x.policy, err = readPolicy(ctx, cfg.Policy, own); err != nil {
			return nil, fmt.Errorf("ONBEHALF_POLICY: %s: %w", cfg.Policy, err)
		}
	}
	if x.minter, err = delegation.New(delegation.Config{ServiceAccount: account, Delegates: cfg.Delegates, Identity: x.own, HTTP: client}); err != nil {
		return nil, err
	}
	if x.actions, err = actions.New(ctx, actions.Config{HTTP: client, Own: own, StorageEmulator: storageEmulator(cfg.StorageEmulator)}); err != nil {
		return nil, err
	}
	if x.results == nil {
		err = x.connectResults(ctx, cfg)
	}
	return x, err
}

// locate finds the project, and the delegated service account's e-mail address.
func (x *Executor) locate(ctx context.Context, cfg config.Config) (account string, err error) {
	if x.project = cfg.Project; x.project == "" {
		if x.project, err = metadata.ProjectIDWithContext(ctx); err != nil {
			return "", fmt.Errorf("GOOGLE_CLOUD_PROJECT: is not set, and there is no metadata server to ask; set it to the id of the project: %w", err)
		}
	}
	if account = cfg.ServiceAccount; account == "" {
		if account, err = metadata.EmailWithContext(ctx, "default"); err != nil {
			return "", fmt.Errorf("ONBEHALF_SERVICE_ACCOUNT: is not set, and there is no metadata server to ask for the runtime's own; set it to the e-mail address of the delegated service account: %w", err)
		}
	}
	return account, nil
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
	var opts []option.ClientOption
	switch emulator := os.Getenv("PUBSUB_EMULATOR_HOST"); {
	case emulator == "" && cfg.Sandbox != "":
		return errors.New("PUBSUB_EMULATOR_HOST: is not set, but ONBEHALF_SANDBOX is; results of a sandbox must not go to the real Pub/Sub: set it to HOST:PORT of a Pub/Sub emulator")
	case emulator == "":
		opts = append(opts, option.WithAuthCredentials(x.own.credentials()))
	}
	results, err := pubsubio.NewResults(ctx, x.project, cfg.ResultsTopic, opts...)
	if err != nil {
		return err
	}
	x.results = results
	x.close = append(x.close, results.Close)
	return nil
}

// readPolicy reads the policy from a file or from Secret Manager.
func readPolicy(ctx context.Context, from string, own *http.Client) (*policy.Policy, error) {
	data, err := readSetting(ctx, from, own)
	if err != nil {
		return nil, err
	}
	return policy.Parse(data)
}
