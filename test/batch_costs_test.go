package test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strconv"
	"testing"
	"time"

	"cloud.google.com/go/auth"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
	"github.com/onbehalf-dev/onbehalf/test/meter"
	"github.com/onbehalf-dev/onbehalf/test/storm"
)

// What the Firestore ledger says that 500 users of a batch cost, counted between FanOut
// and Firestore; and the Directory is asked once for each page.
func TestFanOutOperations(t *testing.T) {
	t.Parallel()
	const (
		few, many = 1000, 6000
		pages     = (many - few) / 500
	)
	firestore := &meter.Meter{}
	l := emulatedFirestore(t, firestore.Options()...)
	costs := func(users int) (asked meter.Firestore, lists int, took time.Duration) {
		google, x := fanOutWith(t, users, l)
		firestore.Take()
		begun := time.Now()
		msg := pubsubio.Message{ID: "b", PublishTime: begun, Data: fmt.Appendf(nil, `{"name": "costs-%d", "targets": {"all": true},
			"job": {"action": "gmail.users.settings.sendAs.patch", "params": {"sendAsEmail": "{{.User.PrimaryEmail}}"}, "body": {"signature": "{{html .User.Name.FullName}}"}}}`, users)}
		if o := x.FanOut(t.Context(), msg); o.Answer != functions.Done || o.Result.Error != nil {
			t.Fatalf("%+v", o)
		}
		return firestore.Take(), google.Calls()["directory.users.list"], time.Since(begun)
	}
	fewer, lists, _ := costs(few)
	if lists != few/500 {
		t.Errorf("%d users: %d calls to the Directory", few, lists)
	}
	more, lists, took := costs(many)
	if lists != many/500 {
		t.Errorf("%d users: %d calls to the Directory", many, lists)
	}
	// Each page is kept, and each second how far the batch is; what is read is whether
	// somebody has paused it.
	if n, most := more.Writes-fewer.Writes, pages+int(took/time.Second); n < pages || n > most {
		t.Errorf("%d writes for %d pages in %v; want no more than %d", n, pages, took, most)
	}
	if most := fewer.Reads + int(took/(500*time.Millisecond)); more.Reads > most || more.Deletes != 0 {
		t.Errorf("%d reads in %v, and %d deletes; want no more than %d reads", more.Reads, took, more.Deletes, most)
	}
	t.Logf("%d users: %+v; %d users: %+v in %v", few, fewer, many, more, took)
}

// fanOutWith is FanOut in this process, in an organisation of so many users, whose jobs
// nobody does.
func fanOutWith(t *testing.T, users int, l ledger.Ledger) (*sandbox.Server, *functions.Executor) {
	t.Helper()
	const admin = "admin@example.com"
	world := sandbox.DefaultWorld()
	world.Users = []sandbox.User{{PrimaryEmail: admin, IsAdmin: true}}
	for n := range users - 1 {
		world.Users = append(world.Users, sandbox.User{PrimaryEmail: storm.User(n), GivenName: "User", FamilyName: strconv.Itoa(n)})
	}
	google, err := sandbox.New(world, sandbox.Options{KeyBits: 1024})
	if err != nil {
		t.Fatal(err)
	}
	workspace := httptest.NewServer(google)
	t.Cleanup(workspace.Close)
	cfg, err := config.Load([]string{
		"GOOGLE_CLOUD_PROJECT=" + world.Project, "ONBEHALF_SERVICE_ACCOUNT=" + world.Runtime, "ONBEHALF_SANDBOX=" + workspace.URL, "ONBEHALF_ADMIN=" + admin,
	})
	if err != nil {
		t.Fatal(err)
	}
	x, err := functions.New(t.Context(), cfg, functions.Options{
		Credentials: func() (*auth.Credentials, error) { return google.Credentials(world.Runtime), nil }, Caller: world.Runtime,
		Policy: &policy.Policy{Domains: []string{"example.com"}, Actions: []string{"*"}}, Ledger: l, Results: &latest{},
		Publish: func(context.Context, []batch.Message) func(context.Context) error {
			return func(context.Context) error { return nil }
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.Close(); err != nil {
			t.Error(err)
		}
	})
	return google, x
}
