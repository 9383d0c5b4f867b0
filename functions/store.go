package functions

import (
	"context"
	"errors"

	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

// store is a ledger as batches see it: neither package knows the other.
type store struct{ ledger.Ledger }

var _ batch.Store = store{}

// Load implements [batch.Store].
func (s store) Load(ctx context.Context, batchID, name string) (batch.Part, error) {
	p, err := s.Ledger.Load(ctx, batchID, name)
	return batch.Part(p), err
}

// Save implements [batch.Store].
func (s store) Save(ctx context.Context, p batch.Part) (version string, changed bool, err error) {
	version, err = s.Ledger.Save(ctx, ledger.Part(p))
	if errors.Is(err, ledger.ErrChanged) {
		return "", true, nil
	}
	return version, false, err
}

// List implements [batch.Store].
func (s store) List(ctx context.Context, prefix string, limit int) ([]batch.Part, error) {
	if limit <= 0 {
		return nil, nil
	}
	found, err := s.Ledger.List(ctx, prefix, limit)
	parts := make([]batch.Part, len(found))
	for i, p := range found {
		parts[i] = batch.Part(p)
	}
	return parts, err
}

// States implements [batch.Store].
func (s store) States(ctx context.Context, ids []string) ([]batch.JobState, error) {
	found, err := s.Ledger.States(ctx, ids)
	states := make([]batch.JobState, len(found))
	for i, known := range found {
		states[i] = batch.JobState{By: known.By, NotBefore: known.NotBefore}
		if known.Result != nil {
			states[i].Status = known.Result.Status
		}
	}
	return states, err
}

// Tally implements [batch.Store].
func (s store) Tally(ctx context.Context, batchID string) (batch.Tally, error) {
	return s.Ledger.Tally(ctx, batchID)
}

// Failures implements [batch.Store].
func (s store) Failures(ctx context.Context, batchID, after string, limit int) ([]jobs.Result, string, error) {
	return s.Ledger.Failures(ctx, batchID, after, limit)
}
