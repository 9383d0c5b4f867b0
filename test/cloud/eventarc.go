package cloud

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/api/eventarc/v1"
)

func eventarcMethods() []method {
	const triggers = "/v1/projects/{project}/locations/{location}/triggers"
	key := func(c *call) string {
		return c.key("projects/%s/locations/%s/triggers/%s", c.vars["project"], c.vars["location"], c.vars["trigger"])
	}
	return append([]method{
		{verb: http.MethodGet, path: triggers, query: "pageSize pageToken orderBy filter", do: (*Server).listTriggers},
		{verb: http.MethodGet, path: triggers + "/{trigger}", do: func(s *Server, c *call) (any, error) { return s.get(key(c)) }},
	}, policyMethods(triggers+"/{trigger}", onTrigger, new(eventarc.SetIamPolicyRequest), key)...)
}

func (s *Server) listTriggers(c *call) (any, error) {
	list := []any{}
	for _, region := range regions {
		if c.vars["location"] == "-" || c.vars["location"] == region {
			list = append(list, s.list(c.key("projects/%s/locations/%s/triggers/", c.vars["project"], region))...)
		}
	}
	return object{"triggers": list}, nil
}

// chosen are the fields of a function's trigger that its user chooses. When one changes,
// there is a new trigger, with a new subscription: what was set on the old one is lost.
var chosen = []string{"eventType", "pubsubTopic", "serviceAccountEmail", "triggerRegion", "retryPolicy"}

// trigger makes the trigger of a function, and its subscription, unless it has the same one
// already; before is the function as it was.
func (s *Server) trigger(f, before object) {
	wanted, ok := f["eventTrigger"].(object)
	old, _ := before["eventTrigger"].(object)
	same := ok && old != nil
	for _, field := range chosen {
		same = same && wanted[field] == old[field]
	}
	if same {
		wanted["trigger"] = old["trigger"]
		return
	}
	s.untrigger(before)
	if !ok {
		return
	}
	name := text(f, "name")
	id := name[strings.LastIndex(name, "/")+1:]
	region := text(wanted, "triggerRegion")
	number := 100000 + s.number()*7919%900000
	trigger := fmt.Sprintf("projects/%s/locations/%s/triggers/%s-%d", s.config.Project, region, id, number)
	subscription := fmt.Sprintf("projects/%s/subscriptions/eventarc-%s-%s-%d-sub-%03d", s.config.Project, region, id, number, s.number()%1000)

	s.state["//eventarc.googleapis.com/"+trigger] = object{
		"name": trigger, "uid": fmt.Sprintf("%032d", number), "createTime": now(), "updateTime": now(), "etag": fmt.Sprintf("%q", fmt.Sprint(number)),
		"eventFilters":   []any{object{"attribute": "type", "value": messagePublished}},
		"serviceAccount": wanted["serviceAccountEmail"],
		"destination":    object{"cloudFunction": name},
		"transport":      object{"pubsub": object{"topic": wanted["pubsubTopic"], "subscription": subscription}},
		"labels":         object{"goog-drz-cloudfunctions-id": id, "goog-managed-by": "cloudfunctions"},
	}
	s.beget("eventarc.googleapis.com")
	s.beget("pubsub.googleapis.com")
	s.state["//pubsub.googleapis.com/"+subscription] = s.eventarcSubscription(f, subscription)
	wanted["trigger"] = trigger
}

// eventarcSubscription is the one that brings a topic's messages to a function: an ack
// deadline of ten minutes, back-off from 10 to 600 s, messages kept for a day, never
// expiring, with a token of the trigger's account
// (https://cloud.google.com/eventarc/docs/retry-events).
func (s *Server) eventarcSubscription(f object, name string) object {
	uri, topic := text(f, "serviceConfig", "uri"), text(f, "eventTrigger", "pubsubTopic")
	return object{
		"name": name, "topic": topic, "state": "ACTIVE",
		"ackDeadlineSeconds": 600, "messageRetentionDuration": fmt.Sprintf("%.0fs", lasting.Seconds()), "expirationPolicy": object{},
		"retryPolicy": object{"minimumBackoff": "10s", "maximumBackoff": "600s"},
		"pushConfig": object{
			"pushEndpoint": uri + "?__GCP_CloudEventsMode=CUSTOM_PUBSUB_" + url.QueryEscape(topic),
			"oidcToken":    object{"serviceAccountEmail": text(f, "eventTrigger", "serviceAccountEmail"), "audience": uri},
		},
		"labels": object{"goog-eventarc": ""},
	}
}

// untrigger takes a function's trigger away, with its subscription.
func (s *Server) untrigger(f object) {
	key := "//eventarc.googleapis.com/" + text(f, "eventTrigger", "trigger")
	trigger, ok := s.state[key]
	if !ok {
		return
	}
	s.forget("//pubsub.googleapis.com/" + text(trigger, "transport", "pubsub", "subscription"))
	s.forget(key)
}
