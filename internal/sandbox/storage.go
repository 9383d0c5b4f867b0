package sandbox

import (
	"bytes"
	"crypto/md5" //nolint:gosec // what Cloud Storage calls md5Hash
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// object is one object of Cloud Storage; it is replaced and never changed.
type object struct {
	bucket, name string
	mime         string
	data         []byte
	generation   int64 // microseconds, as in Cloud Storage
	crc, md5     string
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
		bucket, object, _ := strings.Cut(name, "/")
		o.put(bucket, object, "application/octet-stream", data, now)
	}
	return o
}

func (o *objects) put(bucket, name, mime string, data []byte, now time.Time) *object {
	sum := md5.Sum(data) //nolint:gosec // see the import
	obj := &object{
		bucket: bucket, name: name, mime: mime, data: data,
		crc: base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint32(nil, castagnoli(data))),
		md5: base64.StdEncoding.EncodeToString(sum[:]),
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = max(o.last+1, now.UnixMicro())
	obj.generation = o.last
	o.byName[bucket+"/"+name] = obj
	return obj
}

func (o *objects) get(bucket, name string) *object {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.byName[bucket+"/"+name]
}

func castagnoli(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
}

// Cloud Storage's JSON API. Facts: its Discovery document and
// https://cloud.google.com/storage/docs/json_api/v1.
func storageRoutes() []*route {
	const host = "storage.googleapis.com/"
	reads := []string{
		scopeCloudPlatform, authPrefix + "cloud-platform.read-only", authPrefix + "devstorage.full_control",
		authPrefix + "devstorage.read_only", authPrefix + "devstorage.read_write",
	}
	writes := []string{scopeCloudPlatform, authPrefix + "devstorage.full_control", authPrefix + "devstorage.read_write"}
	object := func(name, method, path string, scopes []string, h func(*call) reply) *route {
		return &route{
			name: name, method: method, path: host + path, params: "*", scopes: scopes, stage: stageCall,
			limit: limitObject, who: tokenUser, handle: machineOnly(name, h),
		}
	}
	return []*route{
		object("storage.objects.get", http.MethodGet, "storage/v1/b/{}/o/{}", reads, (*call).getObject),
		object("storage.objects.get", http.MethodGet, "download/storage/v1/b/{}/o/{}", reads, (*call).getObject),
		object("storage.objects.insert", http.MethodPost, "upload/storage/v1/b/{}/o", writes, (*call).putObject),
	}
}

// machineOnly lets service accounts in: users of the organisation have been
// granted nothing in the project.
func machineOnly(permission string, h func(*call) reply) func(*call) reply {
	return func(c *call) reply {
		if a := c.authorize(); a != nil {
			return *a
		}
		if c.tok.person != nil {
			return c.refuse(http.StatusForbidden, "forbidden", fmt.Sprintf(
				"%s does not have %s access. Permission '%s' denied on resource (or it may not exist).",
				c.tok.principal(), permission, permission))
		}
		return h(c)
	}
}

func (c *call) getObject() reply {
	bucket, name := c.vars[0], c.vars[1]
	o := c.objects.get(bucket, name)
	if g := c.query.Get("generation"); o == nil || g != "" && g != fmt.Sprint(o.generation) {
		return c.refuse(http.StatusNotFound, "notFound", "No such object: "+bucket+"/"+name)
	}
	if c.query.Get("alt") != "media" {
		return c.ok(o.resource())
	}
	return o.media()
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

func (o *object) resource() map[string]string {
	at := time.UnixMicro(o.generation).UTC().Format("2006-01-02T15:04:05.000Z")
	self := "https://www.googleapis.com/storage/v1/b/" + o.bucket + "/o/" + url.PathEscape(o.name)
	media := "https://storage.googleapis.com/download/storage/v1/b/" + o.bucket + "/o/" + url.PathEscape(o.name)
	return map[string]string{
		"kind": "storage#object", "id": fmt.Sprintf("%s/%s/%d", o.bucket, o.name, o.generation),
		"selfLink": self, "mediaLink": fmt.Sprintf("%s?generation=%d&alt=media", media, o.generation),
		"name": o.name, "bucket": o.bucket, "generation": fmt.Sprint(o.generation), "metageneration": "1",
		"contentType": o.mime, "storageClass": "STANDARD", "size": fmt.Sprint(len(o.data)),
		"crc32c": o.crc, "md5Hash": o.md5, "etag": o.etag(), "timeCreated": at, "updated": at,
	}
}

// putObject takes simple uploads; the others are refused loudly.
func (c *call) putObject() reply {
	if kind := c.query.Get("uploadType"); kind != "media" {
		return c.notImplemented("uploadType=" + kind)
	}
	name := c.query.Get("name")
	if name == "" {
		return c.refuse(http.StatusBadRequest, "required", "Required parameter: name")
	}
	mime := c.req.Header.Get("Content-Type")
	if mime == "" {
		mime = "application/octet-stream"
	}
	return c.ok(c.objects.put(c.vars[0], name, mime, c.body, c.now()).resource())
}
