package ledger_test

import (
	"path/filepath"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/ledger"
)

func TestFile(t *testing.T) {
	contract(t, func(t *testing.T) ledger.Ledger { return openFile(t, filepath.Join(t.TempDir(), "ledger")) })
}

func openFile(t *testing.T, path string) *ledger.File {
	t.Helper()
	l, err := ledger.OpenFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
