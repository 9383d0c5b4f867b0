package pubsubio_test

import (
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

var (
	data = base64.StdEncoding.EncodeToString([]byte(`{"user":"ada@example.com"}`))
	push = `{"subscription":"projects/p/subscriptions/s","message":{"data":"` + data + `","attributes":{"k":"v"},"messageId":"4711","message_id":"4711","publishTime":"2026-11-21T12:00:00Z","new":{}},"deliveryAttempt":2,"new":1}`
)

func receive(t *testing.T, body string, header ...string) (pubsubio.Message, error) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return pubsubio.Receive(httptest.NewRecorder(), r)
}

func TestReceive(t *testing.T) {
	want := pubsubio.Message{ID: "4711", Data: []byte(`{"user":"ada@example.com"}`), Delivery: 2, PublishTime: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Attributes: map[string]string{"k": "v"}}
	structured := `{"specversion":"1.0","id":"e1","type":"google.cloud.pubsub.topic.v1.messagePublished","source":"//pubsub.googleapis.com/projects/p/topics/t","datacontenttype":"application/json","data":` + push + `}`
	for name, c := range map[string]struct {
		body   string
		header []string
	}{
		"push":             {push, []string{"Content-Type", "application/json"}},
		"binary event":     {push, []string{"Content-Type", "application/json", "Ce-Id", "4711", "Ce-Specversion", "1.0", "Ce-Type", "google.cloud.pubsub.topic.v1.messagePublished", "Ce-Source", "//pubsub.googleapis.com/projects/p/topics/t"}},
		"structured event": {structured, []string{"Content-Type", "application/cloudevents+json; charset=utf-8"}},
		"older spelling":   {strings.Replace(push, `"messageId":"4711",`, "", 1), nil},
		"older time":       {strings.Replace(push, `"publishTime"`, `"publish_time"`, 1), nil},
		"id of the event":  {strings.ReplaceAll(strings.ReplaceAll(push, `"messageId":"4711",`, ""), `"message_id":"4711",`, ""), []string{"Ce-Id", "4711"}},
	} {
		got, err := receive(t, c.body, c.header...)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// What Pub/Sub gave up says how often it was delivered before.
func TestReceiveADeadLetter(t *testing.T) {
	for count, want := range map[string]int{"7": 7, "0": 2, "-1": 2, "many": 2, "": 2} {
		got, err := receive(t, strings.Replace(push, `"k":"v"`, `"CloudPubSubDeadLetterSourceDeliveryCount":"`+count+`"`, 1))
		if err != nil || got.Delivery != want {
			t.Errorf("%q: %+v, %v; want %d", count, got, err, want)
		}
	}
}

// A time that is none makes a message no worse.
func TestReceiveWithoutATime(t *testing.T) {
	for _, at := range []string{`""`, `"yesterday"`, `null`} {
		got, err := receive(t, strings.Replace(push, `"2026-11-21T12:00:00Z"`, at, 1))
		if err != nil || got.ID != "4711" || !got.PublishTime.IsZero() {
			t.Errorf("%s: %+v, %v", at, got, err)
		}
	}
}

func TestReceiveRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		body, says string
		header     []string
	}{
		"nothing":          {"", "not a Pub/Sub push request", nil},
		"no JSON":          {"hello", "not a Pub/Sub push request", nil},
		"another JSON":     {`{"x":1}`, "not a Pub/Sub push request", nil},
		"broken base64":    {`{"message":{"data":"%%%","messageId":"1"}}`, "not a Pub/Sub push request", nil},
		"no id":            {`{"message":{"data":""}}`, "no messageId", nil},
		"another event":    {push, "of type \"google.cloud.storage.object.v1.finalized\"; this function", []string{"Ce-Type", "google.cloud.storage.object.v1.finalized", "Ce-Id", "1"}},
		"broken event":     {`{"specversion":`, "not a CloudEvent", []string{"Content-Type", "application/cloudevents+json"}},
		"event without id": {`{"specversion":"1.0","type":"x","source":"y"}`, "", []string{"Content-Type", "application/cloudevents+json"}},
	} {
		msg, err := receive(t, c.body, c.header...)
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %+v, %v; want … %s …", name, msg, err, c.says)
		}
	}
}

func TestReceiveRefusesWhatIsTooLong(t *testing.T) {
	for _, length := range []int64{-1, 0} { // with and without Content-Length
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(strings.Repeat("x", 15<<20)))
		if length < 0 {
			r.ContentLength = length
		}
		if _, err := pubsubio.Receive(httptest.NewRecorder(), r); err == nil || !strings.Contains(err.Error(), "longer than") {
			t.Errorf("error %v", err)
		}
	}
}

func FuzzReceive(f *testing.F) {
	f.Add(push, "application/json", "")
	f.Add(push, "application/cloudevents+json", "google.cloud.pubsub.topic.v1.messagePublished")
	f.Add(`{"specversion":"1.0","id":"e1","type":"google.cloud.pubsub.topic.v1.messagePublished","source":"//x","data_base64":"e30="}`, "application/cloudevents+json", "")
	f.Add(`{"message":null}`, "", "")
	f.Fuzz(func(t *testing.T, body, contentType, eventType string) {
		msg, err := receive(t, body, "Content-Type", contentType, "Ce-Type", eventType)
		if err == nil && msg.ID == "" {
			t.Error("a message without an id")
		}
	})
}
