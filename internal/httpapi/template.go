package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/tasks"
)

// templateView is a template as the API shows it.
type templateView struct {
	Name    string          `json:"name" example:"welcome"`
	Source  template.Source `json:"source,omitempty" enum:"builtin,directory" doc:"where it comes from: built in, or the directory POSTRIDER_TEMPLATES"`
	Locales []localeView    `json:"locales" nullable:"false" doc:"its languages"`
	Schema  json.RawMessage `json:"schema,omitempty" doc:"the JSON Schema of its data, with examples"`
	Error   string          `json:"error,omitempty" doc:"what is wrong with its files since they were changed; until that is mended the version before is used, if there is one"`
}

type localeView struct {
	Locale string            `json:"locale" example:"de" doc:"empty for the one that is used where no other fits"`
	Hash   string            `json:"hash" doc:"of all files that it is made of, SHA-256"`
	Files  map[string]string `json:"files,omitempty" doc:"these files by their paths; only where one template is asked for"`
}

func showTemplate(t *template.Template, broken error, files bool) templateView {
	v := templateView{Name: t.Name, Source: t.Source, Locales: []localeView{}, Schema: t.Schema()}
	if broken != nil {
		v.Error = broken.Error()
	}
	for _, e := range t.Editions() {
		l := localeView{Locale: e.Locale, Hash: e.Hash}
		if files {
			l.Files = e.Files()
		}
		v.Locales = append(v.Locales, l)
	}
	return v
}

type templatesAnswer struct {
	Body struct {
		Templates []templateView `json:"templates" nullable:"false" doc:"by name"`
	}
}

func (a *api) listTemplates(context.Context, *struct{}) (*templatesAnswer, error) {
	out := &templatesAnswer{}
	out.Body.Templates = []templateView{}
	broken := maps.Clone(a.templates.Broken())
	for _, t := range a.templates.List() {
		out.Body.Templates = append(out.Body.Templates, showTemplate(t, broken[t.Name], false))
		delete(broken, t.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(broken)) {
		out.Body.Templates = append(out.Body.Templates, templateView{Name: name, Locales: []localeView{}, Error: broken[name].Error()})
	}
	return out, nil
}

type templateInput struct {
	Name string `path:"name" doc:"the template"`
}

type templateAnswer struct{ Body templateView }

func (a *api) findTemplate(_ context.Context, in *templateInput) (*templateAnswer, error) {
	t, err := a.templateOf(in.Name)
	if err != nil {
		return nil, err
	}
	return &templateAnswer{showTemplate(t, a.templates.Broken()[in.Name], true)}, nil
}

// templateOf finds the template that a path names.
func (a *api) templateOf(name string) (*template.Template, error) {
	t, err := a.templates.Find(name)
	if err == nil {
		return t, nil
	}
	if a.templates.Broken()[name] != nil {
		return nil, job.Invalid(err)
	}
	return nil, job.Errorf(job.CodeNotFound, "there is no template %.100q", name)
}

// previewRequest is the body of POST /templates/{name}/preview.
type previewRequest struct {
	Data   json.RawMessage `json:"data,omitempty" doc:"what the template is filled with; the first example of its schema when left out"`
	Locale string          `json:"locale,omitempty" example:"de-AT" doc:"the language: the one that comes nearest to it is chosen"`
	// Category is what send-email calls so.
	Category string `json:"category,omitempty" example:"news" doc:"the mail's: of one that is not essential the preview shows an example of the link to unsubscribe"`
}

type previewInput struct {
	Name    string `path:"name" doc:"the template"`
	RawBody []byte `contentType:"application/json"`
}

type previewAnswer struct {
	Body struct {
		Subject   string            `json:"subject"`
		Preheader string            `json:"preheader" doc:"what mail programs show behind the subject; it is in the HTML"`
		HTML      string            `json:"html"`
		Text      string            `json:"text"`
		Headers   map[string]string `json:"headers" doc:"of such a mail to recipient@example.com, encoded as they are sent"`
		Locale    string            `json:"locale" doc:"that was chosen; empty for the one that is used where no other fits"`
		Hash      string            `json:"hash" doc:"of the template in that language"`
	}
}

// previewTemplate renders a template as a mail would be, and sends nothing.
func (a *api) previewTemplate(ctx context.Context, in *previewInput) (*previewAnswer, error) {
	body, err := a.previewBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	t, err := a.templateOf(in.Name)
	if err != nil {
		return nil, err
	}
	if body.Data == nil {
		body.Data = t.Example()
	}
	link := ""
	switch {
	case body.Category != "" && !tasks.ValidCategory(body.Category):
		return nil, job.Invalid(tasks.Invalid{{Field: "category", Problem: "must be up to 64 lower-case letters, digits, hyphens and underscores"}})
	case !a.categories.Essential(body.Category):
		link = template.ExampleUnsubscribeURL
	}
	edition, m, err := t.Render(ctx, body.Locale, body.Data, link)
	if err != nil {
		var bad tasks.Invalid
		if errors.As(err, &bad) {
			return nil, job.Invalid(bad)
		}
		return nil, job.Wrap(job.CodeTemporary, err, "the mail could not be rendered in time")
	}
	out := &previewAnswer{}
	b := &out.Body
	b.Subject, b.Preheader, b.HTML, b.Text = m.Subject, m.Preheader, m.HTML, m.Text
	b.Locale, b.Hash = edition.Locale, edition.Hash
	b.Headers, err = mail.HeadersOf(mail.Message{
		ID: "preview", From: a.mailFrom, Rcpt: "recipient@example.com",
		Subject: m.Subject, HTML: m.HTML, Text: m.Text, UnsubscribeURL: link,
	})
	return out, err
}
