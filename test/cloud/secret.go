package cloud

import (
	"encoding/base64"
	"fmt"
	"hash/crc32"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"google.golang.org/api/secretmanager/v1"
)

func secretMethods() []method {
	const secrets = "/v1/projects/{project}/secrets"
	const version = secrets + "/{secret}/versions/{version}"
	state := func(state string) func(*Server, *call) (any, error) {
		return func(s *Server, c *call) (any, error) { return s.setVersionState(c, state) }
	}
	return append([]method{
		{verb: http.MethodGet, path: secrets, query: "filter pageSize pageToken", do: func(s *Server, c *call) (any, error) {
			return object{"secrets": s.list(s.secretKey(""))}, nil
		}},
		{verb: http.MethodPost, path: secrets, query: "secretId", body: new(secretmanager.Secret), do: (*Server).createSecret},
		{verb: http.MethodGet, path: secrets + "/{secret}", do: func(s *Server, c *call) (any, error) { return s.secretOf(c) }},
		{verb: http.MethodPatch, path: secrets + "/{secret}", query: "updateMask", body: new(secretmanager.Secret), do: (*Server).patchSecret},
		{verb: http.MethodDelete, path: secrets + "/{secret}", query: "etag", do: (*Server).deleteSecret},
		{verb: http.MethodPost, path: secrets + "/{secret}:addVersion", body: new(secretmanager.AddSecretVersionRequest), do: (*Server).addVersion},
		{verb: http.MethodGet, path: secrets + "/{secret}/versions", query: "filter pageSize pageToken", do: (*Server).listVersions},
		{verb: http.MethodGet, path: version, do: func(s *Server, c *call) (any, error) { return s.version(c) }},
		{verb: http.MethodGet, path: version + ":access", do: (*Server).accessVersion},
		{verb: http.MethodPost, path: version + ":destroy", body: new(secretmanager.DestroySecretVersionRequest), do: state("DESTROYED")},
		{verb: http.MethodPost, path: version + ":disable", body: new(secretmanager.DisableSecretVersionRequest), do: state("DISABLED")},
		{verb: http.MethodPost, path: version + ":enable", body: new(secretmanager.EnableSecretVersionRequest), do: state("ENABLED")},
	}, policyMethods(secrets+"/{secret}", onSecret, new(secretmanager.SetIamPolicyRequest), func(c *call) string {
		return c.key("projects/%s/secrets/%s", c.vars["project"], c.vars["secret"])
	})...)
}

func (s *Server) secretKey(id string) string {
	return "//secretmanager.googleapis.com/projects/" + s.config.Project + "/secrets/" + id
}

// secretName is what the API calls a secret: with the project's number.
func (s *Server) secretName(id string) string {
	return "projects/" + s.config.Number + "/secrets/" + id
}

func (s *Server) secretOf(c *call) (object, error) {
	if o := s.state[s.secretKey(c.vars["secret"])]; o != nil {
		return o, nil
	}
	return nil, refuse(http.StatusNotFound, "Secret [%s] not found.", s.secretName(c.vars["secret"]))
}

var secretID = regexp.MustCompile(`^[A-Za-z0-9_-]{1,255}$`)

func (s *Server) createSecret(c *call) (any, error) {
	id := c.query.Get("secretId")
	switch {
	case !secretID.MatchString(id):
		return nil, invalid("The provided Secret ID [%s] does not match the expected format [[a-zA-Z_0-9]+]", id)
	case s.state[s.secretKey(id)] != nil:
		return nil, refuse(http.StatusConflict, "Secret [%s] already exists.", s.secretName(id))
	}
	replication, _ := c.body["replication"].(object)
	if len(replication) != 1 {
		return nil, invalid("The replication field must be set, to automatic or user_managed.")
	}
	secret := clone(c.body)
	secret["name"], secret["createTime"] = s.secretName(id), now()
	s.stamp(secret)
	s.state[s.secretKey(id)] = secret
	return secret, nil
}

func (s *Server) patchSecret(c *call) (any, error) {
	secret, err := s.secretOf(c)
	if err != nil {
		return nil, err
	}
	if err := fresh(secret, c.body); err != nil {
		return nil, err
	}
	if err := merge(secret, c.body, c.query.Get("updateMask")); err != nil {
		return nil, err
	}
	s.stamp(secret)
	return secret, nil
}

func (s *Server) deleteSecret(c *call) (any, error) {
	if _, err := s.secretOf(c); err != nil {
		return nil, err
	}
	key := s.secretKey(c.vars["secret"])
	for name := range s.state {
		if strings.HasPrefix(name, key+"/") {
			s.forget(name)
		}
	}
	return s.remove(key)
}

// maxPayload is the most that a version can hold (https://cloud.google.com/secret-manager/quotas).
const maxPayload = 64 << 10

func (s *Server) addVersion(c *call) (any, error) {
	if _, err := s.secretOf(c); err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(text(c.body, "payload", "data"))
	switch sum := text(c.body, "payload", "dataCrc32c"); {
	case err != nil:
		return nil, invalid("Invalid value at 'payload.data' (TYPE_BYTES), Base64 decoding failed")
	case len(data) == 0:
		return nil, invalid("Secret Payload cannot be empty.")
	case len(data) > maxPayload:
		return nil, invalid("The payload of a secret version cannot exceed %d bytes.", maxPayload)
	case sum != "" && sum != checksum(data):
		return nil, invalid("The checksum of the payload does not match the data.")
	}
	id := c.vars["secret"]
	number := len(s.versions(id)) + 1
	o := object{
		"name": fmt.Sprintf("%s/versions/%d", s.secretName(id), number), "state": "ENABLED", "createTime": now(),
		"replicationStatus": object{"automatic": object{}}, "clientSpecifiedPayloadChecksum": text(c.body, "payload", "dataCrc32c") != "",
	}
	s.stamp(o)
	key := s.versionKey(id, number)
	s.state[key] = o
	s.uploads[key] = data
	return o, nil
}

// checksum is Castagnoli's of data, as JSON has an int64: as a string.
func checksum(data []byte) string {
	return strconv.FormatUint(uint64(crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))), 10)
}

func (s *Server) versionKey(id string, number int) string {
	return fmt.Sprintf("%s/versions/%d", s.secretKey(id), number)
}

// versions are those of a secret, the first one first.
func (s *Server) versions(id string) []object {
	var list []object
	for n := 1; ; n++ {
		o, ok := s.state[s.versionKey(id, n)]
		if !ok {
			return list
		}
		list = append(list, o)
	}
}

func (s *Server) listVersions(c *call) (any, error) {
	if _, err := s.secretOf(c); err != nil {
		return nil, err
	}
	list := s.versions(c.vars["secret"])
	slices.Reverse(list)
	if filter := c.query.Get("filter"); filter != "" {
		state, ok := strings.CutPrefix(strings.ReplaceAll(strings.ToUpper(filter), " ", ""), "STATE")
		state = strings.Trim(state, `=:"`)
		if !ok || state == "" {
			return nil, invalid("Invalid filter: %q", filter)
		}
		list = slices.DeleteFunc(list, func(o object) bool { return o["state"] != state })
	}
	return object{"versions": list, "totalSize": len(list)}, nil
}

// version is one by its number, or the one that was added last.
func (s *Server) version(c *call) (object, error) {
	if _, err := s.secretOf(c); err != nil {
		return nil, err
	}
	id, list := c.vars["secret"], s.versions(c.vars["secret"])
	n, err := strconv.Atoi(c.vars["version"])
	if c.vars["version"] == "latest" {
		n, err = len(list), nil
	}
	if err != nil || n < 1 || n > len(list) {
		return nil, refuse(http.StatusNotFound, "Secret Version [%s/versions/%s] not found.", s.secretName(id), c.vars["version"])
	}
	return list[n-1], nil
}

func (s *Server) accessVersion(c *call) (any, error) {
	o, err := s.version(c)
	if err != nil {
		return nil, err
	}
	if o["state"] != "ENABLED" {
		return nil, precondition("Secret Version [%s] is in %s state.", text(o, "name"), o["state"])
	}
	name := text(o, "name")
	number, _ := strconv.Atoi(name[strings.LastIndex(name, "/")+1:])
	data := s.uploads[s.versionKey(c.vars["secret"], number)]
	return object{"name": name, "payload": object{"data": base64.StdEncoding.EncodeToString(data), "dataCrc32c": checksum(data)}}, nil
}

func (s *Server) setVersionState(c *call, state string) (any, error) {
	o, err := s.version(c)
	if err != nil {
		return nil, err
	}
	if o["state"] == "DESTROYED" {
		return nil, precondition("Secret Version [%s] is in DESTROYED state.", text(o, "name"))
	}
	if err := fresh(o, c.body); err != nil {
		return nil, err
	}
	o["state"] = state
	if state == "DESTROYED" {
		o["destroyTime"] = now()
	}
	s.stamp(o)
	return o, nil
}
