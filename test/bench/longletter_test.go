package bench

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"google.golang.org/api/gmail/v1"
	"google.golang.org/api/googleapi"
	"google.golang.org/api/option"
	"google.golang.org/api/storage/v1"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// longLetter is how long the letter of BenchmarkLongLetter is, in bytes: as long as
// Gmail takes one.
const longLetter = 150 << 20

// carried is what it took to bring one letter from Cloud Storage to a mailbox.
type carried struct {
	Seconds float64
	CPU     time.Duration
	Peak    int64 // of the process's memory, in bytes
}

// BenchmarkLongLetter has the longest letter go from Cloud Storage to a mailbox: by
// a bare copy from one connection to the other, by Google's generated clients as
// people use them, and by the function, up to the published result. The letter is
// inserted as deleted, so that the sandbox keeps none.
func BenchmarkLongLetter(b *testing.B) {
	g := startGoogle(b, 0, 1, "BENCH_LONG=1")
	got := map[string]carried{}
	for _, name := range []string{"limit", "peer"} {
		env := []string{"BENCH_GOOGLE=" + g.url, "BENCH_TOKEN=" + mint(b, g, user(0)), "BENCH_OWN=" + ownToken(b, g)}
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				var c carried
				if err := json.Unmarshal([]byte(start(b, "long-"+name, env...).says), &c); err != nil {
					b.Fatal(err)
				}
				got[name] = c
			}
			report(b, got[name])
		})
	}
	f := startFunction(b, "function", append(functionEnv(b, g), "FUNCTION_TARGET=Execute")...)
	b.Run("ours", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			got["ours"] = carry(b, f, n)
		}
		report(b, got["ours"])
	})
	b.Run("ratios", func(b *testing.B) {
		for b.Loop() {
		}
		limit, peer, ours := got["limit"], got["peer"], got["ours"]
		b.ReportMetric(limit.Seconds/ours.Seconds, "speed/limit")
		b.ReportMetric(peer.Seconds/ours.Seconds, "speed/peer")
		b.ReportMetric(float64(ours.CPU)/float64(limit.CPU), "CPU/limit")
		b.ReportMetric(float64(ours.CPU)/float64(peer.CPU), "CPU/peer")
		b.ReportMetric(float64(ours.Peak)/float64(peer.Peak), "memory/peer")
		b.ReportMetric(0, "ns/op")
	})
}

func report(b *testing.B, c carried) {
	b.ReportMetric(longLetter/c.Seconds/1e6, "MB/s")
	b.ReportMetric(float64(c.CPU.Milliseconds()), "ms-CPU")
	b.ReportMetric(float64(c.Peak)/(1<<20), "MiB-peak")
	b.ReportMetric(0, "ns/op")
}

// carry has the function do the job.
func carry(b *testing.B, f function, n int) carried {
	b.Helper()
	job := fmt.Appendf(nil, `{"id":"long/%d","user":%q,"action":"gmail.users.messages.insert","params":{"deleted":true},"message":{"uri":"gs://letters/long.eml"}}`, n, user(0))
	event := fmt.Appendf(nil, `{"message":{"data":%q,"messageId":"%d"},"subscription":"projects/p/subscriptions/s"}`, base64.StdEncoding.EncodeToString(job), n)
	var before, after cost
	getJSON(b, f.costURL, &before)
	began := time.Now()
	if err := send(b.Context(), client(), f.url, event, "Content-Type", "application/json"); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	getJSON(b, f.costURL, &after)
	return carried{took.Seconds(), after.CPU - before.CPU, after.Peak}
}

func ownToken(tb testing.TB, g google) string {
	tb.Helper()
	token, err := source(tb, g).Token(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return token.Value
}

// carryAs is the process of an arm that does one letter. It does another one before,
// for the function is warm, too.
func carryAs(how func(ctx context.Context, base, own, user string) error) error {
	var began time.Time
	var before cost
	for range 2 {
		began, before = time.Now(), ownCost()
		if err := how(context.Background(), os.Getenv("BENCH_GOOGLE"), os.Getenv("BENCH_OWN"), os.Getenv("BENCH_TOKEN")); err != nil {
			return err
		}
	}
	spent := ownCost().since(before)
	if err := json.NewEncoder(os.Stdout).Encode(carried{time.Since(began).Seconds(), spent.CPU, spent.Peak}); err != nil {
		return err
	}
	select {} // until it is killed, as the others are
}

// bearer puts a token on each request.
type bearer struct {
	token string
	next  http.RoundTripper
}

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+b.token)
	return b.next.RoundTrip(r)
}

// carryBare copies from one connection to the other.
func carryBare(ctx context.Context, base, own, user string) error {
	from, err := http.NewRequestWithContext(ctx, http.MethodGet, base+"/storage.googleapis.com/storage/v1/b/letters/o/long.eml?alt=media", nil) //nolint:gosec // the benchmark's own server
	if err != nil {
		return err
	}
	source, err := bearer{own, http.DefaultTransport}.RoundTrip(from)
	if err != nil {
		return err
	}
	defer source.Body.Close()
	asUser := bearer{user, http.DefaultTransport}
	begin, err := http.NewRequestWithContext(ctx, http.MethodPost, base+strings.Replace(insertPath, "uploadType=media", "uploadType=resumable", 1)+"&deleted=true", nil) //nolint:gosec // the benchmark's own server
	if err != nil {
		return err
	}
	session, err := asUser.RoundTrip(begin)
	if err != nil {
		return err
	}
	defer session.Body.Close()
	to, err := http.NewRequestWithContext(ctx, http.MethodPut, session.Header.Get("Location"), source.Body)
	if err != nil {
		return err
	}
	to.ContentLength = source.ContentLength
	res, err := asUser.RoundTrip(to)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %d", res.StatusCode)
	}
	return nil
}

// carryByClients copies from one of Google's generated clients to the other.
func carryByClients(ctx context.Context, base, own, user string) error {
	through, err := sandbox.RewriteTransport(base, http.DefaultTransport)
	if err != nil {
		return err
	}
	objects, err := storage.NewService(ctx, option.WithHTTPClient(&http.Client{Transport: bearer{own, through}}))
	if err != nil {
		return err
	}
	mail, err := gmail.NewService(ctx, option.WithHTTPClient(&http.Client{Transport: bearer{user, through}}))
	if err != nil {
		return err
	}
	res, err := objects.Objects.Get("letters", "long.eml").Context(ctx).Download()
	if err != nil {
		return err
	}
	defer res.Body.Close()
	_, err = mail.Users.Messages.Insert("me", &gmail.Message{}).Deleted(true).Media(res.Body, googleapi.ContentType("message/rfc822")).Context(ctx).Do()
	return err
}

// peakMemory is the most memory that a process has taken, by its id or "self", in
// bytes; 0 where the system does not say.
func peakMemory(process string) int64 {
	status, err := os.ReadFile("/proc/" + process + "/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	return 0
}

// longLetterText is a letter of that length.
func longLetterText() []byte {
	letter := make([]byte, longLetter)
	copy(letter, "Message-ID: <long@example.com>\r\nSubject: long\r\n\r\n")
	return letter
}
