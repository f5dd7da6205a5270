package work

import (
	"context"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// handleEphemeral carries out a task that is all there is of its job.
func (w *Worker) handleEphemeral(ctx context.Context, t job.Task) job.Verdict {
	b, known := w.handlers[t.Type]
	if !known {
		return failed(w.noHandler(t.Type, t.ID), false)
	}
	if !b.Ephemeral {
		return failed(job.PermanentFailure("job type %s is durable, and this task has no job", t.Type), true)
	}
	j := job.Job{ID: t.ID, Type: t.Type, Queue: t.Queue, Payload: t.Payload, RunAt: t.RunAt, Ephemeral: true}
	j.Trace = t.Trace
	ctx, span := w.trace(ctx, j, time.Now())
	defer span.End()
	run, closeRun := w.newRun(ctx, j, b.Deadline)
	defer closeRun()
	run.span = span
	outcome := w.carryOut(run, b)
	traceOutcome(span, outcome)
	return ephemeralVerdict(b.Type, outcome)
}

// ephemeralVerdict hands the outcome to the engine, whose retries rule.
func ephemeralVerdict(t tasks.Type, o job.Outcome) job.Verdict {
	switch o.Kind {
	case job.OutcomeDone:
		if len(o.Effects) > 0 {
			return failed(job.PermanentFailure("job type %s is ephemeral and cannot have a %s", t.Name, o.Effects[0].EffectName()), true)
		}
		return job.Verdict{}
	case job.OutcomeRateLimited, job.OutcomeGivenBack:
		return again(max(o.After, minPause), string(o.Kind))
	case job.OutcomeTemporary:
		return failed(o, false)
	case job.OutcomeAmbiguous:
		// There is no job that could be held for a person.
		return failed(o, t.OnAmbiguous == tasks.Hold)
	}
	return failed(o, true)
}

func failed(o job.Outcome, skip bool) job.Verdict {
	return job.Verdict{Err: errors.New(o.Message), Skip: skip, Reason: string(o.Kind)}
}
