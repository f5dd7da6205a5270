package httpapi

import (
	"context"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// idInput is the request of a command that needs the job's id alone.
type idInput struct {
	ID string `path:"id" doc:"the job"`
}

// command makes a handler of one of the domain's commands.
func (a *api) command(do func(ctx context.Context, id job.ID, actor string) (job.Job, error)) func(context.Context, *idInput) (*jobAnswer, error) {
	return func(ctx context.Context, in *idInput) (*jobAnswer, error) {
		id, err := job.ParseID(in.ID)
		if err != nil {
			return nil, err
		}
		who, _ := auth.From(ctx)
		j, err := do(ctx, id, who.Name)
		if err != nil {
			return nil, err
		}
		return a.shown(ctx, j)
	}
}

// resolveInput is the request of POST /jobs/{id}/resolve.
type resolveInput struct {
	ID      string `path:"id" doc:"the job"`
	RawBody []byte `contentType:"application/json"`
}

type resolveRequest struct {
	Outcome job.Resolution `json:"outcome" enum:"done,failed,retry" doc:"done: it had its effect; failed: it had not, and shall not; retry: run it again"`
}

func (a *api) resolveJob(ctx context.Context, in *resolveInput) (*jobAnswer, error) {
	body, err := a.resolveBody.decode(in.RawBody)
	if err != nil {
		return nil, err
	}
	resolve := a.command(func(ctx context.Context, id job.ID, actor string) (job.Job, error) {
		return a.jobs.Resolve(ctx, id, actor, body.Outcome)
	})
	return resolve(ctx, &idInput{in.ID})
}
