package main

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cloud.google.com/go/auth"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// workspace is an embedded Workspace, served on a free port of this machine.
type workspace struct {
	*sandbox.Server
	world sandbox.World
	url   string
	stop  context.CancelFunc
	ended chan error
	// lists tells that users are listed, whatever the policy asks of an administrator.
	lists bool
}

// startWorkspace serves the world until close.
func startWorkspace(world sandbox.World) (*workspace, error) {
	server, err := sandbox.New(world, sandbox.Options{})
	if err != nil {
		return nil, err
	}
	w := &workspace{Server: server, world: world}
	w.url, w.stop, w.ended, err = background(server)
	return w, err
}

func (w *workspace) close() error {
	w.stop()
	return <-w.ended
}

// background serves handler on a free port of this machine until stop.
func background(handler http.Handler) (url string, stop context.CancelFunc, ended chan error, err error) {
	listener, err := listenLocal("127.0.0.1:0")
	if err != nil {
		return "", nil, nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	ended = make(chan error, 1)
	go func() { ended <- serve(ctx, listener, handler) }()
	return "http://" + listener.Addr().String(), stop, ended, nil
}

// executor makes the same Executor that a deployed function has, in this
// Workspace. Nothing of the environment's own credentials or settings is used.
func (w *workspace) executor(ctx context.Context, o functions.Options) (*functions.Executor, error) {
	cfg, err := config.Load(w.settings(o.Policy))
	if err != nil {
		return nil, err
	}
	o.Credentials = func() (*auth.Credentials, error) { return w.Credentials(w.world.Runtime), nil }
	return functions.New(ctx, cfg, o)
}

// settings are what the environment of a function in this Workspace would say.
// Where the policy protects administrators, or users are listed, one of the world's
// administrators tells who there is.
func (w *workspace) settings(p *policy.Policy) []string {
	settings := []string{
		"GOOGLE_CLOUD_PROJECT=" + w.world.Project,
		"ONBEHALF_SERVICE_ACCOUNT=" + w.world.Runtime,
		"ONBEHALF_SANDBOX=" + w.url,
		// No quota is counted in it.
		"ONBEHALF_GMAIL_UNITS_PER_USER=1000000000", "ONBEHALF_GMAIL_UNITS_PER_PROJECT=1000000000",
	}
	if i := slices.IndexFunc(w.world.Users, func(u sandbox.User) bool { return u.IsAdmin }); i >= 0 && (w.lists || p.ProtectsAdmins()) {
		settings = append(settings, "ONBEHALF_ADMIN="+w.world.Users[i].PrimaryEmail)
	}
	return settings
}

// parsePolicy is for policies of our own making.
func parsePolicy(format string, args ...any) (*policy.Policy, error) {
	return policy.Parse(fmt.Appendf(nil, format, args...))
}

// everythingIn allows every action in the domains of the world's users: in a
// Workspace of one's own making nothing is at stake.
func everythingIn(world sandbox.World) (*policy.Policy, error) {
	var domains []string
	for _, user := range world.Users {
		_, domain, _ := strings.Cut(user.PrimaryEmail, "@")
		domains = append(domains, domain)
	}
	slices.Sort(domains)
	return parsePolicy("domains: [%s]\nactions: ['*']\nserviceAccountActions: ['*']\nprotectAdmins: false\n", strings.Join(slices.Compact(domains), ", "))
}
