package httpapi

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/tasks"
)

// suppressionView is a suppression as the API shows it.
type suppressionView struct {
	Address   string      `json:"address" example:"user@example.com" doc:"in lower case, its domain in ASCII"`
	Category  string      `json:"category,omitempty" example:"newsletter" doc:"of the mails that are meant; all where it is missing"`
	Reason    mail.Reason `json:"reason" enum:"complaint,bounce,manual,unsubscribe"`
	Note      string      `json:"note,omitempty" example:"550 5.1.1 no such user"`
	Actor     string      `json:"actor,omitempty" doc:"the API key or user that said so; missing for Postrider itself"`
	JobID     string      `json:"job_id,omitempty" doc:"the job that it came of"`
	CreatedAt stamp       `json:"created_at"`
}

func showSuppressions(all []mail.Suppression) []suppressionView {
	out := make([]suppressionView, len(all))
	for i, s := range all {
		out[i] = suppressionView{s.Address, s.Category, s.Reason, s.Note, s.Actor, s.Job, stamp{s.At}}
	}
	return out
}

// SuppressionQuery chooses suppressions; huma looks into exported fields only.
type SuppressionQuery struct {
	Category string `query:"category" example:"newsletter" doc:"of this category only; * for those that are for all mail"`
	Reason   string `query:"reason" enum:"complaint,bounce,manual,unsubscribe"`
}

func (q SuppressionQuery) filter() mail.SuppressionFilter {
	return mail.SuppressionFilter{Category: q.Category, Reason: mail.Reason(q.Reason)}
}

type suppressionListInput struct {
	SuppressionQuery
	Address string `query:"address" example:"user@example.com" doc:"of this address only"`
	Limit   int    `query:"limit" minimum:"1" maximum:"500" default:"50"`
	Cursor  string `query:"cursor" doc:"next_cursor of the page before"`
}

type suppressionList struct {
	Body struct {
		Suppressions []suppressionView `json:"suppressions" nullable:"false" doc:"newest first"`
		NextCursor   string            `json:"next_cursor,omitempty" doc:"asks for the page after this one; none is left where it is missing"`
	}
}

func (a *api) listSuppressions(ctx context.Context, in *suppressionListInput) (*suppressionList, error) {
	f := in.filter()
	f.Limit = in.Limit + 1
	var bad tasks.Invalid
	if in.Address != "" {
		f.Address = normalAddress(&bad, in.Address)
	}
	if in.Cursor != "" {
		var err error
		if f.Before, err = strconv.ParseInt(in.Cursor, 36, 64); err != nil || f.Before < 1 {
			bad.Add("cursor", "is not one that a page before gave")
		}
	}
	if err := bad.OrNil(); err != nil {
		return nil, job.Invalid(err)
	}
	found, err := a.suppressions.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := &suppressionList{}
	if len(found) > in.Limit { // one was asked for beyond the page
		found = found[:in.Limit]
		out.Body.NextCursor = strconv.FormatInt(found[len(found)-1].Seq, 36)
	}
	out.Body.Suppressions = showSuppressions(found)
	return out, nil
}

func normalAddress(bad *tasks.Invalid, address string) string {
	normal, err := mail.Normalise(address)
	if err != nil {
		bad.Add("address", "is not a mail address")
	}
	return normal
}

type suppressInput struct {
	Address string `path:"address" example:"user@example.com"`
	RawBody []byte `contentType:"application/json"`
}

type suppressRequest struct {
	Category string      `json:"category,omitempty" example:"newsletter" doc:"of the mails that are meant; all when left out"`
	Reason   mail.Reason `json:"reason,omitempty" enum:"complaint,bounce,manual,unsubscribe" doc:"manual when left out"`
	Note     string      `json:"note,omitempty" example:"asked for it on the phone" doc:"500 bytes at most"`
}

// suppressionsAnswer is what is known of one address.
type suppressionsAnswer struct {
	Body struct {
		Suppressions []suppressionView `json:"suppressions" nullable:"false"`
	}
}

func (a *api) suppress(ctx context.Context, in *suppressInput) (*suppressionsAnswer, error) {
	req, err := a.suppressBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	who, _ := auth.From(ctx)
	var bad tasks.Invalid
	s := mail.Suppression{
		Address: normalAddress(&bad, in.Address), Category: req.Category, Reason: req.Reason, Note: req.Note, Actor: who.Name,
	}
	if s.Reason == "" {
		s.Reason = mail.Manual
	}
	if err := s.Check(); err != nil {
		bad.Add("body", "cannot be: "+err.Error())
	}
	if err := bad.OrNil(); err != nil {
		return nil, job.Invalid(err)
	}
	doing := act(ctx, audit.SuppressionAdd, s.Address)
	doing.Detail = strings.TrimSpace(string(s.Reason) + " " + s.Category)
	if err := a.audit.Do(ctx, doing, func(ctx context.Context) error { return a.suppressions.Suppress(ctx, s) }); err != nil {
		return nil, err
	}
	found, err := a.suppressions.Find(ctx, s.Address)
	if err != nil {
		return nil, err
	}
	out := &suppressionsAnswer{}
	out.Body.Suppressions = showSuppressions(found)
	return out, nil
}

type unsuppressInput struct {
	SuppressionQuery
	Address string `path:"address" example:"user@example.com"`
}

func (a *api) unsuppress(ctx context.Context, in *unsuppressInput) (*suppressionsAnswer, error) {
	f := in.filter()
	var bad tasks.Invalid
	f.Address = normalAddress(&bad, in.Address)
	if err := bad.OrNil(); err != nil {
		return nil, job.Invalid(err)
	}
	doing := act(ctx, audit.SuppressionRemove, f.Address)
	doing.Detail = strings.TrimSpace(string(f.Reason) + " " + f.Category)
	var gone []mail.Suppression
	err := a.audit.Do(ctx, doing, func(ctx context.Context) (err error) {
		gone, err = a.suppressions.Unsuppress(ctx, f)
		if err == nil && len(gone) == 0 {
			err = job.Errorf(job.CodeNotFound, "the address is not suppressed so")
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	out := &suppressionsAnswer{}
	out.Body.Suppressions = showSuppressions(gone)
	return out, nil
}

type importInput struct {
	RawBody []byte `contentType:"text/csv"`
}

type importAnswer struct {
	Body struct {
		Suppressions int `json:"suppressions" example:"2" doc:"how many lines there were; each is in force now"`
	}
}

func (a *api) importSuppressions(ctx context.Context, in *importInput) (*importAnswer, error) {
	who, _ := auth.From(ctx)
	all, err := suppress.ReadCSV(bytes.NewReader(in.RawBody), who.Name)
	if err != nil {
		return nil, job.Invalid(err)
	}
	doing := act(ctx, audit.SuppressionImport, "")
	doing.Count = len(all)
	if err := a.audit.Do(ctx, doing, func(ctx context.Context) error { return a.suppressions.Suppress(ctx, all...) }); err != nil {
		return nil, err
	}
	out := &importAnswer{}
	out.Body.Suppressions = len(all)
	return out, nil
}

// exportSuppressions streams the list. One that fails halfway is cut off, so
// that its reader sees that it is not whole.
func (a *api) exportSuppressions(ctx context.Context, in *SuppressionQuery) (*huma.StreamResponse, error) {
	list, err := suppress.NewExport(ctx, a.suppressions, in.filter())
	if err != nil {
		return nil, a.told(ctx, err)
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humachi.Unwrap(hc)
		w.Header().Set("Content-Type", "text/csv; charset=utf-8")
		w.Header().Set("Content-Disposition", `attachment; filename="suppressions.csv"`)
		err := list.Write(ctx, w, func() {
			// Each page has its own time; a writer without a deadline needs none.
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(handleTimeout))
		})
		if err != nil {
			_ = a.told(ctx, err)
			panic(http.ErrAbortHandler)
		}
	}}, nil
}
