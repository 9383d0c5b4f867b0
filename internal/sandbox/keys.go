package sandbox

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" //nolint:gosec // only names keys, as Google's key ids do
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// keysKept is how many keys of an account are published at a time: the newest,
// which signs, and the two before it. Google rotates its managed keys likewise.
const keysKept = 3

// A key is one key pair of an account, with its certificate.
type key struct {
	id      string
	private *rsa.PrivateKey
	cert    *x509.Certificate
	pem     string // of the certificate
}

// A keyring holds an account's keys, newest first. Readers take no lock:
// signing takes milliseconds and must not keep others waiting.
type keyring struct {
	owner string
	bits  int
	now   func() time.Time
	grow  sync.Mutex
	keys  atomic.Pointer[[]*key] // Google's, which change
	given atomic.Pointer[[]*key] // in files of the account's users, for good
}

func newKeyring(owner string, bits int, now func() time.Time) (*keyring, error) {
	k := &keyring{owner: owner, bits: bits, now: now}
	return k, k.rotate()
}

// rotate puts a new key first and drops the oldest.
func (k *keyring) rotate() error {
	k.grow.Lock()
	defer k.grow.Unlock()
	fresh, err := newKey(k.owner, k.bits, k.now())
	if err != nil {
		return fmt.Errorf("new key of %s: %w", k.owner, err)
	}
	keys := append([]*key{fresh}, keysOf(&k.keys)...)
	keys = keys[:min(len(keys), keysKept)]
	k.keys.Store(&keys)
	return nil
}

// give makes a key that leaves the house in a file, and stays good.
func (k *keyring) give() (*key, error) {
	k.grow.Lock()
	defer k.grow.Unlock()
	fresh, err := newKey(k.owner, k.bits, k.now())
	if err != nil {
		return nil, fmt.Errorf("new key of %s: %w", k.owner, err)
	}
	keys := append([]*key{fresh}, keysOf(&k.given)...)
	k.given.Store(&keys)
	return fresh, nil
}

func keysOf(p *atomic.Pointer[[]*key]) []*key {
	if keys := p.Load(); keys != nil {
		return *keys
	}
	return nil
}

// all are the published keys.
func (k *keyring) all() []*key { return slices.Concat(keysOf(&k.keys), keysOf(&k.given)) }

// newest is the one of Google's keys that signs.
func (k *keyring) newest() *key { return keysOf(&k.keys)[0] }

// verify tells whether one of the keys made the signature. A kid that names
// a published key narrows the search to it; without one, every key may serve.
func (k *keyring) verify(kid string, signed, signature []byte) bool {
	sum := sha256.Sum256(signed)
	for _, key := range k.all() {
		if kid != "" && kid != key.id {
			continue
		}
		if rsa.VerifyPKCS1v15(&key.private.PublicKey, crypto.SHA256, sum[:], signature) == nil {
			return true
		}
	}
	return false
}

func newKey(owner string, bits int, now time.Time) (*key, error) {
	private, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 62))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: owner},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.AddDate(2, 0, 0),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	id := sha1.Sum(x509.MarshalPKCS1PublicKey(&private.PublicKey)) //nolint:gosec // a name, not a proof
	return &key{
		id:      hex.EncodeToString(id[:]),
		private: private,
		cert:    cert,
		pem:     string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
	}, nil
}

// sign makes the signature of RS256.
func (k *key) sign(data []byte) ([]byte, error) {
	sum := sha256.Sum256(data)
	return rsa.SignPKCS1v15(rand.Reader, k.private, crypto.SHA256, sum[:])
}

// signJWT signs the claims as they are, byte for byte.
func (k *key) signJWT(claims []byte) (string, error) {
	header, err := json.Marshal(map[string]string{"alg": "RS256", "kid": k.id, "typ": "JWT"})
	if err != nil {
		return "", err
	}
	enc := base64.RawURLEncoding
	signed := enc.EncodeToString(header) + "." + enc.EncodeToString(claims)
	signature, err := k.sign([]byte(signed))
	if err != nil {
		return "", err
	}
	return signed + "." + enc.EncodeToString(signature), nil
}

// jwk is the public half in the form of RFC 7517.
func (k *key) jwk() map[string]string {
	enc := base64.RawURLEncoding
	return map[string]string{
		"kty": "RSA", "alg": "RS256", "use": "sig", "kid": k.id,
		"n": enc.EncodeToString(k.private.N.Bytes()),
		"e": enc.EncodeToString(big.NewInt(int64(k.private.E)).Bytes()),
	}
}
