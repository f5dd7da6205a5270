package httpapi

import (
	"context"
	"crypto/sha256"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// These are the routes whose speed matters. huma describes them and leads to
// them as to any other; their one parameter and their answer are read and
// written here, which takes a third of what huma's reflection does.

// idempotencyKey is the parameter of every route that makes jobs.
var idempotencyKey = &huma.Param{
	Name: "Idempotency-Key", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
	Description: "names the request, up to 255 printable ASCII characters: sent again within 24 hours, with the same body and API key, it makes no new jobs and is answered as the first time",
}

// accept declares a route that makes jobs of a body of type Req.
func accept[Req any](a *api, op huma.Operation, errs []int, handle func(context.Context, job.Caller, Req) (acceptance, error), examples map[string]*huma.Example) {
	body := newDecoder[Req](a.huma.OpenAPI().Components.Schemas)
	op.MaxBodyBytes = maxBody
	op.RequestBody = jsonBody(body.schema, examples)
	acceptRaw(a, op, errs, func(ctx context.Context, who job.Caller, raw []byte) (accepted, bool, error) {
		req, err := body.decode(raw)
		if err != nil {
			return accepted{}, false, err
		}
		out, err := handle(ctx, who, req)
		return out.Body, out.Replayed != "", err
	})
}

// acceptRaw declares a route that makes jobs; op has its body's bound and
// description. handle says what is answered, and whether it was answered so
// before.
func acceptRaw[Answer any](a *api, op huma.Operation, errs []int, handle func(context.Context, job.Caller, []byte) (Answer, bool, error)) {
	op.DefaultStatus = http.StatusAccepted
	op = operation(op, auth.JobsWrite, errs)
	op.Parameters = []*huma.Param{idempotencyKey}
	op.Responses["202"] = &huma.Response{
		Description: http.StatusText(http.StatusAccepted),
		Headers: map[string]*huma.Param{
			"Idempotency-Replayed": {
				Description: "true where the Idempotency-Key was met before: this is the first answer again",
				Schema:      &huma.Schema{Type: huma.TypeString, Enum: []any{"true"}},
			},
			"RateLimit": {
				Description: "what the API key has left, of requests and of the jobs of its quotas (draft-ietf-httpapi-ratelimit-headers)",
				Schema:      &huma.Schema{Type: huma.TypeString, Examples: []any{`"key";r=5999, "jobs-per-day";r=99990;t=3600`}},
			},
		},
		Content: map[string]*huma.MediaType{"application/json": {
			Schema: a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[Answer](), true, ""),
		}},
	}
	a.huma.OpenAPI().AddOperation(&op)
	a.huma.Adapter().Handle(&op, a.huma.Middlewares().Handler(func(hc huma.Context) {
		r, w := humachi.Unwrap(hc)
		raw, err := takeBody(w, r, op.MaxBodyBytes)
		if err == nil {
			err = noQuery(r)
		}
		if err != nil {
			a.refuse(hc, err)
			return
		}
		ctx, cancel := context.WithTimeout(hc.Context(), handleTimeout)
		defer cancel()
		answer, again, err := handle(ctx, callerOf(ctx, op, r.Header.Get("Idempotency-Key"), raw), raw)
		if err != nil {
			a.refuse(hc, err)
			return
		}
		text, err := encodeJSON(answer)
		if err != nil {
			a.refuse(hc, err)
			return
		}
		if again {
			w.Header().Set("Idempotency-Replayed", "true")
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusAccepted)
		_, _ = w.Write(text) // who cannot be told has gone
	}))
}

// noQuery refuses what is asked of a route that has no query parameters.
func noQuery(r *http.Request) error {
	if r.URL.RawQuery == "" {
		return nil
	}
	var bad tasks.Invalid
	for name := range r.URL.Query() {
		bad.Add(clipped(name), "is not a parameter of this request")
	}
	if err := bad.OrNil(); err != nil {
		return job.Invalid(err)
	}
	return nil
}

// callerOf is who makes the jobs. The hash, of which only an idempotency key
// has need, tells a request that is repeated from another under the same key.
func callerOf(ctx context.Context, op huma.Operation, key string, body []byte) job.Caller {
	who, _ := auth.From(ctx)
	if key == "" {
		return job.Caller{Name: who.Name}
	}
	hash := sha256.New()
	_, _ = hash.Write([]byte(op.Method + "\n" + op.Path + "\n")) // a hash never errs
	_, _ = hash.Write(body)
	return job.Caller{Name: who.Name, IdempotencyKey: key, BodyHash: hash.Sum(nil)}
}
