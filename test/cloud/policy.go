package cloud

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// policy is who may do what with a resource.
type policy struct {
	version int // counts its changes; the etag says it
	fields  object
}

func (p *policy) etag() string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "policy%06d", p.version))
}

// answer is the policy as getIamPolicy has it.
func (p *policy) answer() object {
	o := clone(p.fields)
	o["version"], o["etag"] = 1, p.etag()
	list, _ := o["bindings"].([]any)
	if slices.ContainsFunc(list, conditional) {
		o["version"] = 3
	}
	return o
}

// policyOf is the policy of a resource that is there.
func (s *Server) policyOf(key string) (*policy, error) {
	if _, err := s.get(key); err != nil {
		return nil, err
	}
	if s.policies[key] == nil {
		s.policies[key] = &policy{fields: object{}}
	}
	return s.policies[key], nil
}

// getPolicy answers getIamPolicy.
func (s *Server) getPolicy(key string) (any, error) {
	p, err := s.policyOf(key)
	if err != nil {
		return nil, err
	}
	return p.answer(), nil
}

// setPolicy answers setIamPolicy: the policy in the body comes in place of the one that
// was read, and of no later one.
func (s *Server) setPolicy(c *call, key, kind string) (any, error) {
	p, err := s.policyOf(key)
	if err != nil {
		return nil, err
	}
	wanted, ok := c.body["policy"].(object)
	if !ok {
		return nil, invalid("The policy must be set.")
	}
	if etag := text(wanted, "etag"); etag != "" && etag != p.etag() {
		return nil, aborted("There were concurrent policy changes. Please retry the whole read-modify-write with exponential backoff. The request's ETag '%s' did not match the current policy's ETag '%s'.", etag, p.etag())
	}
	bindings, err := s.bindings(wanted, p, kind)
	if err != nil {
		return nil, err
	}
	fields := object{}
	if len(bindings) > 0 {
		fields["bindings"] = bindings
	}
	if wanted["auditConfigs"] != nil {
		fields["auditConfigs"] = wanted["auditConfigs"]
	}
	p.fields = fields
	p.version++
	return p.answer(), nil
}

// bindings are those of the wanted policy, each role once, if Google would take them.
// Who has a role already is not looked up again: accounts that are deleted may stay.
func (s *Server) bindings(wanted object, before *policy, kind string) ([]any, error) {
	asked, _ := wanted["bindings"].([]any)
	merged := &policy{fields: object{}}
	for _, b := range asked {
		binding, _ := b.(object)
		role := text(binding, "role")
		if err := s.grantable(role, kind); err != nil {
			return nil, err
		}
		members, _ := binding["members"].([]any)
		for _, m := range members {
			member, _ := m.(string)
			if !before.has(role, member) {
				if err := s.member(member, kind); err != nil {
					return nil, err
				}
			}
		}
		merged.merge(binding)
	}
	list, _ := merged.fields["bindings"].([]any)
	return list, nil
}

// conditional says whether a binding holds under a condition only.
func conditional(b any) bool {
	binding, _ := b.(object)
	return binding["condition"] != nil
}

// merge takes a binding's members to those that have its role already; one under a condition stays by itself.
func (p *policy) merge(binding object) {
	if conditional(binding) {
		list, _ := p.fields["bindings"].([]any)
		p.fields["bindings"] = append(list, binding)
		return
	}
	members, _ := binding["members"].([]any)
	for _, m := range members {
		member, _ := m.(string)
		p.add(text(binding, "role"), member)
	}
}

// add binds a role to a member, without a condition.
func (p *policy) add(role, member string) {
	list, _ := p.fields["bindings"].([]any)
	for _, b := range list {
		if binding, _ := b.(object); binding["role"] == role && !conditional(b) {
			members, _ := binding["members"].([]any)
			if !slices.Contains(members, any(member)) {
				binding["members"] = append(members, member)
			}
			return
		}
	}
	p.fields["bindings"] = append(list, object{"role": role, "members": []any{member}})
}

// has says whether a role is bound to a member without a condition.
func (p *policy) has(role, member string) bool {
	if p == nil {
		return false
	}
	list, _ := p.fields["bindings"].([]any)
	for _, b := range list {
		binding, _ := b.(object)
		members, _ := binding["members"].([]any)
		if text(binding, "role") == role && !conditional(b) && slices.Contains(members, any(member)) {
			return true
		}
	}
	return false
}

// Granted says whether a role is bound to a member in the policy of the resource itself.
func (s *Server) Granted(name, role, member string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.policies[name].has(role, member)
}

// Bindings are all of all policies, each as "NAME ROLE MEMBER", in their order.
func (s *Server) Bindings() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for key, p := range s.policies {
		list, _ := p.fields["bindings"].([]any)
		for _, b := range list {
			binding, _ := b.(object)
			members, _ := binding["members"].([]any)
			for _, m := range members {
				all = append(all, fmt.Sprintf("%s %s %v", key, text(binding, "role"), m))
			}
		}
	}
	slices.Sort(all)
	return all
}

// What a policy is set on.
const (
	onProject      = "project"
	onAccount      = "service account"
	onTopic        = "topic"
	onSubscription = "subscription"
	onSecret       = "secret"
	onService      = "service"
	onTable        = "table"
	onTrigger      = "trigger"
	onFunction     = "function"
)

// roles are Google's that can be bound on a kind of resource
// (https://cloud.google.com/iam/docs/understanding-roles, "lowest-level resources"): those
// that somebody might bind here. On a project any of them can be bound.
var roles = map[string][]string{
	onProject: {
		"roles/owner", "roles/editor", "roles/viewer", "roles/browser",
		"roles/artifactregistry.reader", "roles/artifactregistry.writer", "roles/artifactregistry.admin",
		"roles/bigquery.jobUser", "roles/bigquery.user", "roles/cloudbuild.builds.builder", "roles/cloudbuild.builds.editor",
		"roles/cloudfunctions.developer", "roles/cloudfunctions.admin", "roles/cloudfunctions.viewer", "roles/cloudfunctions.invoker", "roles/cloudfunctions.serviceAgent",
		"roles/cloudscheduler.admin", "roles/cloudscheduler.viewer", "roles/cloudscheduler.jobRunner",
		"roles/datastore.user", "roles/datastore.viewer", "roles/datastore.owner",
		"roles/eventarc.admin", "roles/eventarc.developer", "roles/eventarc.viewer", "roles/eventarc.eventReceiver", "roles/eventarc.serviceAgent",
		"roles/iam.serviceAccountAdmin", "roles/iam.serviceAccountCreator", "roles/iam.roleAdmin", "roles/iam.securityReviewer",
		"roles/logging.admin", "roles/logging.configWriter", "roles/logging.logWriter", "roles/logging.viewer",
		"roles/monitoring.admin", "roles/monitoring.editor", "roles/monitoring.viewer", "roles/monitoring.metricWriter",
		"roles/pubsub.serviceAgent", "roles/run.serviceAgent", "roles/run.builder", "roles/run.sourceDeveloper",
		"roles/serviceusage.serviceUsageAdmin", "roles/serviceusage.serviceUsageConsumer", "roles/serviceusage.serviceUsageViewer",
		"roles/storage.admin", "roles/storage.objectViewer", "roles/storage.objectAdmin", "roles/storage.objectCreator",
		"roles/cloudtrace.agent",
	},
	onAccount: {
		"roles/owner", "roles/editor", "roles/viewer",
		"roles/iam.serviceAccountUser", "roles/iam.serviceAccountTokenCreator", "roles/iam.serviceAccountOpenIdTokenCreator", "roles/iam.serviceAccountAdmin",
		"roles/iam.serviceAccountDeleter", "roles/iam.serviceAccountKeyAdmin", "roles/iam.serviceAccountViewer", "roles/iam.workloadIdentityUser",
	},
	onTopic: {
		"roles/owner", "roles/editor", "roles/viewer",
		"roles/pubsub.admin", "roles/pubsub.editor", "roles/pubsub.publisher", "roles/pubsub.subscriber", "roles/pubsub.viewer",
	},
	onSubscription: {
		"roles/owner", "roles/editor", "roles/viewer",
		"roles/pubsub.admin", "roles/pubsub.editor", "roles/pubsub.subscriber", "roles/pubsub.viewer",
	},
	onSecret: {
		"roles/owner", "roles/viewer",
		"roles/secretmanager.admin", "roles/secretmanager.secretAccessor", "roles/secretmanager.secretVersionAdder", "roles/secretmanager.secretVersionManager", "roles/secretmanager.viewer",
	},
	onService: {
		"roles/owner", "roles/editor", "roles/viewer",
		"roles/run.admin", "roles/run.developer", "roles/run.invoker", "roles/run.servicesInvoker", "roles/run.viewer",
	},
	onTable:   {"roles/bigquery.admin", "roles/bigquery.dataEditor", "roles/bigquery.dataOwner", "roles/bigquery.dataViewer", "roles/bigquery.metadataViewer"},
	onTrigger: {"roles/eventarc.admin", "roles/eventarc.developer", "roles/eventarc.viewer"},
	onFunction: {
		"roles/cloudfunctions.admin", "roles/cloudfunctions.developer", "roles/cloudfunctions.viewer", "roles/cloudfunctions.invoker",
	},
}

// grantable says whether a role is there and can be bound on such a resource.
func (s *Server) grantable(role, kind string) error {
	if strings.HasPrefix(role, "projects/") {
		if o := s.state["//iam.googleapis.com/"+role]; o == nil || o["deleted"] == true {
			return invalid("Role (%s) does not exist in the resource's hierarchy.", role)
		}
		return nil
	}
	for k, list := range roles {
		if (k == kind || kind == onProject) && slices.Contains(list, role) {
			return nil
		}
	}
	return invalid("Role %s is not supported for this resource.", role)
}

var address = regexp.MustCompile(`^[^@\s:]+@[^@\s:]+\.[^@\s:]+$`)

// member says whether a member can be bound. Google looks up every one; here a user or
// group is there, and a service account if it was made, or its service's agent was.
func (s *Server) member(member, kind string) error {
	if member == "allUsers" || member == "allAuthenticatedUsers" {
		if kind == onProject || kind == onAccount {
			return precondition("One or more users named in the policy do not belong to a permitted customer, or %s cannot be bound on a %s.", member, kind)
		}
		return nil
	}
	what, email, _ := strings.Cut(member, ":")
	switch what {
	case "user", "group", "serviceAccount":
		if !address.MatchString(email) {
			return invalid("Invalid member: the address %q is no e-mail address.", email)
		}
	case "domain", "principal", "principalSet":
		return nil
	default:
		return invalid("The member %s is of an unknown type. Please set a valid type prefix for the member.", member)
	}
	if what != "serviceAccount" || s.accountIsThere(email) {
		if what == "user" && strings.HasSuffix(email, "gserviceaccount.com") {
			return invalid("Principal %s is of type \"serviceAccount\". The principal should appear as \"serviceAccount:%s\".", email, email)
		}
		return nil
	}
	return invalid("Service account %s does not exist.", email)
}

// systemAccounts are Google's own, which nobody makes.
var systemAccounts = []string{"gmail-api-push@system.gserviceaccount.com", "cloud-logs@system.gserviceaccount.com"}

// accountIsThere says whether a policy can name a service account. One that was just made
// may be unknown there for some seconds (Server.Delay).
func (s *Server) accountIsThere(email string) bool {
	if slices.Contains(systemAccounts, email) {
		return true
	}
	if s.young(email) {
		return false
	}
	if s.agents()[email] || email == s.defaultAccount() {
		return true
	}
	_, there := s.state[s.accountKey(email)]
	return there
}

// Delay lets each service account and each log-based metric that is made from now on be
// unknown to the first n that name it: an account to policies, as happens for up to a minute
// (https://cloud.google.com/iam/docs/service-accounts-create, "eventual consistency"), and a
// metric to alerts, as Monitoring says for up to ten.
func (s *Server) Delay(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.youth = n
}

// young says whether what was just made is not known yet (Server.Delay).
func (s *Server) young(name string) bool {
	if s.unseen[name] == 0 {
		return false
	}
	s.unseen[name]--
	return true
}

// disown marks a deleted service account in all policies: they go on naming it, but as
// deleted, so that an account of the same name gets nothing of what it had.
func (s *Server) disown(email, id string) {
	before, after := any("serviceAccount:"+email), any("deleted:serviceAccount:"+email+"?uid="+id)
	for _, p := range s.policies {
		list, _ := p.fields["bindings"].([]any)
		for _, b := range list {
			binding, _ := b.(object)
			members, _ := binding["members"].([]any)
			for i := range members {
				if members[i] == before {
					members[i] = after
					p.version++
				}
			}
		}
	}
}

// policyMethods are the three that every resource with a policy has, for an API whose
// getIamPolicy is a GET, as most have it.
func policyMethods(path, kind string, body any, key func(*call) string) []method {
	return []method{
		{verb: http.MethodGet, path: path + ":getIamPolicy", query: "options.requestedPolicyVersion", do: func(s *Server, c *call) (any, error) {
			return s.getPolicy(key(c))
		}},
		{verb: http.MethodPost, path: path + ":setIamPolicy", body: body, do: func(s *Server, c *call) (any, error) {
			return s.setPolicy(c, key(c), kind)
		}},
	}
}
