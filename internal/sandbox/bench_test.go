package sandbox_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// One insert, token check and all, without the network's share.
func BenchmarkInsert(b *testing.B) {
	s := setup(b)
	token := "Bearer " + s.as(ada, "gmail.insert")
	body := multipartBody(`{"labelIds": ["INBOX", "UNREAD"]}`, "message/rfc822", hello+strings.Repeat("0123456789abcde\n", 500), "\r\n")
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/gmail.googleapis.com"+multipartURL, strings.NewReader(body))
		r.Header.Set("Authorization", token)
		r.Header.Set("Content-Type", "multipart/related; boundary=b")
		w := httptest.NewRecorder()
		if s.s.ServeHTTP(w, r); w.Code != http.StatusOK {
			b.Fatal(w.Body)
		}
	}
}

// The same over a loopback connection, many at a time.
func BenchmarkInsertHTTP(b *testing.B) {
	s := setup(b)
	s.c.Transport = s.c.Transport.(fitting).Transport // what is measured is not checked
	token := s.as(ada, "gmail.insert")
	body := hello + strings.Repeat("0123456789abcde\n", 500)
	b.ReportAllocs()
	b.SetParallelism(50)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			a, err := s.do("POST", "/gmail.googleapis.com"+insertURL, body, "Authorization", "Bearer "+token, "Content-Type", "message/rfc822")
			if err != nil || a.status != http.StatusOK {
				b.Error(a, err)
			}
		}
	})
}

// What a program pays at its start for keys of Google's size.
func BenchmarkNew(b *testing.B) {
	for b.Loop() {
		if _, err := sandbox.New(sandbox.DefaultWorld(), sandbox.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
