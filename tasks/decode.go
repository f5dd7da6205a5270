package tasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	quickjson "github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	asbefore "github.com/go-json-experiment/json/v1"
)

// quickly decodes as encoding/json does, what strict refuses aside.
var quickly = quickjson.JoinOptions(
	asbefore.DefaultOptionsV1(), quickjson.RejectUnknownMembers(true), jsontext.AllowInvalidUTF8(false),
)

// quick decodes most of what strict would, into the same, in less than half of
// the time; false means that strict has to be asked, with a new value. Every job
// is decoded twice, when it is accepted and when it is carried out. (It is what
// is to be encoding/json/v2. It refuses in other words, so that it has no say.)
func quick(raw []byte, into any) bool { return quickjson.Unmarshal(raw, into, quickly) == nil }

// strict decodes one JSON object and nothing behind it, refusing fields that
// the payload does not have. No payload at all is the empty object.
func strict(raw []byte, into any) error {
	// RFC 8259 section 8.1. encoding/json would put U+FFFD where a string is
	// broken, which alters the message, and keep a json.RawMessage as it is,
	// which PostgreSQL refuses.
	if !utf8.Valid(raw) {
		return Invalid{{Field: "payload", Problem: "is not UTF-8"}}
	}
	if len(bytes.TrimSpace(raw)) == 0 || bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		raw = []byte("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil {
		if _, end := dec.Token(); !errors.Is(end, io.EOF) {
			return Invalid{{Field: "payload", Problem: "has something behind its end"}}
		}
		return nil
	}
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) {
		// The value of a number is its digits, however many.
		if kind.Field == "" {
			return Invalid{{Field: "payload", Problem: "must be an object, not a " + printable(kind.Value)}}
		}
		return Invalid{{Field: kind.Field, Problem: "must not be a " + printable(kind.Value)}}
	}
	if name, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		return Invalid{{Field: printable(strings.Trim(name, `"`)), Problem: "is not a field of this job type"}}
	}
	return Invalid{{Field: "payload", Problem: "is not valid JSON for this job type: " + strings.TrimPrefix(err.Error(), "json: ")}}
}
