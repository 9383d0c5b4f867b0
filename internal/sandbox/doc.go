// Package sandbox is one fake Google over HTTP: the metadata server, IAM
// Credentials, the token endpoint and what tells of tokens, the Security Token
// Service, Service Usage, Secret Manager, and of the Workspace and Cloud APIs about
// two hundred methods that keep what they are told.
// It checks what Google checks (signatures, times, audiences, delegation
// entries, scopes, parameters, bodies) and refuses in Google's own words, so that
// what works here has worked for the right reasons, and what fails here fails as
// it does there.
//
// # Methods
//
// Every call of a method that Google's Discovery documents list is held against
// them: the token's scopes, then the parameters, who may come in, and the body. So
// a job for any method can be tried. What comes then depends:
//
//   - Gmail: messages, drafts, threads, labels, history, watch, settings; all
//     but client-side encryption and S/MIME.
//   - Calendar: calendars, their list, events that happen once, access rules,
//     free and busy times, settings.
//   - Drive: files with their bytes, permissions, generated ids.
//   - Tasks; Docs (insertText), Sheets (values), Slides, Forms, Apps Script.
//   - Directory: users, groups, members, photos, org units; Groups Settings,
//     Cloud Identity's look-up of groups, licences, Vault's matters, reports.
//   - People (contacts), Chat, Keep, Meet, Classroom.
//   - As the service account itself: Cloud Storage, Cloud SQL, Compute Engine,
//     the project, its service accounts.
//
// GET /_sandbox/ lists them by name. All other methods are checked, and then
// answered with 501 and their id.
//
// The older APIs (Calendar, Drive, the Directory) are less strict at Google: they
// ignore fields that they do not know, and word refusals otherwise. What
// Discovery's annotations call required in a body is not enforced, since Google
// does not either; what a method is known to want is. What somebody shares is not seen by
// others.
//
// # Quotas
//
// Gmail's are counted where the world, or the control API, sets them: units of each user
// and of the project in a sliding window of 60 s, at the call's arrival, and how many
// calls of a user are under way at once. Who is over one is refused with row A11e, A11f
// or A12; that costs no units, and is counted under the call's name with ".refused".
// Other APIs have none.
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
// generateAccessToken, generateIdToken, token, tokeninfo, sts.token, keys.*, metadata.*,
// secretmanager.versions.access, serviceusage.services.get and batchGet, and with ".chunk" behind the method for the parts
// of a resumable upload. Of such a part what arrived is kept when the connection
// breaks, in whole pieces of 256 KiB.
//
// # Control
//
// Tests in other languages steer the sandbox by HTTP. All is JSON, unknown
// fields are refused with 400, and no answer holds a token; a key file holds a
// private key, but of an account that is only here.
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
//	                                        "suspended", "archived", "isAdmin", "isDelegatedAdmin", "noMailbox", "servicesOff"}
//	PATCH  /_sandbox/users/EMAIL            change: the same less the addresses
//	POST   /_sandbox/accounts/EMAIL/keys    {"type": "json"} or "p12": a new key of the account, which stays good; answers the file
//	PUT    /_sandbox/accounts/EMAIL/signers who may sign for the account: ["robot@…", "op@…"]
//	PUT    /_sandbox/quota                  Gmail's: {"gmailUnitsPerUser": 6000, "gmailUnitsPerProject": 1200000, "gmailConcurrentPerUser": 10};
//	                                        what is left out, or 0, is no limit
//	PUT    /_sandbox/services/NAME          is an API on in the project: true or false
//	PUT    /_sandbox/clients/ID/scopes      the delegation entry of a numeric client id: ["https://…"], null for none
//
// The control API has no authentication: the sandbox belongs on a loopback
// address.
package sandbox
