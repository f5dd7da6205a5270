package httpapi

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/tasks"
)

// timelineInput is the request of GET /recipients/{address}/timeline.
type timelineInput struct {
	Address string `path:"address" example:"user@example.com" doc:"a mail address, or the stream of a notification: user:42, room:lobby"`
	Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor  string `query:"cursor" doc:"next_cursor of the page before"`
}

type timelineAnswer struct {
	Body struct {
		Suppressed []suppressedView `json:"suppressed" nullable:"false" doc:"why the address gets no mail now, or no mail of some category"`
		Entries    []deliveryView   `json:"entries" nullable:"false" doc:"what was meant for the recipient, newest first"`
		NextCursor string           `json:"next_cursor,omitempty" doc:"asks for the page after this one; none is left where it is missing"`
	}
}

type suppressedView struct {
	Category string      `json:"category,omitempty" doc:"of the mails that are meant; all where it is missing"`
	Reason   mail.Reason `json:"reason" enum:"complaint,bounce,manual,unsubscribe"`
	Note     string      `json:"note,omitempty"`
	Since    stamp       `json:"since"`
	JobID    string      `json:"job_id,omitempty" doc:"the mail that it came of"`
}

// deliveryView is a job in a timeline.
type deliveryView struct {
	jobView
	Subject  string          `json:"subject,omitempty"`
	Template string          `json:"template,omitempty"`
	Category string          `json:"category,omitempty"`
	Answer   delivery.Answer `json:"answer"`
}

func (a *api) timelineRoute(errs []int) {
	huma.Register(a.huma, operation(huma.Operation{
		OperationID: "recipient-timeline", Method: http.MethodGet, Path: "/recipients/{address}/timeline",
		Summary: "Show what a person was sent",
		Description: "All mails to an address and all notifications to the user of that name, newest first, each with the answer to whether they got it. " +
			"What is older than the retention of jobs is not there any more.",
	}, auth.JobsRead, errs), handled(a, a.timeline))
}

func (a *api) timeline(ctx context.Context, in *timelineInput) (*timelineAnswer, error) {
	var before job.ID
	if in.Cursor != "" {
		var err error
		if before, err = readCursor(in.Cursor); err != nil {
			return nil, job.Invalid(tasks.Invalid{{Field: "cursor", Problem: "is not one that a page before gave"}})
		}
	}
	found, err := a.deliveries.Timeline(ctx, in.Address, before, in.Limit)
	if err != nil {
		return nil, err
	}
	suppressed, err := a.deliveries.Suppressed(ctx, in.Address)
	if err != nil {
		return nil, err
	}
	out := &timelineAnswer{}
	if len(found) == in.Limit { // maybe the last page: the next is empty then
		out.Body.NextCursor = cursorAfter(found[len(found)-1].ID)
	}
	out.Body.Suppressed = make([]suppressedView, len(suppressed))
	for i, s := range suppressed {
		out.Body.Suppressed[i] = suppressedView{Category: s.Category, Reason: s.Reason, Note: s.Note, Since: stamp{s.At}, JobID: s.Job}
	}
	out.Body.Entries = make([]deliveryView, len(found))
	for i := range found {
		t := &found[i]
		v := show(&t.Job, t.CreatedAt)
		v.State = t.Status
		out.Body.Entries[i] = deliveryView{jobView: v, Subject: t.Subject, Template: t.Template, Category: t.Category, Answer: t.Answer}
	}
	return out, nil
}
