package template

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail/template/templatetest"
	"github.com/postrider/postrider/tasks"
)

func newShelf(t testing.TB) (*Shelf, *templatetest.Sources) {
	t.Helper()
	m := &templatetest.Sources{}
	s, err := NewShelf(m)
	if err != nil {
		t.Fatal(err)
	}
	return s, m
}

func candidate(template, locale, data string) *job.Candidate {
	return &job.Candidate{New: &job.New{}, Payload: &tasks.Email{Template: template, Locale: locale, Data: json.RawMessage(data)}}
}

// links end at the address and the category.
type links struct{}

func (links) Of(address, category, job string) string {
	if category == "" {
		return ""
	}
	return "https://post.example.com/" + address + "/" + category + "/" + job
}

const welcome = `{"name":"Ann","product":"Example","url":"https://example.com/"}`

func TestPin(t *testing.T) {
	dir := t.TempDir()
	l, _, _ := openLibrary(t, dir)
	s, m := newShelf(t)
	p := NewPinner(l, s, links{})
	jobs := []*job.Candidate{
		candidate("welcome", "", welcome), candidate("welcome", "de-AT", welcome), candidate("welcome", "", welcome),
		candidate("welcome", "", `{"name":"Ann"}`), candidate("nowhere", "", ""), {New: &job.New{}, Payload: &tasks.Email{}},
	}
	jobs[0].Payload.(*tasks.Email).TemplateHash = "given by the caller"
	if err := p.Admit(t.Context(), jobs); err != nil {
		t.Fatal(err)
	}
	hash := func(i int) string { return jobs[i].Payload.(*tasks.Email).TemplateHash }
	if hash(0) != hash(2) || hash(0) == hash(1) || len(hash(0)) != 64 || hash(5) != "" || m.Calls() != 2 {
		t.Errorf("pinned to %s, %s, %s and %q; %d sources were kept", hash(0), hash(1), hash(2), hash(5), m.Calls())
	}
	for i, want := range map[int]string{3: "data.product must be given; data.url must be given", 4: "template is not one that there is"} {
		if got := fmt.Sprint(job.Invalid(jobs[i].Err).Fields); got != want {
			t.Errorf("job %d is refused for %s, want %s", i, got, want)
		}
	}

	// Another process renders what was pinned, whatever has become of the template.
	files{"welcome.html": page("changed")}.write(t, dir)
	l.refresh()
	worker, err := NewShelf(m)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		e, err := worker.Load(t.Context(), hash(1))
		if err != nil {
			t.Fatal(err)
		}
		if mail, err := e.Render(t.Context(), []byte(welcome), ""); err != nil || mail.Subject != "Willkommen bei Example, Ann" {
			t.Errorf("rendered, it is %+v, %v", mail, err)
		}
	}
	if m.Calls() != 3 {
		t.Errorf("SQL was asked %d times", m.Calls())
	}
	if got := jobs[1].New.About.Subject; got != "Willkommen bei Example, Ann" {
		t.Errorf("the job is described by %q", got)
	}
	late := candidate("welcome", "de", "{}")
	if err := p.Admit(t.Context(), []*job.Candidate{late}); err != nil || late.Err != nil || late.Payload.(*tasks.Email).TemplateHash == hash(1) {
		t.Errorf("the changed template is pinned as %s: %v, %v", late.Payload.(*tasks.Email).TemplateHash, err, late.Err)
	}
}

// A mail is judged with the link that it will have.
func TestPinWithLink(t *testing.T) {
	dir := files{"t.html": `{{define "subject"}}to {{.UnsubscribeURL}}{{end}}`}.write(t, t.TempDir())
	l, _, _ := openLibrary(t, dir)
	s, _ := newShelf(t)
	for want, e := range map[string]tasks.Email{
		"to https://post.example.com/ann@example.com/news/7": {Rcpt: "ann@example.com", Category: "news"},
		"to": {Rcpt: "ann@example.com", Category: "news", Headers: map[string]string{"list-unsubscribe": "<mailto:out@example.com>"}},
	} {
		e.Template = "t"
		c := &job.Candidate{New: &job.New{ID: "7"}, Payload: &e}
		if err := NewPinner(l, s, links{}).Admit(t.Context(), []*job.Candidate{c}); err != nil || c.Err != nil || c.New.About.Subject != want {
			t.Errorf("it is described by %q, want %q: %v, %v", c.New.About.Subject, want, err, c.Err)
		}
	}
}

func TestPinWithoutSQL(t *testing.T) {
	l, _, _ := openLibrary(t, "")
	s, m := newShelf(t)
	m.Fail(job.Errorf(job.CodeTemporary, "away"))
	c := candidate("welcome", "", welcome)
	if err := NewPinner(l, s, links{}).Admit(t.Context(), []*job.Candidate{c}); job.CodeOf(err) != job.CodeTemporary || c.Err != nil {
		t.Errorf("the error is %v, the job's is %v", err, c.Err)
	}
	m.Fail(nil)
	if err := NewPinner(l, s, links{}).Admit(t.Context(), []*job.Candidate{c}); err != nil || m.Calls() != 2 {
		t.Errorf("once SQL is back: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := NewPinner(l, s, links{}).Admit(ctx, []*job.Candidate{c}); !errors.Is(err, context.Canceled) || job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("with a context that has ended: %v", err)
	}
	if _, err := s.Load(t.Context(), "nothing"); job.CodeOf(err) != job.CodeNotFound {
		t.Errorf("what is not kept: %v", err)
	}
}

func BenchmarkPin(b *testing.B) {
	l, _, _ := openLibrary(b, "")
	s, _ := newShelf(b)
	p := NewPinner(l, s, links{})
	jobs := []*job.Candidate{candidate("welcome", "de", welcome)}
	for b.Loop() {
		if err := p.Admit(b.Context(), jobs); err != nil || jobs[0].Err != nil {
			b.Fatal(err, jobs[0].Err)
		}
	}
}

func BenchmarkRender(b *testing.B) {
	l, _, _ := openLibrary(b, "")
	t, err := l.Find("welcome")
	if err != nil {
		b.Fatal(err)
	}
	e := t.Edition("")
	for b.Loop() {
		if _, err := e.Render(b.Context(), []byte(welcome), ""); err != nil {
			b.Fatal(err)
		}
	}
}
