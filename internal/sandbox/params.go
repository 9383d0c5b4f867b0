package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// standardParam tells what may stand on any call: the "parameters" of Gmail's Discovery
// document, and upload_id, which Google itself puts into upload addresses.
func standardParam(name string) bool {
	switch name {
	case "alt", "fields", "prettyPrint", "uploadType", "key", "quotaUser", "access_token",
		"callback", "oauth_token", "upload_protocol", "upload_id":
		return true
	}
	return strings.HasPrefix(name, "$") // $.xgafv, and the newer spellings such as $alt
}

// checkParams refuses what the method does not know, in Google's words.
func (c *call) checkParams() *reply {
	if len(c.query) == 0 {
		return nil
	}
	if alt := c.query.Get("alt"); alt != "" && alt != "json" {
		a := c.notImplemented("alt=" + alt)
		return &a
	}
	for _, name := range slices.Sorted(maps.Keys(c.query)) {
		if standardParam(name) || slices.Contains(strings.Fields(c.route.params), name) {
			continue
		}
		what := fmt.Sprintf("Invalid JSON payload received. Unknown name %q: Cannot bind query parameter. "+
			"Field '%s' could not be found in request message.", name, name)
		a := badParam(what)
		return &a
	}
	return nil
}

func badParam(message string) reply {
	return errorReply(apiError{
		Code: http.StatusBadRequest, Message: message, Status: canonical(http.StatusBadRequest),
		Errors: []errorItem{{Message: message, Domain: "global", Reason: "invalid"}},
		Details: []any{map[string]any{
			"@type":           "type.googleapis.com/google.rpc.BadRequest",
			"fieldViolations": []map[string]string{{"description": message}},
		}},
	})
}

// boolParam reads a flag; absent is false.
func (c *call) boolParam(name string) (bool, *reply) {
	switch v := c.query.Get(name); v {
	case "", "false", "0":
		return false, nil
	case "true", "1":
		return true, nil
	default:
		a := badParam(fmt.Sprintf("Invalid value at '%s' (TYPE_BOOL), %q", snake(name), v))
		return false, &a
	}
}

// countParam reads a number from 1 up to most; absent or 0 is normal, and
// what is above most counts as most.
func (c *call) countParam(name string, normal, most int) (int, *reply) {
	v := c.query.Get(name)
	if v == "" || v == "0" {
		return normal, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < 0 {
		a := badParam(fmt.Sprintf("Invalid value at '%s' (TYPE_UINT32), %q", snake(name), v))
		return 0, &a
	}
	return min(n, most), nil
}

// snake turns maxResults into max_results, the name in the request message.
func snake(s string) string {
	var b strings.Builder
	for _, r := range s {
		if r >= 'A' && r <= 'Z' {
			b.WriteByte('_')
			r += 'a' - 'A'
		}
		b.WriteRune(r)
	}
	return b.String()
}

func decimal(n uint64) string { return strconv.FormatUint(n, 10) }

// isDownload tells a call for the bytes of a file from one for what is said of it.
func (c *call) isDownload() bool { return c.query.Get("alt") == "media" }
