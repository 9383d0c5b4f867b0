package delegation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Token is an access token of one user, or of the service account. However it is printed, the secret is
// not: it leaves only by [Token.Authorize] and [Token.Reveal].
type Token struct {
	subject
	secret  *string // fmt calls no method of what is in an unexported field, and prints the pointer
	expires time.Time
}

// Authorize makes r a request of the token's user.
func (t Token) Authorize(r *http.Request) {
	r.Header.Set("Authorization", "Bearer "+*t.secret)
}

// Reveal gives the secret away. It is for a person who has asked for it, and
// for nothing that is written down.
func (t Token) Reveal() string { return *t.secret }

// Expires is when Google stops accepting it.
func (t Token) Expires() time.Time { return t.expires }

// Fingerprint tells tokens apart in an audit without giving any away: the
// first 8 bytes of the secret's SHA-256.
func (t Token) Fingerprint() string {
	if t.secret == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(*t.secret))
	return hex.EncodeToString(sum[:8])
}

// Format implements [fmt.Formatter] for every verb, so that no way of printing
// shows the secret.
func (t Token) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "token %s", t.Fingerprint()) }

// LogValue implements [slog.LogValuer].
func (t Token) LogValue() slog.Value { return slog.StringValue(t.Fingerprint()) }

var (
	_ fmt.Formatter  = Token{}
	_ slog.LogValuer = Token{}
)
