package directory

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// The most of a list that one answer can have.
const (
	usersAPage   = "500"
	membersAPage = "200"
)

// Member is one of a group's. Type is USER, GROUP, EXTERNAL or CUSTOMER, which is all
// of the organisation; Status is as the Directory has it, such as ACTIVE.
type Member = struct{ Email, Type, Status string }

// Users lists users by their addresses, 500 a page
// (https://developers.google.com/workspace/admin/directory/reference/rest/v1/users/list).
// Query holds the API's own parameters, such as query; it lists the whole organisation
// where they name no domain. Fields are those of each user, as the parameter of that
// name has them. Next is the token of the page that follows, and empty with the last.
// What may pass is asked for again; errors are those of [Directory.User].
func (d *Directory) Users(ctx context.Context, query map[string]string, fields, token string) (users []jsontext.Value, next string, err error) {
	ask := map[string]string{
		"maxResults": usersAPage, "orderBy": "email",
		"fields": "nextPageToken,users(" + fields + ")", "projection": projection(fields), "pageToken": token,
	}
	maps.Copy(ask, query)
	if ask["domain"] == "" {
		ask["customer"] = cmp.Or(ask["customer"], "my_customer")
	}
	var answer struct {
		Users         []jsontext.Value `json:"users"`
		NextPageToken string           `json:"nextPageToken"`
	}
	err = d.patiently(ctx, question{address: usersURL, query: ask, most: maxList}, &answer)
	return answer.Users, answer.NextPageToken, err
}

// projection is what the API must be told so that fields may have the custom ones.
func projection(fields string) string {
	if strings.Contains(","+fields, ",customSchemas") {
		return "full"
	}
	return "" // basic, which is quicker
}

// Find reads one user, by the primary address or an alias, with the fields that are
// named. It is nil where the Directory does not know the user, or only as one of
// another organisation. What may pass is asked for again; errors are those of
// [Directory.User].
func (d *Directory) Find(ctx context.Context, user, fields string) (found jsontext.Value, err error) {
	q := question{address: usersURL + "/" + url.PathEscape(user), query: map[string]string{"fields": fields, "projection": projection(fields)}, most: maxAnswer}
	switch err := d.patiently(ctx, q, &found); {
	case err == nil:
		return found, nil
	case NotFound(err):
		return nil, nil
	case forbidden(err):
		return nil, d.canRead(ctx, err)
	default:
		return nil, err
	}
}

// canRead tells one who may not read anybody from a user of another organisation, of
// whom the Directory says no more than that he may not be read: it is denied unless the
// organisation's own users can be listed.
func (d *Directory) canRead(ctx context.Context, denied error) error {
	if d.reads.Load() {
		return nil
	}
	_, _, err := d.Users(ctx, map[string]string{"maxResults": "1"}, "primaryEmail", "")
	switch {
	case forbidden(err):
		return denied
	case err == nil:
		d.reads.Store(true)
	}
	return err
}

func forbidden(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Status == http.StatusForbidden && e.Reason == "forbidden"
}

// Members lists the members of a group and of the groups in it, 200 a page
// (https://developers.google.com/workspace/admin/directory/reference/rest/v1/members/list).
// Who is in several of them may be listed several times. The administrator's token is for
// [GroupScope]. What may pass is asked for again; errors are those of [Directory.User].
func (d *Directory) Members(ctx context.Context, group, token string) (members []Member, next string, err error) {
	var answer struct {
		Members       []Member
		NextPageToken string
	}
	err = d.patiently(ctx, question{
		address: groupsURL + url.PathEscape(group) + "/members",
		query: map[string]string{
			"includeDerivedMembership": "true", "maxResults": membersAPage,
			"fields": "nextPageToken,members(email,type,status)", "pageToken": token,
		},
		scope: GroupScope, most: maxList,
	}, &answer)
	return answer.Members, answer.NextPageToken, err
}
