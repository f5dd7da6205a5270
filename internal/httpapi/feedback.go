package httpapi

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/tasks"
)

// feedbackRoutes serves what providers and mail servers tell. These routes know
// their callers otherwise than by API keys, and take what they are sent; huma
// only describes them.
func (a *api) feedbackRoutes(r chi.Router) {
	r.Post("/feedback/{provider}", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), handleTimeout)
		defer cancel()
		take := a.takeEvent
		if chi.URLParam(r, "provider") == tasks.FeedbackMessage {
			take = a.takeMessage
		}
		h := w.Header()
		h["Cache-Control"], h["X-Content-Type-Options"] = noStore, noSniff
		if err := a.takeFeedback(ctx, w, r, take); err != nil {
			a.told(ctx, err).write(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = writeJSON(w, object{"message": "Stored"})
	})
	describe := func(op huma.Operation, content map[string]*huma.MediaType) {
		op.Method, op.Tags = http.MethodPost, []string{"feedback"}
		op.RequestBody = &huma.RequestBody{Required: true, Content: content}
		security := op.Security
		op = operation(op, auth.JobsWrite, []int{400, 401, 403, 404, 413, 415, 422, 429, 500, 503})
		if security != nil {
			op.Security = security
		}
		op.Responses["200"] = &huma.Response{Description: "stored", Content: map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Type: huma.TypeObject}}}}
		a.huma.OpenAPI().AddOperation(&op)
	}
	describe(huma.Operation{
		OperationID: "receive-feedback", Path: "/feedback/{provider}", Summary: "Receive a provider's webhook",
		Description: "From ses, sendgrid, postmark, mailgun or generic, each authenticated its own way; see docs/feedback.md. It is answered when it is stored.",
		Parameters: []*huma.Param{{Name: "provider", In: "path", Required: true,
			Schema: &huma.Schema{Type: huma.TypeString, Enum: []any{"ses", "sendgrid", "postmark", "mailgun", "generic"}}}},
		Security: []map[string][]string{},
	}, map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{}}})
	describe(huma.Operation{
		OperationID: "receive-message", Path: "/feedback/message", Summary: "Receive a mail that came back",
		Description: "A delivery report (RFC 3464) or a complaint (RFC 5965), as a mail server pipes it. Up to 16 MiB.",
		Parameters: []*huma.Param{{Name: "rcpt", In: "query", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "the address that it came to, where the server knows it"}},
	}, map[string]*huma.MediaType{"message/rfc822": {Schema: &huma.Schema{Type: huma.TypeString}}})
}

// taken is what is to be stored, and the name of the request.
type taken struct {
	payload tasks.Feedback
	key     string
	caller  string
	store   bool
}

func (a *api) takeFeedback(ctx context.Context, w http.ResponseWriter, r *http.Request, take func(context.Context, http.ResponseWriter, *http.Request) (taken, error)) error {
	if !a.rates.Addr.Off() {
		if err := a.spend(ctx, w, "address", "addr:"+limit.ClientAddr(r), a.rates.Addr); err != nil {
			return err
		}
	}
	got, err := take(ctx, w, r)
	if err != nil || !got.store {
		return err
	}
	return StoreFeedback(ctx, a.jobs, got.caller, got.key, got.payload)
}

// StoreFeedback stores feedback as a job, durably. What comes again under the
// same key makes no second one; another payload under it is refused.
func StoreFeedback(ctx context.Context, jobs *job.Service, caller, key string, f tasks.Feedback) error {
	payload, err := json.Marshal(f)
	if err != nil {
		return fmt.Errorf("encoding feedback: %w", err)
	}
	hash := sha256.Sum256(payload)
	_, err = jobs.Accept(ctx, job.Caller{Name: caller, IdempotencyKey: key, BodyHash: hash[:]},
		job.Submission{Type: tasks.FeedbackReceive.Name, Payload: payload})
	if job.CodeOf(err) == job.CodeConflict {
		return job.Wrap(job.CodeForbidden, err, "the request is not authentic: its token was used before")
	}
	return err
}

// takeEvent takes a webhook.
func (a *api) takeEvent(ctx context.Context, w http.ResponseWriter, r *http.Request) (got taken, err error) {
	provider := chi.URLParam(r, "provider")
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, tasks.MaxFeedbackEvent))
	if err != nil {
		return got, unread(err)
	}
	is, err := a.feedback.Receive(ctx, provider, r.Header, body)
	switch {
	case errors.Is(err, feedback.ErrUnknown):
		return got, job.Wrap(job.CodeNotFound, err, "no feedback is taken from %q: see docs/feedback.md", clipped(provider))
	case errors.Is(err, feedback.ErrForged):
		return got, job.Wrap(job.CodeForbidden, err, "the request is not authentic, or too old")
	case errors.Is(err, feedback.ErrPassword):
		p := newProblem(http.StatusUnauthorized, job.CodeUnauthorized, "the password is missing or wrong")
		p.header.Set("WWW-Authenticate", `Basic realm="postrider"`) // RFC 7617 section 2
		return got, p
	case err != nil:
		return got, job.Wrap(job.CodeTemporary, err, "whether the request is authentic cannot be told now")
	}
	if !json.Valid(body) {
		return got, newProblem(http.StatusBadRequest, job.CodeInvalid, "the body is not JSON")
	}
	return taken{tasks.Feedback{Provider: provider, Event: body}, is.Key, "feedback:" + provider, is.Store}, nil
}

// takeMessage takes a mail from whom an API key lets.
func (a *api) takeMessage(_ context.Context, w http.ResponseWriter, r *http.Request) (got taken, err error) {
	who, err := a.caller(r)
	if err != nil {
		return got, err
	}
	if !who.May(auth.JobsWrite) {
		return got, job.Errorf(job.CodeForbidden, "this needs an API key with the scope %s", auth.JobsWrite)
	}
	exchangeOf(r.Context()).who = who.Name
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "message/rfc822" {
		return got, newProblem(http.StatusUnsupportedMediaType, job.CodeInvalid, "the body must be a mail, sent with Content-Type: message/rfc822")
	}
	body := http.MaxBytesReader(w, r.Body, feedback.MaxMessage)
	head, err := io.ReadAll(io.LimitReader(body, tasks.MaxFeedbackMessage))
	if err == nil {
		_, err = io.Copy(io.Discard, body)
	}
	if err != nil {
		return got, unread(err)
	}
	sum := sha256.Sum256(head)
	f := tasks.Feedback{Provider: tasks.FeedbackMessage, Message: head, Rcpt: r.URL.Query().Get("rcpt")}
	return taken{f, hex.EncodeToString(sum[:]), who.Name, true}, nil
}

// unread is the problem of a body that could not be read.
func unread(err error) error {
	var over *http.MaxBytesError
	if errors.As(err, &over) {
		return newProblem(http.StatusRequestEntityTooLarge, job.CodeInvalid, fmt.Sprintf("the body is larger than %d bytes", over.Limit))
	}
	return newProblem(http.StatusBadRequest, job.CodeInvalid, "the body ended before its time")
}
