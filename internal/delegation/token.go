package delegation

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Token is an access token of one user. However it is printed, the secret is
// not: it leaves only by [Token.Authorize].
type Token struct {
	key
	secret  *string // fmt calls no method of what is in an unexported field, and prints the pointer
	expires time.Time
}

// Authorize makes r a request of the token's user.
func (t Token) Authorize(r *http.Request) {
	r.Header.Set("Authorization", "Bearer "+*t.secret)
}

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
