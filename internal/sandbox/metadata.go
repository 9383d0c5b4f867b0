package sandbox

import (
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// The metadata server of Cloud Run and Compute Engine. Facts:
// https://cloud.google.com/compute/docs/metadata/querying-metadata and, for
// the paths that clients ask for, google-auth's compute_engine/_metadata.py and
// cloud.google.com/go/compute/metadata.
func metadataRoutes() []*route {
	const v1 = "computeMetadata/v1/"
	text := func(name, path string, value func(*call) string) *route {
		return metadataRoute(name, path, func(c *call) reply { return plain(value(c)) })
	}
	ofAccount := func(name, path string, h func(*call, *account) reply) *route {
		return metadataRoute(name, v1+"instance/service-accounts/"+path, func(c *call) reply {
			a := c.machineAccount(c.vars[0])
			if a == nil {
				return reply{status: http.StatusNotFound, mime: mimeText, body: []byte("service account not found\n")}
			}
			return h(c, a)
		})
	}
	const region = "us-central1"
	return []*route{
		text("metadata.ping", "", func(*call) string { return "computeMetadata/\n" }),
		text("metadata.ping", "computeMetadata/", func(*call) string { return "v1/\n" }),
		text("metadata.ping", v1, func(*call) string { return "instance/\nproject/\nuniverse/\n" }),
		text("metadata.project-id", v1+"project/project-id", func(c *call) string { return c.project }),
		text("metadata.numeric-project-id", v1+"project/numeric-project-id", func(c *call) string { return c.projectNumber }),
		text("metadata.universe-domain", v1+"universe/universe-domain", func(*call) string { return "googleapis.com" }),
		text("metadata.zone", v1+"instance/zone", func(c *call) string {
			return "projects/" + c.projectNumber + "/zones/" + region + "-1"
		}),
		text("metadata.region", v1+"instance/region", func(c *call) string {
			return "projects/" + c.projectNumber + "/regions/" + region
		}),
		text("metadata.service-accounts", v1+"instance/service-accounts/", func(c *call) string {
			return "default/\n" + c.runtime.email + "/\n"
		}),
		ofAccount("metadata.account", "{}/", (*call).machineInfo),
		ofAccount("metadata.email", "{}/email", func(_ *call, a *account) reply { return plain(a.email) }),
		ofAccount("metadata.scopes", "{}/scopes", func(*call, *account) reply { return plain(scopeCloudPlatform + "\n") }),
		ofAccount("metadata.aliases", "{}/aliases", func(*call, *account) reply { return plain("default\n") }),
		ofAccount("metadata.token", "{}/token", (*call).machineToken),
		ofAccount("metadata.identity", "{}/identity", (*call).machineIdentity),
	}
}

// metadataRoute refuses what a browser could be tricked into sending: requests
// without the header, with 403 as the real server does.
func metadataRoute(name, path string, h func(*call) reply) *route {
	return &route{
		name: name, method: http.MethodGet, path: path, limit: limitNone, who: nobody,
		handle: func(c *call) reply {
			a := reply{status: http.StatusForbidden, mime: mimeText, body: []byte("Missing Metadata-Flavor:Google header.\n")}
			if c.req.Header.Get("Metadata-Flavor") == "Google" {
				a = h(c)
			}
			return a.with("Metadata-Flavor", "Google").with("Server", "Metadata Server for VM")
		},
	}
}

// plain is text as the metadata server sends it.
func plain(s string) reply {
	return reply{status: http.StatusOK, mime: "application/text", body: []byte(s)}
}

// machineAccount knows the runtime account alone, as "default" or by e-mail.
func (c *call) machineAccount(name string) *account {
	if name == "default" || strings.EqualFold(name, c.runtime.email) {
		return c.runtime
	}
	return nil
}

// machineInfo is what google-auth for Python asks first.
func (c *call) machineInfo(a *account) reply {
	if c.query.Get("recursive") == "" {
		return plain("aliases\nemail\nidentity\nscopes\ntoken\n")
	}
	return c.metadataJSON(map[string]any{
		"aliases": []string{"default"}, "email": a.email, "scopes": []string{scopeCloudPlatform},
	})
}

// metadataJSON sets the media type without a charset, which google-auth checks for.
func (c *call) metadataJSON(v any) reply {
	body, err := marshal(v, false)
	if err != nil {
		return c.broken(err)
	}
	return reply{status: http.StatusOK, mime: "application/json", body: body}
}

// machineToken hands out the same token until it has five minutes left, as
// the real server does. Scopes asked for by name (Cloud Run allows it) get a
// token of their own.
func (c *call) machineToken(a *account) reply {
	const refresh = 5 * time.Minute
	var t *token
	if asked := c.query.Get("scopes"); asked != "" {
		t = c.issue(a.email, nil, strings.FieldsFunc(asked, func(r rune) bool { return r == ',' || r == ' ' }), tokenLife)
	} else if t = c.machine.Load(); !t.live(c.now().Add(refresh)) {
		t = c.issue(a.email, nil, []string{scopeCloudPlatform}, tokenLife)
		c.machine.Store(t)
	}
	return c.metadataJSON(map[string]any{
		"access_token": t.value,
		"expires_in":   int(t.expires.Sub(c.now()).Seconds()),
		"token_type":   "Bearer",
	})
}

func (c *call) machineIdentity(a *account) reply {
	audience := c.query.Get("audience")
	if audience == "" {
		return reply{status: http.StatusBadRequest, mime: mimeText, body: []byte("non-empty audience parameter required\n")}
	}
	return plain(c.idToken(a.id, a.email, audience))
}

// idToken makes an OpenID Connect token signed by Google's own key. It is empty
// only if signing fails, which it cannot with a key that was made.
func (s *Server) idToken(subject, email, audience string) string {
	now := s.now()
	claims, err := json.Marshal(map[string]any{
		"iss": "https://accounts.google.com", "aud": audience, "azp": subject, "sub": subject,
		"email": email, "email_verified": true,
		"iat": now.Unix(), "exp": now.Add(time.Hour).Unix(),
	})
	if err != nil {
		return ""
	}
	jwt, err := s.google.newest().signJWT(claims)
	if err != nil {
		s.log.Error("sandbox: cannot sign an ID token", "error", err)
		return ""
	}
	s.secrets.add(jwt)
	return jwt
}

// idTokenFor names a user or an account, whichever the address is of.
func (s *Server) idTokenFor(email, audience string) string {
	return s.idToken(numericID(email), email, audience)
}
