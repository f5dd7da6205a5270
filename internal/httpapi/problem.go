package httpapi

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// statusClientGone is what the log and the metrics show of a request whose
// client left before the answer; nginx coined it. Nobody receives it.
const statusClientGone = 499

// statuses is the one table from the domain's codes to HTTP. What is not in
// it is not meant for a caller and becomes a 500.
var statuses = map[job.Code]int{
	job.CodeInvalid:      http.StatusUnprocessableEntity,
	job.CodeNotFound:     http.StatusNotFound,
	job.CodeConflict:     http.StatusConflict,
	job.CodeUnauthorized: http.StatusUnauthorized,
	job.CodeForbidden:    http.StatusForbidden,
	job.CodeRateLimited:  http.StatusTooManyRequests,
	job.CodeTemporary:    http.StatusServiceUnavailable,
	job.CodeInternal:     http.StatusInternalServerError,
}

// temporaryWait is the Retry-After of a CodeTemporary.
const temporaryWait = 5 * time.Second

// Problem is an error as the API answers it (RFC 9457).
type Problem struct {
	Type      string         `json:"type" example:"about:blank" doc:"about:blank: the status and the code say it all"`
	Title     string         `json:"title" example:"Unprocessable Entity" doc:"the status in words"`
	Status    int            `json:"status" example:"422"`
	Detail    string         `json:"detail,omitempty" example:"the request has a field that cannot be accepted" doc:"what is the matter, for people"`
	Code      job.Code       `json:"code" enum:"invalid,not_found,conflict,unauthorized,forbidden,rate_limited,temporary,internal" doc:"what is the matter, for programs"`
	RequestID string         `json:"request_id,omitempty" doc:"names the request in the log"`
	Errors    []FieldProblem `json:"errors,omitempty" nullable:"false" doc:"each field that cannot be accepted"`

	header http.Header
}

// FieldProblem says what is wrong with one field.
type FieldProblem struct {
	Field   string `json:"field" example:"to[1]" doc:"its path in the request, a parameter's or a header's name, or body"`
	Message string `json:"message" example:"is not a mail address"`
}

func newProblem(status int, code job.Code, detail string) *Problem {
	title := http.StatusText(status)
	if status == statusClientGone {
		title = "Client Closed Request"
	}
	return &Problem{Type: "about:blank", Title: title, Status: status, Code: code, Detail: detail, header: http.Header{}}
}

// problemOf makes of an error what its caller may know.
func problemOf(err error) *Problem {
	var p *Problem
	if errors.As(err, &p) {
		return p
	}
	code, detail := job.CodeOf(err), ""
	status, known := statuses[code]
	if !known || code == job.CodeInternal {
		return newProblem(http.StatusInternalServerError, job.CodeInternal, "something went wrong here; the log tells more under the request's id")
	}
	var e *job.Error
	if errors.As(err, &e) {
		detail = e.Message
		if len(e.Fields) > 0 {
			return invalidFields(e.Fields)
		}
	}
	p = newProblem(status, code, detail)
	switch code {
	case job.CodeUnauthorized:
		p.header.Set("WWW-Authenticate", `Bearer realm="postrider"`) // RFC 6750 section 3
	case job.CodeTemporary:
		p.retryAfter(temporaryWait)
	}
	return p
}

// invalidFields is the 422 that names each field, in the order of their names,
// so that a request which is repeated is answered in the same words.
func invalidFields(fields tasks.Invalid) *Problem {
	p := newProblem(http.StatusUnprocessableEntity, job.CodeInvalid, "the request has a field that cannot be accepted")
	if len(fields) > 1 {
		p.Detail = fmt.Sprintf("the request has %d fields that cannot be accepted", len(fields))
	}
	for _, f := range fields {
		p.Errors = append(p.Errors, FieldProblem{Field: f.Field, Message: f.Problem})
	}
	slices.SortStableFunc(p.Errors, func(a, b FieldProblem) int { return strings.Compare(a.Field, b.Field) })
	return p
}

// retryAfter sets the header of that name, in whole seconds and never early
// (RFC 9110 section 10.2.3).
func (p *Problem) retryAfter(d time.Duration) {
	seconds := max(1, int64((d+time.Second-1)/time.Second))
	p.header.Set("Retry-After", strconv.FormatInt(seconds, 10))
}

// Error implements error.
func (p *Problem) Error() string { return p.Title + ": " + p.Detail }

// GetStatus implements huma.StatusError.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders implements huma.HeadersError.
func (p *Problem) GetHeaders() http.Header { return p.header }

// ContentType implements huma.ContentTypeFilter.
func (p *Problem) ContentType(string) string { return "application/problem+json" }

// named returns the problem with the request's id, leaving the original alone.
func (p *Problem) named(id string) *Problem {
	out := *p
	out.RequestID = id
	return &out
}

// write answers a request that huma does not.
func (p *Problem) write(w http.ResponseWriter, r *http.Request) {
	for name, values := range p.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Type", p.ContentType(""))
	w.WriteHeader(p.Status)
	// The status is sent; a client that went away cannot be told anything.
	_ = writeJSON(w, p.named(exchangeOf(r.Context()).id))
}

// ownProblems is the huma.Transformer that gives huma's own errors our form
// and every problem its request's id.
func ownProblems(ctx huma.Context, _ string, v any) (any, error) {
	id := exchangeOf(ctx.Context()).id
	switch e := v.(type) {
	case *Problem:
		return e.named(id), nil
	case *huma.ErrorModel:
		p := newProblem(e.Status, job.CodeInvalid, e.Detail)
		if e.Status >= http.StatusInternalServerError {
			// A panic or an error that huma made; its words are not for the caller.
			p = newProblem(http.StatusInternalServerError, job.CodeInternal, "something went wrong here")
			return p.named(id), nil
		}
		if e.Status == http.StatusUnprocessableEntity {
			var fields tasks.Invalid
			for _, d := range e.Errors {
				fields = append(fields, fieldOf(d))
			}
			p = invalidFields(fields)
		}
		return p.named(id), nil
	}
	return v, nil
}

// fieldOf turns huma's "query.limit" and its kin into a field's name.
func fieldOf(d *huma.ErrorDetail) tasks.FieldError {
	_, name, found := strings.Cut(d.Location, ".")
	if !found {
		name = d.Location
	}
	return tasks.FieldError{Field: name, Problem: d.Message}
}

// writeJSON writes v in one piece. The error is a value that cannot be
// encoded; a write that fails is none, since its reader has gone.
func writeJSON(w interface{ Write([]byte) (int, error) }, v any) error {
	text, err := encodeJSON(v)
	if err != nil {
		return fmt.Errorf("encoding the answer: %w", err)
	}
	_, _ = w.Write(text)
	return nil
}

// encodeJSON is json.Marshal that leaves <, > and & as they are, with a line's
// end behind it: escaped, HTML would weigh more than its sender sent.
func encodeJSON(v any) ([]byte, error) {
	if w, is := v.(interface{ text() string }); is {
		return []byte(w.text()), nil
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return buf.Bytes(), err
}
