package ledger

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// added is what a batch's counts are in the file, with these added to them.
func (f *File) added(t *tables, batch string, by map[string]int) ([]byte, error) {
	if by == nil {
		return nil, nil
	}
	counts, err := f.counts(t, batch)
	if err != nil {
		return nil, err
	}
	if counts == nil {
		counts = make(map[string]int)
		if err := t.forget(countsTable, key(batch), f.now()); err != nil {
			return nil, err
		}
	}
	add(counts, by)
	data, err := json.Marshal(counts, json.Deterministic(true))
	return append(appendTime(nil, f.now().Add(Keep)), data...), err
}

// counts are those of a batch; nil where there are none.
func (f *File) counts(t *tables, batch string) (counts map[string]int, err error) {
	data := t.get(countsTable, key(batch))
	if data == nil || !f.now().Before(readTime(data)) {
		return nil, nil
	}
	if err := json.Unmarshal(data[timeBytes:], &counts); err != nil {
		return nil, f.problem(errUnreadable)
	}
	return counts, nil
}

// Supersede implements [Ledger].
func (f *File) Supersede(ctx context.Context, id, by string) error {
	return f.run(ctx, func(t *tables) error {
		e, err := f.entry(t, id)
		if err != nil {
			return err
		}
		before := e.standing(f.now())
		if changed, err := e.supersede(id, by, f.now()); err != nil || !changed {
			return err
		}
		return f.putEntry(t, e, before)
	})
}

// Tally implements [Ledger].
func (f *File) Tally(ctx context.Context, batch string) (tally map[string]int, err error) {
	err = f.run(ctx, func(t *tables) error {
		counts, err := f.counts(t, batch)
		tally = shown(counts)
		return err
	})
	return tally, err
}

// Failures implements [Ledger].
func (f *File) Failures(ctx context.Context, batch, after string, limit int) (results []jobs.Result, next string, err error) {
	limit = max(limit, 1)
	from, err := failuresFrom(batch, after)
	if err != nil {
		return nil, "", err
	}
	err = f.run(ctx, func(t *tables) error {
		found, err := f.failures(t, from, limit+1)
		if err == nil {
			results, next = pageOf(found, limit)
		}
		return err
	})
	return results, next, err
}

// failures are so many of a batch's at most, from a key on.
func (f *File) failures(t *tables, from string, most int) (found []*entry, err error) {
	for at := range t.each(failuresTable, []byte(from)) {
		if len(found) == most || !strings.HasPrefix(string(at), from[:batchDigits]) {
			break
		}
		id, err := hex.DecodeString(string(at[max(len(at)-2*keyBytes, 0):]))
		if err != nil {
			return nil, f.problem(errUnreadable)
		}
		e, err := t.entry(id)
		if err != nil {
			return nil, f.problem(err)
		}
		if e != nil && e.failure() == string(at) && f.now().Before(e.Expires) {
			found = append(found, e)
		}
	}
	return found, nil
}

// Load implements [Ledger].
func (f *File) Load(ctx context.Context, batch, name string) (Part, error) {
	p := Part{Batch: batch, Name: name}
	err := f.run(ctx, func(t *tables) error {
		kept, err := f.part(t, key(p.id()))
		if err == nil && kept != nil && f.now().Before(kept.expires) {
			p = kept.Part()
		}
		return err
	})
	return p, err
}

// Save implements [Ledger].
func (f *File) Save(ctx context.Context, p Part) (version string, err error) {
	if err := p.check(); err != nil {
		return "", err
	}
	err = f.run(ctx, func(t *tables) error {
		at := key(p.id())
		before, err := f.part(t, at)
		if err != nil {
			return err
		}
		if p.Version != before.version(f.now()) {
			return ErrChanged
		}
		if before == nil {
			if err := t.forget(partsTable, at, f.now()); err != nil {
				return err
			}
		}
		after := &keptPart{Batch: p.Batch, Name: p.Name, Key: p.Key, data: p.Data, expires: f.now().Add(Keep)}
		if after.Saved, err = t.next(partsTable); err != nil {
			return err
		}
		version = after.version(f.now())
		return t.putPart(at, before, after)
	})
	if err != nil {
		return "", err
	}
	return version, nil
}

// List implements [Ledger].
func (f *File) List(ctx context.Context, keyPrefix string, limit int) (parts []Part, err error) {
	err = f.run(ctx, func(t *tables) error {
		parts = nil
		for _, at := range slices.Backward(t.listed(keyPrefix)) {
			p, err := f.part(t, at)
			if err != nil {
				return err
			}
			if p == nil || !f.now().Before(p.expires) {
				continue
			}
			if parts = append(parts, p.Part()); len(parts) >= limit {
				break
			}
		}
		return nil
	})
	return parts, err
}

// listed are where the parts are whose keys begin so, in the order of the keys: of all,
// for those that are listed are few.
func (t *tables) listed(keyPrefix string) (at [][]byte) {
	for by := range t.each(listedTable, []byte(keyPrefix)) {
		if !bytes.HasPrefix(by, []byte(keyPrefix)) {
			break
		}
		at = append(at, by[max(len(by)-keyBytes, 0):])
	}
	return at
}

// part is what is kept there; nil where nothing is.
func (f *File) part(t *tables, at []byte) (*keptPart, error) {
	data := t.get(partsTable, at)
	if data == nil {
		return nil, nil
	}
	expires := readTime(data)
	p, err := decodePart(data[min(timeBytes, len(data)):])
	if err != nil || !bytes.Equal(key(partID(p.Batch, p.Name)), at) {
		return nil, f.problem(errUnreadable)
	}
	p.expires = expires
	return p, nil
}

// putPart keeps a part in the place of what was there before.
func (t *tables) putPart(at []byte, before, after *keptPart) error {
	data, err := after.encode()
	if err == nil && before.listing() != after.listing() {
		err = t.replace(listedTable, before.listing(), after.listing())
	}
	if err != nil {
		return err
	}
	return t.put(partsTable, at, append(appendTime(nil, after.expires), data...))
}

// keptPart is a part as the file has it: the length of its JSON in 4 bytes, that, and the
// data.
type keptPart struct {
	Batch string `json:"batch"`
	Name  string `json:"name"`
	Key   string `json:"key,omitzero"`
	Saved uint64 `json:"saved"` // unlike any other: its version

	data    []byte
	expires time.Time
}

const lengthBytes = 4

func (p *keptPart) encode() ([]byte, error) {
	head, err := json.Marshal(p, json.Deterministic(true))
	if err != nil {
		return nil, err
	}
	data := binary.BigEndian.AppendUint32(nil, uint32(len(head))) //nolint:gosec // some names are not so long
	return slices.Concat(data, head, p.data), nil
}

// decodePart reads what encode wrote. Its data is good until the operation ends.
func decodePart(data []byte) (*keptPart, error) {
	if len(data) < lengthBytes {
		return nil, errUnreadable
	}
	n := binary.BigEndian.Uint32(data)
	data = data[lengthBytes:]
	if uint64(n) > uint64(len(data)) {
		return nil, errUnreadable
	}
	p := &keptPart{data: data[n:]}
	if err := json.Unmarshal(data[:n], p); err != nil {
		return nil, errUnreadable
	}
	return p, nil
}

// listing is what the part is listed by; empty: it is not.
func (p *keptPart) listing() string {
	if p == nil || p.Key == "" {
		return ""
	}
	return p.Key + "\x00" + string(key(partID(p.Batch, p.Name)))
}

// version is the part's; empty where there is none.
func (p *keptPart) version(now time.Time) string {
	if p == nil || !now.Before(p.expires) {
		return ""
	}
	return strconv.FormatUint(p.Saved, 10)
}

// Part is the part for who asked for it.
func (p *keptPart) Part() Part {
	return Part{Batch: p.Batch, Name: p.Name, Data: bytes.Clone(p.data), Key: p.Key, Version: strconv.FormatUint(p.Saved, 10)}
}
