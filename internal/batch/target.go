package batch

import (
	"context"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// Target is a user to whom a batch applies.
type Target struct {
	// User is the primary address, in lower case.
	User string `json:"user"`
	// Known are those fields of the Directory's user that the templates use, as the
	// Directory gave them.
	Known jsontext.Value `json:"known,omitzero"`
	// Row are the columns of the CSV file, but for the user.
	Row map[string]string `json:"row,omitzero"`
	// Admin is whether the Directory says that it is an administrator.
	Admin bool `json:"admin,omitzero"`
}

// PassedOver is a user to whom a batch does not apply.
type PassedOver struct {
	User   string `json:"user"`
	Reason string `json:"reason"` // such as "suspended"
	// Message says more, where there is more to say.
	Message string `json:"message,omitzero"`
}

// Page is some of a batch's users.
type Page struct {
	Targets    []Target
	PassedOver []PassedOver
	// Next is the cursor of the page that follows; empty: this is the last.
	Next string
}

// Source lists the users that a batch names.
type Source interface {
	// Check finds before the first job what could be wrong with the list on a later
	// page, which takes a while where it is a CSV file. Columns are those of such a file
	// beside the user's. An error that its author must mend is a [*jobs.BatchError].
	Check(ctx context.Context) (columns []string, err error)
	// Page reads those after a cursor, which is empty at first: some 500 of them, or
	// fewer, or none. Errors are as with Check.
	Page(ctx context.Context, cursor string) (Page, error)
}

// Directory is what is asked of the Workspace Directory. A user is the Directory's own
// JSON, with the fields that were asked for.
type Directory interface {
	// Users lists users, 500 a page. Query holds the API's own parameters, such as query
	// and orgUnitPath; fields are those of a user.
	Users(ctx context.Context, query map[string]string, fields, token string) (users []jsontext.Value, next string, err error)
	// Find reads one user, by the primary address or an alias; nil where the Directory
	// knows of none.
	Find(ctx context.Context, user, fields string) (jsontext.Value, error)
	// Members lists the members of a group and of the groups in it, 200 a page.
	Members(ctx context.Context, group, token string) (members []Member, next string, err error)
}

// Member is one of a group's: an alias, so that a Directory need not know this package.
type Member = struct{ Email, Type, Status string }

// Files opens files: of Cloud Storage, and where that is allowed of this machine.
type Files interface {
	// Open reads a file from an offset on. The version is another when the content is.
	// The error of a file that is not there is an [fs.ErrNotExist].
	Open(ctx context.Context, uri string, from int64) (body io.ReadCloser, version string, err error)
}
