package cloud

import (
	"net/http"
	"testing"
)

// Of two methods for one request the first answers, and the other never does.
func TestEachMethodIsThereOnce(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range routes() {
		what := r.verb + " " + r.api.host + variable.ReplaceAllString(r.path, "{}")
		if seen[what] {
			t.Errorf("%s: is there twice", what)
		}
		seen[what] = true
	}
	if !seen[http.MethodPut+" pubsub.googleapis.com/v1/projects/{}/topics/{}"] {
		t.Error("nothing makes a topic")
	}
}
