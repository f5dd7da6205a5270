package httpapi

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// act is what the caller is about to do to one thing.
func act(ctx context.Context, action audit.Action, target string) audit.Act {
	who, _ := auth.From(ctx)
	x := exchangeOf(ctx)
	return audit.Act{Actor: who.Name, Address: x.addr, Request: x.id, Action: action, Target: target, Count: 1}
}

// auditRoutes declares the operations on what operators and keys did.
func (a *api) auditRoutes() {
	errs := []int{401, 403, 422, 429, 500, 503}
	tagged := func(op huma.Operation) huma.Operation {
		op.Tags = []string{"audit"}
		return operation(op, auth.Admin, errs)
	}
	huma.Register(a.huma, tagged(huma.Operation{
		OperationID: "list-audit", Method: http.MethodGet, Path: "/audit", Summary: "List what operators and API keys did, newest first",
		Description: "Records are written once and never changed; they are kept as POSTRIDER_KEEP_AUDIT says. " +
			"An act whose records say begun and nothing else was cut off.",
	}), handled(a, a.listAudit))

	export := tagged(huma.Operation{
		OperationID: "export-audit", Method: http.MethodGet, Path: "/audit/export", Summary: "Export what operators and API keys did",
		Description: "As lines of JSON or as CSV, newest first, whole. A cell of CSV that a spreadsheet would compute begins with an apostrophe. An answer that ends before its time is cut off.",
	})
	text := &huma.MediaType{Schema: &huma.Schema{Type: huma.TypeString}}
	export.Responses["200"] = &huma.Response{Description: "the records", Content: map[string]*huma.MediaType{"application/x-ndjson": text, "text/csv": text}}
	export.Middlewares = append(export.Middlewares, unhurried)
	huma.Register(a.huma, export, a.exportAudit)
}

// AuditQuery chooses records; huma looks into exported fields only.
type AuditQuery struct {
	Actor  string    `query:"actor" example:"dashboard:ann" doc:"who did it: an API key's name, dashboard: and a user's, user: and the id of a token's user"`
	Action string    `query:"action" example:"job.cancel"`
	Target string    `query:"target" doc:"what it was done to: an id, a name, a mail address, user: and an id, room: and a name"`
	Since  time.Time `query:"since" doc:"done then or later"`
	Until  time.Time `query:"until" doc:"done before that"`
}

func (q AuditQuery) filter() audit.Filter {
	return audit.Filter{Actor: q.Actor, Action: audit.Action(q.Action), Target: q.Target, Since: q.Since, Until: q.Until}
}

type auditInput struct {
	AuditQuery
	Limit  int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor string `query:"cursor" doc:"next_cursor of the page before"`
}

type auditAnswer struct {
	Body struct {
		Records    []audit.View `json:"records" nullable:"false" doc:"newest first"`
		NextCursor string       `json:"next_cursor,omitempty" doc:"asks for the page after this one; none is left where it is missing"`
	}
}

func (a *api) listAudit(ctx context.Context, in *auditInput) (*auditAnswer, error) {
	f := in.filter()
	f.Limit = in.Limit + 1
	if in.Cursor != "" {
		var err error
		if f.Before, err = strconv.ParseInt(in.Cursor, 36, 64); err != nil || f.Before < 1 {
			return nil, job.Invalid(tasks.Invalid{{Field: "cursor", Problem: "is not one that a page before gave"}})
		}
	}
	found, err := a.audit.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &auditAnswer{}
	if len(found) > in.Limit { // one was asked for beyond the page
		found = found[:in.Limit]
		out.Body.NextCursor = strconv.FormatInt(found[len(found)-1].Seq, 36)
	}
	out.Body.Records = make([]audit.View, len(found))
	for i, r := range found {
		out.Body.Records[i] = audit.Show(r)
	}
	return out, nil
}

type exportAuditInput struct {
	AuditQuery
	Format audit.Format `query:"format" enum:"ndjson,csv" default:"ndjson"`
}

// exportAudit streams the records. An answer that fails halfway is cut off, so that
// its reader sees that it is not whole.
func (a *api) exportAudit(ctx context.Context, in *exportAuditInput) (*huma.StreamResponse, error) {
	list, err := audit.NewExport(ctx, a.audit, in.filter())
	if err != nil {
		return nil, a.told(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humachi.Unwrap(hc)
		w.Header().Set("Content-Type", in.Format.ContentType())
		w.Header().Set("Content-Disposition", `attachment; filename="`+in.Format.FileName(time.Now())+`"`)
		err := list.Write(ctx, w, in.Format, func() {
			// Each page has its own time; a writer without a deadline needs none.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(handleTimeout))
		})
		if err != nil {
			_ = a.told(ctx, err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}
