package sandbox

import (
	"bytes"
	"cmp"
	"crypto/md5" //nolint:gosec // what Drive calls md5Checksum
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	driveFolder = "application/vnd.google-apps.folder"
	driveNative = "application/vnd.google-apps." // what has no bytes of its own
)

// drive is each user's files; a service account has files of its own. What is
// shared is not seen by others. Facts: the Discovery document and
// https://developers.google.com/workspace/drive/api/guides/about-sdk.
type drive struct {
	files *kind
	// under the store's lock, by owner and id:
	bytes   map[[2]string][]byte
	offered map[[2]string]bool // ids that generateIds gave
}

func driveMethods() []method {
	d := &drive{bytes: map[[2]string][]byte{}, offered: map[[2]string]bool{}}
	d.files = &kind{
		name: "drive", id: "id", items: "files", alias: driveAlias, gone: fileNotFound,
		seed: func(c *call, _ address) []doc {
			return []doc{{"id": driveRoot(c), "name": "My Drive", "mimeType": driveFolder, "parents": []any{}}}
		},
		check: d.check, makeID: d.makeID, fill: fillFile, answer: shownFile, shows: d.shows, taken: func(c *call) reply { return c.row("A16c") },
		order:  orderFiles,
		unable: []string{"driveId", "teamDriveId", "corpus", "includeLabels"},
		frame:  func(*call) doc { return doc{"kind": "drive#fileList", "incompleteSearch": false} },
	}
	permissions := &kind{
		name: "drive.permissions", id: "id", items: "permissions", below: d.files, gone: func(c *call, id string) reply {
			return c.refuse(http.StatusNotFound, "notFound", "Permission not found: "+id+".")
		},
		seed: func(c *call, at address) []doc {
			return []doc{{"id": numericID(at.owner), "type": "user", "role": "owner", "emailAddress": at.owner}}
		},
		makeID: newPermission, fill: func(_ *call, p doc) { p["kind"] = "drive#permission" },
		answer: func(c *call, p doc) any { return c.brief(p, "kind", "id", "type", "role") },
		frame:  func(*call) doc { return doc{"kind": "drive#permissionList"} },
		taken:  func(c *call) reply { return c.row("A16b") },
	}
	return slices.Concat(
		permissions.methods("drive.permissions", "create", "list", "get", "update", "delete"),
		[]method{
			{id: "drive.files.list", do: d.list},
			{id: "drive.files.generateIds", do: d.generate},
			{id: "drive.files.create", do: ofBody(d.create), in: &intake{take: d.create}},
			{id: "drive.files.update", do: ofBody(d.update), in: &intake{take: d.update}},
			{id: "drive.files.get", do: d.get},
			{id: "drive.files.copy", do: d.copy},
			{id: "drive.files.delete", do: d.remove},
			{id: "drive.files.emptyTrash", do: d.emptyTrash},
			{id: "drive.about.get", do: (*call).aboutDrive},
			{id: "drive.changes.getStartPageToken", do: func(c *call) reply {
				c.store.mu.Lock()
				defer c.store.mu.Unlock()
				return c.ok(doc{"kind": "drive#startPageToken", "startPageToken": decimal(c.store.serial + 1)})
			}},
		},
	)
}

// ofBody is for calls without media: data is nil.
func ofBody(take func(*call, *media) reply) func(*call) reply {
	return func(c *call) reply { return take(c, &media{meta: c.body}) }
}

func driveRoot(c *call) string { return "0A" + numericID(c.tok.principal()) }

func driveAlias(c *call, id string) string {
	if id == "root" {
		return driveRoot(c)
	}
	return id
}

func fileNotFound(c *call, id string) reply {
	return c.refuse(http.StatusNotFound, "notFound", "File not found: "+id+".")
}

func (d *drive) owned(c *call, id string) [2]string { return [2]string{c.tok.principal(), id} }

// newID is an id in the form of Drive's.
func (d *drive) newID(c *call) string {
	raw := make([]byte, 24)
	rand.Read(raw) // never fails, since Go 1.24
	id := "1" + base64.RawURLEncoding.EncodeToString(raw)
	d.offered[d.owned(c, id)] = true
	return id
}

func (d *drive) generate(c *call) reply {
	const normal, most = 10, 1000
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	var ids []string
	for range c.count("count", normal, most) {
		ids = append(ids, d.newID(c))
	}
	return c.ok(doc{"kind": "drive#generatedIds", "space": cmp.Or(c.query.Get("space"), "drive"), "ids": ids})
}

// makeID takes an id that was generated before, and no other. What the editors keep
// has no such id; see
// https://developers.google.com/workspace/drive/api/guides/create-file#generate-ids.
func (d *drive) makeID(c *call, f doc) (string, *reply) {
	id := f.text("id")
	if id == "" {
		return d.newID(c), nil
	}
	mimeType := f.text("mimeType")
	if strings.HasPrefix(mimeType, driveNative) && !slices.Contains([]string{driveFolder, driveNative + "drive-sdk", driveNative + "shortcut"}, mimeType) {
		a := c.refuse(http.StatusBadRequest, "generatedIdNotSupported", "Generated IDs are not supported for Docs Editors formats.")
		return "", &a
	}
	if !d.offered[d.owned(c, id)] {
		a := c.refuse(http.StatusBadRequest, "invalid", "The provided file ID is not usable.")
		return "", &a
	}
	return id, nil
}

// check wants parents that are there; the lock is held.
func (d *drive) check(c *call, f doc) *reply {
	parents, _ := f["parents"].([]any)
	if len(parents) > 1 {
		return c.badSetting("A file cannot have more than one parent.")
	}
	for i, p := range parents {
		id, _ := p.(string)
		id = driveAlias(c, id)
		if d.shelf(c).byID[id] == nil {
			a := fileNotFound(c, id)
			return &a
		}
		parents[i] = id
	}
	return nil
}

func (d *drive) shelf(c *call) *shelf {
	return d.files.shelf(c, address{owner: c.tok.principal(), kind: d.files.name})
}

func fillFile(c *call, f doc) {
	now := stamp(c.now())
	me := map[string]any{"kind": "drive#user", "emailAddress": c.tok.principal(), "me": true, "permissionId": numericID(c.tok.principal())}
	f["kind"], f["modifiedTime"] = "drive#file", now
	f.fillIn("name", "Untitled")
	f.fillIn("mimeType", "application/octet-stream")
	f.fillIn("parents", []any{driveRoot(c)})
	f.fillIn("createdTime", now)
	f.fillIn("trashed", false)
	f.fillIn("starred", false)
	f.fillIn("ownedByMe", true)
	f.fillIn("owners", []any{me})
	f.fillIn("webViewLink", "https://drive.google.com/file/d/"+f.text("id")+"/view?usp=drivesdk")
	version, _ := strconv.Atoi(f.text("version"))
	f["version"] = strconv.Itoa(version + 1)
}

// shownFile is a file with the few fields that Drive shows unless others are
// asked for.
func shownFile(c *call, f doc) any { return c.brief(f, "kind", "id", "name", "mimeType") }

// brief cuts a resource down to some fields, unless the call names its own.
func (c *call) brief(d doc, names ...string) doc {
	if c.query.Get("fields") != "" {
		return d
	}
	out := doc{}
	for _, name := range names {
		if v, ok := d[name]; ok {
			out[name] = v
		}
	}
	return out
}

// keep stores a file's bytes with what follows from them; the lock is held.
func (d *drive) keep(c *call, f doc, m *media) {
	if m.data == nil {
		return
	}
	sum := md5.Sum(m.data) //nolint:gosec // see the import
	f["size"], f["md5Checksum"] = strconv.Itoa(len(m.data)), hex.EncodeToString(sum[:])
	d.bytes[d.owned(c, f.text("id"))] = m.data
}

func (d *drive) create(c *call, m *media) reply {
	said := doc(merge(nil, c.saidIn(m.meta)))
	if m.data != nil && m.mime != "" {
		said.fillIn("mimeType", m.mime)
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	f, refused := d.files.made(c, said)
	if refused != nil {
		return *refused
	}
	d.keep(c, f, m)
	return c.ok(shownFile(c, f))
}

func (d *drive) update(c *call, m *media) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	sh, id, old, refused := d.files.found(c)
	if refused != nil {
		return *refused
	}
	said := c.saidIn(m.meta)
	if said["parents"] != nil {
		return c.refuse(http.StatusForbidden, "fieldNotWritable",
			"The parents field is not directly writable in update requests. Use the addParents and removeParents parameters instead.")
	}
	f := doc(merge(old, said))
	to := c.query.Get("addParents")
	if a := c.cannot("removeParents"); a != nil && to == "" {
		return *a
	}
	if to != "" {
		f["parents"] = []any{to}
		if a := d.check(c, f); a != nil {
			return *a
		}
	}
	f["id"] = id
	fillFile(c, f)
	sh.put(id, f)
	d.keep(c, f, m)
	return c.ok(shownFile(c, f))
}

func (d *drive) get(c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	_, id, f, refused := d.files.found(c)
	if refused != nil {
		return *refused
	}
	if !c.isDownload() {
		return c.ok(shownFile(c, f))
	}
	if strings.HasPrefix(f.text("mimeType"), driveNative) {
		return c.refuse(http.StatusForbidden, "fileNotDownloadable",
			"Only files with binary content can be downloaded. Use Export with Docs Editors files.")
	}
	data := d.bytes[d.owned(c, id)] // replaced and never changed
	a := reply{status: http.StatusOK, serve: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
	})}
	return a.with("Content-Type", f.text("mimeType"))
}

func (d *drive) copy(c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	_, id, old, refused := d.files.found(c)
	if refused != nil {
		return *refused
	}
	said := doc(merge(nil, c.said()))
	for _, name := range []string{"name", "mimeType", "description", "parents", "properties", "appProperties"} {
		if v, ok := old[name]; ok {
			said.fillIn(name, v)
		}
	}
	if said["name"] == old["name"] {
		said["name"] = "Copy of " + old.text("name")
	}
	vars := c.vars
	c.vars = nil // where the copy is made is not where the call points
	f, refused := d.files.made(c, said)
	c.vars = vars
	if refused != nil {
		return *refused
	}
	if data, ok := d.bytes[d.owned(c, id)]; ok {
		d.keep(c, f, &media{data: data})
	}
	return c.ok(shownFile(c, f))
}

func (d *drive) remove(c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	_, id, _, refused := d.files.found(c)
	if refused != nil {
		return *refused
	}
	if id == driveRoot(c) {
		return c.refuse(http.StatusForbidden, "insufficientFilePermissions", "The user does not have sufficient permissions for this file.")
	}
	d.drop(c, id)
	return noContent()
}

// drop removes a file for good, and all that is in it.
func (d *drive) drop(c *call, id string) {
	sh := d.shelf(c)
	sh.remove(id)
	delete(d.bytes, d.owned(c, id))
	c.store.prune(d.files, id)
	for _, f := range sh.all() {
		if parents, _ := f["parents"].([]any); slices.Contains(parents, any(id)) {
			d.drop(c, f.text("id"))
		}
	}
}

func (d *drive) emptyTrash(c *call) reply {
	if a := c.cannot("driveId"); a != nil {
		return *a
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	for _, f := range d.shelf(c).all() {
		if f["trashed"] == true {
			d.drop(c, f.text("id"))
		}
	}
	return noContent()
}

func (d *drive) list(c *call) reply {
	if _, err := parseDriveQuery(c.query.Get("q")); err != nil {
		return c.notImplemented("q: " + err.Error())
	}
	if in := c.query.Get("spaces"); in != "" && in != "drive" {
		return c.notImplemented("spaces=" + in)
	}
	if by := strings.TrimSuffix(c.query.Get("orderBy"), " desc"); !slices.Contains([]string{"", "name", "createdTime", "modifiedTime"}, by) {
		return c.notImplemented("orderBy=" + by)
	}
	return d.files.list(c)
}

// shows tells whether a file fits the call's q; its form was checked by list.
func (d *drive) shows(c *call, f doc) bool {
	q, err := parseDriveQuery(c.query.Get("q"))
	return err == nil && f["id"] != driveRoot(c) && q.fits(c, f)
}

func orderFiles(c *call, all []doc) {
	key, falling := strings.CutSuffix(c.query.Get("orderBy"), " desc")
	if key == "" {
		slices.Reverse(all) // the newest first
		return
	}
	slices.SortStableFunc(all, func(a, b doc) int {
		n := cmp.Compare(a.text(key), b.text(key))
		if falling {
			return -n
		}
		return n
	})
}

func newPermission(c *call, p doc) (string, *reply) {
	refuse := func(message string) (string, *reply) { return "", c.missingField(message) }
	var who string
	switch p.text("type") {
	case "user", "group":
		if who = strings.ToLower(p.text("emailAddress")); !isAddress(who) {
			return refuse("The emailAddress field is required.")
		}
	case "domain":
		if who = p.text("domain"); who == "" {
			return refuse("The domain field is required.")
		}
	case "anyone":
	default:
		return refuse("The permission type field is required.")
	}
	if !slices.Contains([]string{"owner", "organizer", "fileOrganizer", "writer", "commenter", "reader"}, p.text("role")) {
		return refuse("The permission role field is required.")
	}
	if p.text("role") == "owner" && !c.flag("transferOwnership") {
		a := c.refuse(http.StatusForbidden, "forbidden", "The transferOwnership parameter must be enabled when the permission role is 'owner'.")
		return "", &a
	}
	if who == "" {
		return "anyoneWithLink", nil
	}
	return numericID(who), nil
}

func (c *call) aboutDrive() reply {
	if c.query.Get("fields") == "" {
		return *c.missingField("The 'fields' parameter is required for this method.")
	}
	user := doc{"kind": "drive#user", "emailAddress": c.tok.principal(), "me": true, "permissionId": numericID(c.tok.principal())}
	if c.tok.person != nil {
		user["displayName"] = c.tok.person.directory().Name.Full
	}
	return c.ok(doc{"kind": "drive#about", "user": user, "storageQuota": doc{"limit": "32212254720", "usage": "0"}})
}
