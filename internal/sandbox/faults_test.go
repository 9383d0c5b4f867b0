package sandbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func TestOrderRefuses(t *testing.T) {
	b := setup(t)
	for name, f := range map[string]sandbox.Fault{
		"nothing":       {},
		"both":          {Row: "T1", Kind: "late", Delay: 1},
		"row":           {Row: "T99"},
		"kind":          {Kind: "slow"},
		"stage":         {Row: "T1", Call: "gmail.*"},
		"call":          {Kind: "cut", Call: "gmial.*"},
		"glob":          {Kind: "cut", Call: "["},
		"share":         {Kind: "cut", Share: 1.5},
		"negative":      {Kind: "cut", Share: -0.5},
		"times":         {Kind: "cut", Times: -1},
		"delay":         {Kind: "late"},
		"delay of cut":  {Kind: "cut", Delay: 1},
		"minus delay":   {Kind: "late", Delay: -1},
		"cut nowhere":   {Kind: "cutUpload", Call: "*.chunk"},
		"cut behind":    {Kind: "cutDownload", After: -1},
		"cut no upload": {Kind: "cutUpload", After: 1, Call: "gmail.users.messages.list"},
		"after of late": {Kind: "late", Delay: 1, After: 1},
		"retry of lost": {Kind: "lost", RetryAfter: "1"},
	} {
		if err := b.s.Order(f); !errors.Is(err, sandbox.ErrFault) {
			t.Errorf("%s: %v", name, err)
		} else {
			t.Log(err)
		}
	}
}

func TestFaultLostAndCut(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.insert")
	for kind, letters := range map[string]int{"cut": 0, "lost": 1} {
		if err := b.s.Order(sandbox.Fault{Kind: kind, Call: "gmail.users.messages.insert", User: ada, Times: 1}); err != nil {
			t.Fatal(err)
		}
		before := len(b.s.Letters(ada))
		if a, err := b.do("POST", "/gmail.googleapis.com"+insertURL, hello, "Authorization", "Bearer "+token, "Content-Type", "message/rfc822"); err == nil {
			t.Errorf("%s: answered %v", kind, a)
		}
		if got := len(b.s.Letters(ada)) - before; got != letters {
			t.Errorf("%s: %d letters, want %d", kind, got, letters)
		}
	}
	b.insert(token, hello)
	if n := b.s.Calls()["gmail.users.messages.insert"]; n != 3 {
		t.Errorf("calls = %d, want 3 with the faulted ones", n)
	}
	if got := b.s.Struck(); len(got) != 2 || got["cut"] != 1 || got["lost"] != 1 {
		t.Errorf("struck %v", got)
	}
}

func TestFaultOverload(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.readonly")
	for _, tc := range []struct {
		kind, stage string
		status      int
		words       string
	}{
		{"429", "call", 429, "Too many concurrent requests for user"},
		{"429", "sign", 429, "RESOURCE_EXHAUSTED"},
		{"429", "exchange", 429, "temporarily_unavailable"},
		{"5xx", "call", 503, "backendError"},
		{"5xx", "sign", 503, "UNAVAILABLE"},
		{"5xx", "exchange", 503, "temporarily_unavailable"},
	} {
		call := map[string]string{"call": "gmail.*", "sign": "signJwt", "exchange": "token"}[tc.stage]
		if err := b.s.Order(sandbox.Fault{Kind: tc.kind, Call: call, RetryAfter: "3", Times: 1}); err != nil {
			t.Fatal(err)
		}
		if a := b.knock(tc.stage, token).says(t, tc.status, tc.words); a.header.Get("Retry-After") != "3" {
			t.Errorf("%v: Retry-After %q", tc, a.header.Get("Retry-After"))
		}
	}
	if err := b.s.Order(sandbox.Fault{Kind: "429", Call: "metadata.*", Times: 1}); err != nil {
		t.Fatal(err)
	}
	b.must("GET", "/", nil, "Metadata-Flavor", "Google").says(t, 429)
}

func TestFaultForOneUser(t *testing.T) {
	b := setup(t)
	if err := b.s.Order(sandbox.Fault{Row: "T4", User: ada}); err != nil {
		t.Fatal(err)
	}
	if err := b.s.Order(sandbox.Fault{Row: "S2", User: grace}); err != nil {
		t.Fatal(err)
	}
	b.exchange(b.sign(b.claims(ada, "gmail.insert"))).says(t, 403, "access_denied")
	payload, err := json.Marshal(b.claims(grace, "gmail.insert"))
	if err != nil {
		t.Fatal(err)
	}
	b.must("POST", b.signPath(robot), map[string]any{"payload": string(payload)}, bearer(b.machine())...).says(t, 403, "The caller does not have permission")
	b.s.ClearFaults()
	b.as(ada, "gmail.insert")
	b.as(grace, "gmail.insert")
}

func TestFaultExpireTokens(t *testing.T) {
	b := setup(t)
	first, second := b.as(ada, "gmail.readonly"), b.as(ada, "gmail.readonly")
	if err := b.s.Order(sandbox.Fault{Kind: "expireTokens", Call: "gmail.*", Times: 1}); err != nil {
		t.Fatal(err)
	}
	b.gmail(first, "GET", "/users/me/messages", nil).says(t, 401, "Invalid Credentials")
	b.gmail(first, "GET", "/users/me/messages", nil).says(t, 401)
	b.gmail(second, "GET", "/users/me/messages", nil).says(t, 200)
}

// The same seed strikes the same calls; about the share of them is struck.
func TestFaultShare(t *testing.T) {
	const calls = 400
	run := func(seed uint64) (pattern []bool, struck int) {
		b := setup(t, func(_ *sandbox.World, o *sandbox.Options) { o.Seed = seed })
		if err := b.s.Order(sandbox.Fault{Kind: "5xx", Call: "keys.jwk", Share: 0.25}); err != nil {
			t.Fatal(err)
		}
		for range calls {
			bad := b.must("GET", "/www.googleapis.com/service_accounts/v1/metadata/jwk/"+robot, nil).status != 200
			pattern = append(pattern, bad)
			if bad {
				struck++
			}
		}
		return pattern, struck
	}
	one, n := run(7)
	if n < calls/8 || n > calls/2 {
		t.Errorf("%d of %d were struck", n, calls)
	}
	two, _ := run(7)
	for i := range one {
		if one[i] != two[i] {
			t.Fatalf("call %d differs under one seed", i)
		}
	}
}

// Waiting takes its time and ends with the request.
func TestWaiting(t *testing.T) {
	s, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{KeyBits: 1024, Latency: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	const path = "/www.googleapis.com/service_accounts/v1/metadata/jwk/" + robot
	get := func(ctx context.Context) (status int, took time.Duration) {
		start := time.Now()
		w := httptest.NewRecorder()
		defer func() { took = time.Since(start) }()
		defer func() {
			if r := recover(); r != nil && r != http.ErrAbortHandler { //nolint:errorlint // a panic's value
				panic(r)
			}
		}()
		s.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, path, nil))
		return w.Code, took
	}
	synctest.Test(t, func(t *testing.T) {
		if status, took := get(t.Context()); status != 200 || took != time.Minute {
			t.Errorf("latency: %d after %v", status, took)
		}
		if err := s.Order(sandbox.Fault{Kind: "late", Call: "keys.*", Delay: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if status, took := get(t.Context()); status != 200 || took != time.Hour+time.Minute {
			t.Errorf("late: %d after %v", status, took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
		defer cancel()
		if status, took := get(ctx); status != 0 || took != 5*time.Minute {
			t.Errorf("client gone: %d after %v", status, took)
		}
	})
}

func TestFaultJSON(t *testing.T) {
	f := sandbox.Fault{Kind: "late", Call: "token", Delay: 2 * time.Second, Times: 3}
	j, err := json.Marshal(f)
	if err != nil || string(j) != `{"kind":"late","call":"token","times":3,"delay":"2s"}` {
		t.Errorf("%s %v", j, err)
	}
	var back sandbox.Fault
	if err := json.Unmarshal(j, &back); err != nil || back != f {
		t.Errorf("%+v %v", back, err)
	}
	for _, bad := range []string{`{"knid":"late"}`, `{"delay":"2"}`, `{"delay":2}`, `[]`} {
		if json.Unmarshal([]byte(bad), &back) == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

// Faults, calls and control at once, for the race detector.
func TestParallel(t *testing.T) {
	b := setup(t)
	token := b.as(ada, "gmail.modify", "gmail.insert")
	var g sync.WaitGroup
	for range 20 {
		g.Go(func() {
			for range 10 {
				for _, path := range []string{insertURL, "/gmail/v1/users/me/messages?uploadType=media"} {
					if _, err := b.do("POST", "/gmail.googleapis.com"+path, hello, "Authorization", "Bearer "+token, "Content-Type", "message/rfc822"); err != nil {
						t.Error(err)
					}
				}
				if _, err := b.do("GET", "/gmail.googleapis.com/gmail/v1/users/me/messages?q=hello", nil, "Authorization", "Bearer "+token); err != nil {
					t.Error(err)
				}
			}
			if err := b.s.Order(sandbox.Fault{Kind: "5xx", Share: 0.01, Times: 1}); err != nil {
				t.Error(err)
			}
			b.s.Letters(ada)
			b.s.Secrets()
			b.s.Calls()
		})
	}
	g.Wait()
}
