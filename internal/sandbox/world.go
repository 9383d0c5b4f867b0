package sandbox

import (
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"net/mail"
	"regexp"
	"slices"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// A World is what the sandbox holds when it starts: one Google Cloud project
// and one Workspace organisation whose administrators trust it.
type World struct {
	Project       string // project id
	ProjectNumber string // the number that Google puts in error messages
	Runtime       string // e-mail of the account whose identity the metadata server gives

	ServiceAccounts []ServiceAccount
	SignIns         []SignIn
	Federated       []Federated
	Viewers         []string // who may look at the project: its name and accounts, and which APIs are on; nil is the runtime alone
	DisabledAPIs    []string // that are not switched on in the project, such as "gmail.googleapis.com"
	Users           []User
	Groups          []Group
	SQLInstances    []string          // Cloud SQL: their names
	VMs             []VM              // Compute Engine
	Objects         map[string][]byte // Cloud Storage: "bucket/name" → content
	Secrets         map[string][]byte // Secret Manager: "projects/P/secrets/S/versions/V" → payload
	Quota           Quota
}

// A ServiceAccount is an identity of the project.
type ServiceAccount struct {
	Email string `json:"email" yaml:"email"`
	// UniqueID is the numeric client id, the name under which the Admin
	// console knows the account. Empty: made up, the same on every start.
	UniqueID string `json:"uniqueId" yaml:"uniqueId"`
	// DelegatedScopes is the account's entry under domain-wide delegation in
	// the Admin console. Nil means that there is no entry.
	DelegatedScopes []string `json:"delegatedScopes" yaml:"delegatedScopes"`
	// Signers may sign for the account. An account is no signer of itself
	// unless it stands here, as in IAM. People of SignIns and principals of
	// Federated may stand here too.
	Signers  []string `json:"signers" yaml:"signers"`
	Disabled bool     `json:"disabled" yaml:"disabled"`
	// LongLifetime lets the account's own tokens last up to twelve hours: the
	// organisation policy constraints/iam.allowServiceAccountCredentialLifetimeExtension
	// lists it.
	LongLifetime bool `json:"longLifetime" yaml:"longLifetime"`
}

// A SignIn is a person's own with gcloud auth application-default login: what the
// refresh token in an authorized_user file stands for. Whoever it is has
// nothing but what Signers and Viewers say, and needs no place among the Users.
type SignIn struct {
	Email        string `yaml:"email"`
	RefreshToken string `yaml:"refreshToken"`
	ClientID     string `yaml:"clientId"`
	ClientSecret string `yaml:"clientSecret"`
	// QuotaProjects are those on whose account calls may go, by X-Goog-User-Project.
	// Nil is the world's own.
	QuotaProjects []string `yaml:"quotaProjects"`
}

// A Federated is somebody who comes from outside Google by workload identity
// federation: whoever shows the subject token to the provider is the principal, which
// may stand among Signers and Viewers.
type Federated struct {
	Audience     string `yaml:"audience"`     // //iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/P/providers/Q
	SubjectToken string `yaml:"subjectToken"` // taken as it is: nothing verifies it
	Principal    string `yaml:"principal"`    // principal://iam.googleapis.com/projects/N/locations/global/workloadIdentityPools/P/subject/S
}

// A User is a person of the Workspace organisation.
type User struct {
	PrimaryEmail string   `json:"primaryEmail" yaml:"primaryEmail"`
	GivenName    string   `json:"givenName" yaml:"givenName"`
	FamilyName   string   `json:"familyName" yaml:"familyName"`
	OrgUnitPath  string   `json:"orgUnitPath" yaml:"orgUnitPath"` // empty: "/"
	Aliases      []string `json:"aliases" yaml:"aliases"`
	Suspended    bool     `json:"suspended" yaml:"suspended"`
	Archived     bool     `json:"archived" yaml:"archived"`
	IsAdmin      bool     `json:"isAdmin" yaml:"isAdmin"`
	// IsDelegatedAdmin is an administrator with some rights: here, to read the Directory.
	IsDelegatedAdmin bool     `json:"isDelegatedAdmin" yaml:"isDelegatedAdmin"`
	NoMailbox        bool     `json:"noMailbox" yaml:"noMailbox"`     // Gmail is off, or no licence
	ServicesOff      []string `json:"servicesOff" yaml:"servicesOff"` // for this user, as method ids begin: gmail, drive, calendar …
}

// A Group is a group of the organisation.
type Group struct {
	Email   string   `json:"email" yaml:"email"`
	Name    string   `json:"name" yaml:"name"`
	Members []string `json:"members" yaml:"members"`
}

// A VM is an instance of Compute Engine. It runs when the sandbox starts.
type VM struct {
	Name string `json:"name" yaml:"name"`
	Zone string `json:"zone" yaml:"zone"`
}

// DefaultWorld is a small organisation, example.com, in which the product
// works at once: the runtime account is the delegated one and signs for itself.
func DefaultWorld() World {
	const account = "onbehalf@onbehalf-sandbox.iam.gserviceaccount.com"
	return World{
		Project:       "onbehalf-sandbox",
		ProjectNumber: "424242424242",
		Runtime:       account,
		ServiceAccounts: []ServiceAccount{{
			Email:           account,
			UniqueID:        "100000000000000000042",
			Signers:         []string{account},
			DelegatedScopes: slices.Sorted(maps.Keys(knownScopes())), // whatever a job may ask for
		}},
		Users: []User{
			{PrimaryEmail: "ada@example.com", GivenName: "Ada", FamilyName: "Lovelace", OrgUnitPath: "/Engineering"},
			{PrimaryEmail: "grace@example.com", GivenName: "Grace", FamilyName: "Hopper", OrgUnitPath: "/Engineering"},
			{PrimaryEmail: "alan@example.com", GivenName: "Alan", FamilyName: "Turing", OrgUnitPath: "/Engineering"},
			{PrimaryEmail: "edsger@example.com", GivenName: "Edsger", FamilyName: "Dijkstra", OrgUnitPath: "/Sales"},
			{PrimaryEmail: "barbara@example.com", GivenName: "Barbara", FamilyName: "Liskov", OrgUnitPath: "/Sales"},
			{PrimaryEmail: "margaret@example.com", GivenName: "Margaret", FamilyName: "Hamilton", OrgUnitPath: "/"},
			{PrimaryEmail: "admin@example.com", GivenName: "Addie", FamilyName: "Ministrator", OrgUnitPath: "/", IsAdmin: true},
			{PrimaryEmail: "sam.suspended@example.com", GivenName: "Sam", FamilyName: "Suspended", OrgUnitPath: "/", Suspended: true},
			{PrimaryEmail: "olive.nomailbox@example.com", GivenName: "Olive", FamilyName: "Nomailbox", OrgUnitPath: "/", NoMailbox: true},
			{PrimaryEmail: "archie.archived@example.com", GivenName: "Archie", FamilyName: "Archived", OrgUnitPath: "/", Archived: true},
		},
		Groups: []Group{
			{Email: "engineers@example.com", Name: "Engineers", Members: []string{"ada@example.com", "grace@example.com", "alan@example.com"}},
		},
		SQLInstances: []string{"orders"},
		VMs:          []VM{{Name: "worker-1", Zone: "europe-west1-b"}},
	}
}

// resourceNames are what Google Cloud's resources may be called.
var resourceNames = regexp.MustCompile(`^[a-z][a-z0-9-]{0,61}[a-z0-9]$`)

// normalize gives addresses one spelling and fills what may be left out.
func (w *World) normalize() {
	w.Runtime = strings.ToLower(w.Runtime)
	if w.Viewers == nil {
		w.Viewers = []string{w.Runtime}
	}
	w.Viewers = lowered(w.Viewers)
	for i := range w.ServiceAccounts {
		a := &w.ServiceAccounts[i]
		a.Email = strings.ToLower(a.Email)
		a.Signers = lowered(a.Signers)
		if a.UniqueID == "" {
			a.UniqueID = numericID(a.Email)
		}
	}
	for i := range w.SignIns {
		w.SignIns[i].Email = strings.ToLower(w.SignIns[i].Email)
	}
	for i := range w.Users {
		w.Users[i].normalize()
	}
	for i := range w.Groups {
		g := &w.Groups[i]
		g.Email, g.Members = strings.ToLower(g.Email), lowered(g.Members)
	}
}

func (u *User) normalize() {
	u.PrimaryEmail = strings.ToLower(u.PrimaryEmail)
	u.Aliases = lowered(u.Aliases)
	if u.OrgUnitPath == "" {
		u.OrgUnitPath = "/"
	}
}

// lowered returns a copy, so that the caller's world stays as it was.
func lowered(in []string) []string {
	out := make([]string, 0, len(in))
	for _, s := range in {
		out = append(out, strings.ToLower(s))
	}
	return out
}

// validate names the first field of a normalized world that cannot be.
func (w *World) validate() error {
	if w.Project == "" {
		return errors.New("project: is empty")
	}
	if !isNumber(w.ProjectNumber) {
		return fmt.Errorf("projectNumber: %q is not a number", w.ProjectNumber)
	}
	if err := w.validateAccounts(); err != nil {
		return err
	}
	if err := w.validateProject(); err != nil {
		return err
	}
	if err := w.validateSignIns(); err != nil {
		return err
	}
	if err := w.validateFederated(); err != nil {
		return err
	}
	if err := w.validateAddresses(); err != nil {
		return err
	}
	if err := w.Quota.validate(); err != nil {
		return err
	}
	return w.validateStores()
}

// validateProject looks at who may see what of the project.
func (w *World) validateProject() error {
	if err := validPrincipals("viewers", w.Viewers); err != nil {
		return err
	}
	for i, name := range w.DisabledAPIs {
		if err := knownAPI(name); err != nil {
			return fmt.Errorf("disabledApis[%d]: %w", i, err)
		}
	}
	return nil
}

func (w *World) validateFederated() error {
	for i, f := range w.Federated {
		field := fmt.Sprintf("federated[%d]", i)
		switch {
		case !providers.MatchString(f.Audience):
			return fmt.Errorf("%s.audience: %q is not //iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/providers/PROVIDER", field, f.Audience)
		case f.SubjectToken == "":
			return errors.New(field + ".subjectToken: is empty")
		case !principals.MatchString(f.Principal):
			return fmt.Errorf("%s.principal: %q is not principal://iam.googleapis.com/projects/NUMBER/locations/global/workloadIdentityPools/POOL/subject/SUBJECT", field, f.Principal)
		}
	}
	return nil
}

func (w *World) validateSignIns() error {
	taken := map[string]bool{}
	for i, in := range w.SignIns {
		field := fmt.Sprintf("signIns[%d]", i)
		if err := validAddress(field+".email", in.Email); err != nil {
			return err
		}
		switch {
		case in.RefreshToken == "":
			return errors.New(field + ".refreshToken: is empty")
		case taken[in.RefreshToken]:
			return errors.New(field + ".refreshToken: is another's already")
		case in.ClientID == "":
			return errors.New(field + ".clientId: is empty")
		}
		taken[in.RefreshToken] = true
	}
	return nil
}

// validateAddresses lets no two have one address.
func (w *World) validateAddresses() error {
	taken := map[string]string{}
	for i, u := range w.Users {
		field := fmt.Sprintf("users[%d]", i)
		if err := u.validate(field); err != nil {
			return err
		}
		for _, a := range append([]string{u.PrimaryEmail}, u.Aliases...) {
			if other, ok := taken[a]; ok {
				return fmt.Errorf("%s: %q is an address of %s already", field, a, other)
			}
			taken[a] = field
		}
	}
	for i, g := range w.Groups {
		field := fmt.Sprintf("groups[%d].email", i)
		if err := validAddress(field, g.Email); err != nil {
			return err
		}
		if other, ok := taken[g.Email]; ok {
			return fmt.Errorf("%s: %q is an address of %s already", field, g.Email, other)
		}
		taken[g.Email] = field
	}
	return nil
}

func (w *World) validateAccounts() error {
	emails, ids := map[string]bool{}, map[string]bool{}
	for i, a := range w.ServiceAccounts {
		field := fmt.Sprintf("serviceAccounts[%d]", i)
		if err := validAddress(field+".email", a.Email); err != nil {
			return err
		}
		if !isNumber(a.UniqueID) {
			return fmt.Errorf("%s.uniqueId: %q is not a number", field, a.UniqueID)
		}
		if emails[a.Email] {
			return fmt.Errorf("%s.email: %q is there twice", field, a.Email)
		}
		if ids[a.UniqueID] {
			return fmt.Errorf("%s.uniqueId: %q is there twice", field, a.UniqueID)
		}
		emails[a.Email], ids[a.UniqueID] = true, true
		if err := validPrincipals(field+".signers", a.Signers); err != nil {
			return err
		}
	}
	if !emails[w.Runtime] {
		return fmt.Errorf("runtime: %q is none of the serviceAccounts", w.Runtime)
	}
	return nil
}

func (w *World) validateStores() error {
	if err := w.validateResources(); err != nil {
		return err
	}
	for name := range w.Objects {
		if bucket, object, ok := strings.Cut(name, "/"); !ok || bucket == "" || object == "" {
			return fmt.Errorf("objects: %q is not BUCKET/NAME", name)
		}
	}
	for name := range w.Secrets {
		p := strings.Split(name, "/")
		if len(p) != 6 || p[0] != "projects" || p[2] != "secrets" || p[4] != "versions" || p[1] == "" || p[3] == "" || !isNumber(p[5]) {
			return fmt.Errorf("secrets: %q is not projects/P/secrets/S/versions/NUMBER", name)
		}
	}
	return nil
}

func (w *World) validateResources() error {
	for i, name := range w.SQLInstances {
		if !resourceNames.MatchString(name) {
			return fmt.Errorf("sqlInstances[%d]: %q is not a name of small letters, digits and hyphens", i, name)
		}
	}
	for i, vm := range w.VMs {
		if !resourceNames.MatchString(vm.Name) || !resourceNames.MatchString(vm.Zone) {
			return fmt.Errorf("vms[%d]: %q in %q: each must be a name of small letters, digits and hyphens", i, vm.Name, vm.Zone)
		}
	}
	return nil
}

func (u *User) validate(field string) error {
	if err := validAddress(field+".primaryEmail", u.PrimaryEmail); err != nil {
		return err
	}
	for i, a := range u.Aliases {
		if err := validAddress(fmt.Sprintf("%s.aliases[%d]", field, i), a); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(u.OrgUnitPath, "/") {
		return fmt.Errorf("%s.orgUnitPath: %q does not begin with /", field, u.OrgUnitPath)
	}
	return validServices(field, u.ServicesOff)
}

func validServices(field string, names []string) error {
	if len(names) == 0 {
		return nil // without the table, which takes a while
	}
	known := discovery.New().Names()
	for i, name := range names {
		if !slices.Contains(known, name) {
			return fmt.Errorf("%s.servicesOff[%d]: %q is none of %s", field, i, name, strings.Join(known, ", "))
		}
	}
	return nil
}

// validPrincipals accepts whom a role can be granted to.
func validPrincipals(field string, names []string) error {
	for i, name := range names {
		if !isAddress(name) && !principals.MatchString(name) {
			return fmt.Errorf("%s[%d]: %q is not an e-mail address, nor principal://iam.googleapis.com/…", field, i, name)
		}
	}
	return nil
}

// validAddress accepts a bare address and nothing around it.
func validAddress(field, s string) error {
	if !isAddress(s) {
		return fmt.Errorf("%s: %q is not an e-mail address", field, s)
	}
	return nil
}

func isAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s && strings.Contains(s[strings.LastIndexByte(s, '@'):], ".")
}

func isNumber(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// numericID makes the 21-digit number that Google would have given to name.
func numericID(name string) string {
	h := fnv.New64a()
	h.Write([]byte(name))
	return fmt.Sprintf("1%020d", h.Sum64())
}
