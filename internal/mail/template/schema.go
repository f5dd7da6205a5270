package template

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
	"golang.org/x/text/language"
	"golang.org/x/text/message"

	"github.com/postrider/postrider/tasks"
)

// schema is the JSON Schema of a template's data (draft 2020-12 unless it says
// otherwise; formats are checked). The nil one allows everything.
type schema struct {
	source   json.RawMessage
	compiled *jsonschema.Schema
	examples []json.RawMessage // data that the template must be able to render
}

// newSchema compiles a schema. It may refer to no other document.
func newSchema(source []byte) (*schema, error) {
	var head struct {
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(source, &head); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(string(source)))
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	const url = "schema:data"
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	c.UseLoader(jsonschema.SchemeURLLoader{}) // which loads nothing
	if err := c.AddResource(url, doc); err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	compiled, err := c.Compile(url)
	if err != nil {
		return nil, fmt.Errorf("compiling the schema: %w", err)
	}
	return &schema{source: source, compiled: compiled, examples: head.Examples}, nil
}

// check tells which fields of the data the schema does not allow.
func (s *schema) check(d data) error {
	if s == nil {
		return nil
	}
	// Numbers are float64 here: of a json.Number with a large exponent the
	// validator would write out all digits.
	var v any
	if err := json.Unmarshal(d.source, &v); err != nil {
		return tasks.Invalid{{Field: "data", Problem: "cannot be read: " + err.Error()}}
	}
	err := s.compiled.Validate(v)
	var found *jsonschema.ValidationError
	if !errors.As(err, &found) {
		return err
	}
	var bad tasks.Invalid
	leaves(found, &bad)
	slices.SortFunc(bad, func(a, b tasks.FieldError) int {
		return strings.Compare(a.Field+"\x00"+a.Problem, b.Field+"\x00"+b.Problem)
	})
	return slices.Compact(bad)
}

var english = message.NewPrinter(language.English)

// leaves notes what is at fault in the end, by field.
func leaves(e *jsonschema.ValidationError, bad *tasks.Invalid) {
	if len(e.Causes) > 0 {
		for _, cause := range e.Causes {
			leaves(cause, bad)
		}
		return
	}
	at := fieldName(e.InstanceLocation)
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			bad.Add(at+"."+name, "must be given")
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			bad.Add(at+"."+clipped(name), "is not a field that the template knows")
		}
	default:
		bad.Add(at, "does not fit the template: "+clipped(k.LocalizedString(english)))
	}
}

// fieldName is a place in the data as errors name it: data.items[0].price.
func fieldName(path []string) string {
	var b strings.Builder
	b.WriteString("data")
	for _, step := range path {
		// A member whose name is a number looks like an element; nobody minds.
		if _, err := strconv.Atoi(step); err == nil {
			b.WriteString("[" + step + "]")
		} else {
			b.WriteString("." + clipped(step))
		}
	}
	return b.String()
}

// clipped bounds what came from outside in an error.
func clipped(s string) string {
	const most = 200
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
