// Package sandbox is one fake Google over HTTP: the metadata server, IAM
// Credentials, the token endpoint, Gmail, the Directory, Cloud Storage and
// Secret Manager, as far as an act on behalf of a Workspace user touches them.
// It checks what Google checks (signatures, times, audiences, delegation
// entries, scopes) and refuses in Google's own words, so that what works here
// has worked for the right reasons, and what fails here fails as it does there.
//
// # Addresses
//
// A call that would go to https://HOST/PATH?QUERY goes to BASE/HOST/PATH?QUERY.
// The metadata server is at BASE/computeMetadata/v1/, so that
// GCE_METADATA_HOST=127.0.0.1:PORT gives a program its identity. What the
// sandbox does not know it answers with 501 and logs: it never seems to do
// what it does not. [RewriteTransport] brings clients here whose addresses
// cannot be set.
//
// # Errors and faults
//
// [Server.Rows] is Google's errors on the delegated path as data. Each arises by
// itself where the sandbox knows its cause, and each can be ordered, as can slow,
// lost and cut answers; see [Fault]. Faults and calls go by names: Discovery's
// method ids (gmail.users.messages.insert), signJwt, signBlob,
// generateAccessToken, generateIdToken, token, keys.*, metadata.*,
// storage.objects.*, secretmanager.versions.access, and with ".chunk" behind
// the method for the parts of a resumable upload.
//
// # Control
//
// Tests in other languages steer the sandbox by HTTP. All is JSON, unknown
// fields are refused with 400, and no answer holds a token.
//
//	GET    /_sandbox/                       what is here
//	POST   /_sandbox/faults                 order one: {"row": "T1", "user": "ada@example.com", "times": 1}
//	                                        or {"kind": "late", "call": "gmail.*", "delay": "2s", "share": 0.5}
//	DELETE /_sandbox/faults                 clear all
//	GET    /_sandbox/calls                  how often each call arrived, by name
//	DELETE /_sandbox/calls                  set the counts to zero
//	GET    /_sandbox/rows                   the table of errors
//	GET    /_sandbox/users/EMAIL/letters    {"letters": [{"id", "threadId", "labelIds", "raw" (base64), "internalDate", "via"}]}
//	POST   /_sandbox/keys/rotate            a new key for each account; keys older than the two before it vanish
//	POST   /_sandbox/users                  add: {"primaryEmail", "givenName", "familyName", "orgUnitPath", "aliases",
//	                                        "suspended", "archived", "isAdmin", "noMailbox"}
//	PATCH  /_sandbox/users/EMAIL            change: the same less the addresses
//	PUT    /_sandbox/clients/ID/scopes      the delegation entry of a numeric client id: ["https://…"], null for none
//
// The control API has no authentication: the sandbox belongs on a loopback
// address.
package sandbox
