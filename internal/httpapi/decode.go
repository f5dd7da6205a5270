package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Left alone, huma takes "Delay" for a second name of "delay" and looks at one
// of the two, while encoding/json keeps the last: a bound that was checked would
// not be the bound of what is used.
func init() { huma.ValidateStrictCasing = true }

// decoder reads JSON of one Go type, whose schema it checks first.
type decoder[T any] struct {
	registry huma.Registry
	schema   *huma.Schema // a reference, as the OpenAPI document shows it
	shape    plainShape
}

// newDecoder registers T's schema; it must be called before serving begins.
func newDecoder[T any](registry huma.Registry) decoder[T] {
	schema := registry.Schema(reflect.TypeFor[T](), true, "")
	return decoder[T]{registry, schema, shapeOf(registry, schema)}
}

// decode reads raw. Its error is a 400 for what is no JSON, and otherwise an
// Invalid that names every field which the schema does not allow.
func (d decoder[T]) decode(raw []byte) (T, error) {
	if d.shape.takes(raw) {
		var out T
		if json.Unmarshal(raw, &out) == nil {
			return out, nil
		}
	}
	return d.judge(raw)
}

// judge is decode for what the schema must look at, whose checks take as long
// again as decoding does.
func (d decoder[T]) judge(raw []byte) (T, error) {
	var out T
	var loose any
	if err := json.Unmarshal(raw, &loose); err != nil {
		var kind *json.UnmarshalTypeError
		if errors.As(err, &kind) { // 1e400: JSON, but no float64
			return out, job.Invalid(tasks.Invalid{{Field: "body", Problem: "has a number that is too large: " + clipped(kind.Value)}})
		}
		return out, badJSON(err)
	}
	found := &huma.ValidateResult{}
	huma.Validate(d.registry, d.schema, huma.NewPathBuffer(nil, 0), huma.ModeWriteToServer, loose, found)
	var bad tasks.Invalid
	for _, err := range found.Errors {
		var detail *huma.ErrorDetail
		if errors.As(err, &detail) {
			bad = append(bad, schemaError(detail))
		}
	}
	if err := bad.OrNil(); err != nil {
		return out, job.Invalid(err)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		return out, job.Invalid(tasks.Invalid{typeError(err)})
	}
	return out, nil
}

func badJSON(err error) error {
	return newProblem(http.StatusBadRequest, job.CodeInvalid, "the body is not JSON: "+err.Error())
}

// schemaError puts huma's words so that they name the field.
func schemaError(d *huma.ErrorDetail) tasks.FieldError {
	f := tasks.FieldError{Field: d.Location, Problem: d.Message}
	before, after, _ := strings.Cut(validation.MsgExpectedRequiredProperty, "%s")
	if name, ok := strings.CutPrefix(d.Message, before); ok {
		name = strings.TrimSuffix(name, after)
		if f.Field != "" {
			name = f.Field + "." + name
		}
		return tasks.FieldError{Field: name, Problem: "must be given"}
	}
	switch d.Message {
	case validation.MsgUnexpectedProperty:
		f.Problem = "is not a field of this request"
	case validation.MsgExpectedMatchExactlyOneSchema:
		f.Problem = "must be a string or an array of strings" // the one choice that there is
	}
	f.Field = clipped(f.Field)
	return f
}

// typeError names the field that the schema let through and Go does not take:
// 1e3 for an integer.
func typeError(err error) tasks.FieldError {
	var kind *json.UnmarshalTypeError
	if errors.As(err, &kind) && kind.Field != "" {
		return tasks.FieldError{Field: kind.Field, Problem: "must not be a " + clipped(kind.Value)}
	}
	return tasks.FieldError{Field: "body", Problem: "cannot be read: " + err.Error()}
}

// clipped bounds a field's name or value, which came from outside.
func clipped(name string) string {
	const most = 200
	switch {
	case name == "":
		return "body"
	case len(name) > most:
		return strings.ToValidUTF8(name[:most], "") + "…"
	}
	return name
}

// addresses is a list of mail addresses; in JSON one may stand bare.
type addresses []string

// Schema implements huma.SchemaProvider.
func (addresses) Schema(huma.Registry) *huma.Schema {
	one := &huma.Schema{Type: huma.TypeString, Examples: []any{"Ann <ann@example.com>"}}
	return &huma.Schema{OneOf: []*huma.Schema{one, {Type: huma.TypeArray, Items: &huma.Schema{Type: huma.TypeString}}}}
}

// UnmarshalJSON reads a string or an array of strings.
func (a *addresses) UnmarshalJSON(raw []byte) error {
	if raw = bytes.TrimSpace(raw); len(raw) > 0 && raw[0] == '"' {
		*a = make(addresses, 1)
		return json.Unmarshal(raw, &(*a)[0])
	}
	return json.Unmarshal(raw, (*[]string)(a))
}
