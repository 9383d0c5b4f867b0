package sandbox

import "net/http"

// keyRoutes publish the accounts' public keys, and Google's own for ID tokens.
func keyRoutes() []*route {
	const host = "www.googleapis.com/"
	key := func(name, path string, h func(*call) reply) *route {
		return &route{name: name, method: http.MethodGet, path: path, limit: limitNone, who: nobody, handle: h}
	}
	return []*route{
		key("keys.jwk", host+"service_accounts/v1/metadata/jwk/{}", accountKeys(jwkSet)),
		key("keys.jwk", host+"service_accounts/v1/jwk/{}", accountKeys(jwkSet)),
		key("keys.x509", host+"service_accounts/v1/metadata/x509/{}", accountKeys(certificates)),
		key("keys.x509", host+"robot/v1/metadata/x509/{}", accountKeys(certificates)),
		key("keys.google", host+"oauth2/v3/certs", func(c *call) reply { return c.ok(jwkSet(c.google)) }),
		key("keys.google", host+"oauth2/v1/certs", func(c *call) reply { return c.ok(certificates(c.google)) }),
	}
}

func accountKeys(form func(*keyring) any) func(*call) reply {
	return func(c *call) reply {
		a := c.accounts.find(c.vars[0])
		if a == nil {
			return refuseRPC(http.StatusNotFound, "Requested entity was not found.")
		}
		return c.ok(form(a.keys))
	}
}

func jwkSet(k *keyring) any {
	keys := []map[string]string{}
	for _, key := range k.all() {
		keys = append(keys, key.jwk())
	}
	return map[string]any{"keys": keys}
}

// certificates by key id, PEM.
func certificates(k *keyring) any {
	out := map[string]string{}
	for _, key := range k.all() {
		out[key.id] = key.pem
	}
	return out
}
