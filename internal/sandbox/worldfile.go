package sandbox

import (
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// worldFile is a World in YAML. Fields that are absent keep what DefaultWorld has.
type worldFile struct {
	Project         *string           `yaml:"project"`
	ProjectNumber   *string           `yaml:"projectNumber"`
	Runtime         *string           `yaml:"runtime"`
	ServiceAccounts []ServiceAccount  `yaml:"serviceAccounts"`
	SignIns         []SignIn          `yaml:"signIns"`
	Federated       []Federated       `yaml:"federated"`
	Viewers         []string          `yaml:"viewers"`
	DisabledAPIs    []string          `yaml:"disabledApis"`
	Users           []User            `yaml:"users"`
	Generate        Generate          `yaml:"generate"` // beside the users
	Groups          []Group           `yaml:"groups"`
	SQLInstances    []string          `yaml:"sqlInstances"`
	VMs             []VM              `yaml:"vms"`
	Objects         map[string]string `yaml:"objects"` // text, or !!binary
	Secrets         map[string]string `yaml:"secrets"`
	Quota           Quota             `yaml:"quota"`
}

// LoadWorld reads a world from YAML:
//
//	project: my-project
//	projectNumber: 123456789012
//	runtime: robot@my-project.iam.gserviceaccount.com
//	serviceAccounts:
//	  - email: robot@my-project.iam.gserviceaccount.com
//	    uniqueId: "100000000000000000001"
//	    delegatedScopes: [https://www.googleapis.com/auth/gmail.insert]
//	    signers: [robot@my-project.iam.gserviceaccount.com]
//	signIns: [{email: op@example.com, refreshToken: made-up, clientId: id, clientSecret: made-up}]
//	viewers: [robot@my-project.iam.gserviceaccount.com]
//	disabledApis: [calendar-json.googleapis.com]
//	users:
//	  - {primaryEmail: ada@example.com, givenName: Ada, familyName: Lovelace}
//	generate: {count: 20000, domain: example.com, orgUnits: [/Sales, /Sales/EMEA], suspendedEvery: 100, archivedEvery: 200, noMailboxEvery: 500}
//	groups: [{email: team@example.com, name: Team, members: [ada@example.com]}]
//	sqlInstances: [orders]
//	vms: [{name: worker-1, zone: europe-west1-b}]
//	objects: {letters/welcome.eml: "Subject: Hello\r\n\r\nHello.\r\n"}
//	secrets: {projects/my-project/secrets/policy/versions/1: "actions: []"}
//	quota: {gmailUnitsPerUser: 6000, gmailUnitsPerProject: 1200000, gmailConcurrentPerUser: 10}
//
// What is left out is as in DefaultWorld. Errors name the field and its value.
func LoadWorld(r io.Reader) (World, error) {
	var in worldFile
	d := yaml.NewDecoder(r)
	d.KnownFields(true)
	if err := d.Decode(&in); err != nil && !errors.Is(err, io.EOF) {
		return World{}, fmt.Errorf("sandbox: world: %w", err)
	}
	var more yaml.Node
	if err := d.Decode(&more); !errors.Is(err, io.EOF) {
		return World{}, errors.New("sandbox: world: more than one document")
	}
	if err := in.Generate.validate(); err != nil {
		return World{}, fmt.Errorf("sandbox: world: %w", err)
	}
	w := in.world()
	w.normalize()
	if err := w.validate(); err != nil {
		return World{}, fmt.Errorf("sandbox: world: %w", err)
	}
	return w, nil
}

func (in *worldFile) world() World {
	w := DefaultWorld()
	set(&w.Project, in.Project)
	set(&w.ProjectNumber, in.ProjectNumber)
	set(&w.Runtime, in.Runtime)
	if in.ServiceAccounts != nil {
		w.ServiceAccounts = in.ServiceAccounts
		if in.Runtime == nil && len(in.ServiceAccounts) == 1 {
			w.Runtime = in.ServiceAccounts[0].Email
		}
	}
	if in.Users != nil {
		w.Users = in.Users
	}
	w.Users = append(w.Users, in.Generate.Users()...)
	if in.Groups != nil || in.Users != nil { // the usual groups are of the usual users
		w.Groups = in.Groups
	}
	if in.SQLInstances != nil {
		w.SQLInstances = in.SQLInstances
	}
	if in.VMs != nil {
		w.VMs = in.VMs
	}
	w.SignIns, w.Federated = in.SignIns, in.Federated
	w.Viewers, w.DisabledAPIs = in.Viewers, in.DisabledAPIs
	w.Quota = in.Quota
	w.Objects, w.Secrets = bytesOf(in.Objects), bytesOf(in.Secrets)
	return w
}

func bytesOf(in map[string]string) map[string][]byte {
	out := make(map[string][]byte, len(in))
	for k, v := range in {
		out[k] = []byte(v)
	}
	return out
}
