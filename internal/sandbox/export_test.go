package sandbox

import (
	"errors"
	"net/http"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/actions/discovery"
)

// AnswerFits holds an answer against what Discovery states of the method's.
func (s *Server) AnswerFits(r *http.Request, status int, body []byte) error {
	path := strings.TrimPrefix(r.URL.EscapedPath(), "/")
	rt, _ := s.apis.find(r.Method, path, r.URL.RawQuery)
	if rt == nil || rt.facts == nil || status != http.StatusOK || r.URL.Query().Get("alt") == "media" || r.URL.Query().Get("uploadType") == "resumable" {
		return nil
	}
	if rt.facts.Response == nil {
		return errors.New(rt.name + ": answers with a body where Discovery has none: " + string(body))
	}
	if a := checkBody(&discovery.Method{Request: rt.facts.Response}, body); a != nil {
		return errors.New(rt.name + ": " + string(a.body) + "\n" + string(body))
	}
	return nil
}
