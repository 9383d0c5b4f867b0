package ledger_test

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"testing"

	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/onbehalf-dev/onbehalf/internal/ledger"
	"github.com/onbehalf-dev/onbehalf/test/emulator"
)

func TestFirestore(t *testing.T) {
	address := firestoreEmulator(t)
	var projects atomic.Int32
	contract(t, func(t *testing.T) ledger.Ledger {
		return openFirestore(t, address, fmt.Sprint("contract-", projects.Add(1)))
	})
}

// openFirestore opens a ledger in the emulator. Each project is a world of its own.
func openFirestore(t *testing.T, address, project string, opts ...grpc.DialOption) *ledger.Firestore {
	t.Helper()
	dial := []option.ClientOption{option.WithEndpoint(address), option.WithoutAuthentication(), option.WithGRPCDialOption(grpc.WithTransportCredentials(insecure.NewCredentials()))}
	for _, o := range opts {
		dial = append(dial, option.WithGRPCDialOption(o))
	}
	l, err := ledger.OpenFirestore(t.Context(), project, "(default)", dial...)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// firestoreEmulator is the address of one. Where it is not installed the test is
// skipped, but not on CI.
func firestoreEmulator(t *testing.T) string {
	t.Helper()
	e, err := emulator.Firestore().Start(t.Context())
	var missing *emulator.MissingError
	switch {
	case errors.As(err, &missing) && os.Getenv("CI") != "true":
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
	t.Cleanup(e.Wait)
	return e.Address
}
