package job

import (
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/tasks"
)

// Cancel keeps a job from running. A waiting or held job is cancelled at
// once; of a running one it is noted that this was asked for, and its settle
// writes what really happened. Cancelling twice is no error; a job that is
// over is a CodeConflict.
func (s *Service) Cancel(ctx context.Context, id ID, actor string) (Job, error) {
	j, err := s.change(ctx, id, cancel(actor))
	switch {
	case CodeOf(err) == CodeNotFound:
		return s.cancelEphemeral(ctx, id, err)
	case err != nil:
		return Job{}, err
	}
	s.tellCancelled(ctx, []Job{j})
	return j, nil
}

// cancel is the decision of Cancel.
func cancel(actor string) Decision {
	return func(j *Job, now time.Time) ([]Event, error) {
		switch {
		case j.State == Cancelled, j.State == Running && j.CancelRequested:
			return nil, nil
		case j.State == Waiting, j.State == Held:
			j.State, j.UpdatedAt = Cancelled, now
			j.Code, j.Message, j.ReplyCode = CodeCancelled, "cancelled before it ran", 0
			j.finish(now)
			return []Event{j.event(EventCancelled, now, Event{Actor: actor, Code: CodeCancelled})}, nil
		case j.State == Running:
			j.CancelRequested, j.UpdatedAt = true, now
			return []Event{j.event(EventCancelRequested, now, Event{Actor: actor, Run: j.Runs})}, nil
		}
		return nil, over(j, "cancelled")
	}
}

// tellCancelled tells Redis of jobs that were cancelled: what nobody has begun
// leaves it, who runs one is told.
func (s *Service) tellCancelled(ctx context.Context, jobs []Job) {
	var withdrawn []Task
	for i := range jobs {
		if jobs[i].State == Running {
			s.disp.HintCancel(ctx, jobs[i].ID)
			continue
		}
		withdrawn = append(withdrawn, jobs[i].Task())
	}
	if len(withdrawn) > 0 {
		s.disp.Withdraw(ctx, withdrawn)
	}
}

func (s *Service) cancelEphemeral(ctx context.Context, id ID, notFound error) (Job, error) {
	j, err := s.disp.FindEphemeral(ctx, id)
	if err != nil {
		return Job{}, notFound
	}
	if err := s.disp.CancelEphemeral(ctx, id); err != nil {
		return Job{}, err
	}
	if j.State == Running {
		j.CancelRequested = true
	} else {
		j.State = Cancelled
	}
	return j, nil
}

// Retryable are the states of jobs that Retry gives a new life.
var Retryable = []State{Failed, Cancelled, Expired, Suppressed}

// Retry gives a job that ended without success a new life: it runs at once
// and has all its attempts again. Any other job is a CodeConflict.
func (s *Service) Retry(ctx context.Context, id ID, actor string) (Job, error) {
	return s.changeAndSend(ctx, id, retry(actor))
}

// retry is the decision of Retry.
func retry(actor string) Decision {
	return func(j *Job, now time.Time) ([]Event, error) {
		switch {
		case slices.Contains(Retryable, j.State):
			return j.revive(now, EventRetried, actor)
		case j.State == Held:
			return nil, Errorf(CodeConflict, "the job is held: resolve it")
		case j.State == Done:
			return nil, over(j, "retried")
		}
		return nil, Errorf(CodeConflict, "the job is %s: it will run anyway", j.State)
	}
}

// RunNow makes a waiting job due at once. Any other job is a CodeConflict.
func (s *Service) RunNow(ctx context.Context, id ID, actor string) (Job, error) {
	return s.changeAndSend(ctx, id, func(j *Job, now time.Time) ([]Event, error) {
		if j.State != Waiting {
			return nil, Errorf(CodeConflict, "the job is %s, only a waiting one can be run now", j.State)
		}
		j.RunAt, j.UpdatedAt = now, now
		j.redispatch(now)
		return []Event{j.event(EventRunNow, now, Event{Actor: actor})}, nil
	})
}

// Resolution is a person's word on a held job.
type Resolution string

// The resolutions.
const (
	ResolveDone   Resolution = "done"   // it has had its effect
	ResolveFailed Resolution = "failed" // it has not, and shall not
	ResolveRetry  Resolution = "retry"  // run it again
)

// Resolve ends a job's being held. A job that is not is a CodeConflict.
func (s *Service) Resolve(ctx context.Context, id ID, actor string, r Resolution) (Job, error) {
	return s.changeAndSend(ctx, id, func(j *Job, now time.Time) ([]Event, error) {
		if j.State != Held {
			return nil, Errorf(CodeConflict, "the job is %s, only a held one can be resolved", j.State)
		}
		switch r {
		case ResolveRetry:
			return j.revive(now, EventResolved, actor)
		case ResolveDone:
			j.State, j.Code = Done, ""
		case ResolveFailed:
			j.State, j.Code = Failed, CodePermanent
		default:
			return nil, Invalid(tasks.Invalid{{Field: "outcome", Problem: "must be done, failed or retry"}})
		}
		j.Message, j.UpdatedAt = "resolved by a person", now
		j.finish(now)
		return []Event{j.event(EventResolved, now, Event{Actor: actor, Code: j.Code, Message: string(r)})}, nil
	})
}

// revive makes a job that had stopped due at once, with all its attempts.
func (j *Job) revive(now time.Time, kind EventKind, actor string) ([]Event, error) {
	if j.PayloadGone {
		return nil, Errorf(CodeConflict, "the job's payload was deleted by retention")
	}
	j.State, j.RunAt, j.UpdatedAt = Waiting, now, now
	j.Attempts, j.Deaths = 0, 0
	j.CancelRequested = false
	if !j.ExpiresAt.After(now) {
		j.ExpiresAt = time.Time{}
	}
	j.redispatch(now)
	j.finish(now)
	return []Event{j.event(kind, now, Event{Actor: actor})}, nil
}

func over(j *Job, verb string) error {
	return Errorf(CodeConflict, "the job is %s already and cannot be %s", j.State, verb)
}

// Tell adds an event to a job's history, whatever its state, which stays as it
// is: what became of its mail later. A job that is not there any more is a
// CodeNotFound.
func (s *Service) Tell(ctx context.Context, id ID, kind EventKind, message string) error {
	_, err := s.change(ctx, id, func(j *Job, now time.Time) ([]Event, error) {
		return []Event{j.event(kind, now, Event{Message: message})}, nil
	})
	return err
}

// change alters one job and returns it as it is afterwards.
func (s *Service) change(ctx context.Context, id ID, decide Decision) (Job, error) {
	var seen *Job
	_, err := s.store.Change(ctx, []ID{id}, func(j *Job, now time.Time) ([]Event, error) {
		seen = j
		return decide(j, now)
	})
	if err != nil {
		return Job{}, err
	}
	if seen == nil {
		return Job{}, Errorf(CodeNotFound, "no job has the id %q", string(id))
	}
	return *seen, nil
}

// changeAndSend is change for what may have made a new dispatch.
func (s *Service) changeAndSend(ctx context.Context, id ID, decide Decision) (Job, error) {
	j, err := s.change(ctx, id, decide)
	if err == nil && j.State == Waiting && !j.Dispatched {
		s.out.put([]Task{j.Task()})
	}
	return j, err
}
