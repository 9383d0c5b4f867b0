package cloud

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/api/bigquery/v2"
)

// bigqueryMethods are those of datasets and tables. bq does without the rest.
func bigqueryMethods() []method {
	const datasets = "/bigquery/v2/projects/{project}/datasets"
	const tables = datasets + "/{dataset}/tables"
	return []method{
		{verb: http.MethodGet, path: datasets, query: "all filter maxResults pageToken", do: (*Server).listDatasets},
		{verb: http.MethodPost, path: datasets, query: "accessPolicyVersion", body: new(bigquery.Dataset), do: (*Server).insertDataset},
		{verb: http.MethodGet, path: datasets + "/{dataset}", query: "accessPolicyVersion datasetView", do: func(s *Server, c *call) (any, error) { return s.dataset(c) }},
		{verb: http.MethodPatch, path: datasets + "/{dataset}", query: "accessPolicyVersion updateMode", body: new(bigquery.Dataset), do: (*Server).patchDataset},
		{verb: http.MethodDelete, path: datasets + "/{dataset}", query: "deleteContents", do: (*Server).deleteDataset},

		{verb: http.MethodGet, path: tables, query: "maxResults pageToken", do: (*Server).listTables},
		{verb: http.MethodPost, path: tables, body: new(bigquery.Table), do: (*Server).insertTable},
		{verb: http.MethodGet, path: tables + "/{table}", query: "selectedFields view", do: func(s *Server, c *call) (any, error) { return s.table(c) }},
		{verb: http.MethodPatch, path: tables + "/{table}", query: "autodetect_schema", body: new(bigquery.Table), do: (*Server).patchTable},
		{verb: http.MethodDelete, path: tables + "/{table}", do: func(s *Server, c *call) (any, error) {
			if _, err := s.table(c); err != nil {
				return nil, err
			}
			return s.remove(c.table())
		}},
		{verb: http.MethodPost, path: tables + "/{table}:getIamPolicy", body: new(bigquery.GetIamPolicyRequest), do: func(s *Server, c *call) (any, error) {
			if _, err := s.table(c); err != nil {
				return nil, err
			}
			return s.getPolicy(c.table())
		}},
		{verb: http.MethodPost, path: tables + "/{table}:setIamPolicy", body: new(bigquery.SetIamPolicyRequest), do: func(s *Server, c *call) (any, error) {
			if _, err := s.table(c); err != nil {
				return nil, err
			}
			return s.setPolicy(c, c.table(), onTable)
		}},
	}
}

func datasetKey(project, dataset string) string {
	return "//bigquery.googleapis.com/projects/" + project + "/datasets/" + dataset
}

func tableKey(project, dataset, table string) string {
	return datasetKey(project, dataset) + "/tables/" + table
}

func (c *call) dataset() string { return datasetKey(c.vars["project"], c.vars["dataset"]) }
func (c *call) table() string {
	return tableKey(c.vars["project"], c.vars["dataset"], c.vars["table"])
}

// canWriteTable says whether a member may write to a table, by its policy, its dataset's
// access or the project's.
func (s *Server) canWriteTable(member, project, dataset, table string) bool {
	for _, role := range []string{"roles/bigquery.dataEditor", "roles/bigquery.dataOwner", "roles/bigquery.admin"} {
		if s.policies[tableKey(project, dataset, table)].has(role, member) || s.policies[s.projectKey()].has(role, member) {
			return true
		}
	}
	access, _ := s.state[datasetKey(project, dataset)]["access"].([]any)
	_, email, _ := strings.Cut(member, ":")
	return slices.ContainsFunc(access, func(a any) bool {
		entry, _ := a.(object)
		role := text(entry, "role")
		return entry["userByEmail"] == email && (role == "WRITER" || role == "OWNER" || role == "roles/bigquery.dataEditor")
	})
}

func (s *Server) dataset(c *call) (object, error) {
	if o := s.state[c.dataset()]; o != nil {
		return o, nil
	}
	return nil, refuse(http.StatusNotFound, "Not found: Dataset %s:%s", c.vars["project"], c.vars["dataset"])
}

func (s *Server) table(c *call) (object, error) {
	if _, err := s.dataset(c); err != nil {
		return nil, err
	}
	if o := s.state[c.table()]; o != nil {
		return o, nil
	}
	return nil, refuse(http.StatusNotFound, "Not found: Table %s:%s.%s", c.vars["project"], c.vars["dataset"], c.vars["table"])
}

func (s *Server) listDatasets(c *call) (any, error) {
	return object{"kind": "bigquery#datasetList", "datasets": s.list(datasetKey(c.vars["project"], ""))}, nil
}

func (s *Server) listTables(c *call) (any, error) {
	if _, err := s.dataset(c); err != nil {
		return nil, err
	}
	list := s.list(tableKey(c.vars["project"], c.vars["dataset"], ""))
	return object{"kind": "bigquery#tableList", "tables": list, "totalItems": len(list)}, nil
}

var (
	datasetID = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	tableID   = regexp.MustCompile(`^[\pL\pM\pN\p{Pc}\p{Pd} ]+$`)
)

func (s *Server) insertDataset(c *call) (any, error) {
	id := text(c.body, "datasetReference", "datasetId")
	c.vars["dataset"] = id
	if !datasetID.MatchString(id) {
		return nil, invalid("Invalid dataset ID %q. Dataset IDs must be alphanumeric (plus underscores) and must be at most 1024 characters long.", id)
	}
	if s.state[c.dataset()] != nil {
		return nil, refuse(http.StatusConflict, "Already Exists: Dataset %s:%s", c.vars["project"], id)
	}
	dataset := object{
		"location": "US",
		"access": []any{
			object{"role": "WRITER", "specialGroup": "projectWriters"},
			object{"role": "OWNER", "specialGroup": "projectOwners"},
			object{"role": "OWNER", "userByEmail": "admin@example.com"},
			object{"role": "READER", "specialGroup": "projectReaders"},
		},
	}
	maps.Copy(dataset, clone(c.body))
	dataset["kind"], dataset["id"] = "bigquery#dataset", c.vars["project"]+":"+id
	dataset["datasetReference"] = object{"projectId": c.vars["project"], "datasetId": id}
	dataset["creationTime"], dataset["lastModifiedTime"] = "1790000000000", "1790000000000"
	s.stamp(dataset)
	s.state[c.dataset()] = dataset
	return dataset, nil
}

func (s *Server) patchDataset(c *call) (any, error) {
	dataset, err := s.dataset(c)
	if err != nil {
		return nil, err
	}
	if location := text(c.body, "location"); location != "" && location != dataset["location"] {
		return nil, invalid("Cannot change the location of dataset %s.", text(dataset, "id"))
	}
	maps.Copy(dataset, c.body)
	s.stamp(dataset)
	return dataset, nil
}

func (s *Server) deleteDataset(c *call) (any, error) {
	if _, err := s.dataset(c); err != nil {
		return nil, err
	}
	tables := s.list(c.dataset() + "/tables/")
	if len(tables) > 0 && c.query.Get("deleteContents") != "true" {
		return nil, invalid("Dataset %s:%s is still in use", c.vars["project"], c.vars["dataset"])
	}
	for name := range s.state {
		if strings.HasPrefix(name, c.dataset()+"/") {
			s.forget(name)
		}
	}
	return s.remove(c.dataset())
}

func (s *Server) insertTable(c *call) (any, error) {
	dataset, err := s.dataset(c)
	if err != nil {
		return nil, err
	}
	id := text(c.body, "tableReference", "tableId")
	c.vars["table"] = id
	if !tableID.MatchString(id) {
		return nil, invalid("Invalid table ID %q.", id)
	}
	if s.state[c.table()] != nil {
		return nil, refuse(http.StatusConflict, "Already Exists: Table %s:%s.%s", c.vars["project"], c.vars["dataset"], id)
	}
	table := clone(c.body)
	if err := validSchema(table); err != nil {
		return nil, err
	}
	table["kind"], table["type"], table["location"] = "bigquery#table", "TABLE", dataset["location"]
	table["id"] = fmt.Sprintf("%s:%s.%s", c.vars["project"], c.vars["dataset"], id)
	table["tableReference"] = object{"projectId": c.vars["project"], "datasetId": c.vars["dataset"], "tableId": id}
	table["numRows"], table["numBytes"], table["creationTime"], table["lastModifiedTime"] = "0", "0", "1790000000000", "1790000000000"
	s.stamp(table)
	s.state[c.table()] = table
	return table, nil
}

func (s *Server) patchTable(c *call) (any, error) {
	table, err := s.table(c)
	if err != nil {
		return nil, err
	}
	changed := clone(table)
	maps.Copy(changed, c.body)
	if err := validSchema(changed); err != nil {
		return nil, err
	}
	if err := keepsColumns(table, changed); err != nil {
		return nil, err
	}
	s.stamp(changed)
	s.state[c.table()] = changed
	return changed, nil
}

// columnTypes are BigQuery's, in both dialects.
var columnTypes = []string{
	"STRING", "BYTES", "INTEGER", "INT64", "FLOAT", "FLOAT64", "NUMERIC", "BIGNUMERIC", "BOOLEAN", "BOOL",
	"TIMESTAMP", "DATE", "TIME", "DATETIME", "GEOGRAPHY", "JSON", "RECORD", "STRUCT", "INTERVAL", "RANGE",
}

// columns are a table's, by name.
func columns(table object) (map[string]object, error) {
	named := map[string]object{}
	fields, _ := dig(table, "schema", "fields").([]any)
	for _, f := range fields {
		field, _ := f.(object)
		name := text(field, "name")
		switch mode := text(field, "mode"); {
		case name == "" || named[name] != nil:
			return nil, invalid("Duplicate or missing field name in schema: %q", name)
		case !slices.Contains(columnTypes, strings.ToUpper(text(field, "type"))):
			return nil, invalid("Invalid field type %q of %q", text(field, "type"), name)
		case mode != "" && !slices.Contains([]string{"NULLABLE", "REQUIRED", "REPEATED"}, strings.ToUpper(mode)):
			return nil, invalid("Invalid mode %q of %q", mode, name)
		}
		named[name] = field
	}
	return named, nil
}

func validSchema(table object) error {
	named, err := columns(table)
	if err != nil {
		return err
	}
	if by := text(table, "timePartitioning", "field"); by != "" {
		if kind := text(named[by], "type"); !slices.Contains([]string{"TIMESTAMP", "DATE", "DATETIME"}, kind) {
			return invalid("The field specified for partitioning can only be of type TIMESTAMP, DATE or DATETIME; %q is %q", by, kind)
		}
	}
	clustered, _ := dig(table, "clustering", "fields").([]any)
	for _, by := range clustered {
		if name, _ := by.(string); named[name] == nil {
			return invalid("The field specified for clustering cannot be found in the schema: %s", name)
		}
	}
	return nil
}

// keepsColumns refuses a change that takes a column away or changes its type.
func keepsColumns(before, after object) error {
	old, err := columns(before)
	if err != nil {
		return err
	}
	now, err := columns(after)
	if err != nil {
		return err
	}
	for name, column := range old {
		if now[name] == nil || now[name]["type"] != column["type"] {
			return invalid("Provided Schema does not match Table %s. Field %s is missing in new schema or has changed type", text(before, "id"), name)
		}
	}
	for name, column := range now {
		if old[name] == nil && strings.EqualFold(text(column, "mode"), "REQUIRED") {
			return invalid("Provided Schema does not match Table %s. Cannot add required fields to an existing schema. (field: %s)", text(before, "id"), name)
		}
	}
	return nil
}
