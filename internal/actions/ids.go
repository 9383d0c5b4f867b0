package actions

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// identify gives the call an id of its own where its method takes one and the job
// has none, so that each attempt makes the same call.
func (c *Call) identify() {
	if row := repeatRowOf(c.method.ID); row != nil && c.Class == Once {
		c.repeat(row)
	}
	if anyMatches(ourIDs, c.method.ID) && member(c.job.Body, "id") == nil {
		sum := c.digest()
		id := base32.HexEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
		c.job.Body, c.ours = withMember(c.job.Body, "id", strings.ToLower(id)), true
	}
}

const requestID = "requestId"

func repeatRowOf(id string) *repeatRow {
	for i := range repeatRows {
		if matches(repeatRows[i].glob, id) {
			return &repeatRows[i]
		}
	}
	return nil
}

// repeatable tells whether calls of the method may have an id by which Google knows
// them again.
func (c *Call) repeatable(row *repeatRow) bool {
	if row.inBody {
		return takes(c.method.Request, requestID)
	}
	_, ok := c.method.Param(requestID)
	return ok
}

// repeat makes the call one that may be made again.
func (c *Call) repeat(row *repeatRow) {
	if !c.repeatable(row) || row.when != nil && !row.when(c.job, c.query) {
		return
	}
	c.Class = Idempotent
	switch {
	case row.inBody && member(c.job.Body, requestID) == nil:
		c.job.Body = withMember(c.job.Body, requestID, c.uuid())
	case !row.inBody && c.query.Get(requestID) == "":
		c.query.Set(requestID, c.uuid())
	default:
		c.theirs = row.refused
		return
	}
	c.ours = row.refused
}

// digest is of the job's id and of all that says what is done to whose data: another
// job that happens to have the same id is not taken for this one. It must never
// change, or a call that is in doubt just then is looked for under another id.
func (c *Call) digest() [sha256.Size]byte {
	j := c.job
	return sha256.Sum256(marshal([]any{j.ID, j.User, j.As, j.Action, string(j.Params), string(j.Body)}))
}

// uuid is the digest in the form of a UUID of version 4, which is what Google's APIs
// ask for (https://google.aip.dev/155).
func (c *Call) uuid() string {
	sum := c.digest()
	sum[6], sum[8] = sum[6]&0x0f|0x40, sum[8]&0x3f|0x80 // RFC 9562, 5.4
	h := hex.EncodeToString(sum[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// withMember is a JSON object with one more member; nil is an empty object.
func withMember(object jsontext.Value, name, value string) jsontext.Value {
	rest := []byte("}")
	if object != nil {
		rest = bytes.TrimSpace(bytes.TrimSpace(object)[1:])
	}
	out := append([]byte(`{"`+name+`":`), marshal(value)...)
	if rest[0] != '}' {
		out = append(out, ',')
	}
	return append(out, rest...)
}

// Files that Google's editors keep have ids of Google's own choice
// (https://developers.google.com/workspace/drive/api/guides/create-file#generate-ids).
const (
	editorFile    = "application/vnd.google-apps."
	driveFolder   = editorFile + "folder"
	driveLink     = editorFile + "drive-sdk"
	driveShortcut = editorFile + "shortcut"
)

// takesID tells whether a file of that type may have an id that was had before.
func takesID(mimeType string) bool {
	switch mimeType {
	case driveFolder, driveLink, driveShortcut:
		return true
	}
	return !strings.HasPrefix(mimeType, editorFile)
}

// NeedsID tells whether the call is to be given an id of Google's before it is made:
// [Call.NewID] gets one and [Call.UseID] takes it. With the same id in each attempt
// there is never a second file.
func (c *Call) NeedsID() bool {
	mimeType, _ := stringOf(member(c.job.Body, "mimeType"))
	return anyMatches(googlesIDs, c.method.ID) && !c.noID && member(c.job.Body, "id") == nil && takesID(mimeType)
}

// noID stands for an id where there can be none. It is kept like one: whoever finds
// it knows that the call may have been made.
const noID = "none"

// NewID gets an id for what the call will make, with the call's own scopes; for a
// copy of a file that can have none, which only the original shows, a word that says
// so. An error is an [*Error].
func (c *Call) NewID(ctx context.Context, authorize func(*http.Request)) (string, error) {
	if of := c.path["fileId"]; of != "" {
		var original struct {
			MimeType string `json:"mimeType"`
		}
		if err := c.readInto(ctx, authorize, &original, "drive.files.get", map[string]string{"fileId": of, "fields": "mimeType", "supportsAllDrives": "true"}); err != nil {
			return "", err
		}
		if !takesID(original.MimeType) {
			return noID, nil
		}
	}
	params := map[string]string{"count": "1", "fields": "ids"}
	if intoAppData(c.job, c.query) {
		params["space"] = appData
	}
	if mimeType, _ := stringOf(member(c.job.Body, "mimeType")); mimeType == driveShortcut {
		params["type"] = "shortcuts"
	}
	var given struct {
		IDs []string `json:"ids"`
	}
	if err := c.readInto(ctx, authorize, &given, "drive.files.generateIds", params); err != nil {
		return "", err
	}
	if len(given.IDs) != 1 || !fileIDForm.MatchString(given.IDs[0]) {
		return "", newError(errNoID)
	}
	return given.IDs[0], nil
}

var errNoID = errors.New("the answer has no id of a file")

// readInto makes a call that reads, and reads its answer.
func (c *Call) readInto(ctx context.Context, authorize func(*http.Request), into any, action string, params map[string]string) error {
	read, err := c.reading(action, params, false)
	if err != nil {
		return loadError(err)
	}
	answer, err := read.Do(ctx, authorize)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(answer.Response, into); err != nil {
		return newError(errNoJSON)
	}
	return nil
}

// fileIDForm is what ids of Drive's look like; their length is not documented.
var fileIDForm = regexp.MustCompile(`^[A-Za-z0-9_-]{10,128}$`)

// UseID has the call make what it makes under an id of [Call.NewID]'s.
func (c *Call) UseID(id string) error {
	switch {
	case !c.NeedsID():
		return fmt.Errorf("actions: %s takes no id, or has one already", c.method.ID)
	case id == noID:
		c.noID = true
		return nil
	case !fileIDForm.MatchString(id):
		return fmt.Errorf("actions: %s is no id of a file: letters, digits, - and _ are expected, 10 of them at least", jobs.Quote(id))
	}
	c.job.Body, c.ours = withMember(c.job.Body, "id", id), true
	c.body = encode(c.job.Body)
	return nil
}
