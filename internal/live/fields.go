package live

import (
	"encoding/json"
	"slices"
)

// fields are those of an object that a client sent.
type fields map[string]json.RawMessage

// fieldsOf reads an object; nil when it is something else.
func fieldsOf(raw json.RawMessage) fields {
	var f fields
	if json.Unmarshal(raw, &f) != nil {
		return nil
	}
	return f
}

// take removes the first of the fields that there is, and returns its text: of
// a string or a number.
func (f fields) take(names ...string) (text string) {
	for _, name := range names {
		if text == "" {
			text = textOf(f[name])
		}
		delete(f, name)
	}
	return text
}

// text is that of the first of the fields that has any.
func (f fields) text(names ...string) string {
	for _, name := range names {
		if text := textOf(f[name]); text != "" {
			return text
		}
	}
	return ""
}

// textOf reads a string, or a number as it stands; empty when it is neither.
func textOf(raw json.RawMessage) string {
	var text string
	var number json.Number
	switch {
	case len(raw) == 0:
		return ""
	case json.Unmarshal(raw, &text) == nil:
		return text
	case json.Unmarshal(raw, &number) == nil:
		return number.String()
	default:
		return ""
	}
}

// whoNames are the fields by which tutorials' pages show who says something.
var whoNames = []string{"senderId", "sender_id", "sender", "senderName", "sender_name", "from", "username", "userName", "author", "user"}

// flat is an event's argument as the tutorials' pages look into it: what is in
// data stands beside the rest too, a text is also a message and the other way
// round, and who says it, in whatever field, is the user that it came from.
func flat(arg json.RawMessage) json.RawMessage {
	f := fieldsOf(arg)
	who, said := f["userId"]
	for name, value := range fieldsOf(f["data"]) {
		if said && slices.Contains(whoNames, name) {
			value = who
		}
		if _, taken := f[name]; !taken {
			f[name] = value
		}
	}
	if said {
		f["senderId"], f["username"] = who, who
	}
	for _, pair := range [][2]string{{"text", "message"}, {"message", "text"}} {
		if value, is := f[pair[0]]; is && f[pair[1]] == nil {
			f[pair[1]] = value
		}
	}
	out, err := json.Marshal(f)
	if f == nil || err != nil {
		return arg
	}
	return out
}
