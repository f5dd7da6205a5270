package template

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/postrider/postrider/tasks"
)

// Bounds of a directory of templates.
const (
	maxFiles = 2000
	maxFile  = 256 << 10 // bytes
)

// Source says where a template comes from.
type Source string

// The sources.
const (
	Builtin   Source = "builtin"
	Directory Source = "directory"
)

// Template is a template in all its languages.
type Template struct {
	Name     string
	Source   Source
	schema   *schema
	editions map[string]*Edition // by locale as lower case with hyphens
}

// Schema is the JSON Schema of the data, or nil where there is none.
func (t *Template) Schema() json.RawMessage {
	if t.schema == nil {
		return nil
	}
	return t.schema.source
}

// Example is data that the template renders, or nil where its schema has none.
func (t *Template) Example() json.RawMessage {
	if t.schema == nil || len(t.schema.examples) == 0 {
		return nil
	}
	return t.schema.examples[0]
}

// Editions lists the template's languages, the one for all others first.
func (t *Template) Editions() []*Edition {
	out := make([]*Edition, 0, len(t.editions))
	for _, locale := range slices.Sorted(maps.Keys(t.editions)) {
		out = append(out, t.editions[locale])
	}
	return out
}

// Edition chooses the language that comes nearest to a locale: for de-AT it is
// de-AT, or else de, or else the one for all others.
func (t *Template) Edition(locale string) *Edition {
	for tag := tagOf(locale); tag != ""; {
		if e, ok := t.editions[tag]; ok {
			return e
		}
		cut := strings.LastIndexByte(tag, '-')
		tag = tag[:max(cut, 0)]
	}
	return t.editions[""]
}

func tagOf(locale string) string { return strings.ToLower(strings.ReplaceAll(locale, "_", "-")) }

// Try renders the mail of a template once, all but what data cannot spoil, and
// returns the edition that was chosen and the mail's subject. What is wrong with
// locale and data is a tasks.Invalid that names "locale", "data" or a field below
// it; another error tells that ctx ended first.
func (t *Template) Try(ctx context.Context, locale string, data json.RawMessage, unsubscribeURL string) (e *Edition, subject string, err error) {
	e, d, err := t.choose(locale, data, unsubscribeURL)
	if err != nil {
		return e, "", err
	}
	m, err := e.write(ctx, d)
	return e, m.Subject, err
}

// Render is Try, and returns the mail.
func (t *Template) Render(ctx context.Context, locale string, data json.RawMessage, unsubscribeURL string) (*Edition, Mail, error) {
	e, d, err := t.choose(locale, data, unsubscribeURL)
	if err != nil {
		return nil, Mail{}, err
	}
	m, err := e.render(ctx, d)
	return e, m, err
}

func (t *Template) choose(locale string, raw json.RawMessage, unsubscribeURL string) (*Edition, data, error) {
	if locale != "" && !tasks.ValidLocale(locale) {
		return nil, data{}, tasks.Invalid{{Field: "locale", Problem: "must be a language tag, such as de or de-AT"}}
	}
	d, err := t.data(raw, unsubscribeURL)
	return t.Edition(locale), d, err
}

// data reads what a caller gives, and adds what we do.
func (t *Template) data(raw json.RawMessage, unsubscribeURL string) (data, error) {
	d, err := parseData(raw)
	if err != nil {
		return data{}, err
	}
	if _, given := d.values[unsubscribeField]; given {
		return data{}, tasks.Invalid{{Field: "data." + unsubscribeField, Problem: "is filled in for you"}}
	}
	d.values[unsubscribeField] = unsubscribeURL
	return d, t.schema.check(d)
}

// isShared tells the files that templates share from those of one template.
func isShared(path string) bool { return strings.Contains(path, "/") }

// owner is the template that a file belongs to.
func owner(path string) string {
	name, _, _ := strings.Cut(path, ".")
	return name
}

// patterns are the files of a directory of templates.
var patterns = []string{"*.html", "*.txt", "*.schema.json",
	"layouts/*.html", "layouts/*.txt", "partials/*.html", "partials/*.txt"}

// list finds the files of a directory of templates. Names that begin with a dot
// are passed over, as editors leave them.
func list(dir fs.FS) ([]string, error) {
	if _, err := fs.ReadDir(dir, "."); err != nil {
		return nil, fmt.Errorf("reading the directory: %w", err)
	}
	var out []string
	for _, pattern := range patterns {
		paths, err := fs.Glob(dir, pattern)
		if err != nil {
			return nil, fmt.Errorf("listing %s: %w", pattern, err)
		}
		for _, path := range paths {
			if !strings.HasPrefix(path[strings.LastIndexByte(path, '/')+1:], ".") {
				out = append(out, path)
			}
		}
	}
	if len(out) > maxFiles {
		return nil, fmt.Errorf("the directory has %d files, the most is %d", len(out), maxFiles)
	}
	return out, nil
}

// read reads the files of a directory of templates.
func read(dir fs.FS) (map[string]string, error) {
	paths, err := list(dir)
	if err != nil {
		return nil, err
	}
	files := make(map[string]string, len(paths))
	for _, path := range paths {
		// Before it is opened: reading a pipe waits, and a device may have no end.
		info, err := fs.Stat(dir, path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("looking at %s: %w", path, err)
		case !info.Mode().IsRegular():
			return nil, fmt.Errorf("%s is not a file", path)
		case info.Size() > maxFile:
			return nil, fmt.Errorf("%s has %d bytes, the most is %d", path, info.Size(), maxFile)
		}
		text, err := fs.ReadFile(dir, path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("reading %s: %w", path, err)
		case !utf8.Valid(text) || strings.ContainsRune(string(text), 0):
			return nil, fmt.Errorf("%s is not UTF-8, or has a NUL", path)
		}
		files[path] = string(text)
	}
	return files, nil
}

// build makes the templates of a directory's files over the built-in ones. A
// template of the directory takes the place of a built-in one of its name as a
// whole; a layout or partial does so alone. Those that cannot be made are told
// in broken.
func build(builtin, own map[string]string) (out map[string]*Template, broken map[string]error) {
	files := map[string]string{}
	maps.Copy(files, builtin)
	owned := map[string]bool{}
	for path := range own {
		owned[owner(path)] = !isShared(path) || owned[owner(path)]
	}
	maps.DeleteFunc(files, func(path, _ string) bool { return !isShared(path) && owned[owner(path)] })
	maps.Copy(files, own)

	out, broken = map[string]*Template{}, map[string]error{}
	for path := range files {
		name := owner(path)
		if isShared(path) || out[name] != nil || broken[name] != nil {
			continue
		}
		t, err := makeTemplate(name, files)
		if err != nil {
			broken[name] = err
			continue
		}
		t.Source = Builtin
		if owned[name] {
			t.Source = Directory
		}
		out[name] = t
	}
	return out, broken
}

func makeTemplate(name string, files map[string]string) (*Template, error) {
	if !tasks.ValidTemplate(name) {
		return nil, errors.New("a template's name must be up to 64 lower-case letters, digits, hyphens and underscores")
	}
	t := &Template{Name: name, editions: map[string]*Edition{}}
	for path := range files {
		if isShared(path) || owner(path) != name {
			continue
		}
		rest := strings.TrimPrefix(path, name)
		locale, isHTML := strings.CutSuffix(rest, ".html")
		isText := false
		if !isHTML {
			locale, isText = strings.CutSuffix(rest, ".txt")
		}
		switch {
		case rest == ".schema.json":
			var err error
			if t.schema, err = newSchema([]byte(files[path])); err != nil {
				return nil, fmt.Errorf("%s: %w", path, err)
			}
			continue
		case locale != "" && !tasks.ValidLocale(locale[1:]) || !isHTML && !isText:
			return nil, fmt.Errorf("%s is no name of a template's file: want %s.html, %[2]s.de.html, %[2]s.txt or %[2]s.schema.json", path, name)
		case isText:
			if _, ok := files[name+locale+".html"]; !ok {
				return nil, fmt.Errorf("%s is a text without an HTML file beside it", path)
			}
			continue
		}
		e, err := makeEdition(name, locale, files)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		t.editions[tagOf(e.Locale)] = e
	}
	if t.editions[""] == nil {
		return nil, fmt.Errorf("there is no %s.html, which serves where no other language fits", name)
	}
	return t, t.tryExamples()
}

// makeEdition compiles the edition of a locale, which is empty or begins with
// the dot before it.
func makeEdition(name, locale string, files map[string]string) (*Edition, error) {
	html, text := name+locale+".html", name+locale+".txt"
	if _, ok := files[text]; !ok {
		text = ""
	}
	b, err := pick(name, strings.TrimPrefix(locale, "."), html, text, files)
	if err != nil {
		return nil, err
	}
	return compile(b)
}

// tryExamples holds every language to the schema's examples, with and without a
// link to unsubscribe.
func (t *Template) tryExamples() error {
	if t.schema == nil {
		return nil
	}
	for i, example := range t.schema.examples {
		for _, link := range []string{"", ExampleUnsubscribeURL} {
			d, err := t.data(example, link)
			if err != nil {
				return fmt.Errorf("%s.schema.json: examples[%d]: %w", t.Name, i, err)
			}
			for _, e := range t.editions {
				page, err := e.write(context.Background(), d)
				if err == nil {
					_, err = e.styles.inline(page.HTML)
				}
				if err != nil {
					return fmt.Errorf("%s with examples[%d] of its schema: %w", e.main.HTML, i, err)
				}
			}
		}
	}
	return nil
}
