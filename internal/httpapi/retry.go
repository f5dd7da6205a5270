package httpapi

import (
	"context"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// retryInput is the request of POST /jobs/retry.
type retryInput struct {
	RawBody []byte `contentType:"application/json"`
}

type retryRequest struct {
	State string `json:"state" enum:"failed,cancelled,expired,suppressed" doc:"the state that they are in; a held job is resolved, not retried"`
	BulkFields
	Sink   bool `json:"sink,omitempty" doc:"rehearse instead: a copy of each mail is built and checked as it would be sent, and dropped; the jobs themselves stay as they are, and the copies' states tell what would become of them. 1,000 jobs at most"`
	Canary *int `json:"canary,omitempty" minimum:"1" maximum:"50" example:"10" doc:"retry this many first and no more: asking again with next_cursor retries the others, once all of the first are done; while they are not, or when one has failed again, that is a 409"`
}

type retryAnswer struct{ Body retryOutcome }

type retryOutcome struct {
	Retried int    `json:"retried" doc:"how many run again"`
	BatchID job.ID `json:"batch_id,omitempty" doc:"of the copies that sink made"`
	BulkOutcome
}

func (a *api) retryJobs(ctx context.Context, in *retryInput) (*retryAnswer, error) {
	req, err := a.retryBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	f, err := req.filter(req.State)
	if err != nil {
		return nil, err
	}
	out := retryOutcome{}
	if req.dry() {
		if out.BulkOutcome, err = a.countBulk(ctx, job.BulkRetry, f); err != nil {
			return nil, err
		}
		return &retryAnswer{out}, nil
	}
	if req.Sink {
		who, _ := auth.From(ctx)
		return a.rehearse(ctx, req, f, who.Name)
	}
	if err := a.canarySings(ctx, req.Cursor); err != nil {
		return nil, err
	}
	if req.Canary != nil {
		return a.sendCanary(ctx, f, *req.Canary)
	}
	if out.Retried, out.BulkOutcome, err = a.actBulk(ctx, job.BulkRetry, f, "retried"); err != nil {
		return nil, err
	}
	return &retryAnswer{out}, nil
}
