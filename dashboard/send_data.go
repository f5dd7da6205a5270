package dashboard

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/url"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/mail/template"
)

// dataField is a variable of a template as a form asks for it.
type dataField struct {
	Name     string // of the form's field
	name     string // of the variable
	About    string // what the schema says of it
	Kind     string // text, long, url, number, choice or json
	Choices  []string
	Required bool
	Example  string
	Value    string
}

// Label names it for people.
func (f dataField) Label() string { return strings.ReplaceAll(f.name, "_", " ") }

// longText is from how many characters on a text is asked for on several lines.
const longText = 400

// dataFields are the fields of a template's data, in the order of its schema;
// none where that is not one of an object with properties.
func dataFields(t *template.Template, values url.Values) (out []dataField) {
	var schema struct {
		Required   []string
		Properties json.RawMessage
	}
	var properties map[string]struct {
		Type        any // a name, or several
		Format      string
		Description string
		Enum        []any
		MaxLength   int
	}
	if json.Unmarshal(t.Schema(), &schema) != nil || json.Unmarshal(schema.Properties, &properties) != nil {
		return nil
	}
	var examples map[string]json.RawMessage
	if json.Unmarshal(t.Example(), &examples) != nil {
		examples = nil // a template without one is filled in without help
	}
	for _, name := range keys(schema.Properties) {
		p := properties[name]
		f := dataField{
			Name: "data." + name, name: name, About: p.Description, Kind: "json",
			Required: slices.Contains(schema.Required, name), Example: string(examples[name]), Value: values.Get("data." + name),
		}
		texts := texts(p.Enum)
		switch kind, _ := p.Type.(string); {
		case len(texts) > 0:
			f.Kind, f.Choices = "choice", texts
		case kind == "boolean":
			f.Kind, f.Choices = "choice", []string{"true", "false"}
		case kind == "number" || kind == "integer":
			f.Kind = "number"
		case kind == "string" && p.Format == "uri":
			f.Kind = "url"
		case kind == "string" && p.MaxLength > longText:
			f.Kind = "long"
		case kind == "string":
			f.Kind = "text"
		}
		if f.isText() || f.Kind == "choice" {
			var text string
			if json.Unmarshal(examples[name], &text) == nil {
				f.Example = text
			}
		}
		out = append(out, f)
	}
	return out
}

// texts are the values of an enumeration if they are all texts.
func texts(enum []any) (out []string) {
	for _, v := range enum {
		text, is := v.(string)
		if !is {
			return nil
		}
		out = append(out, text)
	}
	return out
}

// keys are the names of an object's members, in their order.
func keys(object json.RawMessage) (out []string) {
	d := json.NewDecoder(bytes.NewReader(object))
	if _, err := d.Token(); err != nil { // the brace
		return nil
	}
	for d.More() {
		name, err := d.Token()
		text, is := name.(string)
		var value json.RawMessage
		if err != nil || !is || d.Decode(&value) != nil {
			return out
		}
		out = append(out, text)
	}
	return out
}

func (f dataField) isText() bool { return f.Kind == "text" || f.Kind == "long" || f.Kind == "url" }

// json is the variable's value.
func (f dataField) json() (json.RawMessage, error) {
	boolean := slices.Equal(f.Choices, []string{"true", "false"})
	if f.isText() || f.Kind == "choice" && !boolean {
		return json.Marshal(f.Value)
	}
	raw := json.RawMessage(strings.TrimSpace(f.Value))
	if !json.Valid(raw) {
		if f.Kind == "number" {
			return nil, errors.New("must be a number")
		}
		return nil, errors.New("must be JSON")
	}
	return raw, nil
}
