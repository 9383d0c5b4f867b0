package cloud

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"google.golang.org/api/pubsub/v1"
)

// deletedTopic is what a subscription has when its topic is gone.
const deletedTopic = "_deleted-topic_"

func pubsubMethods() []method {
	const topics, subscriptions = "/v1/projects/{project}/topics", "/v1/projects/{project}/subscriptions"
	topic := func(c *call) string { return c.key("projects/%s/topics/%s", c.vars["project"], c.vars["topic"]) }
	subscription := func(c *call) string {
		return c.key("projects/%s/subscriptions/%s", c.vars["project"], c.vars["subscription"])
	}
	list := func(collection string) func(*Server, *call) (any, error) {
		return func(s *Server, c *call) (any, error) {
			return object{collection: s.list(c.key("projects/%s/%s/", c.vars["project"], collection))}, nil
		}
	}
	all := []method{
		{verb: http.MethodGet, path: topics, query: "pageSize pageToken", do: list("topics")},
		{verb: http.MethodPut, path: topics + "/{topic}", body: new(pubsub.Topic), do: func(s *Server, c *call) (any, error) { return s.createTopic(c, topic(c)) }},
		{verb: http.MethodGet, path: topics + "/{topic}", do: func(s *Server, c *call) (any, error) { return s.get(topic(c)) }},
		{verb: http.MethodPatch, path: topics + "/{topic}", body: new(pubsub.UpdateTopicRequest), do: func(s *Server, c *call) (any, error) { return s.patchTopic(c, topic(c)) }},
		{verb: http.MethodDelete, path: topics + "/{topic}", do: func(s *Server, c *call) (any, error) { return s.deleteTopic(topic(c)) }},
		{verb: http.MethodGet, path: topics + "/{topic}/subscriptions", query: "pageSize pageToken", do: func(s *Server, c *call) (any, error) { return s.subscribers(topic(c)) }},
		{verb: http.MethodPost, path: topics + "/{topic}:publish", body: new(pubsub.PublishRequest), do: func(s *Server, c *call) (any, error) { return s.publish(c, topic(c)) }},

		{verb: http.MethodGet, path: subscriptions, query: "pageSize pageToken", do: list("subscriptions")},
		{verb: http.MethodPut, path: subscriptions + "/{subscription}", body: new(pubsub.Subscription), do: func(s *Server, c *call) (any, error) {
			return s.createSubscription(c.body, subscription(c))
		}},
		{verb: http.MethodGet, path: subscriptions + "/{subscription}", do: func(s *Server, c *call) (any, error) { return s.get(subscription(c)) }},
		{verb: http.MethodPatch, path: subscriptions + "/{subscription}", body: new(pubsub.UpdateSubscriptionRequest), do: func(s *Server, c *call) (any, error) {
			return s.patchSubscription(c, subscription(c))
		}},
		{verb: http.MethodDelete, path: subscriptions + "/{subscription}", do: func(s *Server, c *call) (any, error) {
			delete(s.published, subscription(c))
			return s.remove(subscription(c))
		}},
		{verb: http.MethodPost, path: subscriptions + "/{subscription}:pull", body: new(pubsub.PullRequest), do: func(s *Server, c *call) (any, error) { return s.pull(c, subscription(c)) }},
		{verb: http.MethodPost, path: subscriptions + "/{subscription}:acknowledge", body: new(pubsub.AcknowledgeRequest), do: func(s *Server, c *call) (any, error) {
			return s.acknowledge(c, subscription(c))
		}},
	}
	all = append(all, policyMethods(topics+"/{topic}", onTopic, new(pubsub.SetIamPolicyRequest), topic)...)
	return append(all, policyMethods(subscriptions+"/{subscription}", onSubscription, new(pubsub.SetIamPolicyRequest), subscription)...)
}

// pubsubID is what a topic and a subscription can be called
// (https://cloud.google.com/pubsub/docs/pubsub-basics#resource_names).
var pubsubID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9._~+%-]{2,254}$`)

func validPubsubName(key, collection string) error {
	name := short(key)
	if id := name[strings.LastIndex(name, "/")+1:]; !pubsubID.MatchString(id) || strings.HasPrefix(id, "goog") {
		return invalid("Invalid [%s] name: (name=%s)", collection, name)
	}
	return nil
}

func (s *Server) createTopic(c *call, key string) (any, error) {
	if err := validPubsubName(key, "topics"); err != nil {
		return nil, err
	}
	if err := s.vacant(key); err != nil {
		return nil, err
	}
	if err := within("message_retention_duration", c.body["messageRetentionDuration"], 10*time.Minute, 31*24*time.Hour); err != nil {
		return nil, err
	}
	topic := clone(c.body)
	topic["name"] = short(key)
	prune(topic)
	s.state[key] = topic
	return topic, nil
}

func (s *Server) patchTopic(c *call, key string) (any, error) {
	topic, err := s.get(key)
	if err != nil {
		return nil, err
	}
	change, _ := c.body["topic"].(object)
	if err := within("message_retention_duration", change["messageRetentionDuration"], 10*time.Minute, 31*24*time.Hour); err != nil {
		return nil, err
	}
	return topic, merge(topic, change, text(c.body, "updateMask"))
}

// deleteTopic leaves the subscriptions, which get no more messages.
func (s *Server) deleteTopic(key string) (any, error) {
	if _, err := s.remove(key); err != nil {
		return nil, err
	}
	for name, o := range s.state {
		if strings.HasPrefix(name, "//pubsub.googleapis.com/") && o["topic"] == short(key) {
			o["topic"] = deletedTopic
		}
	}
	return object{}, nil
}

// subscribers are the names of a topic's subscriptions.
func (s *Server) subscribers(key string) (any, error) {
	if _, err := s.get(key); err != nil {
		return nil, err
	}
	names := []string{}
	for name, o := range s.state {
		if strings.HasPrefix(name, "//pubsub.googleapis.com/") && o["topic"] == short(key) {
			names = append(names, short(name))
		}
	}
	slices.Sort(names)
	return object{"subscriptions": names}, nil
}

// within holds a duration, which may be unset, against its bounds.
func within(field string, value any, least, most time.Duration) error {
	if value == nil {
		return nil
	}
	written, _ := value.(string)
	d, err := time.ParseDuration(written)
	if err != nil || !strings.HasSuffix(written, "s") {
		return invalid("Invalid value at '%s' (type.googleapis.com/google.protobuf.Duration), %q", field, written)
	}
	if d < least || d > most {
		return invalid("Invalid %s: %s is not between %s and %s.", field, written, least, most)
	}
	return nil
}

func (s *Server) createSubscription(body object, key string) (any, error) {
	if err := validPubsubName(key, "subscriptions"); err != nil {
		return nil, err
	}
	if err := s.vacant(key); err != nil {
		return nil, err
	}
	topic := text(body, "topic")
	if _, err := s.get("//pubsub.googleapis.com/" + topic); err != nil {
		return nil, err
	}
	subscription := object{ // what Google fills in
		"ackDeadlineSeconds": 10, "messageRetentionDuration": "604800s",
		"expirationPolicy": object{"ttl": "2678400s"}, "pushConfig": object{}, "state": "ACTIVE",
	}
	for field, value := range clone(body) {
		subscription[field] = value
	}
	subscription["name"] = short(key)
	if err := s.validSubscription(subscription); err != nil {
		return nil, err
	}
	s.state[key] = subscription
	return subscription, nil
}

// fixed are the fields of a subscription that stay as they were made.
var fixed = []string{"name", "topic", "filter", "enableMessageOrdering"}

func (s *Server) patchSubscription(c *call, key string) (any, error) {
	there, err := s.get(key)
	if err != nil {
		return nil, err
	}
	mask := text(c.body, "updateMask")
	for _, field := range strings.Split(mask, ",") {
		if top, _, _ := strings.Cut(camel(field), "."); slices.Contains(fixed, top) {
			return nil, invalid("Invalid update_mask provided in the UpdateSubscriptionRequest: '%s' is not a mutable Subscription field.", field)
		}
	}
	changed := clone(there)
	change, _ := c.body["subscription"].(object)
	if err := merge(changed, change, mask); err != nil {
		return nil, err
	}
	if err := s.validSubscription(changed); err != nil {
		return nil, err
	}
	s.state[key] = changed
	return changed, nil
}

// validSubscription holds a subscription against Pub/Sub's limits
// (https://cloud.google.com/pubsub/docs/reference/rest/v1/projects.subscriptions), and
// fills in what they say is filled in.
func (s *Server) validSubscription(o object) error {
	if n := whole(o["ackDeadlineSeconds"]); n != 0 && (n < 10 || n > 600) {
		return invalid("Invalid ack deadline given: (ack_deadline_seconds=%d)", n)
	}
	if err := within("message_retention_duration", o["messageRetentionDuration"], 10*time.Minute, 31*24*time.Hour); err != nil {
		return err
	}
	if err := within("expiration_policy.ttl", dig(o, "expirationPolicy", "ttl"), 24*time.Hour, 3650*24*time.Hour); err != nil {
		return err
	}
	if f := text(o, "filter"); f != "" && (len(f) > 256 || !messageFilter.MatchString(f)) {
		return invalid("The filter %q is not a valid expression of at most 256 bytes.", f)
	}
	if err := validRetry(o); err != nil {
		return err
	}
	if err := s.validDeadLetter(o); err != nil {
		return err
	}
	prune(o)
	return s.validDelivery(o)
}

// messageFilter is the form of a filter on messages
// (https://cloud.google.com/pubsub/docs/subscription-message-filter#filtering_syntax).
// What it would drop is not looked at here: a subscription gets all messages.
var messageFilter = regexp.MustCompile(`^((NOT\s+|-)?\(*(attributes:("[^"]+"|[\w-]+)|attributes\.("[^"]+"|[\w-]+)\s*!?=\s*"[^"]*"|hasPrefix\(attributes\.("[^"]+"|[\w-]+),\s*"[^"]*"\))\)*(\s+(AND|OR)\s+|$))+$`)

func validRetry(o object) error {
	retry, ok := o["retryPolicy"].(object)
	if !ok {
		return nil
	}
	for field, standard := range map[string]string{"minimumBackoff": "10s", "maximumBackoff": "600s"} {
		if err := within("retry_policy."+field, retry[field], 0, 600*time.Second); err != nil {
			return err
		}
		if retry[field] == nil {
			retry[field] = standard
		}
	}
	least, _ := time.ParseDuration(text(retry, "minimumBackoff"))
	most, _ := time.ParseDuration(text(retry, "maximumBackoff"))
	if least > most {
		return invalid("The minimum backoff must not exceed the maximum backoff.")
	}
	return nil
}

func (s *Server) validDeadLetter(o object) error {
	letters, ok := o["deadLetterPolicy"].(object)
	if !ok {
		return nil
	}
	if _, err := s.get("//pubsub.googleapis.com/" + text(letters, "deadLetterTopic")); err != nil {
		return err
	}
	switch n := whole(letters["maxDeliveryAttempts"]); {
	case n == 0:
		letters["maxDeliveryAttempts"] = 5
	case n < 5 || n > 100:
		return invalid("Invalid max_delivery_attempts: %d is not between 5 and 100.", n)
	}
	return nil
}

// validDelivery looks at where messages go by themselves. Pub/Sub tries whether its own
// account may write to the table (https://cloud.google.com/pubsub/docs/create-bigquery-subscription).
func (s *Server) validDelivery(o object) error {
	config, ok := o["bigqueryConfig"].(object)
	if !ok || text(config, "table") == "" {
		return nil
	}
	if text(o, "pushConfig", "pushEndpoint") != "" {
		return invalid("A subscription has a push endpoint or a BigQuery table, not both.")
	}
	parts := strings.Split(strings.Replace(text(config, "table"), ":", ".", 1), ".")
	if len(parts) != 3 {
		return invalid("Invalid BigQuery table: (table=%s)", text(config, "table"))
	}
	key := tableKey(parts[0], parts[1], parts[2])
	if s.state[key] == nil {
		return refuse(http.StatusNotFound, "The BigQuery table (table=%s) was not found.", text(config, "table"))
	}
	agent := fmt.Sprintf("serviceAccount:service-%s@gcp-sa-pubsub.iam.gserviceaccount.com", s.config.Number)
	if !s.canWriteTable(agent, parts[0], parts[1], parts[2]) {
		return refuse(http.StatusForbidden, "Service account %s is missing permissions required to write to the BigQuery table: bigquery.tables.get, bigquery.tables.updateData.", strings.TrimPrefix(agent, "serviceAccount:"))
	}
	config["state"] = "ACTIVE"
	return fitsTable(config, s.state[key])
}

// written are the columns that Pub/Sub writes of a message, with the types that they may
// have: without a schema all of it into data, and with writeMetadata the others
// (https://cloud.google.com/pubsub/docs/bigquery#properties_subscription).
var written = []struct {
	column   string
	types    []string
	metadata bool
}{
	{"data", []string{"BYTES", "STRING", "JSON"}, false},
	{"subscription_name", []string{"STRING"}, true},
	{"message_id", []string{"STRING"}, true},
	{"publish_time", []string{"TIMESTAMP"}, true},
	{"attributes", []string{"STRING", "JSON"}, true},
}

// fitsTable refuses a table that has not the columns that will be written, or that
// requires others.
func fitsTable(config, table object) error {
	if config["useTopicSchema"] == true || config["useTableSchema"] == true {
		return nil
	}
	named, err := columns(table)
	if err != nil {
		return err
	}
	for _, w := range written {
		if w.metadata && config["writeMetadata"] != true {
			continue
		}
		if kind := strings.ToUpper(text(named[w.column], "type")); !slices.Contains(w.types, kind) {
			return invalid("Incompatible schema: the column %s of the BigQuery table %s has the type %q, and not one of %q.", w.column, text(config, "table"), kind, w.types)
		}
		delete(named, w.column)
	}
	for name, column := range named {
		if strings.EqualFold(text(column, "mode"), "REQUIRED") {
			return invalid("Incompatible schema: the column %s of the BigQuery table %s is required, and is not written.", name, text(config, "table"))
		}
	}
	return nil
}

// whole is a number that JSON has as a number or as a string, or 0.
func whole(value any) int {
	switch n := value.(type) {
	case int:
		return n
	case float64:
		return int(n)
	case string:
		var parsed int
		if _, err := fmt.Sscan(n, &parsed); err == nil {
			return parsed
		}
	}
	return 0
}

// delivery is a message on its way to a subscription.
type delivery struct {
	ackID   string // empty: nobody has it
	message object
}

func (s *Server) publish(c *call, key string) (any, error) {
	if _, err := s.get(key); err != nil {
		return nil, err
	}
	messages, _ := c.body["messages"].([]any)
	if len(messages) == 0 || len(messages) > 1000 {
		return nil, invalid("The value for message_count is not between 1 and 1000.")
	}
	var ids []string
	for _, m := range messages {
		message, _ := m.(object)
		attributes, _ := message["attributes"].(object)
		if text(message, "data") == "" && len(attributes) == 0 {
			return nil, invalid("Some messages in the batch are invalid: a message needs data or attributes.")
		}
		if _, err := base64.StdEncoding.DecodeString(text(message, "data")); err != nil {
			return nil, invalid("Invalid value at 'messages[0].data' (TYPE_BYTES), Base64 decoding failed")
		}
		id := fmt.Sprint(10_000_000_000 + s.number())
		ids = append(ids, id)
		message["messageId"], message["publishTime"] = id, now()
		for name, o := range s.state {
			if strings.HasPrefix(name, "//pubsub.googleapis.com/") && o["topic"] == short(key) {
				s.published[name] = append(s.published[name], delivery{message: message})
			}
		}
	}
	return object{"messageIds": ids}, nil
}

// pull gives each message once: an ack deadline does not end here.
func (s *Server) pull(c *call, key string) (any, error) {
	subscription, err := s.get(key)
	if err != nil {
		return nil, err
	}
	most := whole(c.body["maxMessages"])
	if most <= 0 {
		return nil, invalid("The value for max_messages must be greater than 0.")
	}
	if text(subscription, "pushConfig", "pushEndpoint") != "" || text(subscription, "bigqueryConfig", "table") != "" {
		return nil, precondition("This method is not supported for this subscription type.")
	}
	received := []any{}
	for i := range s.published[key] {
		d := &s.published[key][i]
		if d.ackID == "" && len(received) < most {
			d.ackID = fmt.Sprintf("ack-%d", s.number())
			received = append(received, object{"ackId": d.ackID, "message": d.message})
		}
	}
	if len(received) == 0 {
		return object{}, nil
	}
	return object{"receivedMessages": received}, nil
}

func (s *Server) acknowledge(c *call, key string) (any, error) {
	if _, err := s.get(key); err != nil {
		return nil, err
	}
	ids, _ := c.body["ackIds"].([]any)
	s.published[key] = slices.DeleteFunc(s.published[key], func(d delivery) bool {
		return d.ackID != "" && slices.Contains(ids, any(d.ackID))
	})
	return object{}, nil
}
