package cloud

import (
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"google.golang.org/api/firestore/v1"
)

func firestoreMethods() []method {
	const databases = "/v1/projects/{project}/databases"
	const fields = databases + "/{database}/collectionGroups/{group}/fields"
	return []method{
		{verb: http.MethodGet, path: databases, query: "showDeleted", do: func(s *Server, c *call) (any, error) {
			return object{"databases": s.list(s.databaseKey(""))}, nil
		}},
		{verb: http.MethodPost, path: databases, query: "databaseId", body: new(firestore.GoogleFirestoreAdminV1Database), do: (*Server).createDatabase},
		{verb: http.MethodGet, path: databases + "/{database}", do: func(s *Server, c *call) (any, error) { return s.database(c) }},
		{verb: http.MethodPatch, path: databases + "/{database}", query: "updateMask", body: new(firestore.GoogleFirestoreAdminV1Database), do: (*Server).patchDatabase},
		{verb: http.MethodDelete, path: databases + "/{database}", query: "etag", do: (*Server).deleteDatabase},
		{verb: http.MethodPost, path: databases + "/{database}:bulkDeleteDocuments", body: new(firestore.GoogleFirestoreAdminV1BulkDeleteDocumentsRequest), do: (*Server).bulkDelete},
		{verb: http.MethodGet, path: databases + "/{database}/operations/{operation}", do: func(s *Server, c *call) (any, error) {
			return s.poll(c, fmt.Sprintf("projects/%s/databases/%s/operations/%s", c.vars["project"], c.vars["database"], c.vars["operation"]))
		}},
		{verb: http.MethodGet, path: fields, query: "filter pageSize pageToken", do: (*Server).listFields},
		{verb: http.MethodGet, path: fields + "/{field}", do: (*Server).getField},
		{verb: http.MethodPatch, path: fields + "/{field}", query: "updateMask", body: new(firestore.GoogleFirestoreAdminV1Field), do: (*Server).patchField},
	}
}

func (s *Server) databaseKey(id string) string {
	return "//firestore.googleapis.com/projects/" + s.config.Project + "/databases/" + id
}

func (s *Server) database(c *call) (object, error) {
	if o := s.state[s.databaseKey(c.vars["database"])]; o != nil {
		return o, nil
	}
	return nil, refuse(http.StatusNotFound, "Project '%s' or database '%s' does not exist.", s.config.Project, c.vars["database"])
}

func (s *Server) databaseOperation(database string) string {
	return fmt.Sprintf("projects/%s/databases/%s/operations/op%010d", s.config.Project, database, s.number())
}

// databaseID is what a database can be called, besides (default)
// (https://firebase.google.com/docs/firestore/reference/rest/v1/projects.databases/create).
var databaseID = regexp.MustCompile(`^(\(default\)|[a-z][a-z0-9-]{2,61}[a-z0-9])$`)

// multiRegions are Firestore's.
var multiRegions = []string{"eur3", "nam5"}

// createDatabase answers with a finished operation, and so does deleteDatabase: so Firestore
// does, and gcloud does not wait for these.
func (s *Server) createDatabase(c *call) (any, error) {
	id := c.query.Get("databaseId")
	location := text(c.body, "locationId")
	switch {
	case !databaseID.MatchString(id):
		return nil, invalid("Invalid database id %q.", id)
	case s.state[s.databaseKey(id)] != nil:
		return nil, refuse(http.StatusConflict, "Database already exists. Please use another database_id")
	case !slices.Contains(regions, location) && !slices.Contains(multiRegions, location):
		return nil, invalid("Invalid location_id: %q is not valid.", location)
	case c.body["type"] != "FIRESTORE_NATIVE" && c.body["type"] != "DATASTORE_MODE":
		return nil, invalid("The database type must be set.")
	}
	database := object{ // what Google fills in
		"concurrencyMode": "PESSIMISTIC", "appEngineIntegrationMode": "DISABLED", "databaseEdition": "STANDARD",
		"deleteProtectionState": "DELETE_PROTECTION_DISABLED", "pointInTimeRecoveryEnablement": "POINT_IN_TIME_RECOVERY_DISABLED",
		"versionRetentionPeriod": "3600s", "keyPrefix": "", "freeTier": false, "realtimeUpdatesMode": "REALTIME_UPDATES_MODE_ENABLED",
	}
	for field, value := range clone(c.body) {
		if enum, _ := value.(string); !strings.HasSuffix(enum, "_UNSPECIFIED") && field != "cmekConfig" {
			database[field] = value
		}
	}
	database["name"], database["uid"], database["createTime"], database["updateTime"] = short(s.databaseKey(id)), s.uniqueID(), now(), now()
	s.stamp(database)
	metadata := object{"@type": "type.googleapis.com/google.firestore.admin.v1.CreateDatabaseMetadata"}
	return finish(c, s.databaseOperation(id), metadata, func() any {
		s.state[s.databaseKey(id)] = database
		return typed(database, "google.firestore.admin.v1.Database")
	}), nil
}

func (s *Server) patchDatabase(c *call) (any, error) {
	database, err := s.database(c)
	if err != nil {
		return nil, err
	}
	if err := fresh(database, c.body); err != nil {
		return nil, err
	}
	if err := merge(database, c.body, c.query.Get("updateMask")); err != nil {
		return nil, err
	}
	s.stamp(database)
	return done(s.databaseOperation(c.vars["database"]), typed(database, "google.firestore.admin.v1.Database")), nil
}

func (s *Server) deleteDatabase(c *call) (any, error) {
	database, err := s.database(c)
	if err != nil {
		return nil, err
	}
	if err := fresh(database, object{"etag": c.query.Get("etag")}); err != nil {
		return nil, err
	}
	if database["deleteProtectionState"] == "DELETE_PROTECTION_ENABLED" {
		return nil, precondition("Database deletion is not allowed while delete protection is enabled.")
	}
	key := s.databaseKey(c.vars["database"])
	metadata := object{"@type": "type.googleapis.com/google.firestore.admin.v1.DeleteDatabaseMetadata"}
	return finish(c, s.databaseOperation(c.vars["database"]), metadata, func() any {
		for name := range s.state {
			if name == key || strings.HasPrefix(name, key+"/") {
				s.forget(name)
			}
		}
		return typed(database, "google.firestore.admin.v1.Database")
	}), nil
}

// bulkDelete has nothing to delete: documents are not the control plane's.
func (s *Server) bulkDelete(c *call) (any, error) {
	if _, err := s.database(c); err != nil {
		return nil, err
	}
	metadata := object{"@type": "type.googleapis.com/google.firestore.admin.v1.BulkDeleteDocumentsMetadata", "operationState": "PROCESSING", "collectionIds": c.body["collectionIds"]}
	return s.start(c, s.databaseOperation(c.vars["database"]), metadata, func(ordered error) (any, error) {
		return object{"@type": "type.googleapis.com/google.firestore.admin.v1.BulkDeleteDocumentsResponse"}, ordered
	}), nil
}

func (s *Server) fieldKey(c *call) string {
	return fmt.Sprintf("%s/collectionGroups/%s/fields/%s", s.databaseKey(c.vars["database"]), c.vars["group"], c.vars["field"])
}

// getField answers for every field, for each is there as soon as somebody asks: only those
// that differ from the database's standard are kept.
func (s *Server) getField(c *call) (any, error) {
	if _, err := s.database(c); err != nil {
		return nil, err
	}
	if o := s.state[s.fieldKey(c)]; o != nil {
		return o, nil
	}
	return object{"name": short(s.fieldKey(c))}, nil
}

// listFields knows the filters that the API documents: fields with a TTL, and fields whose
// indexes differ from the standard, of which there are none here.
func (s *Server) listFields(c *call) (any, error) {
	if _, err := s.database(c); err != nil {
		return nil, err
	}
	fields := []any{}
	switch filter := c.query.Get("filter"); filter {
	case "ttlConfig:*", "indexConfig.usesAncestorConfig:false OR ttlConfig:*":
		for _, key := range slices.Sorted(maps.Keys(s.state)) {
			rest, ok := strings.CutPrefix(key, s.databaseKey(c.vars["database"])+"/collectionGroups/")
			group, _, _ := strings.Cut(rest, "/")
			if ok && (c.vars["group"] == "-" || c.vars["group"] == group) {
				fields = append(fields, s.state[key])
			}
		}
	case "indexConfig.usesAncestorConfig:false":
	default:
		return nil, invalid("Only the filters indexConfig.usesAncestorConfig:false and ttlConfig:* are supported; this is %q.", filter)
	}
	return object{"fields": fields}, nil
}

// patchField sets or takes away a field's TTL. It is being made until its operation is
// done, which takes ten minutes and more with Google.
func (s *Server) patchField(c *call) (any, error) {
	if _, err := s.database(c); err != nil {
		return nil, err
	}
	if mask := camel(c.query.Get("updateMask")); mask != "ttlConfig" {
		return nil, invalid("This stand-in updates ttlConfig of fields alone, not %q.", mask)
	}
	key := s.fieldKey(c)
	group := key[:strings.LastIndex(key, "/")+1]
	_, wanted := c.body["ttlConfig"]
	if wanted {
		for name := range s.state {
			if strings.HasPrefix(name, group) && name != key {
				return nil, precondition("The collection group has a TTL field already: %s.", short(name))
			}
		}
	}
	if s.state[key] == nil && wanted {
		s.state[key] = object{"name": short(key), "ttlConfig": object{"state": "CREATING"}}
	}
	metadata := object{"@type": "type.googleapis.com/google.firestore.admin.v1.FieldOperationMetadata", "field": short(key), "startTime": now(), "state": "PROCESSING"}
	return s.start(c, s.databaseOperation(c.vars["database"]), metadata, func(ordered error) (any, error) {
		field := object{"name": short(key)}
		switch {
		case ordered != nil:
			put(s.state[key], "NEEDS_REPAIR", "ttlConfig", "state")
			return nil, ordered
		case wanted:
			field["ttlConfig"] = object{"state": "ACTIVE"}
			s.state[key] = field
		default:
			s.forget(key)
		}
		return typed(field, "google.firestore.admin.v1.Field"), nil
	}), nil
}
