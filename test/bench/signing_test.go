package bench

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cloud.google.com/go/iam/credentials/apiv1/credentialspb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"

	"github.com/onbehalf-dev/onbehalf/internal/delegation"
)

// signer answers signJwt by gRPC.
type signer struct {
	credentialspb.UnimplementedIAMCredentialsServer
	jwt string
}

func (s *signer) SignJwt(context.Context, *credentialspb.SignJwtRequest) (*credentialspb.SignJwtResponse, error) {
	return &credentialspb.SignJwtResponse{KeyId: "k", SignedJwt: s.jwt}, nil
}

// own is an identity that costs nothing.
type own struct{}

func (own) Authorize(_ context.Context, r *http.Request) error {
	r.Header.Set("Authorization", "Bearer made-up")
	return nil
}

func (own) Renew() {}

// BenchmarkSigning is one signJwt by REST, as we make it, and by gRPC, over TLS
// and HTTP/2 each, against a server that does not sign: what is left is the way.
func BenchmarkSigning(b *testing.B) {
	jwt := strings.Repeat("x", 700) // the length of a real one
	claims := `{"iss":"a@p.iam.gserviceaccount.com","sub":"ada@example.com","scope":"` + gmailInsert + `","aud":"https://oauth2.googleapis.com/token","iat":1,"exp":3601}`
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"keyId": "k", "signedJwt": "` + jwt + `"}`))
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	b.Cleanup(server.Close)
	pool := x509.NewCertPool()
	pool.AddCert(server.Certificate())

	b.Run("REST", func(b *testing.B) {
		client := server.Client()
		client.Transport = toServer{server.Listener.Addr().String(), client.Transport}
		s, err := delegation.NewIAM(delegation.IAMConfig{ServiceAccount: "a@p.iam.gserviceaccount.com", Identity: own{}, HTTP: client})
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			if _, err := s.SignJWT(b.Context(), claims); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("gRPC", func(b *testing.B) {
		listener := httptest.NewUnstartedServer(nil).Listener
		grpcServer := grpc.NewServer(grpc.Creds(credentials.NewServerTLSFromCert(&server.TLS.Certificates[0])))
		credentialspb.RegisterIAMCredentialsServer(grpcServer, &signer{jwt: jwt})
		go func() { _ = grpcServer.Serve(listener) }()
		b.Cleanup(grpcServer.Stop)
		conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{RootCAs: pool, ServerName: "example.com", MinVersion: tls.VersionTLS12})))
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { _ = conn.Close() })
		client := credentialspb.NewIAMCredentialsClient(conn)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := client.SignJwt(b.Context(), &credentialspb.SignJwtRequest{Name: "projects/-/serviceAccounts/a@p.iam.gserviceaccount.com", Payload: claims}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// toServer sends every request to one address.
type toServer struct {
	address string
	next    http.RoundTripper
}

func (t toServer) RoundTrip(r *http.Request) (*http.Response, error) {
	out, to := *r, *r.URL
	to.Host = t.address
	out.URL, out.Host = &to, "example.com"
	return t.next.RoundTrip(&out)
}
