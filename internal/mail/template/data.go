package template

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/postrider/postrider/tasks"
)

// data is what a template is fed with. It is one mail's alone, and read from
// JSON for it: nothing of it is shared.
type data struct {
	source json.RawMessage
	values map[string]any // as templates see it
}

// parseData reads an object; none at all is the empty one. An error is a
// tasks.Invalid that names "data" or a field below it.
func parseData(raw json.RawMessage) (data, error) {
	if len(bytes.TrimSpace(raw)) == 0 {
		raw = []byte("{}")
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var top map[string]any
	if err := dec.Decode(&top); err != nil || top == nil {
		return data{}, tasks.Invalid{{Field: "data", Problem: "must be an object"}}
	}
	var bad tasks.Invalid
	values := convert(top, "data", &bad)
	if err := bad.OrNil(); err != nil {
		return data{}, err
	}
	return data{source: raw, values: values.(map[string]any)}, nil
}

// decimal is a number that is no integer, or written as one that is none. As a float64 it would be written
// 1.23e+06.
type decimal float64

// String writes all digits.
func (d decimal) String() string { return strconv.FormatFloat(float64(d), 'f', -1, 64) }

// digits is an integer beyond int64.
type digits string

// convert copies a value into what templates can compare and write.
func convert(v any, path string, bad *tasks.Invalid) any {
	switch v := v.(type) {
	case map[string]any:
		out := make(map[string]any, len(v))
		for name, member := range v {
			out[name] = convert(member, path+"."+name, bad)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i, element := range v {
			out[i] = convert(element, fmt.Sprintf("%s[%d]", path, i), bad)
		}
		return out
	case json.Number:
		if n, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return n
		}
		f, err := v.Float64()
		switch {
		case err != nil:
			bad.Add(path, "is too large a number")
		case !strings.ContainsAny(v.String(), ".eE"):
			return digits(v) // an order's number has all of its digits in the mail
		}
		return decimal(f)
	case string:
		if strings.ContainsRune(v, 0) {
			bad.Add(path, "must not contain NUL")
		}
	}
	return v
}
