package ledger

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// presence shows to other processes that this one lives: by the lock of a file that
// no other has. Presences are made and looked at while nobody else has the ledger
// open, so that none is taken for dead before it has its lock.
type presence struct {
	name string
	file *os.File
}

// Close ends the presence. Its file stays, for whoever meets what it held.
func (p *presence) Close() error {
	if p.file == nil {
		return nil
	}
	return p.file.Close()
}

// presenceName is what [newHolder] makes. What stands in a ledger under another name
// must not lead to any other file.
var presenceName = regexp.MustCompile(`^[A-Z2-7]{26}$`)

const presenceSuffix = ".alive"

func presenceFile(ledger, name string) string { return ledger + "." + name + presenceSuffix }

// bury removes the file of a presence that has ended.
func bury(ledger, name string) { _ = os.Remove(presenceFile(ledger, name)) }

// leftOver names the presences beside the ledger, ended or not.
func leftOver(ledger string) []string {
	entries, _ := os.ReadDir(filepath.Dir(ledger))
	var names []string
	for _, e := range entries {
		name, ours := strings.CutPrefix(strings.TrimSuffix(e.Name(), presenceSuffix), filepath.Base(ledger)+".")
		if ours && presenceName.MatchString(name) {
			names = append(names, name)
		}
	}
	return names
}
