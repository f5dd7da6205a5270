package template

import (
	"strings"
	"testing"
)

func TestBroken(t *testing.T) {
	for name, c := range map[string]struct {
		files files
		says  string
	}{
		"action":             {files{"t.html": page("{{if}}")}, "t.html:1"},
		"action in a layout": {files{"t.html": page(`{{template "layouts/l.html" .}}`), "layouts/l.html": "\n{{end}}"}, "layouts/l.html:2"},
		"function":           {files{"t.html": page("{{shout .x}}")}, `"shout" not defined`},
		"no subject":         {files{"t.html": "<p>x"}, "lacks its subject"},
		"no such partial":    {files{"t.html": page(`{{if .x}}{{template "partials/x.html"}}{{end}}`)}, `"partials/x.html", which is not there`},
		"in the text":        {files{"t.html": page("x"), "t.txt": `{{template "x"}}`}, `"x", which is not there`},
		"ambiguous HTML":     {files{"t.html": page(`<a href="{{if .x}}x"{{else}}y{{end}}>`)}, "escaping"},
		"no default":         {files{"t.de.html": page("x")}, "no t.html"},
		"text alone":         {files{"t.html": page("x"), "t.de.txt": "x"}, "t.de.txt is a text without"},
		"no locale":          {files{"t.html": page("x"), "t.german.html": page("x")}, "t.german.html is no name"},
		"name":               {files{"T.html": page("x")}, "lower-case"},
		"schema":             {files{"t.html": page("x"), "t.schema.json": "{"}, "t.schema.json: reading"},
		"schema's keyword":   {files{"t.html": page("x"), "t.schema.json": `{"type":"text"}`}, "t.schema.json: compiling"},
		"schema elsewhere":   {files{"t.html": page("x"), "t.schema.json": `{"$ref":"file:///etc/passwd"}`}, "t.schema.json: compiling"},
		"example":            {files{"t.html": page("x"), "t.schema.json": `{"required":["a"],"examples":[{"a":1},{}]}`}, "examples[1]: data.a must be given"},
		"with the example":   {files{"t.html": page("x"), "t.de.html": page("{{.b}}"), "t.schema.json": `{"examples":[{"a":1}]}`}, "t.de.html with examples[0]"},
		"CSS":                {files{"t.html": page("<style>.a { color }</style><p class=a>"), "t.schema.json": `{"examples":[{}]}`}, "CSS"},
	} {
		t.Run(name, func(t *testing.T) {
			out, broken := build(nil, with(c.files, files{"good.html": page("x")}))
			if len(broken) != 1 || out["good"] == nil || len(out) != 1 {
				t.Fatalf("there are %v, broken are %v", out, broken)
			}
			for _, err := range broken {
				if !strings.Contains(err.Error(), c.says) {
					t.Errorf("the error is %q, want it to say %q", err, c.says)
				}
			}
		})
	}
}

// A template of the directory takes the place of the built-in one as a whole, a
// layout alone.
func TestOverride(t *testing.T) {
	builtin := files{
		"a.html": page(`{{template "layouts/l.html" .}}`), "a.txt": "text", "a.de.html": page("deutsch"), "a.schema.json": `{"required":["x"]}`,
		"b.html": page(`{{template "layouts/l.html" .}}`), "layouts/l.html": "built in", "partials/p.html": "kept",
	}
	out, broken := build(builtin, files{"a.html": page(`mine, {{template "partials/p.html"}}`), "layouts/l.html": "changed"})
	if len(broken) > 0 {
		t.Fatal(broken)
	}
	if m := render(t, out["a"], "de", "{}"); m.Text != "mine, kept\n" || out["a"].Source != Directory || len(out["a"].Editions()) != 1 {
		t.Errorf("a is %q from %s", m.Text, out["a"].Source)
	}
	if m := render(t, out["b"], "", "{}"); m.Text != "changed\n" || out["b"].Source != Builtin {
		t.Errorf("b is %q from %s", m.Text, out["b"].Source)
	}
}

// The hash tells two sources apart, and no more.
func TestHash(t *testing.T) {
	base := files{"t.html": page(`{{template "layouts/l.html"}}`), "layouts/l.html": "x", "layouts/other.html": "y", "u.html": page("")}
	hash := func(f files) string {
		t.Helper()
		e := one(t, f).Edition("")
		again, err := open(e.source)
		if err != nil {
			t.Fatal(err)
		}
		if again.Hash != e.Hash || again.Name != "t" {
			t.Errorf("opened, the edition %s of %s has the hash %s, and had %s", again.Locale, again.Name, again.Hash, e.Hash)
		}
		return e.Hash
	}
	same, changed, text := hash(with(base, files{"layouts/other.html": "z", "t.de.html": page("")})), hash(with(base, files{"layouts/l.html": "z"})), hash(with(base, files{"t.txt": "z"}))
	if first := hash(base); same != first || changed == first || text == first || changed == text || len(first) != 64 {
		t.Errorf("%s, %s, %s and %s", first, same, changed, text)
	}
}
