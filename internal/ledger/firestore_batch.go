package ledger

import (
	"context"
	"strconv"
	"time"
	"unicode/utf8"

	"cloud.google.com/go/firestore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// shards is over how many documents the counts of a batch are spread: what is written to
// one document again and again takes about one write a second
// (https://cloud.google.com/firestore/quotas#soft_limits).
const shards = 64

// keepCounts is for how long a policy leaves counts. Those of a batch count until Keep
// after the last of them was changed, and so must stay beside it.
const keepCounts = 2 * Keep

// counter is a document with counts of a batch.
type counter struct {
	Counts   map[string]int `firestore:"counts"`
	ExpireAt time.Time      `firestore:"expireAt"`
}

// counterName names one of the batch's.
func counterName(batch string, shard int) string { return partID(batch, strconv.Itoa(shard)) }

// count adds to the counts of a batch, where those of the job are.
func (f *Firestore) count(w *writes, batch string, by map[string]int, id string) {
	counts := make(map[string]any)
	for kind, n := range by {
		counts[kind] = firestore.Increment(n)
	}
	name := counterName(batch, int(key(id)[0])%shards)
	w.Set(f.document(countsCollection, name), map[string]any{
		"batch": batch, "counts": counts, "expireAt": f.now().Add(keepCounts + spread(name)),
	}, firestore.MergeAll)
}

// Tally implements [Ledger]. Counts that have expired it deletes, for they must not count
// for a later batch of the same name: whoever begins a batch begins with a Tally.
func (f *Firestore) Tally(ctx context.Context, batch string) (map[string]int, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	refs := make([]*firestore.DocumentRef, shards)
	for shard := range refs {
		refs[shard] = f.document(countsCollection, counterName(batch, shard))
	}
	found, err := f.client.GetAll(ctx, refs)
	if err != nil {
		return nil, f.problem(err)
	}
	counts, last := make(map[string]int), time.Time{}
	for shard, snapshot := range found {
		var c counter
		if !snapshot.Exists() {
			continue
		}
		if err := snapshot.DataTo(&c); err != nil {
			return nil, f.problem(errUnreadable)
		}
		add(counts, c.Counts)
		if at := c.ExpireAt.Add(-keepCounts - spread(counterName(batch, shard))); at.After(last) {
			last = at
		}
	}
	if f.now().Before(last.Add(Keep)) {
		return shown(counts), nil
	}
	for _, snapshot := range found {
		if err := f.forget(ctx, snapshot); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// forget deletes what has expired, unless somebody has written it since.
func (f *Firestore) forget(ctx context.Context, snapshot *firestore.DocumentSnapshot) error {
	if !snapshot.Exists() {
		return nil
	}
	_, err := snapshot.Ref.Delete(ctx, firestore.LastUpdateTime(snapshot.UpdateTime))
	if raced(err) {
		return nil
	}
	return f.problem(err)
}

// Supersede implements [Ledger].
func (f *Firestore) Supersede(ctx context.Context, id, by string) error {
	ctx, cancel := patiently(ctx)
	defer cancel()
	for range mostRaces {
		found, err := f.read(ctx, id)
		if err != nil {
			return err
		}
		if changed, err := found.supersede(id, by, f.now()); err != nil || !changed {
			return err
		}
		if err := f.write(ctx, found); !raced(err) {
			return f.problem(err)
		}
	}
	return f.problem(status.Error(codes.Aborted, ""))
}

// Failures implements [Ledger].
func (f *Firestore) Failures(ctx context.Context, batch, after string, limit int) ([]jobs.Result, string, error) {
	limit = max(limit, 1)
	from, err := failuresFrom(batch, after)
	if err != nil {
		return nil, "", err
	}
	ctx, cancel := patiently(ctx)
	defer cancel()
	query := f.client.Collection(jobsCollection).OrderBy(failureField, firestore.Asc).
		Where(failureField, ">=", from).Where(failureField, "<", failuresOf(batch)+afterHex)
	var found []*entry
	err = f.each(ctx, query, limit+1, func(snapshot *firestore.DocumentSnapshot) (bool, error) {
		var r record
		if err := snapshot.DataTo(&r); err != nil {
			return false, errUnreadable
		}
		e, err := decode(r.Entry, r.ID)
		if err != nil || e.failure() == "" || !f.now().Before(e.Expires) {
			return false, err
		}
		found = append(found, e)
		return true, nil
	})
	if err != nil {
		return nil, "", err
	}
	results, next := pageOf(found, limit)
	return results, next, nil
}

// afterHex comes after all digits.
const afterHex = "g"

// each reads the documents of a query, until so many were taken.
func (f *Firestore) each(ctx context.Context, query firestore.Query, most int, take func(*firestore.DocumentSnapshot) (bool, error)) error {
	for most > 0 {
		asked := most
		snapshots, err := query.Limit(asked).Documents(ctx).GetAll()
		if err != nil {
			return f.problem(err)
		}
		for _, snapshot := range snapshots {
			took, err := take(snapshot)
			if err != nil {
				return f.problem(err)
			}
			if took {
				most--
			}
		}
		if len(snapshots) < asked {
			return nil
		}
		query = query.StartAfter(snapshots[asked-1])
	}
	return nil
}

// partRecord is a part in Firestore.
type partRecord struct {
	Batch    string    `firestore:"batch"`
	Name     string    `firestore:"name"`
	Data     []byte    `firestore:"data"`
	Key      string    `firestore:"key,omitempty"`
	Writer   string    `firestore:"writer"` // unlike any other's, of any one time
	ExpireAt time.Time `firestore:"expireAt"`
}

// savedPart is a part as it was found; the zero one is none.
type savedPart struct {
	partRecord
	updated time.Time
	expired bool
}

func (s *savedPart) part() Part {
	return Part{Batch: s.Batch, Name: s.Name, Data: s.Data, Key: s.Key, Version: s.updated.UTC().Format(time.RFC3339Nano)}
}

// version is what Save must know; empty where there is no part.
func (s *savedPart) version() string {
	if s.updated.IsZero() || s.expired {
		return ""
	}
	return s.part().Version
}

// Load implements [Ledger].
func (f *Firestore) Load(ctx context.Context, batch, name string) (Part, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	found, err := f.loadPart(ctx, partID(batch, name))
	if err != nil {
		return Part{}, err
	}
	if found.version() == "" {
		return Part{Batch: batch, Name: name}, nil
	}
	return found.part(), nil
}

func (f *Firestore) loadPart(ctx context.Context, id string) (*savedPart, error) {
	snapshot, err := f.document(partsCollection, id).Get(ctx)
	if snapshot != nil && !snapshot.Exists() {
		return &savedPart{}, nil
	}
	if err != nil {
		return nil, f.problem(err)
	}
	return f.foundPart(snapshot)
}

func (f *Firestore) foundPart(snapshot *firestore.DocumentSnapshot) (*savedPart, error) {
	s := &savedPart{updated: snapshot.UpdateTime}
	if err := snapshot.DataTo(&s.partRecord); err != nil {
		return nil, f.problem(errUnreadable)
	}
	s.expired = !f.now().Before(s.ExpireAt)
	return s, nil
}

// Save implements [Ledger].
func (f *Firestore) Save(ctx context.Context, p Part) (string, error) {
	if err := p.check(); err != nil {
		return "", err
	}
	var known savedPart // that is to be replaced
	if p.Version != "" {
		var err error
		if known.updated, err = time.Parse(time.RFC3339Nano, p.Version); err != nil {
			return "", ErrChanged // no version of ours
		}
	}
	ctx, cancel := patiently(ctx)
	defer cancel()
	r := partRecord{Batch: p.Batch, Name: p.Name, Data: p.Data, Key: p.Key, Writer: newHolder(), ExpireAt: f.now().Add(Keep)}
	for range mostRaces {
		saved, err := f.savePart(ctx, r, known.updated)
		if err == nil {
			return saved.version(), nil
		}
		if !raced(err) {
			return "", f.problem(err)
		}
		found, err := f.loadPart(ctx, p.id())
		switch {
		case err != nil:
			return "", err
		case found.Writer == r.Writer: // the answer to the write before was lost
			return found.version(), nil
		case found.version() != p.Version:
			return "", ErrChanged
		}
		known = *found // it has expired, or is as it was
	}
	return "", f.problem(status.Error(codes.Aborted, ""))
}

// savePart writes a part in the place of what was there at that time; zero is nothing.
func (f *Firestore) savePart(ctx context.Context, r partRecord, before time.Time) (*savedPart, error) {
	ref, w := f.document(partsCollection, partID(r.Batch, r.Name)), f.writes()
	if before.IsZero() {
		w.Create(ref, r)
	} else {
		w.Update(ref, []firestore.Update{
			{Path: "data", Value: r.Data}, orNone(keyField, r.Key), {Path: "writer", Value: r.Writer}, {Path: "expireAt", Value: r.ExpireAt},
		}, firestore.LastUpdateTime(before))
	}
	written, err := commit(ctx, w)
	if err != nil {
		return nil, err
	}
	return &savedPart{partRecord: r, updated: written[0].UpdateTime}, nil
}

// keyField is [partRecord].Key.
const keyField = "key"

// List implements [Ledger].
func (f *Firestore) List(ctx context.Context, keyPrefix string, limit int) ([]Part, error) {
	ctx, cancel := patiently(ctx)
	defer cancel()
	query := f.client.Collection(partsCollection).OrderBy(keyField, firestore.Desc).
		Where(keyField, ">=", keyPrefix).Where(keyField, "<=", keyPrefix+string(utf8.MaxRune))
	var parts []Part
	err := f.each(ctx, query, max(limit, 1), func(snapshot *firestore.DocumentSnapshot) (bool, error) {
		found, err := f.foundPart(snapshot)
		if err != nil || found.expired {
			return false, err
		}
		parts = append(parts, found.part())
		return true, nil
	})
	return parts, err
}
