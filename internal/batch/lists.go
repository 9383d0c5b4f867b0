package batch

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// users is a list of the Directory's, with all that there is to know of each.
func (s *source) users(field string, query map[string]string, mends string) targetList {
	return targetList{field: field, mends: mends, listed: true, page: func(ctx context.Context, token string) ([]entry, string, error) {
		users, next, err := s.Directory.Users(ctx, query, s.fields.asked, token)
		entries := make([]entry, len(users))
		for i, found := range users {
			entries[i].found = found
		}
		return entries, next, err
	}}
}

// inUnit asks for those of an organisational unit and of the units below it
// (https://developers.google.com/workspace/admin/directory/v1/guides/search-users); in
// the uppermost one everybody is.
func inUnit(path string) map[string]string {
	path = strings.TrimRight(path, "/")
	if path == "" {
		return nil
	}
	return map[string]string{"query": "orgUnitPath='" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(path) + "'"}
}

// group is the members of a group and of the groups in it.
func (s *source) group(group string) targetList {
	return targetList{
		field: "targets.group", listed: true, named: true, repeats: true,
		mends: fmt.Sprintf("is %s, and the Directory knows of no such group", jobs.Quote(group)),
		page: func(ctx context.Context, token string) (entries []entry, next string, err error) {
			members, next, err := s.Directory.Members(ctx, group, token)
			for _, m := range members {
				if e := ofMember(group, m); e.user != "" {
					entries = append(entries, e)
				}
			}
			return entries, next, err
		},
	}
}

// ofMember makes an entry of a group's member; one without a user of a group in it,
// whose members are listed too.
func ofMember(group string, m Member) entry {
	e := entry{user: strings.ToLower(m.Email)}
	switch m.Type {
	case "GROUP":
		return entry{}
	case "EXTERNAL":
		e.reason = reasonExternal
	case "CUSTOMER":
		e.user, e.reason, e.message = group, reasonCustomer, "all of the organisation is a member, whose users a group does not list; they are the targets of another batch, with all: true"
	default:
		if _, err := jobs.ParseUser(e.user); err != nil {
			e.reason, e.message = reasonAddress, err.Error()
		}
	}
	return e
}

// failures are the users of the jobs that failed in an earlier batch.
func (s *source) failures(batch string) targetList {
	return targetList{field: "targets.failuresOf", named: true, repeats: true, page: func(ctx context.Context, after string) (entries []entry, next string, err error) {
		results, next, err := s.Failures(ctx, batch, after, pageLength)
		for _, r := range results {
			if r.User != "" {
				entries = append(entries, entry{user: r.User})
			}
		}
		return entries, next, err
	}}
}

// someUsers are those whom the file itself names, each once. The cursor is how many of
// them were read.
func someUsers(users []string) targetList {
	return targetList{field: "targets.users", named: true, page: func(_ context.Context, cursor string) (entries []entry, next string, err error) {
		from := 0
		if cursor != "" {
			if from, err = strconv.Atoi(cursor); err != nil || from < 0 || from > len(users) {
				return nil, "", fmt.Errorf("batch: %q is no place in a list of %d users", cursor, len(users))
			}
		}
		end := min(from+pageLength, len(users))
		for _, user := range users[from:end] {
			entries = append(entries, entry{user: user})
		}
		if end < len(users) {
			next = strconv.Itoa(end)
		}
		return entries, next, nil
	}}
}
