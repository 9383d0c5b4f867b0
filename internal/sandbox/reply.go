package sandbox

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"strconv"
)

// A reply is an answer that is not yet sent. Handlers return one, so that a
// fault can hold it back or lose it after its effect.
type reply struct {
	status int
	header http.Header
	body   []byte
	mime   string       // empty: JSON
	serve  http.Handler // in place of the body, where ranges are to be served
	cut    bool         // the connection ends without an answer
	after  int64        // where it is not 0: it ends behind so many bytes of the body
}

const mimeJSON = "application/json; charset=UTF-8"

func (a reply) send(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	for k, v := range a.header {
		h[k] = v
	}
	if a.after > 0 {
		w = &shortWriter{w, a.after}
	}
	if a.serve != nil {
		a.serve.ServeHTTP(w, r)
		return
	}
	if a.status != http.StatusNoContent && h.Get("Content-Type") == "" {
		h.Set("Content-Type", mimeJSON)
		if a.mime != "" {
			h.Set("Content-Type", a.mime)
		}
	}
	if a.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(a.body)))
	}
	w.WriteHeader(a.status)
	w.Write(a.body) //nolint:errcheck // the client went away; there is no one to tell
}

// shortWriter ends the connection behind so many bytes.
type shortWriter struct {
	http.ResponseWriter
	left int64
}

func (w *shortWriter) Write(b []byte) (int, error) {
	if int64(len(b)) <= w.left {
		w.left -= int64(len(b))
		return w.ResponseWriter.Write(b)
	}
	w.ResponseWriter.Write(b[:w.left])                   //nolint:errcheck // it ends here, one way or the other
	http.NewResponseController(w.ResponseWriter).Flush() //nolint:errcheck // likewise
	panic(http.ErrAbortHandler)
}

// with adds a header.
func (a reply) with(name, value string) reply {
	if a.header == nil {
		a.header = http.Header{}
	} else {
		a.header = a.header.Clone()
	}
	a.header.Set(name, value)
	return a
}

// ok answers 200 with v, indented unless prettyPrint=false, as Google does,
// and cut down to the fields that were asked for.
func (c *call) ok(v any) reply {
	body, err := marshal(v, c.query.Get("prettyPrint") != "false")
	if err != nil {
		return c.broken(err)
	}
	mask := c.fieldMask()
	if mask == "" {
		return reply{status: http.StatusOK, body: body}
	}
	m, err := parseMask(mask)
	if err != nil {
		return c.badMask(mask)
	}
	body, err = m.apply(body, c.query.Get("prettyPrint") != "false")
	if err != nil {
		return c.broken(err)
	}
	return reply{status: http.StatusOK, body: body}
}

// fieldMask is what the call wants to see of the answer; empty is all.
func (c *call) fieldMask() string {
	return cmp.Or(c.query.Get("fields"), c.req.Header.Get("X-Goog-FieldMask"))
}

func (c *call) badMask(mask string) reply {
	return c.refuse(http.StatusBadRequest, "invalidParameter", "Invalid field selection "+mask)
}

// broken is the sandbox's own failure, told as such.
func (c *call) broken(err error) reply {
	c.log.Error("sandbox: cannot answer", "call", c.route.name, "error", err)
	return c.refuse(http.StatusInternalServerError, "sandbox", "sandbox: "+err.Error())
}

func noContent() reply { return reply{status: http.StatusNoContent} }

// marshal writes JSON without escaping <, > and &, which Google leaves alone.
func marshal(v any, pretty bool) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if pretty {
		e.SetIndent("", "  ")
	}
	err := e.Encode(v)
	return b.Bytes(), err
}
