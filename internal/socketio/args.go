package socketio

import (
	"bytes"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Binary is bytes that travel beside the JSON of an event, as an attachment: an
// ArrayBuffer or Buffer at the other end. It may stand anywhere in an argument.
// Other bytes are strings of base64, as JSON has them; such a string is also
// taken where a Binary is wanted.
type Binary []byte

// Args are the arguments of an event or an acknowledgement.
type Args struct {
	raw         []stdjson.RawMessage
	attachments [][]byte
}

// Len is how many arguments there are.
func (a Args) Len() int { return len(a.raw) }

// Raw is the i-th argument's JSON, 0 <= i < Len. Of a Binary in it there is a
// placeholder only.
func (a Args) Raw(i int) stdjson.RawMessage { return a.raw[i] }

// Bind reads the first arguments into what dst points at, as
// encoding/json.Unmarshal would. It errs when there are fewer, or one is of
// another kind than its place; further ones are left.
func (a Args) Bind(dst ...any) error {
	if len(dst) > len(a.raw) {
		return fmt.Errorf("reading arguments: there are %d, not %d", len(a.raw), len(dst))
	}
	options := lenient
	if len(a.attachments) > 0 {
		options = json.JoinOptions(lenient, json.WithUnmarshalers(json.UnmarshalFromFunc(a.attachment)))
	}
	for i, to := range dst {
		if err := json.Unmarshal(a.raw[i], to, options); err != nil {
			return fmt.Errorf("reading argument %d: %w", i+1, err)
		}
	}
	return nil
}

// placeholder stands in JSON for an attachment
// (Socket.IO protocol, "Packet encoding").
type placeholder struct {
	Placeholder bool `json:"_placeholder"`
	Num         int  `json:"num"`
}

var errPlaceholder = errors.New("a placeholder of no attachment")

// attachment reads a placeholder as what it stands for.
func (a Args) attachment(dec *jsontext.Decoder, to *Binary) error {
	if dec.PeekKind() != '{' {
		return json.SkipFunc // read it as any bytes
	}
	var p placeholder
	if err := json.UnmarshalDecode(dec, &p); err != nil {
		return err
	}
	if !p.Placeholder || p.Num < 0 || p.Num >= len(a.attachments) {
		return errPlaceholder
	}
	*to = a.attachments[p.Num]
	return nil
}

// lenient takes and gives what JSON.parse and encoding/json do: names that are
// there twice, and halves of a surrogate pair, which are what a client's slice
// leaves of an emoji. What one client may say another can be told, or else a
// single message would keep a room's history from all who enter. Text that is not
// UTF-8 does not come so far: see parseText.
var lenient = json.JoinOptions(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))

var errNoArray = errors.New("a payload that is no array")

// parseArgs reads a payload, which is UTF-8.
func parseArgs(payload []byte, attachments [][]byte) (Args, error) {
	var raw []stdjson.RawMessage
	if err := json.Unmarshal(payload, &raw, lenient); err != nil {
		return Args{}, errors.Join(errNoArray, err)
	}
	return Args{raw: raw, attachments: attachments}, nil
}

// reserved names are the clients' own: they could not receive such an event.
var reserved = []string{"connect", "connect_error", "disconnect", "disconnecting", "newListener", "removeListener"}

var errEventName = errors.New("not the name of an event")

// parseEvent reads the payload of an event: its name, then its arguments.
func parseEvent(payload []byte, attachments [][]byte) (string, Args, error) {
	args, err := parseArgs(payload, attachments)
	if err != nil {
		return "", Args{}, err
	}
	var name string
	if len(args.raw) == 0 || json.Unmarshal(args.raw[0], &name) != nil || args.raw[0][0] != '"' || slices.Contains(reserved, name) {
		return "", Args{}, errEventName
	}
	args.raw = args.raw[1:]
	return name, args, nil
}

// encoder writes payloads, leaving placeholders for what it finds of Binary. It
// is pooled since the JSON package learns types by encoder.
type encoder struct {
	found   [][]byte
	options json.Options
}

var encoders = sync.Pool{New: func() any {
	e := new(encoder)
	e.options = json.JoinOptions(lenient, json.WithMarshalers(json.MarshalToFunc(func(enc *jsontext.Encoder, b Binary) error {
		e.found = append(e.found, b)
		return json.MarshalEncode(enc, placeholder{Placeholder: true, Num: len(e.found) - 1})
	})))
	return e
}}

// encodeEvent makes the frames of an event; with an id it asks for an answer.
func encodeEvent(namespace, event string, id uint64, hasID bool, args []any) ([]*frame, error) {
	if slices.Contains(reserved, event) {
		return nil, fmt.Errorf("encoding %q: %w: it is reserved", event, errEventName)
	}
	list := make([]any, 0, 1+len(args))
	list = append(append(list, event), args...)
	frames, err := encodePacket(packet{kind: sioEvent, namespace: namespace, id: id, hasID: hasID}, list)
	if err != nil {
		return nil, fmt.Errorf("encoding %q: %w", event, err)
	}
	return frames, nil
}

// encodePacket makes the frames of an event or an acknowledgement: its text,
// then its attachments.
func encodePacket(p packet, list []any) ([]*frame, error) {
	e := encoders.Get().(*encoder)
	defer func() {
		e.found = nil
		encoders.Put(e)
	}()
	payload, err := json.Marshal(list, e.options)
	if err != nil {
		return nil, err
	}
	if len(e.found) > 0 {
		// What a client sent may hold what looks like a placeholder. Beside real
		// ones it would have every receiver take the packet for broken.
		if bytes.Count(payload, []byte(`"_placeholder"`)) != len(e.found) {
			return nil, errPlaceholder
		}
		p.kind += sioBinaryEvent - sioEvent
		p.attachments = len(e.found)
	}
	p.payload = payload
	frames := make([]*frame, 0, 1+len(e.found))
	frames = append(frames, textFrame(p.append(make([]byte, 0, len(payload)+len(p.namespace)+24))))
	for _, b := range e.found {
		frames = append(frames, binaryFrame(b))
	}
	return frames, nil
}
