package batch

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// fields are those of a user in the Directory that are asked for.
type fields struct {
	asked string   // as the parameter of that name has them
	keep  []string // the templates', by their first names
	mixed bool     // some of them are asked for anyway
}

// always are the fields that tell whether a batch applies to a user.
const always = "primaryEmail,suspended,archived,isMailboxSetup,isAdmin,isDelegatedAdmin"

// newFields adds what is always asked for to the fields that templates need.
func newFields(templates string) fields {
	f := fields{asked: always}
	for _, field := range topLevel(templates) {
		name := field
		if end := strings.IndexAny(field, "(/"); end >= 0 {
			name = field[:end]
		}
		f.keep = append(f.keep, name)
		if slices.Contains(strings.Split(always, ","), field) {
			f.mixed = true
		} else {
			f.asked += "," + field
		}
	}
	return f
}

// topLevel splits at the commas that are in no parentheses.
func topLevel(s string) (parts []string) {
	depth, begin := 0, 0
	for i, r := range s + "," {
		switch {
		case r == '(':
			depth++
		case r == ')':
			depth--
		case r == ',' && depth == 0:
			if part := strings.TrimSpace(s[begin:i]); part != "" {
				parts = append(parts, part)
			}
			begin = i + 1
		}
	}
	return parts
}

// directoryUser is what matters of a user.
type directoryUser struct {
	user    string
	admin   bool
	reasons []string       // for which batches pass it over
	known   jsontext.Value // the templates' fields; nil where they need none, or it has none
}

// answered is a user as the Directory gives it. What tells whether a batch applies may be
// of any type: what is not of the right one says nothing.
type answered struct {
	PrimaryEmail     string         `json:"primaryEmail"`
	Suspended        jsontext.Value `json:"suspended"`
	Archived         jsontext.Value `json:"archived"`
	IsAdmin          jsontext.Value `json:"isAdmin"`
	IsDelegatedAdmin jsontext.Value `json:"isDelegatedAdmin"`
	IsMailboxSetup   jsontext.Value `json:"isMailboxSetup"`
	// Others are all but these.
	Others jsontext.Value `json:",embed"`
}

// read takes a user apart. A mailbox of which nothing is said may be there.
func (f fields) read(found jsontext.Value) (u directoryUser, err error) {
	var a answered
	if err := json.Unmarshal(found, &a); err != nil {
		return u, fmt.Errorf("batch: the Directory answered with what is no user: %w", err)
	}
	if a.PrimaryEmail == "" {
		return u, errors.New("batch: the Directory answered with a user without an address")
	}
	u.user = a.PrimaryEmail
	u.admin = a.IsAdmin.Kind() == 't' || a.IsDelegatedAdmin.Kind() == 't'
	if a.Suspended.Kind() == 't' {
		u.reasons = append(u.reasons, reasonSuspended)
	}
	if a.Archived.Kind() == 't' {
		u.reasons = append(u.reasons, reasonArchived)
	}
	if a.IsMailboxSetup.Kind() == 'f' {
		u.reasons = append(u.reasons, reasonNoMailbox)
	}
	switch {
	case f.mixed:
		u.known, err = f.kept(found)
	case len(f.keep) > 0 && len(a.Others) > 0: // the Directory gives what it was asked for
		u.known = a.Others
		err = u.known.Compact()
	}
	return u, err
}

// kept are the templates' fields of a user.
func (f fields) kept(found jsontext.Value) (jsontext.Value, error) {
	var all map[string]jsontext.Value
	if err := json.Unmarshal(found, &all); err != nil {
		return nil, err
	}
	kept := make(map[string]jsontext.Value, len(f.keep))
	for _, name := range f.keep {
		if value, known := all[name]; known {
			kept[name] = value
		}
	}
	if len(kept) == 0 {
		return nil, nil
	}
	return json.Marshal(kept, json.Deterministic(true))
}
