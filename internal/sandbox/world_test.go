package sandbox_test

import (
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

func TestLoadWorld(t *testing.T) {
	w, err := sandbox.LoadWorld(strings.NewReader(`
project: acme
projectNumber: 123
serviceAccounts:
  - email: Robot@acme.iam.gserviceaccount.com
    signers: [robot@acme.iam.gserviceaccount.com]
    delegatedScopes: [https://mail.google.com/]
users:
  - {primaryEmail: Zoe@acme.example, givenName: Zoe, isAdmin: true, aliases: [z@acme.example]}
groups: [{email: Team@acme.example, members: [Zoe@acme.example]}]
vms: [{name: one, zone: europe-west1-b}]
objects: {b/o: "text\r\n", b/p: !!binary aGVsbG8=}
secrets: {projects/acme/secrets/s/versions/1: x}
quota: {gmailUnitsPerUser: 6000, gmailConcurrentPerUser: 10}
`))
	if err != nil {
		t.Fatal(err)
	}
	if w.Runtime != "robot@acme.iam.gserviceaccount.com" || w.Users[0].PrimaryEmail != "zoe@acme.example" || w.Users[0].OrgUnitPath != "/" ||
		string(w.Objects["b/o"]) != "text\r\n" || string(w.Objects["b/p"]) != "hello" || len(w.ServiceAccounts[0].UniqueID) != 21 {
		t.Errorf("%+v", w)
	}
	if w.Groups[0].Email != "team@acme.example" || w.Groups[0].Members[0] != "zoe@acme.example" || w.VMs[0].Name != "one" || w.SQLInstances[0] != "orders" {
		t.Errorf("%+v", w)
	}
	if (w.Quota != sandbox.Quota{GmailUnitsPerUser: 6000, GmailConcurrentPerUser: 10}) {
		t.Errorf("%+v", w.Quota)
	}
	if w, err = sandbox.LoadWorld(strings.NewReader("")); err != nil || w.Project != "onbehalf-sandbox" || len(w.Users) != 10 {
		t.Errorf("empty: %+v %v", w, err)
	}
}

func TestLoadWorldRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"usres: []":                                                      "usres",
		"projectNumber: abc":                                             `projectNumber: "abc" is not a number`,
		"disabledApis: [gmail]":                                          `disabledApis[0]: "gmail" is no API`,
		"viewers: [x]":                                                   `viewers[0]: "x" is not an e-mail address`,
		"runtime: nobody@example.com":                                    `runtime: "nobody@example.com" is none of the serviceAccounts`,
		"users: [{primaryEmail: ada}]":                                   `users[0].primaryEmail: "ada" is not an e-mail address`,
		"users: [{primaryEmail: a@b}]":                                   `"a@b" is not an e-mail address`,
		"users: [{primaryEmail: 'A <a@b.c>'}]":                           "is not an e-mail address",
		"users: [{primaryEmail: a@b.c}, {primaryEmail: A@b.c}]":          `users[1]: "a@b.c" is an address of users[0] already`,
		"users: [{primaryEmail: a@b.c, aliases: [x]}]":                   `users[0].aliases[0]: "x"`,
		"users: [{primaryEmail: a@b.c, orgUnitPath: x}]":                 `users[0].orgUnitPath: "x"`,
		"serviceAccounts: [{email: a@b.c}, {email: a@b.c, uniqueId: 7}]": `serviceAccounts[1].email: "a@b.c" is there twice`,
		"serviceAccounts: [{email: a@b.c, uniqueId: 7}, {email: d@b.c, uniqueId: 7}]":                                   `uniqueId: "7" is there twice`,
		"serviceAccounts: [{email: a@b.c, uniqueId: x}]":                                                                `uniqueId: "x" is not a number`,
		"serviceAccounts: [{email: a@b.c, signers: [x]}]":                                                               `serviceAccounts[0].signers[0]: "x"`,
		"users: [{primaryEmail: a@b.c, servicesOff: [mail]}]":                                                           `users[0].servicesOff[0]: "mail" is none of admin, alertcenter`,
		"federated: [{audience: //x}]":                                                                                  `federated[0].audience: "//x" is not //iam.googleapis.com/`,
		"federated: [{audience: //iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q}]": "federated[0].subjectToken: is empty",
		"federated: [{audience: //iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/q, subjectToken: t, principal: x}]": `federated[0].principal: "x" is not principal://`,
		"signIns: [{email: x}]":                      `signIns[0].email: "x"`,
		"signIns: [{email: a@b.c}]":                  "signIns[0].refreshToken: is empty",
		"signIns: [{email: a@b.c, refreshToken: r}]": "signIns[0].clientId: is empty",
		"signIns: [{email: a@b.c, refreshToken: r, clientId: x}, {email: a@b.c, refreshToken: r, clientId: x}]": "signIns[1].refreshToken: is another's already",
		"groups: [{email: x}]":               `groups[0].email: "x"`,
		"groups: [{email: ada@example.com}]": `groups[0].email: "ada@example.com" is an address of users[0] already`,
		"sqlInstances: [Main]":               `sqlInstances[0]: "Main"`,
		"vms: [{name: a1}]":                  `vms[0]: "a1" in ""`,
		"objects: {x: y}":                    `objects: "x" is not BUCKET/NAME`,
		"secrets: {x: y}":                    `secrets: "x" is not projects/`,
		"quota: {gmailUnitsPerProject: -1}":  "quota.gmailUnitsPerProject: -1 is negative",
		"generate: {count: -1}":              "generate.count: -1 is not between 0 and 2000000",
		"generate: {count: 3000000}":         "generate.count: 3000000 is not between 0 and 2000000",
		"generate: {archivedEvery: -1}":      "generate.archivedEvery: -1 is negative",
		"generate: {count: 1, domain: x y}":  `users[10].primaryEmail: "user0000001@x y"`,
		"quota: {units: 1}":                  "units",
		"project: ''":                        "project: is empty",
		"project: a\n---\nproject: b":        "more than one document",
		"users: 7":                           "users",
	} {
		if _, err := sandbox.LoadWorld(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "line 1") {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func TestNewRefuses(t *testing.T) {
	if _, err := sandbox.New(sandbox.World{}, sandbox.Options{KeyBits: 1024}); err == nil {
		t.Error("an empty world was accepted")
	}
	if _, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{KeyBits: 1}); err == nil {
		t.Error("a key of one bit was made")
	}
}
