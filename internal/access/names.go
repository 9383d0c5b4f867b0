package access

import (
	"cmp"
	"context"
	"net/http"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/directory"
	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

// nameTimeout bounds what is asked to put a name into a message.
const nameTimeout = 5 * time.Second

// Names completes what a message is filled in with by what is known here. What
// only Google knows is asked for where the message has a place for it; where that
// fails, the text says how it is read.
func (a *Access) Names(ctx context.Context, m explain.Meaning, n explain.Names) explain.Names {
	ctx, cancel := context.WithTimeout(ctx, nameTimeout)
	defer cancel()
	n.Account = a.Minter.ServiceAccount()
	// APIs have to be on where the delegated service account lives.
	n.Project = cmp.Or(explain.AccountProject(n.Account), a.Project)
	if m.WantsClientID() {
		n.ClientID, _ = a.Minter.ClientID(ctx)
	}
	if m.WantsCaller() {
		who, _ := a.Own.Who(ctx)
		n.Caller = who.Member()
	}
	return n
}

// Directory reads the Directory as an administrator.
func (a *Access) Directory(admin string) (*directory.Directory, error) {
	return directory.New(directory.Config{HTTP: a.HTTP, Authorize: func(ctx context.Context, r *http.Request, scope string) (refused func(), err error) {
		token, err := a.Minter.Token(ctx, admin, scope)
		if err != nil {
			return nil, err
		}
		token.Authorize(r)
		return func() { a.Minter.Drop(token) }, nil
	}})
}
