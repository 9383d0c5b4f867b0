package sandbox

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// standardParam tells what may stand on any call: the "parameters" of Gmail's Discovery
// document, and upload_id, which Google itself puts into upload addresses.
func standardParam(name string) bool {
	switch name {
	case "alt", "fields", "prettyPrint", "uploadType", "key", "quotaUser", "access_token",
		"callback", "oauth_token", "upload_protocol", "upload_id", "userIp":
		return true
	}
	return strings.HasPrefix(name, "$") // $.xgafv, and the newer spellings such as $alt
}

// checkParams holds the query and the path against the facts, in Google's words.
func (c *call) checkParams(m *discovery.Method) *reply {
	switch alt := c.query.Get("alt"); {
	case alt == "", alt == "json", c.isDownload() && m.Download:
	default:
		a := c.notImplemented("alt=" + alt)
		return &a
	}
	for _, name := range slices.Sorted(maps.Keys(c.query)) {
		if standardParam(name) {
			continue
		}
		p, ok := m.Param(name)
		if !ok || p.In != "query" {
			a := invalid("invalid", fmt.Sprintf("%sUnknown name %q: Cannot bind query parameter. "+
				"Field '%s' could not be found in request message.", badPayload, name, name))
			return &a
		}
		if a := checkValues(p, c.query[name]); a != nil {
			return a
		}
	}
	if a := c.checkMask(m); a != nil {
		return a
	}
	return c.checkRequired(m)
}

// checkMask refuses a selection of what no answer has, before anything is done.
func (c *call) checkMask(m *discovery.Method) *reply {
	text := c.fieldMask()
	if text == "" || m.Response == nil {
		return nil
	}
	parsed, err := parseMask(text)
	if err == nil {
		if text = parsed.stranger(&discovery.Type{Kind: discovery.Object, Schema: m.Response}); text == "" {
			return nil
		}
	}
	a := c.badMask(text)
	return &a
}

// checkRequired also looks at what stood in the path.
func (c *call) checkRequired(m *discovery.Method) *reply {
	for i := range m.Params {
		p := &m.Params[i]
		if p.In == "path" {
			if a := checkValues(p, []string{c.arg(p.Name)}); a != nil {
				return a
			}
		} else if p.Required && !c.query.Has(p.Name) {
			a := c.refuse(http.StatusBadRequest, "required", "Required parameter: "+p.Name)
			return &a
		}
	}
	return nil
}

func checkValues(p *discovery.Param, values []string) *reply {
	if len(values) > 1 && !p.Repeated {
		a := invalid("invalid", fmt.Sprintf("%sUnknown name %q: Proto field is not repeating, cannot start list.", badPayload, p.Name))
		return &a
	}
	for _, v := range values {
		if a := checkValue(p, v); a != nil {
			return a
		}
	}
	return nil
}

func checkValue(p *discovery.Param, v string) *reply {
	kind, text := byte(quoted), v
	if p.Type.Kind == discovery.Boolean && (v == "true" || v == "false") {
		kind = v[0]
	}
	var message string
	switch {
	case v == "" && p.In == "query": // is as if it were not there
		return nil
	case !fitsFormat(p.Type, text) || inBounds(p.Type, text) && !fits(p.Type, kind, text):
		message = fmt.Sprintf("Invalid value at '%s' (%s), %q", snake(p.Name), typeName(p.Type), v)
	case !inBounds(p.Type, text):
		message = fmt.Sprintf("Invalid value '%s'. Values must be within the range: [%s, %s]", v, p.Type.Min, p.Type.Max)
	case p.Type.Pattern != "" && !matches(p.Type.Pattern, v):
		message = fmt.Sprintf("Invalid value for field '%s': '%s'. Must be a match of regex '%s'", p.Name, v, p.Type.Pattern)
	default:
		return nil
	}
	a := invalid("invalid", message)
	return &a
}

// matches holds all of a text against a pattern.
func matches(pattern, text string) bool {
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	return err != nil || re.MatchString(text) // a pattern that is none of Go's checks nothing
}

func badParam(message string) reply { return invalid("invalid", message) }

// invalid refuses a value with google.rpc.BadRequest among the details.
func invalid(reason, message string) reply {
	return errorReply(apiError{
		Code: http.StatusBadRequest, Message: message, Status: canonical(http.StatusBadRequest),
		Errors: []errorItem{{Message: message, Domain: "global", Reason: reason}},
		Details: []any{map[string]any{
			"@type":           "type.googleapis.com/google.rpc.BadRequest",
			"fieldViolations": []map[string]string{{"description": message}},
		}},
	})
}

// flag reads a boolean, which was checked; absent is false.
func (c *call) flag(name string) bool { return c.query.Get(name) == "true" }

// count reads a number from 1 up to most, which was checked to be one; absent or
// 0 is normal, and what is above most counts as most.
func (c *call) count(name string, normal, most int) int {
	n, err := strconv.Atoi(c.query.Get(name))
	if err != nil || n <= 0 {
		return normal
	}
	return min(n, most)
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
