package store

import (
	"bytes"
	"encoding/json"
)

// unlist takes the person out of the payload of a schedule: out of the lists that
// name others too, and as a quote everywhere else. It reports whether the schedule
// is for that person alone, and so for nobody any more.
func (q quotes) unlist(payload string) (left string, alone bool) {
	var fields map[string]any
	in := json.NewDecoder(bytes.NewReader([]byte(payload)))
	in.UseNumber()
	if err := in.Decode(&fields); err != nil { // no list of anybody
		return q.erase(payload), false
	}
	for name, value := range fields {
		switch v := value.(type) {
		case string:
			switch {
			case !q.is(v):
				fields[name] = q.erase(v)
			case name == "reply_to":
				delete(fields, name)
			default:
				return "", true
			}
		case []any:
			others := q.without(v)
			rcpt, sent := fields["rcpt"].(string)
			switch {
			case len(others) > 0 || len(v) == 0:
				fields[name] = others
			case name == "cc":
				delete(fields, name)
			case name == "to" && sent && !q.is(rcpt): // the header must name somebody
				fields[name] = []any{rcpt}
			default:
				return "", true
			}
		default:
			fields[name] = q.inside(v)
		}
	}
	out, err := json.Marshal(fields)
	if err != nil { // what was decoded can be encoded
		return q.erase(payload), false
	}
	return string(out), false
}

// without is a list without what names the person: the address, or an object one
// of whose fields is it.
func (q quotes) without(list []any) []any {
	out := []any{}
	for _, v := range list {
		if !q.names(v) {
			out = append(out, q.inside(v))
		}
	}
	return out
}

func (q quotes) names(v any) bool {
	switch v := v.(type) {
	case string:
		return q.is(v)
	case map[string]any:
		for _, field := range v {
			if text, ok := field.(string); ok && q.is(text) {
				return true
			}
		}
	}
	return false
}

// inside takes the person out of a value that is kept.
func (q quotes) inside(v any) any {
	switch v := v.(type) {
	case string:
		return q.erase(v)
	case []any:
		return q.without(v)
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, field := range v {
			out[q.erase(name)] = q.inside(field)
		}
		return out
	}
	return v
}
