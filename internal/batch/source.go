package batch

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"golang.org/x/sync/errgroup"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// SourceConfig is what a [Source] is made of.
type SourceConfig struct {
	Batch *jobs.Batch
	// Fields are those of the Directory's users that the templates need, such as
	// "name,orgUnitPath": see [Template.Fields].
	Fields string
	// Directory is nil where there is no administrator as whom to read it. Users that are
	// named one by one are taken as they are named then.
	Directory Directory
	Files     Files
	// Failures are those of an earlier batch: see [Store].
	Failures func(ctx context.Context, batch, after string, limit int) (results []jobs.Result, next string, err error)
	// Earlier names the users on the pages that are kept, those that are passed over
	// too. It is called where a list may name somebody twice, and then once.
	Earlier func(ctx context.Context, each func(user string)) error
}

// Reasons for which users are passed over.
const (
	reasonSuspended = "suspended"
	reasonArchived  = "archived"
	reasonNoMailbox = "noMailbox"
	reasonExcluded  = "excluded"
	reasonNotFound  = "notFound"
	reasonExternal  = "external" // of another organisation
	reasonCustomer  = "customer" // all of the organisation, which is a member of a group
	reasonDouble    = "double"   // named twice, by an alias
	reasonAddress   = "address"  // that jobs do not accept
	reasonWhere     = "where"    // the batch says that it is not for this user
	reasonTemplate  = "template" // of which no job can be made
	reasonPolicy    = "policy"   // refuses the job
)

const (
	// pageLength is the most users of a page.
	pageLength = 500
	// lookUps is how many users are looked up at once.
	lookUps = 8
)

// source is a [Source] of any kind.
type source struct {
	SourceConfig
	targetList
	fields   fields
	excluded map[string]bool
	once     once
}

// targetList is what a batch's targets name.
type targetList struct {
	field string // that names it, in the batch's file
	// page reads some of it. Entries of which the Directory is to be asked have a user
	// and no more.
	page func(ctx context.Context, cursor string) (entries []entry, next string, err error)
	// check reads it whole, where that can fail.
	check func(ctx context.Context) (columns []string, err error)
	// mends says what may be wrong with the field where the Directory does not
	// understand what it is asked.
	mends string
	// listed: the Directory has it.
	listed bool
	// named: it is one of users, who are to be looked up.
	named bool
	// repeats: it may name somebody twice, of which nothing is said.
	repeats bool
}

// entry is somebody on a list.
type entry struct {
	user    string
	row     map[string]string
	found   jsontext.Value // as the Directory has it
	reason  string         // why it is passed over
	message string
}

// NewSource makes the source of a batch. It makes no call. The error of a batch whose
// targets are not to be had here is a [*jobs.BatchError].
func NewSource(c SourceConfig) (Source, error) {
	s := &source{SourceConfig: c, fields: newFields(c.Fields), excluded: make(map[string]bool)}
	for _, user := range c.Batch.Exclude {
		s.excluded[user] = true
	}
	s.once.earlier = c.Earlier
	switch t := c.Batch.Targets; {
	case t.All:
		s.targetList = s.users("targets.all", nil, "")
	case t.OrgUnit != "":
		s.targetList = s.users("targets.orgUnit", inUnit(t.OrgUnit), fmt.Sprintf("is %s, and the Directory knows of no such organisational unit; give its path, such as /Sales/EMEA", jobs.Quote(t.OrgUnit)))
	case t.Query != "":
		s.targetList = s.users("targets.query", map[string]string{"query": t.Query}, fmt.Sprintf("is %s, which the Directory does not understand; see https://developers.google.com/workspace/admin/directory/v1/guides/search-users", jobs.Quote(t.Query)))
	case t.Group != "":
		s.targetList = s.group(t.Group)
	case t.CSV != "":
		s.targetList = newRows(c.Files, t.CSV).list()
	case t.FailuresOf != "":
		s.targetList = s.failures(t.FailuresOf)
	default:
		s.targetList = someUsers(t.Users)
	}
	if c.Directory == nil && s.listed {
		return nil, c.Batch.At(s.field, errors.New("is read from the Directory, as an administrator: set ONBEHALF_ADMIN to one, or name the users in targets.users or targets.csv"))
	}
	return s, nil
}

func (s *source) Check(ctx context.Context) (columns []string, err error) {
	if s.check == nil {
		return nil, nil
	}
	columns, err = s.check(ctx)
	return columns, s.ofAuthor(err)
}

func (s *source) Page(ctx context.Context, cursor string) (Page, error) {
	entries, next, again, err := s.read(ctx, cursor)
	if err != nil {
		return Page{}, s.ofAuthor(err)
	}
	if s.once.on = s.repeats || again || s.named && s.Directory != nil; s.once.on {
		if err := s.once.turn(ctx, cursor, next); err != nil {
			return Page{}, err
		}
	}
	if err := s.lookUp(ctx, entries); err != nil {
		return Page{}, err
	}
	page := Page{Next: next}
	for _, e := range entries {
		if err := s.put(&page, e, s.repeats || again); err != nil {
			return Page{}, err
		}
	}
	return page, nil
}

// put puts an entry on a page. Of one who is on the list already nothing is said where
// lists repeat themselves.
func (s *source) put(page *Page, e entry, repeats bool) error {
	t, passed, err := s.judge(e)
	if err != nil {
		return err
	}
	switch isNew := s.once.add(t.User); {
	case !isNew && repeats:
		return nil
	case !isNew:
		passed = &PassedOver{e.user, reasonDouble, t.User + " is on the list already"}
	}
	if passed != nil {
		page.PassedOver = append(page.PassedOver, *passed)
	} else {
		page.Targets = append(page.Targets, t)
	}
	return nil
}

// restarted begins the cursors of a list that was begun again.
const restarted = "again:"

// read reads a page of the list. The Directory's tokens are good for three days, and a
// batch may be paused for longer: then the list is begun again, without those whom the
// earlier pages have.
func (s *source) read(ctx context.Context, cursor string) (entries []entry, next string, again bool, err error) {
	token, again := strings.CutPrefix(cursor, restarted)
	entries, next, err = s.page(ctx, token)
	if token != "" && misasked(err) {
		again = true
		entries, next, err = s.page(ctx, "")
	}
	if again && next != "" {
		next = restarted + next
	}
	return entries, next, again, err
}

// misasked tells whether the Directory says of what it was asked that it makes no sense.
func misasked(err error) bool {
	var e interface {
		error
		Misasked() bool
	}
	return errors.As(err, &e) && e.Misasked()
}

// ofAuthor makes an error one of the field in the batch's file, where it is for its
// author to mend.
func (s *source) ofAuthor(err error) error {
	var problem *listError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &problem):
		return s.Batch.At(s.field, err)
	case misasked(err) && s.mends != "":
		return s.Batch.At(s.field, errors.New(s.mends))
	}
	return fmt.Errorf("%s: %w", s.field, err)
}

// listError says what is wrong with a list.
type listError struct{ problem string }

func (e *listError) Error() string { return e.problem }

func listErrorf(format string, args ...any) error { return &listError{fmt.Sprintf(format, args...)} }

// lookUp asks the Directory for those of whom no more is known than a name.
func (s *source) lookUp(ctx context.Context, entries []entry) error {
	if s.Directory == nil || !s.named {
		return nil
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(lookUps)
	for i := range entries {
		e := &entries[i]
		if e.reason != "" || s.excluded[e.user] || s.once.has(e.user) {
			continue
		}
		group.Go(func() (err error) {
			e.found, err = s.Directory.Find(ctx, e.user, s.fields.asked)
			if err == nil && e.found == nil {
				e.reason = reasonNotFound
			}
			return err
		})
	}
	return group.Wait()
}

// judge makes a target of an entry, and says why it is passed over, if it is.
func (s *source) judge(e entry) (t Target, passed *PassedOver, err error) {
	t = Target{User: e.user, Row: e.row}
	over := func(reason, message string) (Target, *PassedOver, error) {
		return t, &PassedOver{t.User, reason, message}, nil
	}
	if e.found == nil {
		switch {
		case s.excluded[t.User]:
			return over(reasonExcluded, "")
		case e.reason != "":
			return over(e.reason, e.message)
		}
		return t, nil, nil
	}
	u, err := s.fields.read(e.found)
	if err != nil {
		return t, nil, err
	}
	user, wrong := jobs.ParseUser(u.user)
	t.User, t.Known, t.Admin = user, u.known, u.admin
	if wrong != nil {
		return over(reasonAddress, wrong.Error())
	}
	if s.excluded[t.User] || s.excluded[e.user] {
		return over(reasonExcluded, "")
	}
	for _, reason := range u.reasons {
		if !slices.Contains(s.Batch.Include, reason) {
			return over(reason, "")
		}
	}
	return t, nil, nil
}
