package sandbox

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// A call is one request on its way through the server.
type call struct {
	*Server
	req   *http.Request
	route *route
	vars  []string // what stood for each {} of the route
	query url.Values
	body  []byte
	tok   *token
}

var errTooLarge = errors.New("request body too large")

// read takes the whole body in, once. It fails with errTooLarge beyond limit.
func (c *call) read(limit int64) error {
	n := c.req.ContentLength
	if n > limit {
		return errTooLarge
	}
	var err error
	if n > 0 && n <= eagerBody {
		c.body = make([]byte, n)
		_, err = io.ReadFull(c.req.Body, c.body)
		return err
	}
	c.body, err = io.ReadAll(io.LimitReader(c.req.Body, limit+1))
	if err == nil && int64(len(c.body)) > limit {
		return errTooLarge
	}
	return err
}

// eagerBody is the largest body for which room is made on the word of
// Content-Length alone; what is announced as larger must arrive first.
const eagerBody = 1 << 20

// bearer returns the access token of the request, where Google looks for it.
func (c *call) bearer() string {
	h := c.req.Header.Get("Authorization")
	if scheme, value, ok := strings.Cut(h, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(value)
	}
	if h != "" {
		return h // another scheme: never a token of ours
	}
	if v := c.query.Get("access_token"); v != "" {
		return v
	}
	return c.query.Get("oauth_token")
}

// presented finds the token that the request shows. What was shown and is
// not ours goes to the secrets all the same: it must not be logged either.
func (c *call) presented() *token {
	value := c.bearer()
	if value == "" {
		return nil
	}
	t := c.tokens.get(value)
	if t == nil {
		c.secrets.add(value)
	}
	return t
}

// tokenUser is the user of the token, for faults ordered for one user.
func tokenUser(c *call) string {
	if t := c.presented(); t != nil {
		return t.principal()
	}
	return ""
}

func nobody(*call) string { return "" }
