package job

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/tasks"
)

// Bulk is a command on many jobs at once.
type Bulk string

// The commands.
const (
	BulkRetry  Bulk = "retry"
	BulkCancel Bulk = "cancel"
)

// Statuses are the values of Filter.Status that the command can be given with.
func (b Bulk) Statuses() []string {
	switch b {
	case BulkRetry:
		out := make([]string, len(Retryable))
		for i, state := range Retryable {
			out[i] = string(state)
		}
		return out
	case BulkCancel:
		return []string{"queued", "scheduled", "retrying", string(Waiting), string(Running), string(Held)}
	}
	return nil
}

const (
	// MaxBulk is the most jobs that one ActOnMatching comes to.
	MaxBulk  = 100_000
	bulkPage = 500
	// bulkReserve is left of the caller's time when no further page is begun.
	bulkReserve = 10 * time.Second
)

// What is told of jobs that a bulk command left as they were, beside what the
// command itself says.
const (
	becauseChanged = "it has changed since it was listed"
	becauseGone    = "it is not kept any more"
	becauseSo      = "it is so already"
)

// BulkReport says what ActOnMatching did.
type BulkReport struct {
	Done    int
	Refused map[string]int // by the reason, how many stayed as they were
	// Next is the place to go on from, in Filter.Before; empty at the end.
	Next ID
}

// Passed is how many jobs stayed as they were.
func (r BulkReport) Passed() (n int) {
	for _, k := range r.Refused {
		n += k
	}
	return n
}

// ActOnMatching does to each job that the filter chooses what the command of the
// same name does, newest first and at most f.Limit of them (1 to MaxBulk), a page
// a transaction. The filter's Status must be one of the command's. It stops early,
// with Next, some seconds before ctx ends; an error comes with the report of the
// pages before, which stay done. With f.Unchanged, the time at which jobs were
// counted, it acts on none but those: what came to match since, or was acted on by
// a call whose answer was lost, has changed, and to repeat the call is safe.
func (s *Service) ActOnMatching(ctx context.Context, act Bulk, f Filter, actor string) (BulkReport, error) {
	report := BulkReport{Refused: map[string]int{}, Next: f.Before}
	bad := f.checkBulk(act)
	if f.Limit < 1 || f.Limit > MaxBulk {
		bad.Add("limit", fmt.Sprintf("must be from 1 to %d", MaxBulk))
	}
	if err := bad.OrNil(); err != nil {
		return report, Invalid(err)
	}
	for left := f.Limit; left > 0; left = f.Limit - report.Done - report.Passed() {
		if until, bounded := ctx.Deadline(); bounded && report.Next != f.Before && time.Until(until) < bulkReserve {
			return report, nil
		}
		page := f
		page.Limit, page.Before = min(left, bulkPage), report.Next
		found, err := s.store.List(ctx, page)
		if err == nil {
			err = s.actOnPage(ctx, act, found, f.Unchanged, actor, &report)
		}
		if err != nil {
			return report, err
		}
		if len(found) < page.Limit {
			report.Next = ""
			return report, nil
		}
		report.Next = found[len(found)-1].ID
	}
	return report, nil
}

// actOnPage acts on the jobs that still are as they were found.
func (s *Service) actOnPage(ctx context.Context, act Bulk, found []Job, unchanged time.Time, actor string, report *BulkReport) error {
	states := make(map[ID]State, len(found))
	ids := make([]ID, len(found))
	refused := make(map[ID]string, len(found))
	for i, j := range found {
		ids[i], states[j.ID], refused[j.ID] = j.ID, j.State, becauseGone
	}
	decide := retry(actor)
	if act == BulkCancel {
		decide = cancel(actor)
	}
	changed, err := s.store.Change(ctx, ids, func(j *Job, now time.Time) ([]Event, error) {
		if j.State != states[j.ID] || !unchanged.IsZero() && !j.UpdatedAt.Before(unchanged) {
			refused[j.ID] = becauseChanged
			return nil, nil
		}
		events, err := decide(j, now)
		if CodeOf(err) == CodeConflict {
			refused[j.ID] = err.Error()
			return nil, nil
		}
		refused[j.ID] = becauseSo // unless it is among what has changed
		return events, err
	})
	if err != nil {
		return err
	}
	for _, j := range changed {
		delete(refused, j.ID)
	}
	for _, why := range refused {
		report.Refused[why]++
	}
	report.Done += len(changed)
	if act == BulkCancel {
		s.tellCancelled(ctx, changed)
	} else {
		s.out.put(tasksOf(changed))
	}
	return nil
}

// CountMatching says how many jobs ActOnMatching would come to without a limit,
// and shows the newest of them, at most f.Limit (1 to MaxPage).
func (s *Service) CountMatching(ctx context.Context, act Bulk, f Filter) (int, []Job, error) {
	if err := f.checkBulk(act).OrNil(); err != nil {
		return 0, nil, Invalid(err)
	}
	n, err := s.store.Count(ctx, f)
	if err != nil {
		return 0, nil, err
	}
	sample, err := s.List(ctx, f)
	return n, sample, err
}

func (f Filter) checkBulk(act Bulk) tasks.Invalid {
	bad := f.check()
	if able := act.Statuses(); !slices.Contains(able, f.Status) {
		bad.Add("state", fmt.Sprintf("must be one of %v", able))
	}
	return bad
}
