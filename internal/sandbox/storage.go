package sandbox

import (
	"bytes"
	"cmp"
	"crypto/md5" //nolint:gosec // what Cloud Storage calls md5Hash
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// object is one object of Cloud Storage; once it is there it is replaced and
// never changed.
type object struct {
	bucket, name string
	mime         string
	data         []byte
	generation   int64 // microseconds, as in Cloud Storage
	crc, md5     string
	said         map[string]any // what else its maker said of it
}

// objects is Cloud Storage. Every bucket exists.
type objects struct {
	mu     sync.RWMutex
	byName map[string]*object // "bucket/name"
	last   int64
}

func newObjects(world map[string][]byte, now time.Time) *objects {
	o := &objects{byName: map[string]*object{}}
	for name, data := range world {
		bucket, rest, _ := strings.Cut(name, "/")
		o.put(makeObject(bucket, rest, "application/octet-stream", data), now, func(*object) *reply { return nil })
	}
	return o
}

func makeObject(bucket, name, mime string, data []byte) *object {
	sum := md5.Sum(data) //nolint:gosec // see the import
	return &object{
		bucket: bucket, name: name, mime: mime, data: data,
		crc: base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, castagnoli(data))),
		md5: base64.StdEncoding.EncodeToString(sum[:]),
	}
}

// put keeps an object unless may refuses, which sees what it would replace.
func (o *objects) put(obj *object, now time.Time, may func(*object) *reply) *reply {
	o.mu.Lock()
	defer o.mu.Unlock()
	if a := may(o.byName[obj.bucket+"/"+obj.name]); a != nil {
		return a
	}
	o.last = max(o.last+1, now.UnixMicro())
	obj.generation = o.last
	o.byName[obj.bucket+"/"+obj.name] = obj
	return nil
}

func (o *objects) get(bucket, name string) *object {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.byName[bucket+"/"+name]
}

// remove drops the object, if it was not replaced meanwhile.
func (o *objects) remove(obj *object) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if key := obj.bucket + "/" + obj.name; o.byName[key] == obj {
		delete(o.byName, key)
	}
}

// under are the objects of a bucket whose names begin alike, by name.
func (o *objects) under(bucket, prefix string) []*object {
	o.mu.RLock()
	defer o.mu.RUnlock()
	var out []*object
	for _, obj := range o.byName {
		if obj.bucket == bucket && strings.HasPrefix(obj.name, prefix) {
			out = append(out, obj)
		}
	}
	slices.SortFunc(out, func(a, b *object) int { return strings.Compare(a.name, b.name) })
	return out
}

func castagnoli(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
}

// Cloud Storage's JSON API. Facts: its Discovery document and
// https://cloud.google.com/storage/docs/json_api/v1.
func storageMethods() []method {
	m := func(name string, h func(*call) reply) method {
		return method{id: "storage.objects." + name, door: projectDoor("storage.objects." + name), do: h}
	}
	insert := m("insert", (*call).mediaMissing)
	insert.in = &intake{check: (*call).checkObject, take: (*call).putObject}
	return []method{
		insert,
		m("list", (*call).listObjects),
		m("get", (*call).getObject),
		m("delete", (*call).deleteObject),
	}
}

// projectDoor lets service accounts in: users of the organisation have been
// granted nothing in the project.
func projectDoor(permission string) func(*call) *reply {
	return func(c *call) *reply {
		if c.tok.person == nil {
			return nil
		}
		a := c.refuse(http.StatusForbidden, "forbidden", fmt.Sprintf(
			"%s does not have %s access. Permission '%s' denied on resource (or it may not exist).",
			c.tok.principal(), permission, permission))
		return &a
	}
}

func (c *call) getObject() reply {
	o, refused := c.object()
	if refused != nil {
		return *refused
	}
	if !c.isDownload() {
		return c.ok(o.resource())
	}
	return o.media()
}

// object finds what the call names, in the generation that it asks for.
func (c *call) object() (*object, *reply) {
	bucket, name := c.vars[0], c.vars[1]
	o := c.objects.get(bucket, name)
	if g := c.query.Get("generation"); o == nil || g != "" && g != fmt.Sprint(o.generation) {
		a := c.refuse(http.StatusNotFound, "notFound", "No such object: "+bucket+"/"+name)
		return nil, &a
	}
	return o, c.checkGeneration(o)
}

// checkGeneration makes the preconditions hold, or answers as Cloud Storage does
// when they do not. Nil stands for an object that is not there, which has
// generation 0. Facts: https://cloud.google.com/storage/docs/request-preconditions.
func (c *call) checkGeneration(o *object) *reply {
	var generation, meta int64
	if o != nil {
		generation, meta = o.generation, 1
	}
	for name, have := range map[string]int64{"Generation": generation, "Metageneration": meta} {
		want, not := c.query.Get("if"+name+"Match"), c.query.Get("if"+name+"NotMatch")
		if want != "" && want != fmt.Sprint(have) || not == fmt.Sprint(have) && c.req.Method != http.MethodGet {
			a := c.refuse(http.StatusPreconditionFailed, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
			return &a
		}
		if not == fmt.Sprint(have) {
			return &reply{status: http.StatusNotModified}
		}
	}
	return nil
}

func (c *call) deleteObject() reply {
	o, refused := c.object()
	if refused != nil {
		return *refused
	}
	c.objects.remove(o)
	return noContent()
}

// listObjects answers by name. Prefixes stand for what lies behind a delimiter.
func (c *call) listObjects() reply {
	const normal = 1000
	if a := c.cannot("versions", "softDeleted", "matchGlob", "filter", "includeTrailingDelimiter"); a != nil {
		return *a
	}
	from := ""
	if token := c.query.Get("pageToken"); token != "" {
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(b) == 0 {
			return c.refuse(http.StatusBadRequest, "invalid", "Invalid argument.")
		}
		from = string(b)
	}
	out := objectList{Kind: "storage#objects", limit: c.count("maxResults", normal, normal), last: from}
	for _, o := range c.objects.under(c.vars[0], c.query.Get("prefix")) {
		if entry := c.prefixOf(o.name); entry > out.last && c.within(o.name) && !out.add(entry, o) {
			out.Next = base64.RawURLEncoding.EncodeToString([]byte(out.last))
			break
		}
	}
	return c.ok(out)
}

type objectList struct {
	Kind     string           `json:"kind"`
	Next     string           `json:"nextPageToken,omitempty"`
	Items    []map[string]any `json:"items,omitempty"`
	Prefixes []string         `json:"prefixes,omitempty"`
	limit    int
	last     string // entry on the page, or on the one before
}

// add is false when the page is full.
func (l *objectList) add(entry string, o *object) bool {
	if len(l.Items)+len(l.Prefixes) == l.limit {
		return false
	}
	if l.last = entry; entry == o.name {
		l.Items = append(l.Items, o.resource())
	} else {
		l.Prefixes = append(l.Prefixes, entry)
	}
	return true
}

// prefixOf is the name up to the first delimiter behind the prefix, or all of it.
func (c *call) prefixOf(name string) string {
	prefix, delimiter := c.query.Get("prefix"), c.query.Get("delimiter")
	if delimiter == "" {
		return name
	}
	if i := strings.Index(name[len(prefix):], delimiter); i >= 0 {
		return name[:len(prefix)+i+len(delimiter)]
	}
	return name
}

func (c *call) within(name string) bool {
	end := c.query.Get("endOffset")
	return name >= c.query.Get("startOffset") && (end == "" || name < end)
}

// media is served by net/http, which knows ranges and conditions.
func (o *object) media() reply {
	a := reply{status: http.StatusOK, serve: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.UnixMicro(o.generation), bytes.NewReader(o.data))
	})}
	a = a.with("Content-Type", o.mime).with("Etag", `"`+o.etag()+`"`)
	return a.with("X-Goog-Generation", fmt.Sprint(o.generation)).
		with("X-Goog-Hash", "crc32c="+o.crc+",md5="+o.md5).
		with("X-Goog-Stored-Content-Length", fmt.Sprint(len(o.data)))
}

func (o *object) etag() string {
	return base64.StdEncoding.EncodeToString(binary.AppendVarint(nil, o.generation))
}

func (o *object) resource() map[string]any {
	at := time.UnixMicro(o.generation).UTC().Format("2006-01-02T15:04:05.000Z")
	self := "https://www.googleapis.com/storage/v1/b/" + o.bucket + "/o/" + url.PathEscape(o.name)
	media := "https://storage.googleapis.com/download/storage/v1/b/" + o.bucket + "/o/" + url.PathEscape(o.name)
	out := map[string]any{
		"kind": "storage#object", "id": fmt.Sprintf("%s/%s/%d", o.bucket, o.name, o.generation),
		"selfLink": self, "mediaLink": fmt.Sprintf("%s?generation=%d&alt=media", media, o.generation),
		"name": o.name, "bucket": o.bucket, "generation": fmt.Sprint(o.generation), "metageneration": "1",
		"contentType": o.mime, "storageClass": "STANDARD", "size": fmt.Sprint(len(o.data)),
		"crc32c": o.crc, "md5Hash": o.md5, "etag": o.etag(), "timeCreated": at, "updated": at,
	}
	maps.Copy(out, o.said)
	return out
}

// objectIn is what is said of an object that is to be made; all of it is kept.
type objectIn map[string]any

func (in objectIn) text(name string) string {
	s, _ := in[name].(string)
	return s
}

// said is less what Cloud Storage itself tells of an object.
func (in objectIn) said() map[string]any {
	out := maps.Clone(in)
	for name := range (&object{}).resource() {
		delete(out, name)
	}
	return out
}

// objectIn reads what is said of the object; its name may stand in the address.
func (c *call) objectIn(meta []byte) (objectIn, *reply) {
	in := objectIn{}
	if err := json.Unmarshal(orEmpty(meta), &in); err != nil {
		a := badJSON(err, "")
		return nil, &a
	}
	if name := c.query.Get("name"); name != "" {
		in["name"] = name
	}
	if in.text("name") == "" {
		a := c.refuse(http.StatusBadRequest, "required", "Required parameter: name")
		return nil, &a
	}
	return in, nil
}

func (c *call) checkObject(meta []byte) *reply {
	in, refused := c.objectIn(meta)
	if refused != nil {
		return refused
	}
	return c.checkGeneration(c.objects.get(c.vars[0], in.text("name")))
}

func (c *call) putObject(m *media) reply {
	in, refused := c.objectIn(m.meta)
	if refused != nil {
		return *refused
	}
	mime := cmp.Or(in.text("contentType"), m.mime, "application/octet-stream")
	o := makeObject(c.vars[0], in.text("name"), mime, m.data)
	o.said = in.said()
	for _, sum := range [][3]string{{"CRC32C", in.text("crc32c"), o.crc}, {"MD5 hash", in.text("md5Hash"), o.md5}} {
		if sum[1] != "" && sum[1] != sum[2] {
			return c.refuse(http.StatusBadRequest, "invalid",
				fmt.Sprintf("Provided %s %q doesn't match calculated %s %q.", sum[0], sum[1], sum[0], sum[2]))
		}
	}
	if a := c.objects.put(o, c.now(), c.checkGeneration); a != nil {
		return *a
	}
	return c.ok(o.resource())
}

// mediaMissing answers where an object without content would be made.
func (c *call) mediaMissing() reply {
	return c.refuse(http.StatusBadRequest, "wrongUrlForUpload",
		"Upload requests must include an uploadType URL parameter and a URL path beginning with /upload/")
}
