package work

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/postrider/postrider/internal/job"
)

// Why a handler's context ends, beside its engine's reasons for an ephemeral
// job: errors.Is finds them in context.Cause.
var (
	// ErrDeadline: the attempt took longer than its type allows.
	ErrDeadline = errors.New("the attempt exceeded its deadline")
	// ErrShutdown: the worker stops.
	ErrShutdown = errors.New("the worker is shutting down")
	// ErrCancelRequested: somebody asked for the job's cancellation.
	ErrCancelRequested = errors.New("the job's cancellation was requested")
	// ErrLeaseLost: the lease could not be kept, another worker may begin.
	ErrLeaseLost = errors.New("the run lost its lease")
)

// The kinds that only live between a handler and its worker.
const (
	// interrupted is what Interrupted returns.
	interrupted job.OutcomeKind = "interrupted"
	// left: nothing is recorded, the lease's end will tell.
	left job.OutcomeKind = "left"
)

// Interrupted is what a handler returns that stopped because its context ended
// or PointOfNoReturn refused: what the job comes to depends on why. err is
// what the handler met; it is shown where no better reason is known.
func Interrupted(err error) job.Outcome {
	return job.Outcome{Kind: interrupted, Message: fmt.Sprint(err)}
}

// endings says what an interrupted run comes to that had not passed its point
// of no return. Past it every one is ambiguous: only the handler can know
// better, and then it does not say Interrupted. A cause that is not here
// (the database failed at the point of no return, or the handler has a time
// limit of its own) is a failed attempt.
var endings = []struct {
	cause error
	kind  job.OutcomeKind
}{
	{ErrShutdown, job.OutcomeGivenBack},
	{ErrCancelRequested, job.OutcomeCancelled},
	{ErrDeadline, job.OutcomeTemporary},
	{ErrLeaseLost, left},
	{context.Canceled, job.OutcomeCancelled}, // by the engine; of an ephemeral job only
}

// resolve makes a definite outcome of what the handler returned.
func (r *Run) resolve(o job.Outcome) job.Outcome {
	switch o.Kind {
	case interrupted:
		return r.interruption(o.Message)
	case "":
		return job.PermanentFailure("its handler returned no outcome")
	}
	return o
}

func (r *Run) interruption(words string) job.Outcome {
	kind := job.OutcomeTemporary
	if cause := context.Cause(r.ctx); cause != nil {
		words = cause.Error()
		for _, e := range endings {
			if errors.Is(cause, e.cause) {
				kind = e.kind
				break
			}
		}
	}
	if r.past.Load() {
		return job.Outcome{Kind: job.OutcomeAmbiguous, Message: "interrupted past its point of no return: " + words}
	}
	return job.Outcome{Kind: kind, Message: words}
}

// carry calls the handler and returns a definite outcome, or left.
func (r *Run) carry(b bound, payload []byte) (o job.Outcome) {
	defer func() {
		if p := recover(); p != nil {
			r.Log.Error("a handler panicked", "panic", p, "stack", string(debug.Stack()))
			o = job.TemporaryFailure("its handler panicked: %v", p)
			if r.past.Load() {
				o.Kind = job.OutcomeAmbiguous
			}
		}
		o.Message = clip(o.Message)
	}()
	return r.resolve(b.carry(r.ctx, r, payload))
}

// maxMessage bounds, in bytes, what a job's history keeps of a handler's words.
const maxMessage = 2000

func clip(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return strings.ToValidUTF8(s[:maxMessage], "") + "…"
}
