package work

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/telemetry"
)

// Run is one attempt at a job, as its handler sees it.
type Run struct {
	// Job is the job as it was claimed. Of an ephemeral one only ID, Type,
	// Queue and Payload are known.
	Job job.Job
	// Log bears the ids of job and run.
	Log *slog.Logger

	limits *limit.Fleet
	span   telemetry.Span
	ctx    context.Context // ends with the attempt; its cause says why
	end    context.CancelCauseFunc
	fence  func(ctx context.Context, run job.RunRef) error // nil for an ephemeral job
	past   atomic.Bool                                     // the point of no return
}

// newRun begins an attempt that lasts until the deadline, parent's end or the
// worker's halt; close must follow.
func (w *Worker) newRun(parent context.Context, j job.Job, deadline time.Duration) (run *Run, closeRun func()) {
	ctx, end := context.WithCancelCause(parent)
	unhook := context.AfterFunc(w.halted, func() { end(ErrShutdown) })
	ctx, cancel := context.WithTimeoutCause(ctx, deadline, overrun(deadline))
	run = &Run{Job: j, limits: w.limits, ctx: ctx, end: end}
	run.Log = slog.New(runLog{w.log.Handler(), run})
	return run, func() { unhook(); cancel(); end(nil) }
}

// overrun is ErrDeadline with the deadline that an attempt exceeded.
type overrun time.Duration

func (o overrun) Error() string { return fmt.Sprintf("%v of %v", ErrDeadline, time.Duration(o)) }
func (overrun) Unwrap() error   { return ErrDeadline }

// Attempt is the attempt's number, from 1: how many the job will have been
// charged with if this one counts.
func (r *Run) Attempt() int { return r.Job.Attempts + 1 }

func (r *Run) ref() job.RunRef { return job.RunRef{ID: r.Job.ID, Run: r.Job.Runs} }

// PointOfNoReturn notes durably that the run is about to do what cannot be
// undone: from here on a run that ends without a definite outcome is
// ambiguous. On an error the handler must not go on, and returns Interrupted:
// the job's cancellation was asked for, the run is not the job's any more, or
// the database cannot be asked.
func (r *Run) PointOfNoReturn(ctx context.Context) error {
	if r.fence != nil {
		if err := r.fence(ctx, r.ref()); err != nil {
			r.end(refusal(err))
		}
	}
	if cause := context.Cause(r.ctx); cause != nil {
		return fmt.Errorf("passing the point of no return: %w", cause)
	}
	r.past.Store(true)
	return nil
}

// refusal is why a run ends whose point of no return could not be noted.
func refusal(err error) error {
	switch job.CodeOf(err) {
	case job.CodeConflict:
		return ErrLeaseLost
	case job.CodeCancelled:
		return ErrCancelRequested
	}
	return fmt.Errorf("noting the point of no return: %w", err)
}
