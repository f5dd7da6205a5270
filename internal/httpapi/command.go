package httpapi

import (
	"context"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// idInput is the request of a command that needs the job's id alone.
type idInput struct {
	ID string `path:"id" doc:"the job"`
}

// command makes a handler of one of the domain's commands, which the audit knows
// as action, and where it can do several things as detail of them.
func (a *api) command(action audit.Action, detail string, do func(ctx context.Context, id job.ID, actor string) (job.Job, error)) func(context.Context, *idInput) (*jobAnswer, error) {
	return func(ctx context.Context, in *idInput) (*jobAnswer, error) {
		id, err := job.ParseID(in.ID)
		if err != nil {
			return nil, err
		}
		who, _ := auth.From(ctx)
		doing := act(ctx, action, string(id))
		doing.Detail = detail
		var j job.Job
		err = a.audit.Do(ctx, doing, func(ctx context.Context) (err error) {
			j, err = do(ctx, id, who.Name)
			return err
		})
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
	resolve := a.command(audit.JobResolve, string(body.Outcome), func(ctx context.Context, id job.ID, actor string) (job.Job, error) {
		return a.jobs.Resolve(ctx, id, actor, body.Outcome)
	})
	return resolve(ctx, &idInput{in.ID})
}
