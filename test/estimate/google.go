package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// googleRole is the first argument of the process that is Google: a process of its own,
// for what it takes is not the function's.
const googleRole = "google"

// admin is the administrator as whom the Directory is read.
const admin = "admin@example.com"

const (
	// servedUnit has the users whose jobs are done, listedUnit those whose jobs are only
	// published: moreUsers, for there are few that could be done.
	servedUnit, listedUnit = "/Served", "/Listed"
	moreUsers              = 10_000
)

// google is that process.
type google struct {
	url string
	cmd *exec.Cmd
}

// startGoogle starts one that ends with ctx.
func startGoogle(ctx context.Context, users int, latency time.Duration) (*google, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	g := &google{cmd: exec.CommandContext(ctx, self, googleRole, strconv.Itoa(users), latency.String())} //nolint:gosec // which is this program
	g.cmd.Stderr = os.Stderr
	says, err := g.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := g.cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(says).ReadString('\n')
	g.url = strings.TrimSpace(line)
	return g, err
}

// serveGoogle is what it does: it says where, and serves until it is killed.
func serveGoogle(ctx context.Context, args []string, out io.Writer) error {
	users, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	latency, err := time.ParseDuration(args[1])
	if err != nil {
		return err
	}
	world := sandbox.DefaultWorld()
	world.Users = []sandbox.User{{PrimaryEmail: admin, IsAdmin: true}}
	for n := range users + moreUsers {
		u := sandbox.User{PrimaryEmail: fmt.Sprintf("user%06d@example.com", n), GivenName: "User", FamilyName: strconv.Itoa(n), OrgUnitPath: servedUnit}
		if n >= users {
			u.OrgUnitPath = listedUnit
		}
		world.Users = append(world.Users, u)
	}
	s, err := sandbox.New(world, sandbox.Options{Latency: latency})
	if err != nil {
		return err
	}
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "http://%s\n", l.Addr())
	return (&http.Server{Handler: s, ReadHeaderTimeout: time.Minute}).Serve(l)
}

// calls are how often what was called.
func (g *google) calls(ctx context.Context) (calls map[string]int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.url+"/_sandbox/calls", nil)
	if err != nil {
		return nil, err
	}
	res, err := new(http.Client).Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	return calls, json.NewDecoder(res.Body).Decode(&calls)
}

// stop ends it, and waits until it has.
func (g *google) stop() {
	_ = g.cmd.Process.Kill()
	_ = g.cmd.Wait()
}
