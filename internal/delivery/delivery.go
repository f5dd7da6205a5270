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
	Minutes
	Eraser
}
