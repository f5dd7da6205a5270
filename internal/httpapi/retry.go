package httpapi

import (
	"context"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// retrySample is how many jobs a dry run shows.
const retrySample = 10

// retryInput is the request of POST /jobs/retry.
type retryInput struct {
	RawBody []byte `contentType:"application/json"`
}

type retryRequest struct {
	State     string     `json:"state" enum:"failed,cancelled,expired,suppressed" doc:"the state that they are in; a held job is resolved, not retried"`
	Type      string     `json:"type,omitempty" example:"email:send" doc:"of this job type only"`
	Queue     string     `json:"queue,omitempty" example:"email" doc:"of this queue only"`
	Recipient string     `json:"recipient,omitempty" example:"user@example.com" doc:"for this address or stream only"`
	Code      string     `json:"code,omitempty" enum:"temporary,permanent,suppressed,expired,cancelled,ambiguous,internal" doc:"only those whose last outcome was of this class"`
	Since     *time.Time `json:"since,omitempty" doc:"accepted then or later"`
	Until     *time.Time `json:"until,omitempty" doc:"accepted before that"`
	Limit     *int       `json:"limit,omitempty" minimum:"1" maximum:"100000" doc:"the most that are retried; 10,000 when left out"`
	Cursor    string     `json:"cursor,omitempty" doc:"next_cursor of the answer before"`
	Sink      bool       `json:"sink,omitempty" doc:"rehearse instead: a copy of each mail is built and checked as it would be sent, and dropped; the jobs themselves stay as they are, and the copies' states tell what would become of them. 1,000 jobs at most"`
	Canary    *int       `json:"canary,omitempty" minimum:"1" maximum:"50" example:"10" doc:"retry this many first and no more: asking again with next_cursor retries the others, once all of the first are done; while they are not, or when one has failed again, that is a 409"`
	DryRun    *bool      `json:"dry_run,omitempty" doc:"true when left out: only count, and show some; false retries them"`
}

type retryAnswer struct{ Body retryOutcome }

type retryOutcome struct {
	DryRun     bool      `json:"dry_run" doc:"nothing was changed"`
	Matched    int       `json:"matched" doc:"how many jobs are chosen; of a dry run all, else those that were come to"`
	Retried    int       `json:"retried" doc:"how many run again"`
	Passed     int       `json:"passed" doc:"how many do not: their payload was deleted by retention, or their state changed in this moment"`
	Sample     []jobView `json:"sample,omitempty" nullable:"false" doc:"the newest of them; of a dry run"`
	BatchID    job.ID    `json:"batch_id,omitempty" doc:"of the copies that sink made"`
	NextCursor string    `json:"next_cursor,omitempty" doc:"asks to go on: the limit was reached, or the time of a request"`
}

func (a *api) retryJobs(ctx context.Context, in *retryInput) (*retryAnswer, error) {
	req, err := a.retryBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	f, err := req.filter()
	if err != nil {
		return nil, err
	}
	if req.DryRun == nil || *req.DryRun {
		return a.countRetry(ctx, f)
	}
	who, _ := auth.From(ctx)
	if req.Sink {
		return a.rehearse(ctx, req, f, who.Name)
	}
	if err := a.canarySings(ctx, req.Cursor); err != nil {
		return nil, err
	}
	if req.Canary != nil {
		return a.sendCanary(ctx, f, *req.Canary, who.Name)
	}
	f.Limit = 10_000
	if req.Limit != nil {
		f.Limit = *req.Limit
	}
	done, err := a.jobs.RetryMatching(ctx, f, who.Name)
	if err != nil {
		if done.Retried > 0 {
			err = job.Wrap(job.CodeOf(err), err, "%d jobs were retried before this failed; ask again for the others", done.Retried)
		}
		return nil, err
	}
	out := retryOutcome{Matched: done.Retried + done.Passed, Retried: done.Retried, Passed: done.Passed}
	if done.Next != "" {
		out.NextCursor = cursorAfter(done.Next)
	}
	return &retryAnswer{out}, nil
}

func (a *api) countRetry(ctx context.Context, f job.Filter) (*retryAnswer, error) {
	f.Limit = retrySample
	n, sample, err := a.jobs.CountRetryable(ctx, f)
	if err != nil {
		return nil, err
	}
	out := retryOutcome{DryRun: true, Matched: n, Sample: make([]jobView, len(sample))}
	for i := range sample {
		out.Sample[i] = show(&sample[i], time.Time{}) // none of them waits
	}
	return &retryAnswer{out}, nil
}

func (r *retryRequest) filter() (job.Filter, error) {
	f := job.Filter{
		Status: r.State, Type: r.Type, Queue: r.Queue, Recipient: searched(r.Recipient),
		Code: job.Code(r.Code), Since: moment(r.Since), Until: moment(r.Until),
	}
	var bad tasks.Invalid
	if r.Cursor != "" {
		var err error
		if f.Before, _, err = readRetryCursor(r.Cursor); err != nil {
			bad.Add("cursor", "is not one that an answer before gave")
		}
	}
	if !f.Since.IsZero() && !f.Until.IsZero() && !f.Until.After(f.Since) {
		bad.Add("until", fmt.Sprintf("must be after since, %s", stamp{f.Since}))
	}
	if err := bad.OrNil(); err != nil {
		return f, job.Invalid(err)
	}
	return f, nil
}
