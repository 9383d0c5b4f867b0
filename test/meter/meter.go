// Package meter counts what is asked of Firestore, as it is charged for
// (https://cloud.google.com/firestore/pricing).
package meter

import (
	"context"
	"sync"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
)

// Firestore is what was asked of it.
type Firestore struct {
	// Requests are the round trips: of a query, all its answers are one.
	Requests int
	// Reads are documents that were read, or looked for in vain; each query is at least one.
	Reads int
	// Writes and Deletes are documents that were to be written, whatever came of it; Creates
	// are those of the writes that were to be of a new one.
	Writes, Creates, Deletes int
}

// Meter counts. The zero value has counted nothing; it is safe for concurrent use.
type Meter struct {
	mu    sync.Mutex
	asked Firestore
}

// Take gives what was counted since it was last taken.
func (m *Meter) Take() Firestore {
	m.mu.Lock()
	defer m.mu.Unlock()
	asked := m.asked
	m.asked = Firestore{}
	return asked
}

func (m *Meter) add(more Firestore) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.asked.Requests += more.Requests
	m.asked.Reads += more.Reads
	m.asked.Writes += more.Writes
	m.asked.Creates += more.Creates
	m.asked.Deletes += more.Deletes
}

// Options have a client of Firestore be counted.
func (m *Meter) Options() []option.ClientOption {
	return []option.ClientOption{option.WithGRPCDialOption(grpc.WithChainUnaryInterceptor(m.unary)), option.WithGRPCDialOption(grpc.WithChainStreamInterceptor(m.stream))}
}

func (m *Meter) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	asked := Firestore{Requests: 1}
	if commit, ok := req.(*firestorepb.CommitRequest); ok {
		for _, w := range commit.GetWrites() {
			if w.GetDelete() != "" {
				asked.Deletes++
				continue
			}
			asked.Writes++
			if exists, said := w.GetCurrentDocument().GetConditionType().(*firestorepb.Precondition_Exists); said && !exists.Exists {
				asked.Creates++
			}
		}
	}
	m.add(asked)
	return invoke(ctx, method, req, reply, cc, opts...)
}

func (m *Meter) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, open grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	m.add(Firestore{Requests: 1})
	s, err := open(ctx, desc, cc, method, opts...)
	return &stream{ClientStream: s, meter: m}, err
}

// stream is one of documents that are read.
type stream struct {
	grpc.ClientStream
	meter *Meter
	found bool
}

// RecvMsg implements [grpc.ClientStream].
func (s *stream) RecvMsg(into any) error {
	err := s.ClientStream.RecvMsg(into)
	switch answer := into.(type) {
	case *firestorepb.BatchGetDocumentsResponse:
		if err == nil && answer.GetResult() != nil {
			s.meter.add(Firestore{Reads: 1})
		}
	case *firestorepb.RunQueryResponse:
		if err == nil && answer.GetDocument() != nil || err != nil && !s.found {
			s.found = true
			s.meter.add(Firestore{Reads: 1})
		}
	}
	return err
}
