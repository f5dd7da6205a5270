package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
)

// routes declares every operation.
func (a *api) routes() {
	acceptErrors := []int{400, 401, 403, 408, 409, 413, 415, 422, 429, 500, 503}
	readErrors := []int{401, 403, 404, 422, 429, 500, 503}
	commandErrors := []int{401, 403, 404, 409, 422, 429, 500, 503}

	accept(a, huma.Operation{
		OperationID: "send-email", Method: http.MethodPost, Path: "/jobs/send-email",
		Summary: "Send an email",
		Description: "In the short form (email, subject, message) or the long one. " +
			"Several recipients make several jobs, all or none, under one batch_id; one who is named twice gets one mail. " +
			"With delay or send_at it is sent later.",
	}, acceptErrors, a.sendEmail, emailExamples)
	accept(a, huma.Operation{
		OperationID: "schedule-email", Method: http.MethodPost, Path: "/jobs/schedule-email",
		Summary:     "Send an email later",
		Description: "As send-email, but delay or send_at must be given.",
	}, acceptErrors, a.scheduleEmail, scheduleExamples)
	accept(a, huma.Operation{
		OperationID: "send-notification", Method: http.MethodPost, Path: "/jobs/send-notification",
		Summary:     "Send a notification",
		Description: "To a user, a room or everyone: exactly one of receiverId, room and everyone.",
	}, acceptErrors, a.sendNotification, notificationExamples)
	accept(a, huma.Operation{
		OperationID: "post-job", Method: http.MethodPost, Path: "/jobs",
		Summary:     "Post a job of any type",
		Description: "The catalogue has these types:\n" + catalogueList(a.types),
	}, acceptErrors, a.postJob, jobExamples)
	a.batchRoute(acceptErrors)

	huma.Register(a.huma, operation(huma.Operation{
		OperationID: "find-job", Method: http.MethodGet, Path: "/jobs/{id}", Summary: "Show a job with its history",
		Description: "Payloads are not shown: they may hold secrets, such as the link of a password reset. " +
			"With payload=true and an API key of the scope admin they are.",
		Middlewares: huma.Middlewares{unhurried},
	}, auth.JobsRead, readErrors), within(a, maxWait+handleTimeout, a.findJob))
	huma.Register(a.huma, operation(huma.Operation{
		OperationID: "list-jobs", Method: http.MethodGet, Path: "/jobs", Summary: "List jobs, newest first",
	}, auth.JobsRead, readErrors), handled(a, a.listJobs))

	huma.Register(a.huma, operation(huma.Operation{
		OperationID: "cancel-job", Method: http.MethodDelete, Path: "/jobs/{id}", Summary: "Cancel a job",
		Description: "One that waits is cancelled at once. One that runs is asked to stop: its state stays running, with cancel_requested, until its worker has told what really happened. One that is over is a 409.",
	}, auth.JobsWrite, commandErrors), handled(a, a.command(audit.JobCancel, "", a.jobs.Cancel)))
	huma.Register(a.huma, operation(huma.Operation{
		OperationID: "retry-job", Method: http.MethodPost, Path: "/jobs/{id}/retry", Summary: "Run a failed job again",
		Description: "A job that is failed, cancelled, expired or suppressed becomes due at once, with all its attempts. Any other is a 409.",
	}, auth.JobsWrite, commandErrors), handled(a, a.command(audit.JobRetry, "", a.jobs.Retry)))
	huma.Register(a.huma, operation(huma.Operation{
		OperationID: "run-job", Method: http.MethodPost, Path: "/jobs/{id}/run", Summary: "Run a waiting job now",
	}, auth.JobsWrite, commandErrors), handled(a, a.command(audit.JobRun, "", a.jobs.RunNow)))

	a.resendRoute(commandErrors)

	a.eventRoute(readErrors)
	a.timelineRoute(readErrors)
	a.eraseRoute(commandErrors)

	retry := operation(huma.Operation{
		OperationID: "retry-jobs", Method: http.MethodPost, Path: "/jobs/retry", Summary: "Run many jobs again",
		Description: "Those of a state, as far as the other fields choose them, newest first. Unless dry_run is false it only counts them and shows some. " +
			"Each becomes due at once, with all its attempts, and its history names who did it. To ask again is safe: a job that was retried is in that state no more. " +
			"Where next_cursor is answered there is more to do.",
	}, auth.JobsWrite, append([]int{400, 408, 413, 415}, commandErrors...))
	a.withBody(&retry, maxBody)
	huma.Register(a.huma, retry, handled(a, a.retryJobs))
	a.describeBody(retry, a.retryBody.schema, retryExamples)

	cancel := operation(huma.Operation{
		OperationID: "cancel-jobs", Method: http.MethodPost, Path: "/jobs/cancel", Summary: "Cancel many jobs",
		Description: "Those of a state, as far as the other fields choose them, newest first. Unless dry_run is false it only counts them and shows some. " +
			"Each is cancelled as DELETE /jobs/{id} does it, and its history names who did. Where next_cursor is answered there is more to do.",
	}, auth.JobsWrite, append([]int{400, 408, 413, 415}, commandErrors...))
	a.withBody(&cancel, maxBody)
	huma.Register(a.huma, cancel, handled(a, a.cancelJobs))
	a.describeBody(cancel, a.cancelBody.schema, cancelExamples)

	resolve := operation(huma.Operation{
		OperationID: "resolve-job", Method: http.MethodPost, Path: "/jobs/{id}/resolve", Summary: "Decide about a held job",
		Description: "Of a held job nobody can tell whether it had its effect; this is a person's word on it.",
	}, auth.JobsWrite, append([]int{400, 408, 413, 415}, commandErrors...))
	a.withBody(&resolve, maxBody)
	huma.Register(a.huma, resolve, handled(a, a.resolveJob))
	a.describeBody(resolve, a.resolveBody.schema, nil)
}

func (a *api) batchRoute(errs []int) {
	schema := a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[batchRequest](), true, "")
	acceptRaw(a, huma.Operation{
		OperationID: "post-batch", Method: http.MethodPost, Path: "/jobs/batch",
		Summary:     "Post up to 10,000 jobs",
		Description: "Each is accepted or refused on its own, and answered in its place. The body may have 16 MiB.",
		RequestBody: jsonBody(schema, batchExamples), MaxBodyBytes: maxBatchBody,
	}, errs, a.postBatch)
}

// handled bounds a handler's time and makes problems of its errors.
func handled[I, O any](a *api, handle func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return within(a, handleTimeout, handle)
}

// within is handled with another bound.
func within[I, O any](a *api, limit time.Duration, handle func(context.Context, *I) (*O, error)) func(context.Context, *I) (*O, error) {
	return func(ctx context.Context, in *I) (*O, error) {
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		out, err := handle(bounded, in)
		if err != nil {
			return nil, a.told(ctx, err)
		}
		return out, nil
	}
}
