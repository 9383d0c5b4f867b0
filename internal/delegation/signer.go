package delegation

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Signer signs for one service account. The implementations are [NewIAM], which
// holds no key, and [ParseKey].
type Signer interface {
	// ServiceAccount is the e-mail address of the account that is signed for.
	ServiceAccount() string
	// SignJWT signs the claims, a JSON object, with RS256, and gives the JWT in its
	// compact form. The claims are signed as they stand, byte for byte. An error is
	// an [*Error] of the stage Sign, or ctx's own.
	SignJWT(ctx context.Context, claims string) (string, error)
}

// Identity is whose right to sign is used: the caller's own credentials.
type Identity interface {
	// Authorize makes r a request of the caller's.
	Authorize(ctx context.Context, r *http.Request) error
	// Renew has the next request be authorized anew, since Google has refused the
	// present token.
	Renew()
}

// IAMConfig is what the signer without a key needs.
type IAMConfig struct {
	// ServiceAccount is the e-mail address of the delegated service account.
	ServiceAccount string
	// Delegates are the service accounts from the caller to ServiceAccount,
	// each of which may create tokens for the next; mostly none.
	Delegates []string
	Identity  Identity
	// HTTP makes the calls. It must add no credentials of its own.
	HTTP *http.Client
}

// iam is the IAM Credentials API: Google holds the key.
//
// It is called by REST, not by gRPC: docs/delegation.md has the measurement.
type iam struct {
	IAMConfig
	delegates []string // as the API names them
}

var (
	_ Signer = (*iam)(nil)
	_ issuer = (*iam)(nil)
)

// NewIAM makes a signer that has the IAM Credentials API sign
// (https://cloud.google.com/iam/docs/reference/credentials/rest). It makes no call.
func NewIAM(cfg IAMConfig) (Signer, error) {
	switch {
	case cfg.ServiceAccount == "":
		return nil, errors.New("delegation: ServiceAccount is missing")
	case cfg.Identity == nil:
		return nil, errors.New("delegation: Identity is missing")
	case cfg.HTTP == nil:
		return nil, errors.New("delegation: HTTP is missing")
	}
	s := &iam{IAMConfig: cfg}
	for _, d := range cfg.Delegates {
		s.delegates = append(s.delegates, "projects/-/serviceAccounts/"+d)
	}
	return s, nil
}

func (s *iam) ServiceAccount() string { return s.IAMConfig.ServiceAccount }

func (s *iam) SignJWT(ctx context.Context, claims string) (string, error) {
	var answer struct {
		SignedJWT string `json:"signedJwt"`
	}
	err := s.call(ctx, "signJwt", struct {
		Payload   string   `json:"payload"`
		Delegates []string `json:"delegates,omitempty"`
	}{claims, s.delegates}, &answer)
	if err == nil && answer.SignedJWT == "" {
		err = &Error{Stage: Sign, Status: http.StatusOK, Code: NoSignature}
	}
	return answer.SignedJWT, err
}

// accessToken is generateAccessToken: a token of the account itself, which has
// no subject and so can act as nobody else.
func (s *iam) accessToken(ctx context.Context, scopes []string, lifetime time.Duration) (Token, error) {
	var answer struct {
		AccessToken string    `json:"accessToken"`
		ExpireTime  time.Time `json:"expireTime"`
	}
	err := s.call(ctx, "generateAccessToken", struct {
		Scope     []string `json:"scope"`
		Delegates []string `json:"delegates,omitempty"`
		Lifetime  string   `json:"lifetime"`
	}{scopes, s.delegates, strconv.Itoa(int(lifetime.Seconds())) + "s"}, &answer)
	if err == nil && answer.AccessToken == "" {
		err = &Error{Stage: Sign, Status: http.StatusOK, Code: NoAccessToken}
	}
	if err != nil {
		return Token{}, err
	}
	return Token{secret: &answer.AccessToken, expires: answer.ExpireTime}, nil
}

// call calls a method of the IAM Credentials API. Where Google does not accept
// the caller's own token any more, another one is tried, once.
func (s *iam) call(ctx context.Context, method string, body, answer any) error {
	err := s.post(ctx, method, body, answer)
	var refused *Error
	if errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
		s.Identity.Renew()
		err = s.post(ctx, method, body, answer)
	}
	return err
}

const signURL = "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/"

func (s *iam) post(ctx context.Context, method string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	address := signURL + url.PathEscape(s.IAMConfig.ServiceAccount) + ":" + method
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(string(data)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	if err := s.Identity.Authorize(ctx, req); err != nil {
		return IdentityError(err)
	}
	return do(s.HTTP, req, Sign, answer)
}

// issuer is a signer that asks for the account's own tokens without signing.
type issuer interface {
	accessToken(ctx context.Context, scopes []string, lifetime time.Duration) (Token, error)
}
