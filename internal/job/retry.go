package job

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/tasks"
)

// Retryable are the states of jobs that Retry gives a new life.
var Retryable = []State{Failed, Cancelled, Expired, Suppressed}

const (
	// MaxRetry is the most jobs that one RetryMatching retries.
	MaxRetry  = 100_000
	retryPage = 500
	// retryReserve is left of the caller's time when no further page is begun.
	retryReserve = 10 * time.Second
)

// RetryReport says what RetryMatching did.
type RetryReport struct {
	Retried int
	// Passed is how many could not be retried: their payload is gone, or their
	// state changed meanwhile.
	Passed int
	// Next is the place to go on from, in Filter.Before; empty at the end.
	Next ID
}

// RetryMatching does what Retry does to each job that the filter chooses, newest
// first and at most f.Limit of them (1 to MaxRetry), a page a transaction. The
// filter's Status must be one of Retryable. It stops early, with Next, some
// seconds before ctx ends. What was done stays done after an error; to begin
// again is safe, since a job that was retried is not chosen any more.
func (s *Service) RetryMatching(ctx context.Context, f Filter, actor string) (RetryReport, error) {
	var report RetryReport
	bad := f.checkRetry()
	if f.Limit < 1 || f.Limit > MaxRetry {
		bad.Add("limit", fmt.Sprintf("must be from 1 to %d", MaxRetry))
	}
	if err := bad.OrNil(); err != nil {
		return report, Invalid(err)
	}
	for left := f.Limit; left > 0; left = f.Limit - report.Retried - report.Passed {
		if until, bounded := ctx.Deadline(); bounded && report.Next != "" && time.Until(until) < retryReserve {
			return report, nil
		}
		page := f
		page.Limit = min(left, retryPage)
		if report.Next != "" {
			page.Before = report.Next
		}
		found, err := s.store.List(ctx, page)
		if err != nil {
			return report, err
		}
		retried, err := s.retryPage(ctx, found, actor)
		if err != nil {
			return report, err
		}
		report.Retried += retried
		report.Passed += len(found) - retried
		if len(found) < page.Limit {
			report.Next = ""
			return report, nil
		}
		report.Next = found[len(found)-1].ID
	}
	return report, nil
}

// retryPage retries the jobs that still are as they were found.
func (s *Service) retryPage(ctx context.Context, found []Job, actor string) (int, error) {
	states := make(map[ID]State, len(found))
	ids := make([]ID, len(found))
	for i, j := range found {
		ids[i], states[j.ID] = j.ID, j.State
	}
	decide := retry(actor)
	changed, err := s.store.Change(ctx, ids, func(j *Job, now time.Time) ([]Event, error) {
		if j.State != states[j.ID] {
			return nil, nil
		}
		events, err := decide(j, now)
		if CodeOf(err) == CodeConflict {
			return nil, nil
		}
		return events, err
	})
	if err != nil {
		return 0, err
	}
	s.out.put(tasksOf(changed))
	return len(changed), nil
}

// CountRetryable says how many jobs RetryMatching would choose without a limit,
// and shows the newest of them, at most f.Limit (1 to MaxPage).
func (s *Service) CountRetryable(ctx context.Context, f Filter) (int, []Job, error) {
	if err := f.checkRetry().OrNil(); err != nil {
		return 0, nil, Invalid(err)
	}
	n, err := s.store.Count(ctx, f)
	if err != nil {
		return 0, nil, err
	}
	sample, err := s.List(ctx, f)
	return n, sample, err
}

func (f Filter) checkRetry() tasks.Invalid {
	bad := f.check()
	if !slices.Contains(Retryable, State(f.Status)) {
		bad.Add("state", fmt.Sprintf("must be one of %v", Retryable))
	}
	return bad
}
