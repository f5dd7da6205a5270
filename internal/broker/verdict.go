package broker

import (
	"errors"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/internal/job"
)

// verdictError translates a verdict to what asynq is returned:
//
//	zero       nil     the task is acknowledged and goes
//	Again      again   retry set, then; no failure, nothing counted
//	Err        the Err retry set by the type's backoff, counted
//	Err, Skip  over    archived
func verdictError(v job.Verdict) error {
	switch {
	case v.Again:
		return again{at: time.Now().Add(max(v.After, 0)), now: v.After <= 0, reason: v.Reason}
	case v.Err == nil:
		return nil
	case v.Skip:
		return over{v.Err, asynq.SkipRetry}
	}
	return v.Err
}

// again makes asynq bring the task once more. It is no failure.
type again struct {
	at     time.Time // not before
	now    bool      // at once: at is the past
	reason string
}

func (e again) Error() string {
	if e.reason == "" {
		return "comes again"
	}
	return e.reason
}

// over makes asynq end the task: as SkipRetry archived, as RevokeTask deleted.
// asynqmon shows the cause's own words.
type over struct {
	cause error
	as    error
}

func (e over) Error() string        { return e.cause.Error() }
func (e over) Unwrap() error        { return e.cause }
func (e over) Is(target error) bool { return target == e.as }

// isFailure is asynq's IsFailure: whether to count.
func isFailure(err error) bool {
	var a again
	return !errors.As(err, &a)
}

// retryDelay is asynq's RetryDelayFunc. asynq adds the delay to its own now
// and cuts the sum to whole seconds, so it is given one that ends at a whole
// second and no task comes early.
func (s *Server) retryDelay(retried int, err error, t *asynq.Task) time.Duration {
	var a again
	if errors.As(err, &a) && a.now {
		return 0
	}
	return max(time.Until(wholeSecond(s.comesBack(retried, err, t))), 0)
}

// comesBack is when a task that ended with the error is to come again.
func (s *Server) comesBack(retried int, err error, t *asynq.Task) time.Time {
	var a again
	switch {
	case errors.As(err, &a):
		return a.at
	case len(t.Payload()) > 0:
		return time.Now().Add(typeOf(s.types, t.Type()).Backoff.After(retried + 1))
	}
	return time.Now().Add(takenBack)
}
