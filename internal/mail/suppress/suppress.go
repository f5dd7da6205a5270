// Package suppress keeps mails from those who get none: it is asked when a mail
// is accepted, and again before it is sent. It also reads and writes the list as
// CSV.
package suppress

import (
	"context"
	"slices"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/tasks"
)

// Gate knows which mails must not go out.
type Gate struct {
	list       mail.Suppressions
	categories mail.Categories
}

var _ job.Admission = (*Gate)(nil)

// NewGate makes a Gate over the list.
func NewGate(list mail.Suppressions, c mail.Categories) *Gate { return &Gate{list, c} }

// Admit implements job.Admission for jobs of tasks.EmailSend: one whose recipient
// gets no such mail is accepted as suppressed. It asks once for all of them.
func (g *Gate) Admit(ctx context.Context, jobs []*job.Candidate) error {
	recipients := make([]string, len(jobs))
	var ask []string
	for i, c := range jobs {
		normal, err := mail.Normalise(c.Payload.(*tasks.Email).Rcpt)
		if err != nil { // the type's own validation knows less of domains
			c.Err = tasks.Invalid{{Field: "rcpt", Problem: "is not an address that mail can be sent to"}}
			continue
		}
		recipients[i], ask = normal, append(ask, normal)
	}
	slices.Sort(ask)
	found, err := g.list.Find(ctx, slices.Compact(ask)...)
	if err != nil || len(found) == 0 {
		return err
	}
	of := make(map[string][]mail.Suppression, len(found))
	for _, s := range found {
		of[s.Address] = append(of[s.Address], s)
	}
	for i, c := range jobs {
		if s, blocked := g.blocking(of[recipients[i]], c.Payload.(*tasks.Email).Category); blocked && c.Err == nil {
			c.New.State, c.New.Message = job.Suppressed, s.String()
		}
	}
	return nil
}

// Blocking returns what keeps a mail of the category from the address, if
// anything does. An address that is none is kept from nothing: it cannot have
// been accepted, and the sender says what is wrong with it.
func (g *Gate) Blocking(ctx context.Context, address, category string) (s mail.Suppression, blocked bool, err error) {
	normal, err := mail.Normalise(address)
	if err != nil {
		return s, false, nil //nolint:nilerr // as said
	}
	found, err := g.list.Find(ctx, normal)
	if err != nil {
		return s, false, err
	}
	s, blocked = g.blocking(found, category)
	return s, blocked, nil
}

func (g *Gate) blocking(found []mail.Suppression, category string) (mail.Suppression, bool) {
	return mail.Blocking(found, category, g.categories.Essential(category))
}
