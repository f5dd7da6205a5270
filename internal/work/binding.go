package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Binding is a job type with the handler that carries out its jobs; On makes
// it.
type Binding struct {
	name  string
	carry func(ctx context.Context, run *Run, payload []byte) job.Outcome
}

// On binds a handler to a job type.
//
// The handler must return soon (within POSTRIDER_STOP_GRACE) after ctx has
// ended, which it does at the type's deadline and for the reasons that
// context.Cause tells: ErrDeadline, ErrShutdown, ErrCancelRequested,
// ErrLeaseLost. It then returns Interrupted, unless it knows for sure whether
// its effect has happened. It calls run.PointOfNoReturn just before it does
// what cannot be undone. A panic is a failed attempt.
func On[T any](t tasks.Of[T], handler func(ctx context.Context, run *Run, payload *T) job.Outcome) Binding {
	return Binding{
		name: t.Name,
		carry: func(ctx context.Context, run *Run, raw []byte) job.Outcome {
			payload, err := t.Decode(raw)
			if err != nil {
				// It was valid when it was accepted: the type has changed since.
				return job.PermanentFailure("its payload is not valid for this worker: %v", err)
			}
			return handler(ctx, run, payload)
		},
	}
}

// bound is a job type as this worker carries it out.
type bound struct {
	tasks.Type
	carry func(ctx context.Context, run *Run, payload []byte) job.Outcome
}

// bind looks up the type of each handler. A handler that would never be called
// is a mistake; a type without one is told, since its jobs will fail.
func bind(types *tasks.Catalogue, handlers []Binding, log *slog.Logger) (map[string]bound, error) {
	out := make(map[string]bound, len(handlers))
	var errs []error
	for _, h := range handlers {
		t, known := types.Lookup(h.name)
		_, twice := out[h.name]
		switch {
		case !known:
			errs = append(errs, fmt.Errorf("binding handlers: job type %q is not in the catalogue", h.name))
		case twice:
			errs = append(errs, fmt.Errorf("binding handlers: job type %q has two", h.name))
		}
		out[h.name] = bound{Type: t, carry: h.carry}
	}
	for _, t := range types.Types() {
		if _, ok := out[t.Name]; !ok {
			log.Warn("a job type has no handler: its jobs are left to other workers", "type", t.Name)
		}
	}
	return out, errors.Join(errs...)
}
