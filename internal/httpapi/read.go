package httpapi

import (
	"context"
	"encoding/base64"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

type jobAnswer struct{ Body jobView }

// findInput is the request of GET /jobs/{id}.
type findInput struct {
	ID      string `path:"id" doc:"the job"`
	Wait    string `query:"wait" example:"10s" doc:"wait so long, 60s at most, for the job to come to its final state, and answer then, or as it is when the time is over. An ephemeral job is answered at once"`
	Payload bool   `query:"payload" doc:"show the payload too; it may hold secrets, so this needs the scope admin"`
}

func (a *api) findJob(ctx context.Context, in *findInput) (*jobAnswer, error) {
	who, _ := auth.From(ctx)
	if in.Payload && !who.May(auth.Admin) {
		return nil, job.Errorf(job.CodeForbidden, "to see a payload needs an API key with the scope %s", auth.Admin)
	}
	wait, err := readWait(in.Wait)
	if err != nil {
		return nil, err
	}
	id, err := job.ParseID(in.ID)
	if err != nil {
		return nil, err
	}
	j, err := a.awaitEnd(ctx, id, wait)
	if err != nil {
		return nil, err
	}
	out, err := a.shown(ctx, j)
	if err != nil {
		return nil, err
	}
	if !j.Ephemeral { // those have no history
		events, err := a.jobs.Events(ctx, id)
		if err != nil {
			return nil, err
		}
		out.Body.Events = showEvents(events)
		now, err := a.now(ctx, j)
		if err != nil {
			return nil, err
		}
		answer := delivery.AnswerOf(&j, events, now)
		out.Body.Answer = &answer
	}
	if in.Payload {
		out.Body.Payload = j.Payload
	}
	return out, nil
}

// shown is a job's answer.
func (a *api) shown(ctx context.Context, j job.Job) (*jobAnswer, error) {
	now, err := a.now(ctx, j)
	if err != nil {
		return nil, err
	}
	return &jobAnswer{show(&j, now)}, nil
}

// now is the database's time where the state of one of the jobs depends on it:
// that is so of waiting ones only.
func (a *api) now(ctx context.Context, jobs ...job.Job) (time.Time, error) {
	if !slices.ContainsFunc(jobs, func(j job.Job) bool { return j.State == job.Waiting }) {
		return time.Time{}, nil
	}
	return a.jobs.Now(ctx)
}

// listInput is the request of GET /jobs.
type listInput struct {
	State     string    `query:"state" enum:"scheduled,queued,retrying,waiting,running,held,done,failed,cancelled,expired,suppressed" doc:"waiting is scheduled, queued and retrying together"`
	Type      string    `query:"type" example:"email:send"`
	Queue     string    `query:"queue" example:"email"`
	Recipient string    `query:"recipient" example:"user@example.com" doc:"a mail address, or the stream of a notification: user:42, room:lobby, everyone"`
	BatchID   string    `query:"batch_id" doc:"of a request with several jobs"`
	Category  string    `query:"category" example:"news" doc:"of its mail"`
	Template  string    `query:"template" example:"welcome" doc:"that its mail is rendered from"`
	Schedule  string    `query:"schedule" doc:"the name of the schedule that made it"`
	Code      string    `query:"code" enum:"temporary,permanent,suppressed,expired,cancelled,ambiguous,internal" doc:"of what class its last outcome was"`
	Since     time.Time `query:"since" doc:"accepted then or later"`
	Until     time.Time `query:"until" doc:"accepted before that"`
	Limit     int       `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor    string    `query:"cursor" doc:"next_cursor of the page before"`
}

type listAnswer struct {
	Body struct {
		Jobs       []jobView `json:"jobs" nullable:"false" doc:"newest first"`
		NextCursor string    `json:"next_cursor,omitempty" doc:"asks for the page after this one; none is left where it is missing"`
	}
}

func (a *api) listJobs(ctx context.Context, in *listInput) (*listAnswer, error) {
	f, err := in.filter()
	if err != nil {
		return nil, err
	}
	jobs, err := a.jobs.List(ctx, f)
	if err != nil {
		return nil, err
	}
	now, err := a.now(ctx, jobs...)
	if err != nil {
		return nil, err
	}
	out := &listAnswer{}
	if len(jobs) > in.Limit { // one was asked for beyond the page, to know whether there is another
		jobs = jobs[:in.Limit]
		out.Body.NextCursor = cursorAfter(jobs[len(jobs)-1].ID)
	}
	out.Body.Jobs = make([]jobView, len(jobs))
	for i := range jobs {
		out.Body.Jobs[i] = show(&jobs[i], now)
	}
	return out, nil
}

func (in *listInput) filter() (job.Filter, error) {
	f := job.Filter{
		Status: in.State, Type: in.Type, Queue: in.Queue, Recipient: searched(in.Recipient),
		Category: in.Category, Template: in.Template, Schedule: in.Schedule, Code: job.Code(in.Code),
		Since: in.Since, Until: in.Until, Limit: in.Limit + 1,
	}
	var bad tasks.Invalid
	var err error
	if in.BatchID != "" {
		if f.Batch, err = job.ParseID(in.BatchID); err != nil {
			bad.Add("batch_id", "is not the id of a batch")
		}
	}
	if in.Cursor != "" {
		if f.Before, err = readCursor(in.Cursor); err != nil {
			bad.Add("cursor", "is not one that a page before gave")
		}
	}
	if err := bad.OrNil(); err != nil {
		return f, job.Invalid(err)
	}
	return f, nil
}

// searched is a recipient as jobs are found by it.
func searched(recipient string) string {
	recipient = strings.TrimSpace(recipient)
	if strings.HasPrefix(recipient, "user:") || strings.HasPrefix(recipient, "room:") {
		return recipient
	}
	return strings.ToLower(recipient) // mail addresses are kept so
}

// cursorAfter names the place behind a job. Jobs are paged by id, which never
// changes, so that a page has no gaps though jobs change their states and new
// ones arrive. Callers must not rely on what is in it.
func cursorAfter(id job.ID) string {
	return base64.RawURLEncoding.EncodeToString([]byte(id))
}

func readCursor(s string) (job.ID, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return "", err
	}
	return job.ParseID(string(raw))
}
