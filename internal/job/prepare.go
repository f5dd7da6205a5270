package job

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/tasks"
)

// Prepare validates a submission and makes of it a job to be, with an id, for
// who accepts it in a transaction of their own: the job must then be handed to
// Dispatch. by is what AcceptedBy shows. A type that is ephemeral has no place
// in a transaction, and is refused by the error, an Invalid.
func (s *Service) Prepare(ctx context.Context, sub Submission, by string) (New, error) {
	ctx, span := s.tracer.Begin(ctx, "accept")
	defer span.End()
	n, _, err := s.prepare(ctx, sub, by)
	n.Trace = telemetry.Traceparent(ctx)
	return n, err
}

// Check validates a submission as Prepare does, for one that is kept and
// submitted later, and returns its payload in canonical form: as it was given,
// since what admission makes of it is for its own time.
func (s *Service) Check(ctx context.Context, sub Submission, by string) (payload []byte, err error) {
	_, payload, err = s.prepare(ctx, sub, by)
	return payload, err
}

func (s *Service) prepare(ctx context.Context, sub Submission, by string) (n New, given []byte, err error) {
	one := []Candidate{{New: &n}}
	c := &one[0]
	s.build(c, sub, Caller{Name: by}, time.Now())
	if c.Err == nil && s.ephemeral(n.Type) {
		c.Err = Invalid(tasks.Invalid{{Field: "type", Problem: "is ephemeral, and only a durable job type can be accepted so"}})
	}
	if c.Err == nil {
		c.encode()
		given = n.Payload
	}
	if c.Err != nil {
		return New{}, nil, c.Err
	}
	n.ID = NewID()
	if err := s.admit(ctx, one); err != nil {
		return New{}, nil, err
	}
	if c.Err != nil {
		return New{}, nil, c.Err
	}
	return n, given, nil
}

// Dispatch sends jobs that Prepare made and another transaction accepted, at
// that time by the database's clock. It does not wait: what cannot be sent now,
// Reconcile sends.
func (s *Service) Dispatch(accepted []New, at time.Time) {
	out := make([]Task, 0, len(accepted))
	for _, n := range accepted {
		if n.State != Suppressed {
			out = append(out, Task{ID: n.ID, Dispatch: 1, Type: n.Type, Queue: n.Queue, RunAt: n.Due(at)})
		}
		s.count.accepted.WithLabelValues(n.Type, n.Queue).Inc()
	}
	s.out.put(out)
}
