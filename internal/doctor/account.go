package doctor

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/explain"
)

// makeSigner finds what signs, and for which account.
func (e *exam) makeSigner(ctx context.Context) {
	from, isKey := e.cfg.Key()
	var err error
	if e.signer, err = e.google.NewSigner(ctx, e.cfg); err == nil {
		e.google.Minter, err = e.google.NewMinter(e.signer)
	}
	if err != nil {
		fix := "export ONBEHALF_SERVICE_ACCOUNT=NAME@PROJECT.iam.gserviceaccount.com"
		if isKey {
			account := cmp.Or(e.cfg.ServiceAccount, "SERVICE_ACCOUNT")
			fix = "Name a key of " + account + " in ONBEHALF_SIGNER, or sign without one (ONBEHALF_SIGNER=iam). Its keys: gcloud iam service-accounts keys list --iam-account=" + account
		}
		e.failReading("signer", from, err, fix)
		return
	}
	e.account = e.signer.ServiceAccount()
	says := "no key: Google signs for " + e.account
	switch {
	case isKey:
		says = "a key of " + e.account + ", from " + from
	case len(e.cfg.Delegates) > 0:
		says += ", by way of " + strings.Join(e.cfg.Delegates, ", ")
	}
	e.pass("signer", "", says)
}

// keySet are an account's public keys (RFC 7517).
type keySet struct {
	Keys []struct {
		ID string `json:"kid"`
	} `json:"keys"`
	asked time.Time     // on this machine's clock, in the middle of asking
	dated time.Time     // by Google's answer; zero where it has no date
	error time.Duration // by how much the two can be off each other for that alone
}

// serviceAccount sees whether the account exists: its public keys are for everybody
// to see.
func (e *exam) serviceAccount(ctx context.Context) {
	begun := time.Now()
	status, header, err := ask(ctx, e.google.HTTP, "https://www.googleapis.com/service_accounts/v1/metadata/jwk/"+url.PathEscape(e.account), &e.keys)
	took := time.Since(begun)
	e.keys.asked, e.keys.error = begun.Add(took/2), took/2+time.Second
	e.keys.dated, _ = http.ParseTime(header.Get("Date"))
	switch {
	case err != nil:
		e.fail("service account", "", e.of(explain.Mint("exchange", 0, "noAnswer", ""), e.names()))
	case status == http.StatusNotFound:
		e.fail("service account", "", e.of(explain.Mint("exchange", http.StatusBadRequest, "invalid_grant", "Invalid grant: account not found"), e.names()))
	case status != http.StatusOK:
		e.skip("service account", "", fmt.Sprintf("%s: Google does not tell whether it exists: HTTP %d; the steps below show it", e.account, status))
	default:
		e.pass("service account", "", e.account+" exists")
		e.matchKey(ctx)
	}
}

// matchKey sees whether the key that signs is still one of the account's.
func (e *exam) matchKey(ctx context.Context) {
	if _, isKey := e.cfg.Key(); !isKey {
		return
	}
	id := e.keyID(ctx)
	if id == "" {
		e.skip("key", "", "a key in P12 has no id; whether it is one of the account's shows below")
		return
	}
	for _, k := range e.keys.Keys {
		if k.ID == id {
			e.pass("key", "", id+" is one of the account's")
			return
		}
	}
	m := e.of(explain.Mint("exchange", http.StatusBadRequest, "invalid_grant", "Invalid JWT Signature."), e.names())
	m.Message += " It is " + id + "."
	e.fail("key", "", m)
}

// keyID is the id of the key that signs, as its JWTs have it.
func (e *exam) keyID(ctx context.Context) string {
	signed, err := e.signer.SignJWT(ctx, "{}")
	if err != nil {
		return ""
	}
	head, _, _ := strings.Cut(signed, ".")
	var header struct {
		ID string `json:"kid"`
	}
	text, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil || json.Unmarshal(text, &header) != nil {
		return ""
	}
	return header.ID
}

// How far this machine's clock may be from Google's. An assertion may be issued up
// to 5 minutes ahead and an hour ago
// (https://developers.google.com/identity/protocols/oauth2/service-account); what is
// nearer than that to the limit may soon be beyond it.
const (
	mostAhead  = time.Minute
	mostBehind = 30 * time.Minute
)

func (e *exam) clock(context.Context) {
	if e.keys.dated.IsZero() {
		e.skip("clock", "", "Google's answer has no date")
		return
	}
	off := e.keys.asked.Sub(e.keys.dated)
	says := "within " + e.keys.error.Round(time.Second).String() + " of Google's"
	switch {
	case off > e.keys.error:
		says = off.Round(time.Second).String() + " ahead of Google's"
	case off < -e.keys.error:
		says = (-off).Round(time.Second).String() + " behind Google's"
	}
	if off <= mostAhead && off >= -mostBehind {
		e.pass("clock", "", says)
		return
	}
	m := e.of(explain.Mint("exchange", http.StatusBadRequest, "invalid_grant", "Invalid JWT: Token must be a short-lived token"), e.names())
	m.Message = "This machine's clock is " + says + "."
	e.fail("clock", "", m)
}
