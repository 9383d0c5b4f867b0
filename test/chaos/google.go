package main

import (
	"bytes"
	"context"
	"errors"
	"net"
	"net/http"
	"net/mail"
	"strconv"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// trouble is a kind of fault as the sandbox is told to make it.
type trouble struct {
	part  float64 // of its kind's share
	fault sandbox.Fault
}

const (
	// tooLate is longer than a call of the function may take.
	tooLate = timeout
	late    = timeout / 6
)

// troubles are those of every call to Google. Their kinds have the same share each.
var troubles = []trouble{
	{1, sandbox.Fault{Kind: "lost"}},
	{1, sandbox.Fault{Kind: "cut"}},
	{0.5, sandbox.Fault{Kind: "late", Delay: late}},
	{0.5, sandbox.Fault{Kind: "late", Delay: tooLate}},
	{0.5, sandbox.Fault{Kind: "429"}},
	{0.5, sandbox.Fault{Kind: "429", RetryAfter: "2"}},
	{1, sandbox.Fault{Kind: "5xx"}},
	{1, sandbox.Fault{Kind: "expireTokens"}},
}

// calls are those that go wrong, each with shares of its own. Their kinds must be calls
// of the sandbox's.
var calls = []struct {
	name   string
	spares string // a kind of fault
}{
	{"gmail.*", ""},
	{"directory.*", ""},
	{"signJwt", "expireTokens"}, // the one token that the sandbox's metadata server has for all processes
	{"token", "expireTokens"},   // to which no token is shown
}

// google is the sandbox, with a mailbox for each user.
type google struct {
	*sandbox.Server
	world  sandbox.World
	server *http.Server
	host   string // HOST:PORT
}

func startGoogle(ctx context.Context, s settings) (*google, error) {
	g := &google{world: sandbox.DefaultWorld()}
	g.world.Users, g.world.Groups = nil, nil
	if s.batch {
		g.world.Users = append(g.world.Users, sandbox.User{PrimaryEmail: admin, IsAdmin: true})
	}
	for n := range s.users {
		g.world.Users = append(g.world.Users, s.person(n))
	}
	var err error
	if g.Server, err = sandbox.New(g.world, sandbox.Options{Seed: s.seed}); err != nil {
		return nil, err
	}
	for _, call := range calls {
		if err := g.order(call.name, call.spares, s.share); err != nil {
			return nil, err
		}
	}
	g.server, g.host, err = serve(ctx, g.Server)
	return g, err
}

// order has each kind of fault strike its share of the calls. The sandbox asks one kind after
// the other, and so a later one only of the calls that the earlier ones have left.
func (g *google) order(call, spares string, share float64) error {
	left := 1.0
	for _, t := range troubles {
		if t.fault.Kind == spares || share == 0 {
			continue
		}
		f := t.fault
		f.Call, f.Share = call, share*t.part/left
		if err := g.Order(f); err != nil {
			return err
		}
		left -= share * t.part
	}
	return nil
}

// admin is the administrator as whom the Directory is read.
const admin = "admin@example.com"

// person is a user as the Directory has it.
func (s settings) person(n int) sandbox.User {
	u := sandbox.User{PrimaryEmail: user(n)}
	if s.batch {
		u.GivenName, u.FamilyName = "User", strconv.Itoa(n)
		reason := s.passed(n)
		u.Suspended, u.Archived, u.NoMailbox = reason == "suspended", reason == "archived", reason == "noMailbox"
	}
	return u
}

// letters counts the letters of each job. Owner says whose letter a job's is: another's
// mailbox is not the place for it.
func (g *google) letters(owner func(job string) string) map[string]int {
	count := map[string]int{}
	for _, u := range g.world.Users {
		for _, l := range g.Letters(u.PrimaryEmail) {
			job := "" // which is none
			if m, err := mail.ReadMessage(bytes.NewReader(l.Raw)); err == nil && owner(m.Header.Get(mark)) == u.PrimaryEmail {
				job = m.Header.Get(mark)
			}
			count[job]++
		}
	}
	return count
}

func (g *google) close() { _ = g.server.Close() }

// serve serves a handler on a free port of this machine, HTTP/2 without encryption
// included, as gRPC has it.
func serve(ctx context.Context, h http.Handler) (s *http.Server, host string, err error) {
	var config net.ListenConfig
	l, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", err
	}
	s = &http.Server{Handler: h, ReadHeaderTimeout: time.Minute, Protocols: protocols()}
	go func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			panic(err) // nobody else closes what it listens on
		}
	}()
	return s, l.Addr().String(), nil
}

func protocols() *http.Protocols {
	p := new(http.Protocols)
	p.SetHTTP1(true)
	p.SetUnencryptedHTTP2(true)
	return p
}
