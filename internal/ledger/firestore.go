package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"time"

	"cloud.google.com/go/firestore"
	"google.golang.org/api/iterator"
	"google.golang.org/api/option"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Firestore is a ledger in a Firestore database in native mode, for any number of
// instances. What it costs:
//
//   - a job that is done at once: 2 writes, the claim and the result
//   - each further delivery of it: 1 failed write, 1 read
//   - one that is put off: 2 writes, and then each time it is tried 1 failed write,
//     1 read and 2 writes, or without the writes where its time has not come
//   - a note: 1 write more
//   - to look: 1 read
//   - what is deferred: 1 write, and for who asks 1 read of each that was deferred
//     since; 1 where there are none
//
// The claim of a new job, the note and the end of a claim are one round trip each.
//
// Firestore may delete what has expired by a policy on the field expireAt; before it
// does, the entry is taken for none here. An exemption of entry and expireAt from
// indexing saves what nobody searches by.
type Firestore struct {
	client  *firestore.Client
	project string
	name    string // the database's
	now     func() time.Time
	longest time.Duration // a claim or a note takes
}

var _ Ledger = (*Firestore)(nil)

// The collections. A document's id is the SHA-256 of the job's or of the key, for
// those may hold what an id must not, and would lie side by side.
const (
	jobsCollection     = "onbehalf-jobs"
	deferredCollection = "onbehalf-deferred"
)

// record is an entry in Firestore. What is in it is bytes, so that the types of
// Firestore change nothing of a result.
type record struct {
	ID       string    `firestore:"id"`
	Entry    []byte    `firestore:"entry"`
	ExpireAt time.Time `firestore:"expireAt"`
}

// claimTime bounds a claim and a note, which nobody can break off: an instance that
// ends has 10 s, and must still settle after them.
const claimTime = 4 * time.Second

// mostRaces is how often an entry is read again because somebody was quicker.
const mostRaces = 5

// OpenFirestore connects to a database, such as "(default)". It makes no call, so that
// what is wrong shows with the first operation, as an [Error]. FIRESTORE_EMULATOR_HOST
// is honoured.
func OpenFirestore(ctx context.Context, project, database string, opts ...option.ClientOption) (*Firestore, error) {
	client, err := firestore.NewClientWithDatabase(ctx, project, database, opts...)
	if err != nil {
		return nil, &Error{
			Fault: jobs.FaultOperator, Reason: "noConnection", Message: "No client of Firestore can be made.",
			Fix: "See that the application default credentials are usable, and FIRESTORE_EMULATOR_HOST is HOST:PORT where it is set", err: err,
		}
	}
	return &Firestore{client: client, project: project, name: database, now: time.Now, longest: claimTime}, nil
}

// Claim implements [Ledger].
func (f *Firestore) Claim(ctx context.Context, id string, t Terms) (Claim, error) {
	if err := ctx.Err(); err != nil { // for once begun, it is not broken off
		return Claim{}, err
	}
	ctx, cancel := f.unbroken(ctx)
	defer cancel()
	holder := newHolder()
	known := &document{entry: &entry{}} // for most jobs are new
	for range mostRaces {
		if known.Holder == holder { // the answer to the write before was lost
			return known.claim(), nil
		}
		c, err := known.entry.claim(id, holder, f.now(), t)
		if err != nil || c.Result != nil {
			return c, err
		}
		err = f.write(ctx, known)
		if err == nil {
			return known.claim(), nil
		}
		if !raced(err) {
			return Claim{}, f.problem(err)
		}
		if known, err = f.read(ctx, id); err != nil {
			return Claim{}, err
		}
	}
	return Claim{}, ErrHeld
}

// Note implements [Ledger].
func (f *Firestore) Note(ctx context.Context, c Claim, note string) (Claim, error) {
	ctx, cancel := f.unbroken(ctx)
	defer cancel()
	return f.change(ctx, c, func(e *entry) error { return e.note(c, f.now(), note) })
}

// Settle implements [Ledger].
func (f *Firestore) Settle(ctx context.Context, c Claim, r jobs.Result) error {
	return f.end(ctx, c, &r, PutOff{})
}

// Release implements [Ledger].
func (f *Firestore) Release(ctx context.Context, c Claim, p PutOff) error {
	return f.end(ctx, c, nil, p)
}

func (f *Firestore) end(ctx context.Context, c Claim, r *jobs.Result, p PutOff) error {
	ctx, cancel := patiently(ctx)
	defer cancel()
	_, err := f.change(ctx, c, func(e *entry) error { return e.end(c, f.now(), r, p) })
	return err
}

// change changes what the claim holds, without reading it first: the claim knows it,
// and its version proves that it still is so.
func (f *Firestore) change(ctx context.Context, c Claim, how func(*entry) error) (Claim, error) {
	mine := &document{entry: c.entry(), version: c.version}
	if err := how(mine.entry); err != nil {
		return c, err
	}
	for range mostRaces {
		err := f.write(ctx, mine)
		if err == nil {
			return mine.claim(), nil
		}
		if !raced(err) {
			return c, f.problem(err)
		}
		found, err := f.read(ctx, c.ID)
		switch {
		case err != nil:
			return c, err
		case bytes.Equal(found.data, mine.data): // the answer to the write was lost
			return found.claim(), nil
		case found.Holder != c.holder:
			return c, ErrLost
		}
		mine.version = found.version
	}
	return c, f.problem(status.Error(codes.Aborted, ""))
}

// Find implements [Ledger].
func (f *Firestore) Find(ctx context.Context, id string) (State, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	found, err := f.read(ctx, id)
	if err != nil || found.ID == "" {
		return State{}, err
	}
	return found.state(f.now()), nil
}

// Defer implements [Ledger].
func (f *Firestore) Defer(ctx context.Context, key string, until time.Time) error {
	ctx, cancel := patiently(ctx)
	defer cancel()
	// The larger number is kept by Firestore itself, and so whoever writes when. The
	// expiry may go back with an earlier time, but not to before a later one.
	_, err := f.document(deferredCollection, key).Set(ctx, map[string]any{
		"key": key, "until": firestore.FieldTransformMaximum(until.UnixNano()),
		setField: firestore.FieldTransformMaximum(f.now().UnixNano()), "expireAt": until.Add(Keep),
	}, firestore.MergeAll)
	return f.problem(err)
}

// setField is when a deferral was set, by which they are searched: by until, all that
// are far ahead would be read each time.
const setField = "set"

// mostDeferred bounds what Deferred reads, to those that were set last: a limit that is
// met again and again is among them, and of another one somebody is told once more.
const mostDeferred = 10_000

// Deferred implements [Ledger].
func (f *Firestore) Deferred(ctx context.Context, since time.Time) (map[string]time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	query := f.client.Collection(deferredCollection).OrderBy(setField, firestore.Desc).Limit(mostDeferred)
	if !since.IsZero() {
		query = query.Where(setField, ">=", since.UnixNano())
	}
	deferred, found := make(map[string]time.Time), query.Documents(ctx)
	defer found.Stop()
	for {
		snapshot, err := found.Next()
		if errors.Is(err, iterator.Done) {
			return deferred, nil
		}
		if err != nil {
			return deferred, f.problem(err)
		}
		var d struct {
			Key   string `firestore:"key"`
			Until int64  `firestore:"until"`
		}
		if err := snapshot.DataTo(&d); err != nil {
			return nil, f.problem(errUnreadable)
		}
		if until := time.Unix(0, d.Until); f.now().Before(until) {
			deferred[d.Key] = until
		}
	}
}

// Check sees whether the database can be read and written. It writes nothing.
func (f *Firestore) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	const nobodys = "" // no job has this id
	if _, err := f.read(ctx, nobodys); err != nil {
		return err
	}
	// What is not there cannot be deleted in a version that it never had; but who may not
	// write is told so first.
	_, err := f.document(jobsCollection, nobodys).Delete(ctx, firestore.LastUpdateTime(time.Unix(1, 0)))
	if raced(err) {
		return nil
	}
	return f.problem(err)
}

// Close implements [Ledger].
func (f *Firestore) Close() error { return f.client.Close() }

// document is an entry as Firestore has it, or is to have it.
type document struct {
	*entry
	data    []byte    // the entry, encoded
	version time.Time // zero: there is none yet
}

func (d *document) claim() Claim {
	c := d.held()
	c.version = d.version
	return c
}

func (f *Firestore) document(collection, name string) *firestore.DocumentRef {
	sum := sha256.Sum256([]byte(name))
	return f.client.Collection(collection).Doc(hex.EncodeToString(sum[:]))
}

// read reads the entry of a job; an empty one where there is none.
func (f *Firestore) read(ctx context.Context, id string) (*document, error) {
	snapshot, err := f.document(jobsCollection, id).Get(ctx)
	if snapshot != nil && !snapshot.Exists() {
		return &document{entry: &entry{}}, nil
	}
	if err != nil {
		return nil, f.problem(err)
	}
	var r record
	if err := snapshot.DataTo(&r); err != nil {
		return nil, f.problem(errUnreadable)
	}
	e, err := decode(r.Entry, id)
	if err != nil {
		return nil, f.problem(err)
	}
	return &document{entry: e, data: r.Entry, version: snapshot.UpdateTime}, nil
}

// write writes the entry, if nobody has since its version, and notes the new one.
func (f *Firestore) write(ctx context.Context, d *document) (err error) {
	if d.data, err = d.encode(); err != nil {
		return err
	}
	ref := f.document(jobsCollection, d.ID)
	// What is written in one second expires over 18 hours: where expireAt is indexed,
	// times in a row would limit the writes to some 500 a second
	// (https://cloud.google.com/firestore/docs/best-practices).
	expireAt := d.Expires.Add(time.Duration(binary.BigEndian.Uint16(key(d.ID))) * time.Second)
	var written *firestore.WriteResult
	if d.version.IsZero() {
		written, err = ref.Create(ctx, record{d.ID, d.data, expireAt})
	} else {
		written, err = ref.Update(ctx, []firestore.Update{{Path: "entry", Value: d.data}, {Path: "expireAt", Value: expireAt}}, firestore.LastUpdateTime(d.version))
	}
	if err == nil {
		d.version = written.UpdateTime
	}
	return err
}

// raced tells whether a write failed because of another.
func raced(err error) bool {
	switch status.Code(err) {
	case codes.AlreadyExists, codes.FailedPrecondition, codes.NotFound, codes.Aborted:
		return true
	default:
		return false
	}
}

// unbroken is ctx but for its caller's hanging up: a write that is broken off may take
// effect, and leave a claim that nobody holds. It ends with ctx's time, and after
// claimTime where that is sooner.
func (f *Firestore) unbroken(ctx context.Context) (context.Context, context.CancelFunc) {
	latest := time.Now().Add(f.longest)
	if deadline, bounded := ctx.Deadline(); bounded && deadline.Before(latest) {
		latest = deadline
	}
	return context.WithDeadline(context.WithoutCancel(ctx), latest)
}
