package cloud

import (
	"maps"
	"net/http"
	"regexp"
	"strings"

	"google.golang.org/api/logging/v2"
)

// loggingMethods are those of log-based metrics, whose names may have slashes.
func loggingMethods() []method {
	const metrics = "/v2/projects/{project}/metrics"
	return []method{
		{verb: http.MethodGet, path: metrics, query: "pageSize pageToken", do: func(s *Server, c *call) (any, error) {
			return object{"metrics": s.list(s.metricKey(""))}, nil
		}},
		{verb: http.MethodPost, path: "/v2/entries:list", body: new(logging.ListLogEntriesRequest), do: func(*Server, *call) (any, error) {
			return object{}, nil // nothing runs, and so nothing is logged
		}},
		{verb: http.MethodPost, path: metrics, body: new(logging.LogMetric), do: (*Server).createMetric},
		{verb: http.MethodGet, path: metrics + "/{metric}", do: func(s *Server, c *call) (any, error) { return s.metric(c) }},
		{verb: http.MethodPut, path: metrics + "/{metric}", body: new(logging.LogMetric), do: (*Server).updateMetric},
		{verb: http.MethodDelete, path: metrics + "/{metric}", do: func(s *Server, c *call) (any, error) {
			if _, err := s.metric(c); err != nil {
				return nil, err
			}
			return s.remove(s.metricKey(metricID(c)))
		}},
	}
}

// metricID is the metric that the call names. The API wants its slashes escaped within the
// name, and the name's percent signs are escaped once more in the path.
func metricID(c *call) string { return strings.ReplaceAll(c.vars["metric"], "%2F", "/") }

func (s *Server) metricKey(name string) string {
	return "//logging.googleapis.com/projects/" + s.config.Project + "/metrics/" + strings.ReplaceAll(name, "/", "%2F")
}

func (s *Server) metric(c *call) (object, error) {
	if o := s.state[s.metricKey(metricID(c))]; o != nil {
		return o, nil
	}
	return nil, refuse(http.StatusNotFound, "Metric does not exist: %s", metricID(c))
}

func (s *Server) createMetric(c *call) (any, error) {
	name := text(c.body, "name")
	if s.state[s.metricKey(name)] != nil {
		return nil, refuse(http.StatusConflict, "Metric %s already exists", name)
	}
	s.unseen[s.metricKey(name)] = s.youth
	return s.keepMetric(name, clone(c.body), object{"createTime": now()})
}

// updateMetric is what Logging documents: it makes the metric, too, if there is none.
func (s *Server) updateMetric(c *call) (any, error) {
	name := metricID(c)
	if text(c.body, "name") != name {
		return nil, invalid("The metric name in the request %q does not match the resource's %q", text(c.body, "name"), name)
	}
	there := s.state[s.metricKey(name)]
	if there == nil {
		there = object{"createTime": now()}
	}
	return s.keepMetric(name, clone(c.body), there)
}

// metricName is what a metric can be called
// (https://cloud.google.com/logging/docs/reference/v2/rest/v2/projects.metrics).
var metricName = regexp.MustCompile(`^[A-Za-z0-9_\-.,+!*',()%/]{1,100}$`)

// keepMetric puts a metric into the state, if Logging would take it.
func (s *Server) keepMetric(name string, metric, before object) (any, error) {
	if !metricName.MatchString(name) || strings.HasPrefix(name, "/") {
		return nil, invalid("Invalid metric name: %q", name)
	}
	if err := validMetric(metric); err != nil {
		return nil, err
	}
	kept := object{ // what Google fills in
		"metricDescriptor": object{"metricKind": "DELTA", "valueType": "INT64", "unit": "1"},
		"resourceName":     "projects/" + s.config.Project + "/metrics/" + name,
		"createTime":       before["createTime"], "updateTime": now(),
	}
	for field, value := range metric {
		if field == "metricDescriptor" {
			given, _ := value.(object)
			descriptor, _ := kept[field].(object)
			maps.Copy(descriptor, given)
			continue
		}
		kept[field] = value
	}
	descriptor, _ := kept["metricDescriptor"].(object)
	descriptor["name"] = "projects/" + s.config.Project + "/metricDescriptors/logging.googleapis.com/user/" + name
	descriptor["type"] = "logging.googleapis.com/user/" + name
	kept["createTime"] = before["createTime"]
	s.state[s.metricKey(name)] = kept
	return kept, nil
}

var extractor = regexp.MustCompile(`(?s)^(EXTRACT\(.+\)|REGEXP_EXTRACT\(.+,\s*".+"\))$`)

func validMetric(m object) error {
	if text(m, "filter") == "" {
		return invalid("The filter of a metric must be set")
	}
	if strings.Count(text(m, "filter"), `"`)%2 != 0 || strings.Count(text(m, "filter"), "(") != strings.Count(text(m, "filter"), ")") {
		return invalid("Unparseable filter: %s", text(m, "filter"))
	}
	if len(text(m, "filter")) > 20000 || len(text(m, "description")) > 8000 {
		return invalid("A filter has at most 20,000 characters, a description 8,000")
	}
	switch kind := text(m, "metricDescriptor", "metricKind"); kind {
	case "", "DELTA":
	default:
		return invalid("Metric kind %s is not supported: log-based metrics are DELTA", kind)
	}
	switch value := text(m, "metricDescriptor", "valueType"); {
	case value == "DISTRIBUTION" && text(m, "valueExtractor") == "":
		return invalid("A distribution metric must have a valueExtractor")
	case value != "DISTRIBUTION" && (m["valueExtractor"] != nil || m["bucketOptions"] != nil):
		return invalid("A counter metric must not have a valueExtractor or bucketOptions")
	case value != "" && value != "INT64" && value != "DISTRIBUTION":
		return invalid("Value type %s is not supported: log-based metrics are INT64 or DISTRIBUTION", value)
	}
	return validLabels(m)
}

// validLabels sees that each label has its extractor, and the other way round.
func validLabels(m object) error {
	extractors, _ := m["labelExtractors"].(object)
	declared, _ := dig(m, "metricDescriptor", "labels").([]any)
	if len(declared) > 10 {
		return invalid("A metric has at most 10 labels, not %d", len(declared))
	}
	for _, d := range declared {
		label, _ := d.(object)
		if extractors[text(label, "key")] == nil {
			return invalid("Label %q has no extractor", text(label, "key"))
		}
	}
	if len(extractors) != len(declared) {
		return invalid("There are %d label extractors for %d labels of the metric descriptor", len(extractors), len(declared))
	}
	for label, e := range extractors {
		if expression, _ := e.(string); !extractor.MatchString(expression) {
			return invalid("The extractor of label %q is neither EXTRACT(field) nor REGEXP_EXTRACT(field, \"regex\")", label)
		}
	}
	return nil
}
