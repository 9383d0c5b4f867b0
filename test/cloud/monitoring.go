package cloud

import (
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	dashboard "google.golang.org/api/monitoring/v1"
	"google.golang.org/api/monitoring/v3"
)

func monitoringMethods() []method {
	const policies, channels, dashboards = "/v3/projects/{project}/alertPolicies", "/v3/projects/{project}/notificationChannels", "/v1/projects/{project}/dashboards"
	const listed = "filter orderBy pageSize pageToken"
	return []method{
		{verb: http.MethodGet, path: policies, query: listed, do: listMatching("alertPolicies")},
		{verb: http.MethodPost, path: policies, body: new(monitoring.AlertPolicy), do: (*Server).createAlert},
		{verb: http.MethodGet, path: policies + "/{id}", do: getMonitored("alertPolicies")},
		{verb: http.MethodPatch, path: policies + "/{id}", query: "updateMask", body: new(monitoring.AlertPolicy), do: (*Server).patchAlert},
		{verb: http.MethodDelete, path: policies + "/{id}", do: func(s *Server, c *call) (any, error) { return s.remove(monitored(c, "alertPolicies")) }},

		{verb: http.MethodGet, path: channels, query: listed, do: listMatching("notificationChannels")},
		{verb: http.MethodPost, path: channels, body: new(monitoring.NotificationChannel), do: (*Server).createChannel},
		{verb: http.MethodGet, path: channels + "/{id}", do: getMonitored("notificationChannels")},
		{verb: http.MethodPatch, path: channels + "/{id}", query: "updateMask", body: new(monitoring.NotificationChannel), do: (*Server).patchChannel},
		{verb: http.MethodDelete, path: channels + "/{id}", query: "force", do: (*Server).deleteChannel},

		{verb: http.MethodGet, path: dashboards, query: "pageSize pageToken", do: listMatching("dashboards")},
		{verb: http.MethodPost, path: dashboards, query: "validateOnly", body: new(dashboard.Dashboard), do: (*Server).createDashboard},
		{verb: http.MethodGet, path: dashboards + "/{id}", do: getMonitored("dashboards")},
		{verb: http.MethodPatch, path: dashboards + "/{id}", query: "validateOnly", body: new(dashboard.Dashboard), do: (*Server).patchDashboard},
		{verb: http.MethodDelete, path: dashboards + "/{id}", do: func(s *Server, c *call) (any, error) { return s.remove(monitored(c, "dashboards")) }},
	}
}

// monitored is the full name of what the call names.
func monitored(c *call, collection string) string {
	return c.key("projects/%s/%s/%s", c.vars["project"], collection, c.vars["id"])
}

func getMonitored(collection string) func(*Server, *call) (any, error) {
	return func(s *Server, c *call) (any, error) { return s.get(monitored(c, collection)) }
}

// term is one of a filter's that this stand-in understands: all of them must hold
// (https://cloud.google.com/monitoring/api/v3/sorting-and-filtering).
var term = regexp.MustCompile(`^\(?([A-Za-z_.]+)\s*(=|:)\s*"?([^"()]*)"?\)?$`)

func listMatching(collection string) func(*Server, *call) (any, error) {
	return func(s *Server, c *call) (any, error) {
		list := []any{}
		for _, o := range s.list(c.key("projects/%s/%s/", c.vars["project"], collection)) {
			resource, _ := o.(object)
			ok, err := matches(resource, c.query.Get("filter"))
			if err != nil {
				return nil, err
			}
			if ok {
				list = append(list, o)
			}
		}
		return object{collection: list}, nil
	}
}

var and = regexp.MustCompile(`\s+AND\s+`)

// matches evaluates a filter such as: type="email" AND user_labels.team="foo".
func matches(o object, filter string) (bool, error) {
	if filter == "" {
		return true, nil
	}
	all := true
	for _, part := range and.Split(strings.TrimSpace(filter), -1) {
		m := term.FindStringSubmatch(part)
		if m == nil {
			return false, invalid("Field filter had an invalid value of %q: this stand-in understands FIELD=\"VALUE\" with AND alone.", filter)
		}
		path := strings.Split(m[1], ".")
		path[0] = camel(path[0])
		has := text(o, path...)
		all = all && (has == m[3] || m[2] == ":" && (m[3] == "*" && has != "" || m[3] != "*" && strings.Contains(has, m[3])))
	}
	return all, nil
}

// userLabel is the form of a label's key; values are alike
// (https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies).
var userLabel = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,62}$`)

func validUserLabels(o object) error {
	labels, _ := o["userLabels"].(object)
	if len(labels) > 64 {
		return invalid("There are %d user labels, of at most 64.", len(labels))
	}
	for key, v := range labels {
		value, _ := v.(string)
		if !userLabel.MatchString(key) || len(value) > 63 || strings.ToLower(value) != value {
			return invalid("Field userLabels[%q] had an invalid value of %q: labels have at most 63 lower-case letters, digits, underscores and dashes, and a key begins with a letter.", key, value)
		}
	}
	return nil
}

func (s *Server) createAlert(c *call) (any, error) {
	if given := text(c.body, "name"); given != "" {
		return nil, invalid("Field alert_policy.name had an invalid value of %q: it must be empty when a policy is made.", given)
	}
	alert := clone(c.body)
	alert["name"] = fmt.Sprintf("projects/%s/alertPolicies/%d", s.config.Project, 1_000_000_000+s.number())
	alert["creationRecord"] = object{"mutateTime": now(), "mutatedBy": "admin@example.com"}
	if alert["enabled"] == nil {
		alert["enabled"] = true
	}
	return s.keepAlert(alert)
}

func (s *Server) patchAlert(c *call) (any, error) {
	there, err := s.get(monitored(c, "alertPolicies"))
	if err != nil {
		return nil, err
	}
	changed := clone(there)
	if mask := c.query.Get("updateMask"); mask != "" {
		if err := merge(changed, c.body, mask); err != nil {
			return nil, err
		}
	} else { // the whole policy comes in its place, but for what only Google writes
		changed = clone(c.body)
		changed["name"], changed["creationRecord"] = there["name"], there["creationRecord"]
	}
	return s.keepAlert(changed)
}

func (s *Server) keepAlert(alert object) (any, error) {
	if err := s.validAlert(alert); err != nil {
		return nil, err
	}
	conditions, _ := alert["conditions"].([]any)
	for i, o := range conditions {
		if condition, _ := o.(object); condition["name"] == nil {
			condition["name"] = fmt.Sprintf("%s/conditions/%d", text(alert, "name"), i+1)
		}
	}
	alert["mutationRecord"] = object{"mutateTime": now(), "mutatedBy": "admin@example.com"}
	s.state["//monitoring.googleapis.com/"+text(alert, "name")] = alert
	return alert, nil
}

func (s *Server) validAlert(alert object) error {
	conditions, _ := alert["conditions"].([]any)
	combiner := text(alert, "combiner")
	switch {
	case text(alert, "displayName") == "":
		return invalid("Field alert_policy.display_name must be set.")
	case len(conditions) < 1 || len(conditions) > 6:
		return invalid("Field alert_policy.conditions had %d conditions, of 1 to 6.", len(conditions))
	case !slices.Contains([]string{"AND", "OR", "AND_WITH_MATCHING_RESOURCE"}, combiner):
		return invalid("Field alert_policy.combiner had an invalid value of %q.", combiner)
	case len(text(alert, "documentation", "content")) > 8<<10:
		return invalid("Field alert_policy.documentation.content has more than 8 KiB.")
	}
	channels, _ := alert["notificationChannels"].([]any)
	for _, channel := range channels {
		name, _ := channel.(string)
		if s.state["//monitoring.googleapis.com/"+strings.Replace(name, s.config.Number, s.config.Project, 1)] == nil {
			return refuse(http.StatusNotFound, "Cannot find notification channel: %s", name)
		}
	}
	for i, o := range conditions {
		condition, _ := o.(object)
		if err := s.validCondition(condition, alert); err != nil {
			return invalidIn(fmt.Sprintf("alert_policy.conditions[%d]", i), err)
		}
	}
	return validUserLabels(alert)
}

// invalidIn says in which field something is wrong.
func invalidIn(field string, err *apiError) error {
	err.message = "Field " + field + ": " + err.message
	return err
}

// validCondition holds a condition against the limits of its kind
// (https://cloud.google.com/monitoring/api/ref_v3/rest/v3/projects.alertPolicies#Condition).
func (s *Server) validCondition(condition, alert object) *apiError {
	if text(condition, "displayName") == "" {
		return invalid("display_name must be set.")
	}
	kinds := fieldsOf(condition, "displayName", "name")
	if len(kinds) != 1 {
		return invalid("A condition is of one kind, not %q.", kinds)
	}
	body, _ := condition[kinds[0]].(object)
	switch kinds[0] {
	case "conditionThreshold":
		return s.validThreshold(body)
	case "conditionAbsent":
		return s.validAbsence(body)
	case "conditionMatchedLog":
		if text(body, "filter") == "" {
			return invalid("filter must be set.")
		}
		if dig(alert, "alertStrategy", "notificationRateLimit") == nil {
			return invalid("A policy with a log match must have alert_strategy.notification_rate_limit.")
		}
	case "conditionPrometheusQueryLanguage":
		return validPrometheus(body)
	}
	return nil
}

// seconds is a duration such as 300s, or -1.
func seconds(value any) float64 {
	written, _ := value.(string)
	d, err := time.ParseDuration(written)
	if err != nil || !strings.HasSuffix(written, "s") {
		return -1
	}
	return d.Seconds()
}

func (s *Server) validThreshold(body object) *apiError {
	duration := 0.0
	if body["duration"] != nil {
		duration = seconds(body["duration"])
	}
	switch comparison := text(body, "comparison"); {
	case comparison != "COMPARISON_GT" && comparison != "COMPARISON_LT":
		return invalid("comparison had an invalid value of %q.", comparison)
	case duration < 0 || int(duration)%60 != 0 || duration > 84600:
		return invalid("duration had an invalid value of %q: want whole minutes, at most 23.5 hours.", body["duration"])
	}
	return s.validSeries(body)
}

func (s *Server) validAbsence(body object) *apiError {
	if duration := seconds(body["duration"]); duration < 120 || duration > 84600 || int(duration)%60 != 0 {
		return invalid("duration had an invalid value of %q: want whole minutes, between two of them and 23.5 hours.", body["duration"])
	}
	return s.validSeries(body)
}

var (
	hasResource = regexp.MustCompile(`resource\.type\s*=`)
	metricType  = regexp.MustCompile(`metric\.type\s*=\s*"([^"]+)"`)
	aligners    = regexp.MustCompile(`^ALIGN_[A-Z0-9_]+$`)
)

// validSeries looks at what a condition watches. A log-based metric must be there: a policy
// for one that is not is refused, also for some minutes after it was made.
func (s *Server) validSeries(body object) *apiError {
	filter := text(body, "filter")
	metric := metricType.FindStringSubmatch(filter)
	if !hasResource.MatchString(filter) || metric == nil && !strings.Contains(filter, "metric.type") {
		return invalid("filter had an invalid value of %q: must specify a restriction on \"resource.type\" and one on \"metric.type\".", filter)
	}
	if metric != nil {
		if name, user := strings.CutPrefix(metric[1], "logging.googleapis.com/user/"); user && (s.state[s.metricKey(name)] == nil || s.young(s.metricKey(name))) {
			return refuse(http.StatusNotFound, "Cannot find metric that matches type = \"%s\". If a metric was created recently, it could take up to 10 minutes to become available. Please try again soon.", metric[1])
		}
	}
	aggregations, _ := body["aggregations"].([]any)
	if len(aggregations) == 0 {
		return invalid("aggregations must be set.")
	}
	for _, a := range aggregations {
		aggregation, _ := a.(object)
		if period := seconds(aggregation["alignmentPeriod"]); period < 60 || period > 90000 {
			return invalid("aggregations.alignment_period had an invalid value of %q: want 60 s at least, 25 hours at most.", aggregation["alignmentPeriod"])
		}
		if aligner := text(aggregation, "perSeriesAligner"); !aligners.MatchString(aligner) {
			return invalid("aggregations.per_series_aligner had an invalid value of %q.", aligner)
		}
	}
	return nil
}

func validPrometheus(body object) *apiError {
	interval := 30.0
	if body["evaluationInterval"] != nil {
		interval = seconds(body["evaluationInterval"])
	}
	switch duration := seconds(body["duration"]); {
	case text(body, "query") == "":
		return invalid("query must be set.")
	case interval < 30 || int(interval)%30 != 0:
		return invalid("evaluation_interval had an invalid value of %q: want a multiple of 30 s.", body["evaluationInterval"])
	case body["duration"] != nil && (duration < 0 || int(duration)%30 != 0):
		return invalid("duration had an invalid value of %q: want a multiple of 30 s.", body["duration"])
	}
	return nil
}

func (s *Server) createChannel(c *call) (any, error) {
	channel := clone(c.body)
	channel["name"] = fmt.Sprintf("projects/%s/notificationChannels/%d", s.config.Project, 1_000_000_000+s.number())
	if channel["enabled"] == nil {
		channel["enabled"] = true
	}
	channel["creationRecord"] = object{"mutateTime": now()}
	return s.keepChannel(channel)
}

func (s *Server) patchChannel(c *call) (any, error) {
	there, err := s.get(monitored(c, "notificationChannels"))
	if err != nil {
		return nil, err
	}
	changed := clone(there)
	mask := c.query.Get("updateMask")
	if mask == "" {
		mask = strings.Join(fieldsOf(c.body, "name", "creationRecord", "mutationRecords"), ",")
	}
	if err := merge(changed, c.body, mask); err != nil {
		return nil, err
	}
	return s.keepChannel(changed)
}

func (s *Server) keepChannel(channel object) (any, error) {
	if kind := text(channel, "type"); kind != "email" {
		return nil, invalid("Field notification_channel.type had an invalid value of %q: this stand-in knows email alone.", kind)
	}
	labels, _ := channel["labels"].(object)
	if email, _ := labels["email_address"].(string); !address.MatchString(email) || len(labels) != 1 {
		return nil, invalid("Field notification_channel.labels['email_address'] had an invalid value of %q.", email)
	}
	if err := validUserLabels(channel); err != nil {
		return nil, err
	}
	channel["mutationRecords"] = []any{object{"mutateTime": now()}}
	s.state["//monitoring.googleapis.com/"+text(channel, "name")] = channel
	return channel, nil
}

// deleteChannel refuses what a policy still notifies, unless it is forced: then it is taken
// out of the policies.
func (s *Server) deleteChannel(c *call) (any, error) {
	key := monitored(c, "notificationChannels")
	channel, err := s.get(key)
	if err != nil {
		return nil, err
	}
	for _, o := range s.list(c.key("projects/%s/alertPolicies/", c.vars["project"])) {
		alert, _ := o.(object)
		channels, _ := alert["notificationChannels"].([]any)
		if !slices.Contains(channels, channel["name"]) {
			continue
		}
		if c.query.Get("force") != "true" {
			return nil, precondition("The notification channel %s is used by %s.", text(channel, "name"), text(alert, "name"))
		}
		alert["notificationChannels"] = slices.DeleteFunc(channels, func(name any) bool { return name == channel["name"] })
	}
	return s.remove(key)
}

// layouts are the kinds of dashboards.
var layouts = []string{"gridLayout", "mosaicLayout", "rowLayout", "columnLayout"}

func (s *Server) createDashboard(c *call) (any, error) {
	board := clone(c.body)
	id := fmt.Sprintf("%08x-0000-4000-8000-%012x", s.number(), s.number())
	if name := text(board, "name"); name != "" {
		id = name[strings.LastIndex(name, "/")+1:]
	}
	if s.state[c.key("projects/%s/dashboards/%s", c.vars["project"], id)] != nil {
		return nil, refuse(http.StatusConflict, "Dashboard %s already exists.", id)
	}
	return s.keepDashboard(c, board, id)
}

// patchDashboard takes the whole dashboard, with the etag of the one that it follows.
func (s *Server) patchDashboard(c *call) (any, error) {
	there, err := s.get(monitored(c, "dashboards"))
	if err != nil {
		return nil, err
	}
	if text(c.body, "etag") == "" {
		return nil, invalid("Field dashboard.etag must be set to the etag of the dashboard that is updated.")
	}
	if err := fresh(there, c.body); err != nil {
		return nil, err
	}
	return s.keepDashboard(c, clone(c.body), c.vars["id"])
}

func (s *Server) keepDashboard(c *call, board object, id string) (any, error) {
	if text(board, "displayName") == "" {
		return nil, invalid("Field dashboard.displayName must be set.")
	}
	count := 0
	for _, layout := range layouts {
		if board[layout] != nil {
			count++
		}
	}
	if count != 1 {
		return nil, invalid("Field dashboard.layout must be set: a dashboard has one of %q.", layouts)
	}
	if err := validTiles(board); err != nil {
		return nil, err
	}
	if c.query.Get("validateOnly") == "true" {
		return board, nil
	}
	board["name"] = fmt.Sprintf("projects/%s/dashboards/%s", s.config.Number, id)
	s.stamp(board)
	s.state[c.key("projects/%s/dashboards/%s", c.vars["project"], id)] = board
	return board, nil
}

// validTiles sees that a mosaic's tiles lie within its columns, and not on each other
// (https://cloud.google.com/monitoring/api/ref_v3/rest/v1/projects.dashboards#MosaicLayout).
func validTiles(board object) error {
	columns := whole(dig(board, "mosaicLayout", "columns"))
	tiles, _ := dig(board, "mosaicLayout", "tiles").([]any)
	taken := map[[2]int]bool{}
	for i, t := range tiles {
		tile, _ := t.(object)
		x, y, width, height := whole(tile["xPos"]), whole(tile["yPos"]), whole(tile["width"]), whole(tile["height"])
		if width < 1 || height < 1 || x < 0 || y < 0 || x+width > columns {
			return invalid("Field mosaicLayout.tiles[%d] lies outside of the %d columns.", i, columns)
		}
		for column := x; column < x+width; column++ {
			for row := y; row < y+height; row++ {
				if taken[[2]int{column, row}] {
					return invalid("Field mosaicLayout.tiles[%d] overlaps another tile.", i)
				}
				taken[[2]int{column, row}] = true
			}
		}
	}
	return nil
}
