package sandbox

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// vault is Secret Manager. Its content never changes.
type vault struct {
	project, number string
	payloads        map[string][]byte // by name, with the project's id
}

func newVault(world map[string][]byte, project, number string) *vault {
	return &vault{project: project, number: number, payloads: maps.Clone(world)}
}

// Secret Manager. Facts: https://cloud.google.com/secret-manager/docs/reference/rest.
func secretRoutes() []*route {
	return []*route{{
		name: "secretmanager.versions.access", method: http.MethodGet, stage: stageCall,
		path:   "secretmanager.googleapis.com/v1/projects/{}/secrets/{}/versions/{}:access",
		scopes: []string{scopeCloudPlatform}, limit: limitNone, who: tokenUser,
		admit: func(c *call) *reply {
			if a := c.authorize(); a != nil {
				return a
			}
			return projectDoor("secretmanager.versions.access")(c)
		},
		handle: (*call).accessSecret,
	}}
}

// accessSecret answers under the project's number, whichever name was asked for.
func (c *call) accessSecret() reply {
	project, secret, version := c.vars[0], c.vars[1], c.vars[2]
	data, version, ok := c.secretsOf.find(project, secret, version)
	number := project
	if project == c.project {
		number = c.projectNumber
	}
	name := "projects/" + number + "/secrets/" + secret
	if !ok && version == "" {
		return refuseRPC(http.StatusNotFound, "Secret ["+name+"] not found or has no versions.")
	}
	if !ok {
		return refuseRPC(http.StatusNotFound, "Secret Version ["+name+"/versions/"+version+"] not found.")
	}
	return c.ok(map[string]any{
		"name": name + "/versions/" + version,
		"payload": map[string]string{
			"data":       base64.StdEncoding.EncodeToString(data),
			"dataCrc32c": strconv.FormatUint(uint64(castagnoli(data)), 10),
		},
	})
}

// find takes the project by id or number, and "latest" for a version. The
// version that it returns is empty if the secret has none at all.
func (v *vault) find(project, secret, version string) ([]byte, string, bool) {
	if project == v.number {
		project = v.project
	}
	var versions []int
	prefix := "projects/" + project + "/secrets/" + secret + "/versions/"
	for name := range v.payloads {
		if rest, ok := strings.CutPrefix(name, prefix); ok {
			if n, err := strconv.Atoi(rest); err == nil {
				versions = append(versions, n)
			}
		}
	}
	if len(versions) == 0 {
		return nil, "", false
	}
	if version == "latest" {
		version = strconv.Itoa(slices.Max(versions))
	}
	data, ok := v.payloads[prefix+version]
	return data, version, ok
}
