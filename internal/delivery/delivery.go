// Package delivery answers the question that is asked about every mail: did
// this person get it, and if not, why? It finds mails, tells each one's story
// in words, erases a person, and measures how soon mails go out.
package delivery

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Mail is a job with what describes it. A job of another type, or from before
// descriptions were kept, has none.
type Mail struct {
	job.Job
	Subject  string // at most MaxSubject bytes of it
	Template string
	Category string
}

// MaxPage is the most mails that a search returns.
const MaxPage = 500

// Query chooses mails; zero fields do not.
type Query struct {
	Recipients []string // any of these, as jobs keep them
	Subject    string   // how it begins, in upper or lower case
	Template   string
	Category   string
	Status     string // a stored state, or scheduled, queued, retrying
	Since      time.Time
	Until      time.Time
	Before     job.ID // cursor: ids below this one
	Limit      int    // 1 to MaxPage
}

// Store is what this package needs of the database.
type Store interface {
	// Search returns mails without their payloads, newest first. With
	// Recipients it returns every job for them, else only what has a
	// description.
	Search(ctx context.Context, q Query) ([]Mail, error)
	// FindMail returns one with its payload; CodeNotFound where there is none.
	FindMail(ctx context.Context, id job.ID) (Mail, error)
	// Events returns a job's history, oldest first.
	Events(ctx context.Context, id job.ID) ([]job.Event, error)
	// EventsOf returns those events of the jobs that are of one of the kinds,
	// oldest first.
	EventsOf(ctx context.Context, ids []job.ID, kinds []job.EventKind) ([]job.Event, error)
	// Now is the database's time.
	Now(ctx context.Context) (time.Time, error)
}

// Service finds and tells.
type Service struct{ store Store }

// New makes a Service.
func New(store Store) *Service { return &Service{store: store} }

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
	found, err := s.store.Search(ctx, q)
	if err != nil || len(found) == 0 {
		return nil, err
	}
	now, err := s.store.Now(ctx)
	if err != nil {
		return nil, err
	}
	ids := make([]job.ID, len(found))
	for i := range found {
		ids[i] = found[i].ID
	}
	news, err := s.store.EventsOf(ctx, ids, feedback)
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

// Story is a mail and all that happened to it.
type Story struct {
	Told
	Events []job.Event
	Lines  []Line // Events in words
}

// Story returns what happened to a job; CodeNotFound where there is none.
func (s *Service) Story(ctx context.Context, id job.ID) (Story, error) {
	m, err := s.store.FindMail(ctx, id)
	if err != nil {
		return Story{}, err
	}
	events, err := s.store.Events(ctx, id)
	if err != nil {
		return Story{}, err
	}
	now, err := s.store.Now(ctx)
	if err != nil {
		return Story{}, err
	}
	return Story{
		Told:   Told{Mail: m, Status: m.Status(now), Answer: AnswerOf(&m.Job, events, now)},
		Events: events, Lines: Tell(&m.Job, events),
	}, nil
}
