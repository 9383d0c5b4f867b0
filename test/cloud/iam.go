package cloud

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/api/iam/v1"
)

// iamMethods are those of service accounts and custom roles.
func iamMethods() []method {
	const accounts, roles = "/v1/projects/{project}/serviceAccounts", "/v1/projects/{project}/roles"
	accountKey := func(s *Server, c *call) string { return s.accountKey(c.vars["account"]) }
	return []method{
		{verb: http.MethodGet, path: accounts, query: "pageSize pageToken", do: func(s *Server, c *call) (any, error) {
			return object{"accounts": s.list(s.accountKey(""))}, nil
		}},
		{verb: http.MethodPost, path: accounts, body: new(iam.CreateServiceAccountRequest), do: (*Server).createAccount},
		{verb: http.MethodGet, path: accounts + "/{account}", do: func(s *Server, c *call) (any, error) { return s.getAccount(c) }},
		{verb: http.MethodDelete, path: accounts + "/{account}", do: (*Server).deleteAccount},
		{verb: http.MethodPatch, path: accounts + "/{account}", body: new(iam.PatchServiceAccountRequest), do: (*Server).patchAccount},
		{verb: http.MethodPost, path: accounts + "/{account}:getIamPolicy", query: "options.requestedPolicyVersion", do: func(s *Server, c *call) (any, error) {
			if _, err := s.getAccount(c); err != nil {
				return nil, err
			}
			return s.getPolicy(accountKey(s, c))
		}},
		{verb: http.MethodPost, path: accounts + "/{account}:setIamPolicy", body: new(iam.SetIamPolicyRequest), do: func(s *Server, c *call) (any, error) {
			if _, err := s.getAccount(c); err != nil {
				return nil, err
			}
			return s.setPolicy(c, accountKey(s, c), onAccount)
		}},

		// gcloud asks which permissions a custom role may have before it makes one.
		{verb: http.MethodPost, path: "/v1/permissions:queryTestablePermissions", body: new(iam.QueryTestablePermissionsRequest), do: func(*Server, *call) (any, error) {
			return object{"permissions": []any{object{"name": "iam.serviceAccounts.signJwt", "stage": "GA", "customRolesSupportLevel": "SUPPORTED"}}}, nil
		}},
		{verb: http.MethodGet, path: roles, query: "pageSize pageToken showDeleted view", do: (*Server).listRoles},
		{verb: http.MethodPost, path: roles, body: new(iam.CreateRoleRequest), do: (*Server).createRole},
		{verb: http.MethodGet, path: roles + "/{role}", do: func(s *Server, c *call) (any, error) { return s.role(c) }},
		{verb: http.MethodPatch, path: roles + "/{role}", query: "updateMask", body: new(iam.Role), do: (*Server).patchRole},
		{verb: http.MethodDelete, path: roles + "/{role}", query: "etag", do: (*Server).deleteRole},
		{verb: http.MethodPost, path: roles + "/{role}:undelete", body: new(iam.UndeleteRoleRequest), do: (*Server).undeleteRole},
	}
}

// accountKey is the full name of a service account, which has its address.
func (s *Server) accountKey(email string) string {
	return "//iam.googleapis.com/projects/" + s.config.Project + "/serviceAccounts/" + email
}

var accountID = regexp.MustCompile(`^[a-z]([-a-z0-9]{4,28}[a-z0-9])$`)

func (s *Server) createAccount(c *call) (any, error) {
	id := text(c.body, "accountId")
	if !accountID.MatchString(id) {
		return nil, invalid("Invalid account ID: %q. Must be between 6 and 30 characters (inclusive), must begin with a lowercase letter, and consist of lowercase alphanumeric characters that can be separated by hyphens.", id)
	}
	email := fmt.Sprintf("%s@%s.iam.gserviceaccount.com", id, s.config.Project)
	key := s.accountKey(email)
	if s.state[key] != nil {
		return nil, refuse(http.StatusConflict, "Service account %s already exists within project projects/%s.", id, s.config.Project)
	}
	if len(text(c.body, "serviceAccount", "displayName")) > 100 || len(text(c.body, "serviceAccount", "description")) > 256 {
		return nil, invalid("A display name has at most 100 bytes, a description 256.")
	}
	number := s.uniqueID()
	account := object{
		"name": short(key), "projectId": s.config.Project, "email": email, "uniqueId": number, "oauth2ClientId": number, "etag": "MDEwMjE5MjA=",
	}
	for _, field := range []string{"displayName", "description"} {
		if value := text(c.body, "serviceAccount", field); value != "" {
			account[field] = value
		}
	}
	s.state[key] = account
	s.unseen[email] = s.youth
	return account, nil
}

func (s *Server) getAccount(c *call) (object, error) {
	account, ok := s.state[s.accountKey(c.vars["account"])]
	if !ok {
		return nil, refuse(http.StatusNotFound, "Unknown service account")
	}
	return account, nil
}

func (s *Server) patchAccount(c *call) (any, error) {
	account, err := s.getAccount(c)
	if err != nil {
		return nil, err
	}
	change, _ := c.body["serviceAccount"].(object)
	return account, merge(account, change, text(c.body, "updateMask"))
}

func (s *Server) deleteAccount(c *call) (any, error) {
	account, err := s.getAccount(c)
	if err != nil {
		return nil, err
	}
	s.forget(s.accountKey(c.vars["account"]))
	s.disown(text(account, "email"), text(account, "uniqueId"))
	return object{}, nil
}

var (
	roleID     = regexp.MustCompile(`^[a-zA-Z0-9_.]{3,64}$`)
	permission = regexp.MustCompile(`^[a-z]+(\.[a-zA-Z]+){2,}$`)
)

func (s *Server) listRoles(c *call) (any, error) {
	list := []any{}
	for _, o := range s.list("//iam.googleapis.com/projects/" + s.config.Project + "/roles/") {
		if role, _ := o.(object); role["deleted"] != true || c.query.Get("showDeleted") == "true" {
			list = append(list, o)
		}
	}
	return object{"roles": list}, nil
}

// role is a custom role, also one that is deleted but can come back for seven days
// (https://cloud.google.com/iam/docs/creating-custom-roles).
func (s *Server) role(c *call) (object, error) {
	name := fmt.Sprintf("projects/%s/roles/%s", s.config.Project, c.vars["role"])
	role, ok := s.state["//iam.googleapis.com/"+name]
	if !ok {
		return nil, refuse(http.StatusNotFound, "The role named %s was not found.", name)
	}
	return role, nil
}

func (s *Server) createRole(c *call) (any, error) {
	id := text(c.body, "roleId")
	if !roleID.MatchString(id) {
		return nil, invalid("The role ID %q is not of 3 to 64 letters, digits, underscores and periods.", id)
	}
	name := fmt.Sprintf("projects/%s/roles/%s", s.config.Project, id)
	if there := s.state["//iam.googleapis.com/"+name]; there != nil {
		if there["deleted"] == true {
			return nil, precondition("You can't create a role with role_id (%s) where there is an existing role with that role_id in a deleted state.", id)
		}
		return nil, refuse(http.StatusConflict, "A role named %s in projects/%s already exists.", id, s.config.Project)
	}
	role, _ := c.body["role"].(object)
	if role == nil {
		role = object{}
	}
	if err := validRole(role); err != nil {
		return nil, err
	}
	role["name"] = name
	s.stamp(role)
	s.state["//iam.googleapis.com/"+name] = role
	return role, nil
}

func validRole(role object) error {
	list, _ := role["includedPermissions"].([]any)
	for _, p := range list {
		if name, _ := p.(string); !permission.MatchString(name) {
			return invalid("Permission %s is not valid.", name)
		}
	}
	switch stage := text(role, "stage"); stage {
	case "", "ALPHA", "BETA", "GA", "DEPRECATED", "DISABLED", "EAP":
		return nil
	default:
		return invalid("Invalid value at 'role.stage' (type.googleapis.com/google.iam.admin.v1.Role.RoleLaunchStage), %q", stage)
	}
}

// stamp gives a resource a new etag.
func (s *Server) stamp(o object) { o["etag"] = fmt.Sprintf("BwXh%08d", s.number()) }

// fresh is the 409 for a change to what has changed since it was read.
func fresh(there, change object) error {
	if etag := text(change, "etag"); etag != "" && etag != text(there, "etag") {
		return aborted("There were concurrent changes to %s: the etag %s is not the current one.", text(there, "name"), etag)
	}
	return nil
}

func (s *Server) patchRole(c *call) (any, error) {
	role, err := s.role(c)
	if err != nil {
		return nil, err
	}
	if role["deleted"] == true {
		return nil, precondition("You can't update role (%s) because it is deleted.", text(role, "name"))
	}
	if err := fresh(role, c.body); err != nil {
		return nil, err
	}
	if err := validRole(c.body); err != nil {
		return nil, err
	}
	mask := c.query.Get("updateMask")
	if mask == "" { // Google takes it for all that the request has
		mask = strings.Join(fieldsOf(c.body, "name", "etag", "deleted"), ",")
	}
	if err := merge(role, c.body, mask); err != nil {
		return nil, err
	}
	s.stamp(role)
	return role, nil
}

func (s *Server) deleteRole(c *call) (any, error) {
	role, err := s.role(c)
	if err != nil {
		return nil, err
	}
	if role["deleted"] == true {
		return nil, precondition("You can't delete role (%s) because it is already deleted.", text(role, "name"))
	}
	role["deleted"] = true
	s.stamp(role)
	return role, nil
}

func (s *Server) undeleteRole(c *call) (any, error) {
	role, err := s.role(c)
	if err != nil {
		return nil, err
	}
	if role["deleted"] != true {
		return nil, precondition("You can't undelete role (%s) because it is not deleted.", text(role, "name"))
	}
	delete(role, "deleted")
	s.stamp(role)
	return role, nil
}

// fieldsOf are the names of what o has, but for some.
func fieldsOf(o object, but ...string) []string {
	var names []string
	for _, name := range slices.Sorted(maps.Keys(o)) {
		if !slices.Contains(but, name) {
			names = append(names, name)
		}
	}
	return names
}
