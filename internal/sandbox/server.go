package sandbox

import (
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// defaultKeyBits is the size of the keys that Google manages.
const defaultKeyBits = 2048

// Options are what a test or a benchmark may choose.
type Options struct {
	Logger  *slog.Logger     // nil: nothing is logged
	Latency time.Duration    // before each answer of a Google API; the metadata server and /_sandbox answer at once
	Seed    uint64           // of the shares of faults
	KeyBits int              // of the accounts' RSA keys; 0 is 2048
	Now     func() time.Time // the server's clock; nil is time.Now
	Skew    time.Duration    // how far the server's clock runs ahead of Now; negative is behind
}

// A Server is one fake Google. It is a handler and starts no goroutine.
type Server struct {
	log     *slog.Logger
	latency time.Duration
	now     func() time.Time

	project, projectNumber string
	runtime                *account
	groups                 []Group // seeds, as the two below
	sqlInstances           []string
	vms                    []VM

	routes    *router
	apis      *apiSet
	control   *router
	calls     *counters
	faults    *faults
	rows      *rowTable
	known     map[string]bool // scopes
	tokens    *tokens
	secrets   *secretLog
	accounts  *accounts
	apisOff   *nameSet
	viewers   []string // principals that may look at the project
	signIns   []SignIn
	federated []Federated
	people    *people
	google    *keyring // signs ID tokens, as accounts.google.com does
	machine   atomic.Pointer[token]
	ids       atomic.Uint64 // the newest id of a message
	uploads   *uploads
	objects   *objects
	store     *store
	secretsOf *vault
	quota     *quotas
}

var _ http.Handler = (*Server)(nil)

// New makes a server of a world. It takes a moment: every account gets a key.
func New(world World, o Options) (*Server, error) {
	world.ServiceAccounts = append([]ServiceAccount(nil), world.ServiceAccounts...)
	world.SignIns = append([]SignIn(nil), world.SignIns...)
	world.Users = append([]User(nil), world.Users...)
	world.Groups = append([]Group(nil), world.Groups...)
	world.normalize()
	if err := world.validate(); err != nil {
		return nil, fmt.Errorf("sandbox: world: %w", err)
	}
	o = o.withDefaults()
	s := &Server{
		log: o.Logger, latency: o.Latency, now: o.Now,
		project: world.Project, projectNumber: world.ProjectNumber,
		groups: world.Groups, sqlInstances: world.SQLInstances, vms: world.VMs,
		rows:     newRowTable(),
		known:    knownScopes(),
		tokens:   newTokens(),
		secrets:  newSecretLog(secretsKept),
		people:   newPeople(),
		uploads:  newUploads(),
		store:    newStore(),
		objects:  newObjects(world.Objects, o.Now()),
		accounts: newAccounts(),
		apisOff:  newNameSet(world.DisabledAPIs),
		viewers:  world.Viewers,
		signIns:  world.SignIns, federated: world.Federated,
	}
	s.quota = newQuotas(world.Quota)
	s.secretsOf = newVault(world.Secrets, world.Project, world.ProjectNumber)
	s.ids.Store(uint64(o.Now().UnixMilli()) << 20) // as Gmail's: a time, then a counter
	s.routes, s.apis = newRouter(ownRoutes()), newAPISet()
	s.control = newRouter(controlRoutes())
	stages := s.routes.stages()
	maps.Copy(stages, s.apis.stages())
	s.calls = newCounters(slices.Collect(maps.Keys(stages)))
	s.faults = newFaults(o.Seed, s.rows, stages)
	if err := s.populate(world, o.KeyBits); err != nil {
		return nil, fmt.Errorf("sandbox: %w", err)
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.KeyBits == 0 {
		o.KeyBits = defaultKeyBits
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if now := o.Now; o.Skew != 0 {
		o.Now = func() time.Time { return now().Add(o.Skew) }
	}
	return o
}

// populate makes the keys, side by side since each takes long, and the people.
func (s *Server) populate(w World, bits int) error {
	var g errgroup.Group
	g.Go(func() (err error) {
		s.google, err = newKeyring("accounts.google.com", bits, s.now)
		return err
	})
	rings := make([]*keyring, len(w.ServiceAccounts))
	for i, a := range w.ServiceAccounts {
		g.Go(func() (err error) {
			rings[i], err = newKeyring(a.Email, bits, s.now)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, a := range w.ServiceAccounts {
		s.accounts.add(a, rings[i])
	}
	s.runtime = s.accounts.find(w.Runtime)
	// In order, so that each is put behind the others.
	for _, u := range slices.SortedFunc(slices.Values(w.Users), func(a, b User) int { return strings.Compare(a.PrimaryEmail, b.PrimaryEmail) }) {
		if err := s.addUser(u); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) addUser(u User) error {
	return s.people.add(u, s.now())
}

// RotateKeys gives each account a new key. The two keys before it stay
// published; what older ones signed fails from now on with row T12.
func (s *Server) RotateKeys() error {
	for _, a := range s.accounts.all() {
		if err := a.keys.rotate(); err != nil {
			return fmt.Errorf("sandbox: %w", err)
		}
	}
	return nil
}

// SetSigners sets who may sign for a service account, from now on: a grant that is
// made, or taken back, while the sandbox runs.
func (s *Server) SetSigners(email string, signers []string) error {
	a := s.accounts.find(email)
	if a == nil {
		return fmt.Errorf("sandbox: no service account %q", email)
	}
	signers = lowered(signers)
	if err := validPrincipals("signers", signers); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	a.signers.Store(&signers)
	return nil
}

// Calls tells how often each call arrived, those that a fault met included.
// The names are Discovery's method ids, and "signJwt", "token", "metadata.token" and the like;
// with ".refused" behind them how often the quota refused one.
func (s *Server) Calls() map[string]int { return s.calls.all() }

// ResetCalls sets all the counts to zero.
func (s *Server) ResetCalls() { s.calls.reset() }

// Secrets returns every token and assertion that the server issued or got,
// oldest first, at most the newest 100,000: no log may hold one of them.
func (s *Server) Secrets() []string { return s.secrets.all() }
