package job

import (
	"time"

	"github.com/postrider/postrider/tasks"
)

// Prepare validates a submission and makes of it a job to be, with an id, for
// who accepts it in a transaction of their own: the job must then be handed to
// Dispatch. by is what AcceptedBy shows. A type that is ephemeral has no place
// in a transaction, and is refused by the error, an Invalid.
func (s *Service) Prepare(sub Submission, by string) (New, error) {
	n, err := s.build(sub, Caller{Name: by}, time.Now())
	if err == nil && s.ephemeral(n.Type) {
		err = Invalid(tasks.Invalid{{Field: "type", Problem: "is ephemeral, and only a durable job type can be accepted so"}})
	}
	if err != nil {
		return New{}, err
	}
	n.ID = NewID()
	return n, nil
}

// Dispatch sends jobs that Prepare made and another transaction accepted, at
// that time by the database's clock. It does not wait: what cannot be sent now,
// Reconcile sends.
func (s *Service) Dispatch(accepted []New, at time.Time) {
	out := make([]Task, len(accepted))
	for i, n := range accepted {
		out[i] = Task{ID: n.ID, Dispatch: 1, Type: n.Type, Queue: n.Queue, RunAt: n.Due(at)}
		s.count.accepted.WithLabelValues(n.Type, n.Queue).Inc()
	}
	s.out.put(out)
}
