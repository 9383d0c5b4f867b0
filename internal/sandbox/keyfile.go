package sandbox

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/url"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// keyFile is what gcloud iam service-accounts keys create writes.
type keyFile struct {
	Type         string `json:"type"`
	ProjectID    string `json:"project_id"`
	PrivateKeyID string `json:"private_key_id"`
	PrivateKey   string `json:"private_key"` // PKCS #8, PEM
	ClientEmail  string `json:"client_email"`
	ClientID     string `json:"client_id"`
	AuthURI      string `json:"auth_uri"`
	TokenURI     string `json:"token_uri"`
	CertsURL     string `json:"auth_provider_x509_cert_url"`
	ClientCerts  string `json:"client_x509_cert_url"`
	Universe     string `json:"universe_domain"`
}

// KeyFile makes a new key of a service account that is managed by its user, and
// returns it as Google's JSON key file. It verifies from now on, whatever is rotated.
// It fails for an account that is not in the world.
func (s *Server) KeyFile(email string) ([]byte, error) {
	a, k, err := s.giveKey(email)
	if err != nil {
		return nil, err
	}
	private, err := k.pkcs8()
	if err != nil {
		return nil, fmt.Errorf("sandbox: key of %s: %w", email, err)
	}
	return marshal(keyFile{
		Type: "service_account", ProjectID: s.project, PrivateKeyID: k.id, PrivateKey: private,
		ClientEmail: a.email, ClientID: a.id,
		AuthURI: "https://accounts.google.com/o/oauth2/auth", TokenURI: tokenURLs()[0],
		CertsURL:    "https://www.googleapis.com/oauth2/v1/certs",
		ClientCerts: "https://www.googleapis.com/robot/v1/metadata/x509/" + url.PathEscape(a.email),
		Universe:    "googleapis.com",
	}, true)
}

// p12Password is that of every P12 key file of Google's.
const p12Password = "notasecret"

// KeyP12 is [Server.KeyFile] in the older form: PKCS #12, password "notasecret".
func (s *Server) KeyP12(email string) ([]byte, error) {
	_, k, err := s.giveKey(email)
	if err != nil {
		return nil, err
	}
	file, err := pkcs12.LegacyDES.Encode(k.private, k.cert, nil, p12Password)
	if err != nil {
		return nil, fmt.Errorf("sandbox: key of %s: %w", email, err)
	}
	return file, nil
}

func (s *Server) giveKey(email string) (*account, *key, error) {
	a := s.accounts.find(email)
	if a == nil {
		return nil, nil, fmt.Errorf("sandbox: no service account %q", email)
	}
	k, err := a.keys.give()
	if err != nil {
		return nil, nil, fmt.Errorf("sandbox: %w", err)
	}
	text, err := k.pkcs8()
	if err != nil {
		return nil, nil, fmt.Errorf("sandbox: key of %s: %w", email, err)
	}
	// Line by line: a log that had it would have broken it there, or escaped the breaks.
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-") {
			s.secrets.add(line)
		}
	}
	return a, k, nil
}

// pkcs8 is the private half in PEM.
func (k *key) pkcs8() (string, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.private)
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})), err
}
