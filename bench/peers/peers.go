// Package peers holds the contestants. Each is a small program of the same
// shape, in Go or for Node (the .mjs files beside): it puts jobs in and carries
// them out by the one library, and knows nothing of what is being measured. Each
// runs in processes of its own; see actor.go.
package peers

import (
	"context"
	"fmt"
	"time"
)

// Spec is where a contestant finds its servers.
type Spec struct {
	Redis    string `json:"redis"`              // host:port
	Database string `json:"database,omitempty"` // DATABASE_URL of those that use SQL
	SMTP     string `json:"smtp,omitempty"`     // host:port of those that send mails
	Profile  string `json:"profile,omitempty"`  // folder for a CPU profile, if one is wanted
}

// Mail is the payload of every job: 120 bytes as JSON. (In the mail case it is
// what is to be sent.)
type Mail struct {
	Email   string  `json:"email"`
	Subject string  `json:"subject"`
	Message string  `json:"message"`
	At      float64 `json:"at"` // when it was put in: Unix time in milliseconds
}

// Queue is what a contestant can do. A handler's return is the job's success.
type Queue interface {
	// Add puts one job in, to be run no sooner than delay from now.
	Add(ctx context.Context, m Mail, delay time.Duration) error
	// AddBulk puts several in, by the best way that the library has.
	AddBulk(ctx context.Context, ms []Mail) error
	// Flush returns when all that was put in can be taken out.
	Flush(ctx context.Context) error
	// Work begins to carry jobs out, so many at a time, and returns.
	Work(ctx context.Context, concurrency int, handle func(Mail)) error
	// Close ends the work; jobs that run are waited for.
	Close(ctx context.Context) error
}

// kinds are the contestants in Go, by the name that the bench starts them with.
var kinds = map[string]func(context.Context, Spec) (Queue, error){
	"postrider":         newPostrider,
	"postrider-durable": newPostriderDurable,
	"postrider-mail":    newPostriderMail,
	"asynq":             newAsynq,
	"river":             newRiver,
}

// Open starts the contestant of that kind.
func Open(ctx context.Context, kind string, spec Spec) (Queue, error) {
	open, known := kinds[kind]
	if !known {
		return nil, fmt.Errorf("opening a contestant: there is none named %q", kind)
	}
	q, err := open(ctx, spec)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", kind, err)
	}
	return q, nil
}
