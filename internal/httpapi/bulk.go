package httpapi

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

const (
	// bulkSample is how many jobs a dry run shows.
	bulkSample = 10
	// bulkLimit is the most that are acted on where no limit is given.
	bulkLimit = 10_000
)

// BulkFields choose the jobs of a command on many, beside their state, and say
// how it is carried out.
type BulkFields struct {
	Type      string     `json:"type,omitempty" example:"email:send" doc:"of this job type only"`
	Queue     string     `json:"queue,omitempty" example:"email" doc:"of this queue only"`
	Recipient string     `json:"recipient,omitempty" example:"user@example.com" doc:"for this address or stream only"`
	BatchID   string     `json:"batch_id,omitempty" doc:"of this request with several jobs only"`
	Category  string     `json:"category,omitempty" example:"news" doc:"whose mail is of this category only"`
	Template  string     `json:"template,omitempty" example:"welcome" doc:"whose mail is rendered from this template only"`
	Schedule  string     `json:"schedule,omitempty" doc:"that this schedule made only"`
	Code      string     `json:"code,omitempty" enum:"temporary,permanent,suppressed,expired,cancelled,ambiguous,internal" doc:"only those whose last outcome was of this class"`
	Since     *time.Time `json:"since,omitempty" doc:"accepted then or later"`
	Until     *time.Time `json:"until,omitempty" doc:"accepted before that"`
	Unchanged *time.Time `json:"unchanged_since,omitempty" doc:"only those that have been as they are since before then. With unchanged_since of the dry run none is acted on that was not counted, and none twice however often the request is repeated"`
	Limit     *int       `json:"limit,omitempty" minimum:"1" maximum:"100000" doc:"the most that are acted on; 10,000 when left out"`
	Cursor    string     `json:"cursor,omitempty" doc:"next_cursor of the answer before"`
	DryRun    *bool      `json:"dry_run,omitempty" doc:"true when left out: only count, and show some; false acts on them"`
}

// BulkOutcome is what the answers of such commands have in common.
type BulkOutcome struct {
	DryRun     bool      `json:"dry_run" doc:"nothing was changed"`
	Matched    int       `json:"matched" doc:"how many jobs are chosen; of a dry run all, else those that were come to"`
	Passed     int       `json:"passed" doc:"how many stay as they are"`
	Refused    []refusal `json:"refused,omitempty" nullable:"false" doc:"why those do, the most frequent reason first"`
	Sample     []jobView `json:"sample,omitempty" nullable:"false" doc:"the newest of them; of a dry run"`
	Unchanged  stamp     `json:"unchanged_since,omitzero" doc:"of a dry run: when they were counted"`
	NextCursor string    `json:"next_cursor,omitempty" doc:"asks to go on: the limit was reached, or the time of a request"`
}

type refusal struct {
	Reason string `json:"reason" example:"the job's payload was deleted by retention"`
	Count  int    `json:"count"`
}

func (b *BulkFields) dry() bool { return b.DryRun == nil || *b.DryRun }

// filter is which jobs are chosen, among those of a state.
func (b *BulkFields) filter(state string) (job.Filter, error) {
	f := job.Filter{
		Status: state, Type: b.Type, Queue: b.Queue, Recipient: searched(b.Recipient),
		Category: b.Category, Template: b.Template, Schedule: b.Schedule,
		Code: job.Code(b.Code), Since: moment(b.Since), Until: moment(b.Until), Unchanged: moment(b.Unchanged), Limit: bulkLimit,
	}
	if b.Limit != nil {
		f.Limit = *b.Limit
	}
	var bad tasks.Invalid
	var err error
	if b.BatchID != "" {
		if f.Batch, err = job.ParseID(b.BatchID); err != nil {
			bad.Add("batch_id", "is not the id of a batch")
		}
	}
	if b.Cursor != "" {
		if f.Before, _, err = readRetryCursor(b.Cursor); err != nil {
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

// countBulk answers a dry run.
func (a *api) countBulk(ctx context.Context, act job.Bulk, f job.Filter) (BulkOutcome, error) {
	now, err := a.jobs.Now(ctx)
	if err != nil {
		return BulkOutcome{}, err
	}
	if f.Unchanged.IsZero() || f.Unchanged.After(now) {
		f.Unchanged = now
	}
	f.Limit = bulkSample
	n, sample, err := a.jobs.CountMatching(ctx, act, f)
	if err != nil {
		return BulkOutcome{}, err
	}
	out := BulkOutcome{DryRun: true, Matched: n, Unchanged: stamp{f.Unchanged}, Sample: make([]jobView, len(sample))}
	for i := range sample {
		out.Sample[i] = show(&sample[i], now)
	}
	return out, nil
}

// actBulk does what was asked for; did names it.
func (a *api) actBulk(ctx context.Context, command job.Bulk, f job.Filter, did string) (int, BulkOutcome, error) {
	who, _ := auth.From(ctx)
	var report job.BulkReport
	err := a.audit.Do(ctx, act(ctx, "", "").OnMany(command, f), func(ctx context.Context) (err error) {
		report, err = a.jobs.ActOnMatching(ctx, command, f, who.Name)
		return err
	})
	if err != nil {
		if report.Done > 0 {
			err = job.Wrap(job.CodeOf(err), err, "%d jobs were %s before this failed; ask again for the others", report.Done, did)
		}
		return 0, BulkOutcome{}, err
	}
	return report.Done, outcomeOf(report), nil
}

func outcomeOf(report job.BulkReport) BulkOutcome {
	out := BulkOutcome{Matched: report.Done + report.Passed(), Passed: report.Passed()}
	for _, reason := range slices.Sorted(maps.Keys(report.Refused)) {
		out.Refused = append(out.Refused, refusal{reason, report.Refused[reason]})
	}
	slices.SortStableFunc(out.Refused, func(a, b refusal) int { return cmp.Compare(b.Count, a.Count) })
	if report.Next != "" {
		out.NextCursor = cursorAfter(report.Next)
	}
	return out
}

// cancelManyInput is the request of POST /jobs/cancel.
type cancelManyInput struct {
	RawBody []byte `contentType:"application/json"`
}

type cancelManyRequest struct {
	State string `json:"state" enum:"waiting,queued,scheduled,retrying,running,held" doc:"the state that they are in; waiting is scheduled, queued and retrying together"`
	BulkFields
}

type cancelManyAnswer struct{ Body cancelManyOutcome }

type cancelManyOutcome struct {
	Cancelled int `json:"cancelled" doc:"how many are, or were asked to stop where they run"`
	BulkOutcome
}

func (a *api) cancelJobs(ctx context.Context, in *cancelManyInput) (*cancelManyAnswer, error) {
	req, err := a.cancelBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	f, err := req.filter(req.State)
	if err != nil {
		return nil, err
	}
	out := cancelManyOutcome{}
	if req.dry() {
		out.BulkOutcome, err = a.countBulk(ctx, job.BulkCancel, f)
	} else {
		out.Cancelled, out.BulkOutcome, err = a.actBulk(ctx, job.BulkCancel, f, "cancelled")
	}
	if err != nil {
		return nil, err
	}
	return &cancelManyAnswer{out}, nil
}
