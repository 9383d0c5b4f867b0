package jobs

import (
	"bytes"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// Anew gives a job that [Decode] has read as it is published anew, after the result of
// its id: under the id ID~N, where N is a number that no other try at it has. All
// else in it stays byte for byte. A job that was published anew before keeps its first ID.
// An error is a [FieldError].
func Anew(data []byte, n string) (again []byte, id string, err error) {
	from, to, err := findID(data)
	if err != nil {
		return nil, "", err
	}
	old, err := jsontext.AppendUnquote(nil, data[from:to])
	if err != nil {
		return nil, "", Errorf("id", "cannot be read as JSON")
	}
	id = first(string(old)) + "~" + n
	if err := checkID(id); err != nil {
		return nil, "", err
	}
	quoted, err := jsontext.AppendQuote(nil, id)
	if err != nil {
		return nil, "", Errorf("id", "cannot be written as JSON")
	}
	again = bytes.Join([][]byte{data[:from], quoted, data[to:]}, nil)
	if len(again) > MaxData {
		return nil, "", Errorf("", "is %d bytes long with the id %s; at most %d are read", len(again), Quote(id), MaxData)
	}
	return again, id, nil
}

// first is an id without the number of a job that was published anew.
func first(id string) string {
	i := strings.LastIndexByte(id, '~')
	if i <= 0 || i == len(id)-1 || strings.Trim(id[i+1:], "0123456789") != "" {
		return id
	}
	return id[:i]
}

// findID finds where the job's id stands, with its quotes.
func findID(data []byte) (from, to int, err error) {
	d := jsontext.NewDecoder(bytes.NewReader(data))
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return 0, 0, Errorf("", "is no JSON object")
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadToken()
		if err != nil {
			break
		}
		isID := name.String() == "id"
		value, err := d.ReadValue()
		if err != nil {
			break
		}
		if isID && value.Kind() == '"' {
			to = int(d.InputOffset())
			return to - len(value), to, nil
		}
	}
	return 0, 0, Errorf("id", "is missing")
}
