package httpapi

import (
	"bytes"
	"math"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
)

// plainShape is what can be told of a schema's objects without decoding them:
// enough to see, of nearly every good request, that the schema allows it. It
// errs to one side only: what it does not take is for the schema to judge.
type plainShape struct {
	fields   map[string]plainField
	required uint64 // bits of fields
}

type plainField struct {
	bit      uint64
	kind     plainKind
	min, max int64    // of plainInteger
	enum     []string // of plainString; empty for any
}

type plainKind int

const (
	plainNever   plainKind = iota // left to the schema
	plainString                   // RFC 3339 times too, which decoding is strict about
	plainInteger                  // without fraction and exponent
	plainBoolean
	plainAny // any value but null
)

// shapeOf makes the shape of an object's schema.
func shapeOf(registry huma.Registry, schema *huma.Schema) plainShape {
	for schema.Ref != "" {
		schema = registry.SchemaFromRef(schema.Ref)
	}
	out := plainShape{fields: map[string]plainField{}}
	if len(schema.Properties) > 64 {
		return out // takes no object with a field
	}
	for name, property := range schema.Properties {
		f := fieldShape(property)
		f.bit = 1 << len(out.fields)
		out.fields[name] = f
	}
	for _, name := range schema.Required {
		out.required |= out.fields[name].bit
	}
	return out
}

func fieldShape(s *huma.Schema) plainField {
	f := plainField{min: math.MinInt64, max: math.MaxInt64}
	if s.Ref != "" || s.Nullable || s.OneOf != nil || s.AnyOf != nil || s.AllOf != nil || s.Not != nil {
		return f
	}
	switch {
	case s.Type == huma.TypeString && s.Pattern == "" && s.MinLength == nil && s.MaxLength == nil && s.ContentEncoding == "" &&
		(s.Format == "" || s.Format == "date-time"):
		f.kind = plainString
		for _, v := range s.Enum {
			word, ok := v.(string)
			if !ok {
				f.kind = plainNever
			}
			f.enum = append(f.enum, word)
		}
	case s.Type == huma.TypeInteger && s.Enum == nil && s.MultipleOf == nil && s.ExclusiveMinimum == nil && s.ExclusiveMaximum == nil:
		f.kind = plainInteger
		if s.Minimum != nil {
			f.min = int64(math.Ceil(*s.Minimum))
		}
		if s.Maximum != nil {
			f.max = int64(*s.Maximum)
		}
	case s.Type == huma.TypeBoolean && s.Enum == nil:
		f.kind = plainBoolean
	case s.Type == "" && s.Enum == nil:
		f.kind = plainAny
	}
	return f
}

// takes reports whether raw, if it is JSON at all, is an object that the schema
// allows: each field known, met once, its name written without escapes, of its
// kind, and none missing.
func (p plainShape) takes(raw []byte) bool {
	var seen uint64
	rest, ok := after(raw, '{')
	for ok {
		name, behind, isName := quoted(space(rest))
		f, known := p.fields[string(name)]
		if !isName || !known || seen&f.bit != 0 {
			return false
		}
		seen |= f.bit
		if rest, ok = after(behind, ':'); !ok {
			return false
		}
		if rest, ok = f.value(space(rest)); !ok {
			return false
		}
		if end, closed := after(rest, '}'); closed {
			return seen&p.required == p.required && len(space(end)) == 0
		}
		rest, ok = after(rest, ',')
	}
	return false
}

// value returns what is behind the value that raw begins with.
func (f plainField) value(raw []byte) ([]byte, bool) {
	if len(raw) == 0 {
		return nil, false
	}
	switch c := raw[0]; f.kind {
	case plainString:
		value, rest, ok := quoted(raw)
		if len(f.enum) == 0 || !ok {
			return rest, ok
		}
		for _, word := range f.enum {
			if string(value) == word {
				return rest, true
			}
		}
	case plainInteger:
		n := 0
		for n < len(raw) && (raw[n] >= '0' && raw[n] <= '9' || raw[n] == '-') {
			n++
		}
		v, err := strconv.ParseInt(string(raw[:n]), 10, 64)
		return raw[n:], err == nil && v >= f.min && v <= f.max
	case plainBoolean:
		return literal(raw)
	case plainAny:
		if c == '{' || c == '[' {
			return nested(raw)
		}
		if c == '"' {
			_, rest, ok := quoted(raw)
			return rest, ok
		}
		return literal(raw)
	}
	return nil, false
}

// nested returns what is behind the object or array that raw begins with. It
// takes no number that could be too large for a float64, which is refused.
func nested(raw []byte) ([]byte, bool) {
	const digits = 20
	depth, number := 0, 0
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			_, rest, ok := quoted(raw[i:])
			if !ok {
				return nil, false
			}
			i = len(raw) - len(rest) - 1
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth == 0 {
				return raw[i+1:], true
			}
		case c >= '0' && c <= '9':
			if number++; number > digits {
				return nil, false
			}
			continue
		case (c == 'e' || c == 'E') && number > 0:
			return nil, false
		}
		number = 0
	}
	return nil, false
}

func literal(raw []byte) ([]byte, bool) {
	for _, word := range []string{"true", "false"} {
		if rest, ok := bytes.CutPrefix(raw, []byte(word)); ok {
			return rest, true
		}
	}
	return nil, false
}

// quoted returns what stands between the quotation marks that raw begins with,
// escapes and all, and what is behind them.
func quoted(raw []byte) (content, rest []byte, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return nil, nil, false
	}
	for i := 1; i < len(raw); i++ {
		switch raw[i] {
		case '\\':
			i++
		case '"':
			return raw[1:i], raw[i+1:], true
		}
	}
	return nil, nil, false
}

// space returns raw without the white space before it (RFC 8259 section 2).
func space(raw []byte) []byte {
	for len(raw) > 0 && (raw[0] == ' ' || raw[0] == '\n' || raw[0] == '\r' || raw[0] == '\t') {
		raw = raw[1:]
	}
	return raw
}

// after returns what is behind c, with which raw begins but for white space.
func after(raw []byte, c byte) ([]byte, bool) {
	raw = space(raw)
	if len(raw) == 0 || raw[0] != c {
		return nil, false
	}
	return raw[1:], true
}
