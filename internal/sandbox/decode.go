package sandbox

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
)

// strictJSON reads exactly one value and refuses unknown fields, as Google's
// APIs do.
func strictJSON(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more than one value")
	}
	return nil
}

// badJSON words a strictJSON error as Google words it. The place ("message")
// is where the body is bound in the request, empty for the request itself.
func badJSON(err error, place string) reply {
	message := "Invalid JSON payload received. " + err.Error()
	// encoding/json has no typed error for an unknown field.
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		at := ""
		if place != "" {
			at = " at '" + place + "'"
		}
		message = "Invalid JSON payload received. Unknown name " + name + at + ": Cannot find field."
	}
	return errorReply(apiError{
		Code: http.StatusBadRequest, Message: message, Status: canonical(http.StatusBadRequest),
		Errors: []errorItem{{Message: message, Domain: "global", Reason: "badRequest"}},
	})
}

// decodeBase64 takes both alphabets, with or without padding, as the JSON
// form of protocol buffers does.
func decodeBase64(s string) ([]byte, error) {
	s = strings.TrimRight(s, "=")
	if strings.ContainsAny(s, "+/") {
		return base64.RawStdEncoding.DecodeString(s)
	}
	return base64.RawURLEncoding.DecodeString(s)
}
