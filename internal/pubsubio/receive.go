// Package pubsubio is Pub/Sub at both ends of a function: the message that
// comes in as an HTTP request, and the results that go out.
package pubsubio

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/cloudevents/sdk-go/v2/event"
	"github.com/go-json-experiment/json"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// maxRequest bounds what is read of a request: the longest message that Pub/Sub
// itself takes (10 MB), in base64 and with its envelope. What is longer than a
// job may be is read all the same, so that it gets its failed result.
const maxRequest = 10<<20*4/3 + 1<<20

// maxMessageID is longer than any id that Pub/Sub gives, in bytes.
const maxMessageID = 128

// messagePublished is the CloudEvents type of a Pub/Sub message.
const messagePublished = "google.cloud.pubsub.topic.v1.messagePublished"

// Message is one delivery of a Pub/Sub message.
type Message struct {
	ID   string
	Data []byte
	// Delivery counts the deliveries of this message, from 1; 0 where the
	// subscription has no dead-letter topic and so does not count. Of a dead letter it
	// is how often the message was delivered before Pub/Sub gave it up.
	Delivery int
	// PublishTime is when it was published; zero where that is not said, or not as
	// a time.
	PublishTime time.Time
	// Attributes are as they came, and hostile.
	Attributes map[string]string
}

// envelope is what Pub/Sub posts (https://cloud.google.com/pubsub/docs/push).
// Google may add to it, so unknown fields are passed over.
type envelope struct {
	Message *struct {
		Data      []byte `json:"data"`
		MessageID string `json:"messageId"`
		// OldMessageID is the same id in an older spelling.
		OldMessageID string `json:"message_id"`
		// So are these the same time. They are read as text: a message without a time
		// is still a message.
		PublishTime    string            `json:"publishTime"`
		OldPublishTime string            `json:"publish_time"`
		Attributes     map[string]string `json:"attributes"`
	} `json:"message"`
	DeliveryAttempt int `json:"deliveryAttempt"`
}

// Receive reads the message that a request brings: as a CloudEvent, binary or
// structured, the way Eventarc delivers it, or as the plain body of a push
// subscription. An error says what is wrong with the request; of that it quotes
// no more than a wrong type of event.
func Receive(w http.ResponseWriter, r *http.Request) (Message, error) {
	if r.Method != http.MethodPost {
		return Message{}, errors.New("a POST is expected")
	}
	body, err := readAll(w, r)
	if err != nil {
		return Message{}, err
	}
	eventType, eventID := r.Header.Get("Ce-Type"), r.Header.Get("Ce-Id")
	if mediaType, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); mediaType == event.ApplicationCloudEventsJSON {
		var e event.Event
		if err := json.Unmarshal(body, &e); err != nil {
			return Message{}, errors.New("the body is not a CloudEvent in JSON")
		}
		body, eventType, eventID = e.Data(), e.Type(), e.ID()
	}
	if eventType != "" && eventType != messagePublished {
		return Message{}, fmt.Errorf("the event is of type %s; this function is triggered by %s", jobs.Quote(eventType), messagePublished)
	}
	var in envelope
	if err := json.Unmarshal(body, &in); err != nil || in.Message == nil {
		return Message{}, errors.New(`the body is not a Pub/Sub push request: {"message": {"data": "<base64>", "messageId": "…"}, …} is expected`)
	}
	msg := Message{ID: cmp.Or(in.Message.MessageID, in.Message.OldMessageID, eventID), Data: in.Message.Data, Delivery: cmp.Or(deliveries(in.Message.Attributes), in.DeliveryAttempt), Attributes: in.Message.Attributes}
	if msg.ID == "" || len(msg.ID) > maxMessageID || !utf8.ValidString(msg.ID) || strings.ContainsFunc(msg.ID, unicode.IsControl) {
		return Message{}, errors.New("the message has no messageId, or one that Pub/Sub does not give")
	}
	if at, err := time.Parse(time.RFC3339, cmp.Or(in.Message.PublishTime, in.Message.OldPublishTime)); err == nil {
		msg.PublishTime = at
	}
	return msg, nil
}

// readAll reads the body into a buffer of the right size: growing one step by
// step costs more than all the rest of receiving.
func readAll(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	limited := http.MaxBytesReader(w, r.Body, maxRequest)
	if r.ContentLength < 0 || r.ContentLength > maxRequest {
		body, err := io.ReadAll(limited)
		return body, readError(err)
	}
	body := make([]byte, r.ContentLength)
	_, err := io.ReadFull(limited, body)
	return body, readError(err)
}

func readError(err error) error {
	var tooLong *http.MaxBytesError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &tooLong):
		return fmt.Errorf("the body is longer than %d bytes, which no Pub/Sub message is", maxRequest)
	}
	return errors.New("the body could not be read to its end")
}
