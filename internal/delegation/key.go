package delegation

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"

	"software.sslmate.com/src/go-pkcs12"
)

// p12Password protects every P12 key that Google makes. It is public, and so
// protects nothing.
const p12Password = "notasecret"

// key is a service-account key, for those who have no Google Cloud to sign for
// them. However it is printed, the key is not.
type key struct {
	account string
	header  string // of each JWT, encoded
	private *rsa.PrivateKey
}

var (
	_ Signer        = (*key)(nil)
	_ fmt.Formatter = (*key)(nil)
)

// ParseKey reads a service account's key as Google hands it out: in JSON, or
// in P12, which does not say whose it is, so that account must. A JSON key of
// another account is refused; account may be empty there. No error quotes the key.
func ParseKey(data []byte, account string) (Signer, error) {
	parse := parseP12
	if bytes.HasPrefix(bytes.TrimSpace(data), []byte("{")) {
		parse = parseJSON
	}
	k, err := parse(data, account)
	if err != nil {
		return nil, err // and no Signer that holds a nil
	}
	return k, nil
}

func parseJSON(data []byte, account string) (*key, error) {
	var file struct {
		Type     string `json:"type"`
		Email    string `json:"client_email"`
		KeyID    string `json:"private_key_id"`
		Key      string `json:"private_key"`
		Universe string `json:"universe_domain"`
	}
	if json.Unmarshal(data, &file) != nil {
		return nil, errors.New("the key is no JSON, though it begins like one")
	}
	switch {
	case file.Type != "service_account":
		return nil, fmt.Errorf(`the key's "type" is %.40q; "service_account" is accepted`, file.Type)
	case file.Email == "":
		return nil, errors.New(`the key has no "client_email"`)
	case file.Universe != "" && file.Universe != "googleapis.com":
		return nil, fmt.Errorf(`the key's "universe_domain" is %.80q; only googleapis.com has Google Workspace`, file.Universe)
	case account != "" && !strings.EqualFold(account, file.Email):
		return nil, fmt.Errorf("the key is one of %.80q, and not of %s, which ONBEHALF_SERVICE_ACCOUNT names", file.Email, account)
	}
	block, _ := pem.Decode([]byte(file.Key))
	if block == nil {
		return nil, errors.New(`the key's "private_key" is not in PEM`)
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes) // as the oldest keys are
	}
	if err != nil {
		return nil, errors.New(`the key's "private_key" is no private key in PKCS #8`)
	}
	return newKey(file.Email, file.KeyID, private)
}

func parseP12(data []byte, account string) (*key, error) {
	if account == "" {
		return nil, errors.New("a key in P12 does not say whose it is; set ONBEHALF_SERVICE_ACCOUNT to the e-mail address of its service account")
	}
	private, _, err := pkcs12.Decode(data, p12Password)
	if err != nil {
		return nil, errors.New("the key is neither JSON nor P12 with Google's usual password")
	}
	return newKey(account, "", private)
}

// newKey makes a signer of a key. Without an id Google tries all the account's.
func newKey(account, id string, private any) (*key, error) {
	pair, ok := private.(*rsa.PrivateKey)
	if !ok {
		return nil, errors.New("the key is not an RSA key, as all of Google's are")
	}
	header, err := json.Marshal(struct {
		Algorithm string `json:"alg"`
		Type      string `json:"typ"`
		KeyID     string `json:"kid,omitempty"`
	}{"RS256", "JWT", id})
	return &key{account: strings.ToLower(account), header: base64.RawURLEncoding.EncodeToString(header), private: pair}, err
}

func (k *key) ServiceAccount() string { return k.account }

func (k *key) SignJWT(_ context.Context, claims string) (string, error) {
	signed := k.header + "." + base64.RawURLEncoding.EncodeToString([]byte(claims))
	sum := sha256.Sum256([]byte(signed))
	signature, err := rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, sum[:])
	if err != nil {
		return "", &Error{Stage: Sign, Code: NoSignature}
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// Format implements [fmt.Formatter] for every verb, so that no way of printing
// shows the key.
func (k *key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, "key of "+k.account) }
