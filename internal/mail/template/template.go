// Package template makes mails of templates: files of HTML and text, in several
// languages, and a JSON Schema of the data that they want.
//
// A Library holds the templates that new mails are made of: the ones that are
// built in, and those of a directory, which is read anew when it changes. A job
// is pinned to the Edition that its data was checked against when it was
// accepted (Pinner); the edition's source lies in SQL by its hash, where the
// worker takes it from (Shelf). What is changed in a directory thus never
// changes, nor breaks, a mail that was accepted before.
//
// Templates are an operator's own and are trusted; data is not. It reaches a
// template as maps, lists, strings, numbers and booleans without methods that
// do anything, bounded in size, and what is written is bounded in size and time.
package template

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/postrider/postrider/tasks"
)

const (
	// maxOutput bounds each part that a template writes, in bytes. Inlining its
	// CSS may make the HTML longer.
	maxOutput = tasks.MaxPayload
	// renderLimit bounds the time of one rendering.
	renderLimit = 2 * time.Second
	// maxPreheader bounds the line that mail programs show behind the subject, in
	// bytes. Few show more than 100 characters.
	maxPreheader = 500
)

// unsubscribeField is what templates call the link by which the reader
// unsubscribes with one click. It is empty in a mail that has none, and never
// missing.
const unsubscribeField = "UnsubscribeURL"

// ExampleUnsubscribeURL stands in mails that are not sent.
const ExampleUnsubscribeURL = "https://example.com/unsubscribe/example"

// The names of what a template's HTML file defines beside its body.
const (
	subjectBlock   = "subject"
	preheaderBlock = "preheader"
)

// Mail is what a template makes of data.
type Mail struct {
	Subject   string // one line
	Preheader string // what mail programs show behind the subject; may be empty
	HTML      string // with its CSS inlined and the preheader in it
	Text      string
}

// Edition is a template in one language, as it was at one time. It may be used
// by any number of goroutines.
type Edition struct {
	Name   string
	Locale string // empty for the one that serves where no other fits
	Hash   string // of its source, SHA-256 in hexadecimal digits

	source []byte // the encoded bundle
	main   bundle
	html   *htmltemplate.Template
	words  *texttemplate.Template // the HTML files once more, for what is no HTML in them
	text   *texttemplate.Template // nil: the text is made from the HTML
	styles styles
	limit  time.Duration // of one rendering
}

// Files are the files that the edition is made of, by path. They must not be
// changed.
func (e *Edition) Files() map[string]string { return e.main.Files }

// functions are what templates may call, beside what Go's templates bring.
var functions = map[string]any{"dict": dict}

// dict makes a map of names and values, to hand more than one value to a
// partial.
func dict(pairs ...any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, errors.New("dict wants pairs of a name and a value")
	}
	out := make(map[string]any, len(pairs)/2)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("dict wants a name, and got %v", pairs[i])
		}
		out[name] = pairs[i+1]
	}
	return out, nil
}

// compile parses a bundle.
func compile(b bundle) (*Edition, error) {
	source, hash, err := b.encode()
	if err != nil {
		return nil, err
	}
	e := &Edition{Name: b.Name, Locale: b.Locale, Hash: hash, source: source, main: b, limit: renderLimit}
	e.html = htmltemplate.New("").Option("missingkey=error").Funcs(functions)
	e.words = texttemplate.New("").Option("missingkey=error").Funcs(functions)
	pages, err := b.closure(b.HTML)
	if err != nil {
		return nil, err
	}
	for _, path := range pages {
		if _, err := e.html.New(path).Parse(b.Files[path]); err != nil {
			return nil, fmt.Errorf("parsing: %w", err)
		}
		if _, err := e.words.New(path).Parse(b.Files[path]); err != nil {
			return nil, fmt.Errorf("parsing: %w", err)
		}
	}
	if err := complete(e.words); err != nil {
		return nil, err
	}
	if e.words.Lookup(subjectBlock) == nil {
		return nil, fmt.Errorf("%s lacks its subject: {{define %q}}…{{end}}", b.HTML, subjectBlock)
	}
	for _, t := range e.html.Templates() {
		makeInterruptible(t.Tree)
	}
	for _, t := range e.words.Templates() {
		makeInterruptible(t.Tree)
	}
	// html/template finds out what escaping a place needs when it executes. What
	// there is to complain of without data belongs to the data.
	ctx, cancel := context.WithTimeout(context.Background(), renderLimit)
	defer cancel()
	err = e.html.ExecuteTemplate(&bounded{ctx: ctx, left: maxOutput}, b.HTML, map[string]any{})
	var escaping *htmltemplate.Error
	if errors.As(err, &escaping) {
		return nil, fmt.Errorf("escaping: %w", err)
	}
	if b.Text == "" {
		return e, nil
	}
	e.text = texttemplate.New("").Option("missingkey=error").Funcs(functions)
	if pages, err = b.closure(b.Text); err != nil {
		return nil, err
	}
	for _, path := range pages {
		if _, err := e.text.New(path).Parse(b.Files[path]); err != nil {
			return nil, fmt.Errorf("parsing: %w", err)
		}
	}
	for _, t := range e.text.Templates() {
		makeInterruptible(t.Tree)
	}
	return e, complete(e.text)
}

// Render makes the mail, which shows the link to unsubscribe, if there is one
// (see LinkOf). What the data is to blame for is a tasks.Invalid that names "data"
// or a field below it; another error tells that ctx ended first.
func (e *Edition) Render(ctx context.Context, raw json.RawMessage, unsubscribeURL string) (Mail, error) {
	d, err := parseData(raw)
	if err != nil {
		return Mail{}, err
	}
	d.values[unsubscribeField] = unsubscribeURL
	return e.render(ctx, d)
}

func (e *Edition) render(ctx context.Context, d data) (Mail, error) {
	m, err := e.write(ctx, d)
	if err != nil {
		return Mail{}, err
	}
	if e.text == nil {
		m.Text = plain(m.HTML)
	}
	// CSS that cannot be read was found when the template was loaded, if it has
	// an example. It is no reason not to send the mail: most programs read the
	// <style> that stays.
	if page, err := e.styles.inline(m.HTML); err == nil {
		m.HTML = page
	}
	m.HTML = withPreheader(m.HTML, m.Preheader)
	return m, nil
}

// write executes the edition's templates; the HTML is as they wrote it.
func (e *Edition) write(ctx context.Context, d data) (Mail, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, e.limit, errSlow)
	defer cancel()
	// What is told to the page is d.values, which nobody else has: a template
	// cannot write into what another mail is made of.
	subject, err := e.execute(ctx, e.words, subjectBlock, d)
	if err != nil {
		return Mail{}, err
	}
	m := Mail{Subject: line(subject)}
	switch {
	case m.Subject == "":
		return Mail{}, tasks.Invalid{{Field: "data", Problem: "makes an empty subject"}}
	case len(m.Subject) > tasks.MaxSubject:
		return Mail{}, tasks.Invalid{{Field: "data", Problem: fmt.Sprintf("makes a subject of more than %d bytes", tasks.MaxSubject)}}
	}
	if e.words.Lookup(preheaderBlock) != nil {
		preheader, err := e.execute(ctx, e.words, preheaderBlock, d)
		if err != nil {
			return Mail{}, err
		}
		m.Preheader = line(preheader)
		if len(m.Preheader) > maxPreheader {
			m.Preheader = strings.ToValidUTF8(m.Preheader[:maxPreheader], "")
		}
	}
	if m.HTML, err = e.execute(ctx, e.html, e.main.HTML, d); err != nil {
		return Mail{}, err
	}
	if e.text != nil {
		m.Text, err = e.execute(ctx, e.text, e.main.Text, d)
		m.Text = tidy(m.Text)
	}
	return m, err
}
