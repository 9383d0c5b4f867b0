package sandbox

import (
	"cmp"
	"fmt"
)

// Generate is an organisation by the number: user0000001@example.com and so on.
type Generate struct {
	Count    int      `yaml:"count"`
	Domain   string   `yaml:"domain"`   // empty: example.com
	OrgUnits []string `yaml:"orgUnits"` // in which the users are, in turn; none: the uppermost
	// Every so many-th user is suspended, archived, or has no mailbox; 0 is nobody.
	SuspendedEvery int `yaml:"suspendedEvery"`
	ArchivedEvery  int `yaml:"archivedEvery"`
	NoMailboxEvery int `yaml:"noMailboxEvery"`
}

// maxGenerated is how many users take about 2 GB.
const maxGenerated = 2_000_000

// Users are those users, the same every time.
func (g Generate) Users() []User {
	if g.Count <= 0 {
		return nil
	}
	out := make([]User, g.Count)
	every := func(n, of int) bool { return of > 0 && n%of == 0 }
	for i := range out {
		n := i + 1
		name := fmt.Sprintf("%07d", n)
		out[i] = User{
			PrimaryEmail: "user" + name + "@" + cmp.Or(g.Domain, "example.com"), GivenName: "User", FamilyName: name,
			Suspended: every(n, g.SuspendedEvery), Archived: every(n, g.ArchivedEvery), NoMailbox: every(n, g.NoMailboxEvery),
		}
		if len(g.OrgUnits) > 0 {
			out[i].OrgUnitPath = g.OrgUnits[i%len(g.OrgUnits)]
		}
	}
	return out
}

func (g Generate) validate() error {
	if g.Count < 0 || g.Count > maxGenerated {
		return fmt.Errorf("generate.count: %d is not between 0 and %d", g.Count, maxGenerated)
	}
	for field, n := range map[string]int{"suspendedEvery": g.SuspendedEvery, "archivedEvery": g.ArchivedEvery, "noMailboxEvery": g.NoMailboxEvery} {
		if n < 0 {
			return fmt.Errorf("generate.%s: %d is negative", field, n)
		}
	}
	return nil
}
