package template

import (
	"context"
	"errors"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Pinner is the job.Admission of mails: one that names a template is rendered
// once, so that what is wrong with it is told to its caller, pinned to the edition
// that it was rendered with, and described by the subject that this made.
type Pinner struct {
	library *Library
	shelf   *Shelf
	links   Links
}

// Links makes the links by which recipients unsubscribe; a *mail.Links does.
type Links interface {
	// Of is the link of a job's mail to the address; empty where nobody can
	// unsubscribe from the category.
	Of(address, category, job string) string
}

// LinkOf is the link by which the recipient of a job's mail unsubscribes with one
// click, or empty. Who brings a List-Unsubscribe of their own sees to it
// themselves.
func LinkOf(links Links, e *tasks.Email, id job.ID) string {
	if e.BringsUnsubscribe() {
		return ""
	}
	return links.Of(e.Rcpt, e.Category, string(id))
}

var _ job.Admission = (*Pinner)(nil)

// NewPinner makes a Pinner.
func NewPinner(l *Library, s *Shelf, links Links) *Pinner { return &Pinner{l, s, links} }

// Admit implements job.Admission for jobs of tasks.EmailSend.
func (p *Pinner) Admit(ctx context.Context, jobs []*job.Candidate) error {
	for _, c := range jobs {
		e, ok := c.Payload.(*tasks.Email)
		if !ok || e.Template == "" {
			continue
		}
		t, err := p.library.Find(e.Template)
		if err != nil {
			c.Err = err
			continue
		}
		edition, subject, err := t.Try(ctx, e.Locale, e.Data, LinkOf(p.links, e, c.New.ID))
		var bad tasks.Invalid
		switch {
		case errors.As(err, &bad):
			c.Err = bad
			continue
		case err != nil:
			return job.Wrap(job.CodeTemporary, err, "the mail's template could not be rendered")
		}
		if err := p.shelf.Keep(ctx, edition); err != nil {
			return err
		}
		e.TemplateHash = edition.Hash
		c.New.About.Subject = subject
	}
	return nil
}
