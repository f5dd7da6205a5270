package delivery

import (
	"context"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
)

// Jobs is what this package needs of the domain's commands; *job.Service has
// it.
type Jobs interface {
	Cancel(ctx context.Context, id job.ID, actor string) (job.Job, error)
	SendAgain(ctx context.Context, id job.ID, who job.Caller) (job.Accepted, error)
}

// Options are what a Service is made of; all are needed.
type Options struct {
	Store        Store
	Jobs         Jobs
	Suppressions mail.Suppressions
	Objectives   Objectives
	Chats        ChatEraser // nil where there are none
}

// Service finds mails, tells of them and acts on them.
type Service struct {
	Options
	burns burnCache
}

// New makes a Service.
func New(o Options) *Service { return &Service{Options: o} }

// Told is a mail with the answer about it.
type Told struct {
	Mail
	Status string // its state as the API shows it
	Answer Answer
}

// Search returns the mails that q chooses, newest first, each with its answer.
func (s *Service) Search(ctx context.Context, q Query) ([]Told, error) {
	if err := q.check(); err != nil {
		return nil, err
	}
	found, err := s.Store.Search(ctx, q)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	now, err := s.Store.Now(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]job.ID, len(found))
	for i := range found {
		ids[i] = found[i].ID
	}
	news, err := s.Store.EventsOf(ctx, ids, feedback)
	if err != nil {
		return nil, err
	}
	byJob := make(map[job.ID][]job.Event, len(news))
	for _, e := range news {
		byJob[e.Job] = append(byJob[e.Job], e)
	}
	out := make([]Told, len(found))
	for i, m := range found {
		out[i] = Told{Mail: m, Status: m.Status(now), Answer: AnswerOf(&m.Job, byJob[m.ID], now)}
	}
	return out, nil
}

// Timeline returns what was meant for a recipient, newest first: mails, and
// notifications for the user of that name. Limit and before page as in a Query.
func (s *Service) Timeline(ctx context.Context, recipient string, before job.ID, limit int) ([]Told, error) {
	return s.Search(ctx, Query{Recipients: everyForm(recipient), Before: before, Limit: limit})
}

// everyForm is Forms with the stream of the user who is called so.
func everyForm(recipient string) []string {
	forms := Forms(recipient)
	if isStream(recipient) {
		return forms
	}
	for _, f := range Forms(recipient) {
		forms = append(forms, "user:"+f)
	}
	return forms
}

// Suppressed lists why an address gets no mail, or no mail of some category.
// What is no mail address is never suppressed.
func (s *Service) Suppressed(ctx context.Context, address string) ([]mail.Suppression, error) {
	normal, err := mail.Normalise(address)
	if err != nil {
		return nil, nil
	}
	return s.Suppressions.Find(ctx, normal)
}

// Story is a mail and all that happened to it.
type Story struct {
	Told
	Events []job.Event
	Lines  []Line // Events in words
}

// Story returns what happened to a job; CodeNotFound where there is none.
func (s *Service) Story(ctx context.Context, id job.ID) (Story, error) {
	m, err := s.Store.FindMail(ctx, id)
	if err != nil {
		return Story{}, err
	}
	events, err := s.Store.Events(ctx, id)
	if err != nil {
		return Story{}, err
	}
	now, err := s.Store.Now(ctx)
	if err != nil {
		return Story{}, err
	}
	return Story{
		Told:   Told{Mail: m, Status: m.Status(now), Answer: AnswerOf(&m.Job, events, now)},
		Events: events, Lines: Tell(&m.Job, events),
	}, nil
}

// Resend sends what a job said once more; see job.Service.SendAgain. The once
// names the intention: asked for a second time with the same, it answers as the
// first time and makes no other.
func (s *Service) Resend(ctx context.Context, id job.ID, actor, once string) (job.ID, error) {
	got, err := s.Jobs.SendAgain(ctx, id, job.Caller{Name: actor, IdempotencyKey: "again " + string(id) + " " + once, BodyHash: []byte(id)})
	return got.Base, err
}

// Suppress has the recipient of a job get no mail any more.
func (s *Service) Suppress(ctx context.Context, id job.ID, actor string) error {
	m, err := s.Store.FindMail(ctx, id)
	if err != nil {
		return err
	}
	address, err := mail.Normalise(m.Recipient)
	if err != nil {
		return job.Errorf(job.CodeConflict, "the job is not for a mail address")
	}
	return s.Suppressions.Suppress(ctx, mail.Suppression{Address: address, Reason: mail.Manual, Actor: actor, Job: string(id)})
}

// Cancel keeps a job from being sent.
func (s *Service) Cancel(ctx context.Context, id job.ID, actor string) error {
	_, err := s.Jobs.Cancel(ctx, id, actor)
	return err
}

// MaxExport is the most mails that Export gives.
const MaxExport = 10_000

// exportPage is how many it reads at a time.
const exportPage = 500

// Export hands the mails that q chooses to each, newest first, MaxExport at
// most; q's limit is not looked at.
func (s *Service) Export(ctx context.Context, q Query, each func(Told) error) error {
	q.Limit = exportPage
	for n := 0; n < MaxExport; n += exportPage {
		page, err := s.Search(ctx, q)
		if err != nil {
			return err
		}
		for _, t := range page {
			if err := each(t); err != nil {
				return err
			}
		}
		if len(page) < exportPage {
			return nil
		}
		q.Before = page[len(page)-1].ID
	}
	return nil
}
