package template

import (
	"context"
	"errors"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Pinner is the job.Admission of mails: one that names a template is rendered
// once, so that what is wrong with it is told to its caller, and pinned to the
// edition that it was rendered with.
type Pinner struct {
	library *Library
	shelf   *Shelf
}

var _ job.Admission = (*Pinner)(nil)

// NewPinner makes a Pinner.
func NewPinner(l *Library, s *Shelf) *Pinner { return &Pinner{l, s} }

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
		edition, err := t.Try(ctx, e.Locale, e.Data)
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
	}
	return nil
}
