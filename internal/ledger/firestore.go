package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"slices"
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
//   - a job of a batch: each time it ends or is put off, and is tried again after that,
//     1 write more, to one of 64 documents with the batch's counts
//   - to count a batch: 64 reads, however large it is; its failures: 1 read each, and 1 to
//     see whether there are more
//   - what another job takes the place of: 1 read, 2 writes
//   - a part of a batch: 1 write, or 1 read
//
// The claim of a new job, the note and the end of a claim are one round trip each: what
// is written of an entry and of counts is written at once, and only together.
//
// Firestore may delete what has expired by a policy on the field expireAt of each
// collection; before it does, it is taken for nothing here. An exemption of entry, counts,
// data and expireAt from indexing saves what nobody searches by.
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
	countsCollection   = "onbehalf-counts"
	partsCollection    = "onbehalf-batches"
)

// record is an entry in Firestore. What is in it is bytes, so that the types of
// Firestore change nothing of a result.
type record struct {
	ID       string    `firestore:"id"`
	Entry    []byte    `firestore:"entry"`
	ExpireAt time.Time `firestore:"expireAt"`
	// Failure is the key that the batch's failures are read by, of those that are some.
	Failure string `firestore:"failure,omitempty"`
}

// failureField is [record].Failure.
const failureField = "failure"

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
		if err != nil || c.Result != nil && known.standing(f.now()) == known.stood {
			return c, err
		}
		err = f.write(ctx, known)
		if err == nil {
			c.version = known.version
			return c, nil
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

// entriesAtOnce is how many entries one call reads: with its answer, each may have some
// hundred KB.
const entriesAtOnce = 100

// States implements [Ledger].
func (f *Firestore) States(ctx context.Context, ids []string) ([]State, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	states := make([]State, 0, len(ids))
	for some := range slices.Chunk(ids, entriesAtOnce) {
		refs := make([]*firestore.DocumentRef, len(some))
		for i, id := range some {
			refs[i] = f.document(jobsCollection, id)
		}
		snapshots, err := f.client.GetAll(ctx, refs)
		if err != nil {
			return nil, f.problem(err)
		}
		for i, snapshot := range snapshots {
			d, err := f.found(snapshot, some[i])
			if err != nil {
				return nil, err
			}
			states = append(states, d.inShort(f.now()))
		}
	}
	return states, nil
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
	stood   standing  // of the entry that is there in this version
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
	return f.found(snapshot, id)
}

// found is the entry of a job that was read; an empty one where there is none.
func (f *Firestore) found(snapshot *firestore.DocumentSnapshot, id string) (*document, error) {
	if !snapshot.Exists() {
		return &document{entry: &entry{}}, nil
	}
	var r record
	if err := snapshot.DataTo(&r); err != nil {
		return nil, f.problem(errUnreadable)
	}
	e, err := decode(r.Entry, id)
	if err != nil {
		return nil, f.problem(err)
	}
	return &document{entry: e, data: r.Entry, version: snapshot.UpdateTime, stood: e.standing(f.now())}, nil
}

// write writes the entry, if nobody has since its version, and notes the new one. What that
// changes of the counts of its batch is written with it or not at all.
func (f *Firestore) write(ctx context.Context, d *document) (err error) {
	if d.data, err = d.encode(); err != nil {
		return err
	}
	stands := d.standing(f.now())
	ref, w := f.document(jobsCollection, d.ID), f.writes()
	expireAt := d.Expires.Add(spread(d.ID))
	if d.version.IsZero() {
		w.Create(ref, record{d.ID, d.data, expireAt, stands.failure})
	} else {
		changes := []firestore.Update{{Path: "entry", Value: d.data}, {Path: "expireAt", Value: expireAt}}
		if stands.failure != d.stood.failure {
			changes = append(changes, orNone(failureField, stands.failure))
		}
		w.Update(ref, changes, firestore.LastUpdateTime(d.version))
	}
	if batch, by := moved(d.stood, stands); by != nil {
		f.count(w, batch, by, d.ID)
	}
	written, err := commit(ctx, w)
	if err == nil {
		d.version, d.stood = written[0].UpdateTime, stands
	}
	return err
}

// spread is by how much later a document expires, so that what is written in one second
// does so over 18 hours: where expireAt is indexed, times in a row would limit the writes
// to some 500 a second (https://cloud.google.com/firestore/docs/best-practices).
func spread(name string) time.Duration {
	return time.Duration(binary.BigEndian.Uint16(key(name))) * time.Second
}

// orNone sets a field, or removes it where it would be empty.
func orNone(field, value string) firestore.Update {
	if value == "" {
		return firestore.Update{Path: field, Value: firestore.Delete}
	}
	return firestore.Update{Path: field, Value: value}
}

// writes are what is written together or not at all, in one round trip: a transaction
// takes two, and a bulk writer keeps some of it.
type writes = firestore.WriteBatch //nolint:staticcheck // nothing else is atomic in one round trip

func (f *Firestore) writes() *writes {
	return f.client.Batch() //nolint:staticcheck // as above
}

// contended is how long commit waits first, and longestContended at most.
const (
	contended        = 20 * time.Millisecond
	longestContended = 500 * time.Millisecond
)

// commit writes all or nothing. Where others are at the same documents, the counts of a
// large batch above all, Firestore asks to try again.
func commit(ctx context.Context, w *writes) ([]*firestore.WriteResult, error) {
	for wait := contended; ; wait = min(2*wait, longestContended) {
		written, err := w.Commit(ctx)
		if status.Code(err) != codes.Aborted || !pause(ctx, wait/2+rand.N(wait)) { //nolint:gosec // nobody gains by guessing it
			return written, err
		}
	}
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
