package sandbox

import (
	"errors"
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

// do lets the call take effect, if it may.
func (c *call) do() reply {
	admit := c.route.admit
	if c.route.facts != nil {
		admit = (*call).admission
	}
	if admit != nil {
		if a := admit(c); a != nil {
			return *a
		}
	}
	return c.route.handle(c)
}

var errTooLarge = errors.New("request body too large")

// read takes the whole body in, once. It fails with errTooLarge beyond limit.
func (c *call) read(limit int64) (err error) {
	if c.req.ContentLength > limit {
		return errTooLarge
	}
	c.body, err = gather(c.req.Body, c.req.ContentLength, limit)
	return err
}

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
