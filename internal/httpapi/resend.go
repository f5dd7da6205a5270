package httpapi

import (
	"context"
	"crypto/sha256"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// resendInput is the request of POST /jobs/{id}/resend.
type resendInput struct {
	ID  string `path:"id" doc:"the job"`
	Key string `header:"Idempotency-Key" doc:"names the request, up to 255 printable ASCII characters: sent again within 24 hours, with the same job and API key, it makes no new job and is answered as the first time"`
}

func (a *api) resendRoute(errs []int) {
	huma.Register(a.huma, operation(huma.Operation{
		OperationID: "resend-job", Method: http.MethodPost, Path: "/jobs/{id}/resend",
		Summary: "Send what a job said once more",
		Description: "Makes a new job of it, due at once, with every check made again; a mail gets a Message-ID of its own. The history of each names the other. " +
			"A job that is not over, or whose body is gone by retention or an erasure, is a 409. To run the same job again, retry it.",
		DefaultStatus: http.StatusAccepted,
	}, auth.JobsWrite, errs), handled(a, a.resendJob))
}

func (a *api) resendJob(ctx context.Context, in *resendInput) (*acceptance, error) {
	id, err := job.ParseID(in.ID)
	if err != nil {
		return nil, err
	}
	who, _ := auth.From(ctx)
	caller := job.Caller{Name: who.Name, IdempotencyKey: in.Key}
	if in.Key != "" { // which may not name another request, nor one for another job
		hash := sha256.Sum256([]byte("resend\n" + string(id)))
		caller.BodyHash = hash[:]
	}
	var got job.Accepted
	err = a.audit.Steps(ctx, act(ctx, audit.JobResend, string(id)), func(ctx context.Context) (int, error) {
		got, err = a.charged(ctx, caller, 1, func() (job.Accepted, error) { return a.jobs.SendAgain(ctx, id, caller) })
		return len(got.Jobs), err
	})
	if err != nil {
		return nil, err
	}
	out := acceptedOne(got, "Job", "Job scheduled to run", timing{})
	return &out, nil
}
