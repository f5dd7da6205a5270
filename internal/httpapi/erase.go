package httpapi

import (
	"context"
	"encoding/base64"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// eraseInput is the request of DELETE /recipients/{address}.
type eraseInput struct {
	Address string `path:"address" example:"user@example.com" doc:"a mail address"`
	User    string `query:"user" maxLength:"200" doc:"the user of that address, whose inbox is erased too"`
	Confirm bool   `query:"confirm" doc:"without it nothing is changed, and what would be erased is counted"`
	Cursor  string `query:"cursor" doc:"next_cursor of the answer before"`
}

type eraseAnswer struct {
	Body struct {
		DryRun     bool           `json:"dry_run" doc:"nothing was changed"`
		Jobs       map[string]int `json:"jobs,omitempty" doc:"of a dry run: how many jobs there are for the person, by stored state"`
		Erased     int            `json:"erased" doc:"jobs that were erased by this call"`
		Cancelled  int            `json:"cancelled" doc:"jobs that were not over and had to be cancelled"`
		Texts      int            `json:"texts" doc:"other rows that gave the address away, and do not any more"`
		Done       bool           `json:"done" doc:"nothing of the person is left"`
		NextCursor string         `json:"next_cursor,omitempty" doc:"there is more to do: ask again with it, at once or, where a mail is just being sent, in some seconds"`
	}
}

func (a *api) eraseRoute(errs []int) {
	huma.Register(a.huma, operation(huma.Operation{
		OperationID: "erase-recipient", Method: http.MethodDelete, Path: "/recipients/{address}",
		Summary: "Erase a person",
		Description: "With confirm=true: cancels what is unfinished, erases address, content and history's words of all jobs for the person, the inbox of the user of that name, " +
			"files that only their mails carried, and then whatever else in the database quotes the address, encoded or not. What stays are counts (state, type, time), who erased it, " +
			"and, where the address is to get no mail, a keyed hash of it. It goes on in several requests while next_cursor is answered; to begin again is safe.",
	}, auth.Admin, errs), handled(a, a.erase))
}

func (a *api) erase(ctx context.Context, in *eraseInput) (*eraseAnswer, error) {
	p, err := delivery.PersonOf(in.Address, in.User)
	if err != nil {
		return nil, job.Invalid(tasks.Invalid{{Field: "address", Problem: "is not a mail address"}})
	}
	out := &eraseAnswer{}
	if !in.Confirm {
		counts, err := a.deliveries.CountErasable(ctx, p)
		if err != nil {
			return nil, err
		}
		out.Body.DryRun, out.Body.Jobs = true, make(map[string]int, len(counts))
		for state, n := range counts {
			out.Body.Jobs[string(state)] = n
		}
		return out, nil
	}
	from, err := base64.RawURLEncoding.DecodeString(in.Cursor)
	if err != nil {
		return nil, job.Invalid(tasks.Invalid{{Field: "cursor", Problem: "is not one that an answer before gave"}})
	}
	who, _ := auth.From(ctx)
	var did delivery.Erasure
	err = a.audit.Steps(ctx, act(ctx, audit.RecipientErase, p.Address), func(ctx context.Context) (int, error) {
		did, err = a.deliveries.Erase(ctx, p, who.Name, string(from))
		return did.Jobs + did.Texts, err
	})
	a.cache.Drop(ctx, inbox.Inboxes) // others' quote the person too
	if err != nil {
		return nil, err
	}
	out.Body.Erased, out.Body.Cancelled, out.Body.Texts, out.Body.Done = did.Jobs, did.Cancelled, did.Texts, did.Next == ""
	out.Body.NextCursor = base64.RawURLEncoding.EncodeToString([]byte(did.Next))
	return out, nil
}
