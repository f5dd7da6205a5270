package httpapi

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/tasks"
)

// apiVersion is the API's own, not the program's: it changes when a client
// would notice.
const apiVersion = "1.0.0"

// problemSchema is where the document describes a Problem.
const problemSchema = "#/components/schemas/Problem"

func humaConfig(publicURL string) huma.Config {
	format := huma.Format{
		Marshal:   func(w io.Writer, v any) error { return writeJSON(w, v) },
		Unmarshal: json.Unmarshal,
	}
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "Postrider", Version: apiVersion,
				Description: "Postrider sends: post a job (an email, a notification, a type of your own), for now or for later, " +
					"and ask at any time what became of it. Errors are application/problem+json (RFC 9457).",
				License: &huma.License{Name: "MIT", Identifier: "MIT"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					"bearer": {Type: "http", Scheme: "bearer", Description: "an API key as a bearer token"},
					"token":  {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "the token of one of your application's users"},
					"apiKey": {Type: "apiKey", In: "header", Name: "X-API-Key", Description: "an API key"},
				},
			},
			Tags: []*huma.Tag{
				{Name: "jobs", Description: "Post jobs and follow them."},
				{Name: "schedules", Description: "Have jobs made at certain times."},
				{Name: "suppressions", Description: "Keep mails from who wants none."},
				{Name: "recipients", Description: "Send people what they want, when they want it."},
				{Name: "notifications", Description: "Read inboxes, and put something into them."},
				{Name: "feedback", Description: "Hear from providers what became of mails."},
			},
		},
		// The document is served by New; huma's page of it loads scripts from
		// elsewhere, so there is none.
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{ownProblems},
	}
	if publicURL != "" {
		config.Servers = []*huma.Server{{URL: strings.TrimSuffix(publicURL, "/")}}
	}
	config.Components.Schemas.Schema(reflect.TypeFor[Problem](), true, "")
	return config
}

// operation completes a declaration with the scope that it needs and the
// errors that it may answer.
func operation(op huma.Operation, scope auth.Scope, errs []int) huma.Operation {
	if op.Tags == nil {
		op.Tags = []string{"jobs"}
	}
	op.Metadata = map[string]any{}
	alsoFor(&op, scope)
	op.Responses = map[string]*huma.Response{}
	for _, status := range errs {
		res := &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: &huma.Schema{Ref: problemSchema}}},
		}
		switch status {
		case http.StatusUnauthorized:
			res.Headers = map[string]*huma.Param{"WWW-Authenticate": {Schema: &huma.Schema{Type: huma.TypeString}}}
		case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			res.Headers = map[string]*huma.Param{"Retry-After": {Description: "seconds", Schema: &huma.Schema{Type: huma.TypeInteger}}}
		}
		op.Responses[strconv.Itoa(status)] = res
	}
	return op
}

// alsoFor lets who has the scope use the operation too.
func alsoFor(op *huma.Operation, scope auth.Scope) {
	scopes, _ := op.Metadata[scopeKey].([]auth.Scope)
	op.Metadata[scopeKey] = append(scopes, scope)
	// OpenAPI 3.1 allows the names of roles for every kind of scheme.
	op.Security = append(op.Security, map[string][]string{"bearer": {string(scope)}}, map[string][]string{"apiKey": {string(scope)}})
}

// usersKey is where an operation's metadata says that it is for users too, who
// come with a token.
const usersKey = "users"

// alsoForUsers lets users use the operation; it has to see to it itself that they
// do so with what is theirs.
func alsoForUsers(op *huma.Operation) {
	op.Metadata[usersKey] = true
	op.Security = append(op.Security, map[string][]string{"token": {}})
}

// jsonBody describes a body.
func jsonBody(schema *huma.Schema, examples map[string]*huma.Example) *huma.RequestBody {
	return &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/json": {Schema: schema, Examples: examples},
	}}
}

// withBody gives an operation that huma serves a JSON body of at most that many
// bytes, which bufferBody reads and a decoder checks.
func (a *api) withBody(op *huma.Operation, most int64) {
	op.RequestBody = &huma.RequestBody{Required: true}
	op.SkipValidateBody = true
	// huma counts it too, and refuses a body that has just as many.
	op.MaxBodyBytes = most + 1
	op.Middlewares = append(op.Middlewares, a.bufferBody)
}

// describeBody writes the body's schema into the document, where huma has put
// "a string of bytes".
func (a *api) describeBody(op huma.Operation, schema *huma.Schema, examples map[string]*huma.Example) {
	declared := a.huma.OpenAPI().Paths[op.Path].Post
	if op.Method == http.MethodPut {
		declared = a.huma.OpenAPI().Paths[op.Path].Put
	}
	declared.RequestBody = jsonBody(schema, examples)
}

// catalogueList names the job types for the description of POST /jobs.
func catalogueList(types *tasks.Catalogue) string {
	var b strings.Builder
	for _, t := range types.Types() {
		fmt.Fprintf(&b, "\n- `%s`, queue `%s`", t.Name, t.Queue)
		if t.Ephemeral {
			b.WriteString(", ephemeral: at full speed, and lost with Redis")
		}
	}
	return b.String()
}

type object = map[string]any

var (
	emailExamples = map[string]*huma.Example{
		"short": {Summary: "The short form", Value: object{
			"email": "user@example.com", "subject": "Welcome!", "message": "Thanks for signing up.",
		}},
		"template": {Summary: "From a template", Value: object{
			"to": "Ann <ann@example.com>", "template": "welcome", "locale": "en",
			"data": object{"name": "Ann", "product": "Example", "url": "https://example.com/confirm?token=1a2b3c"},
		}},
		"long": {Summary: "The long form", Value: object{
			"to": []string{"Ann <ann@example.com>", "bob@example.com"}, "reply_to": "support@example.com",
			"subject": "Your invoice", "text": "See the attachment.", "html": "<p>See the attachment.</p>", "category": "invoice",
			"attachments": []object{{"name": "invoice.txt", "content_type": "text/plain", "content": "MTAgRVVSCg=="}},
		}},
	}
	previewExamples = map[string]*huma.Example{
		"german": {Summary: "In German", Value: object{
			"locale": "de-AT", "data": object{"name": "Ann", "product": "Example", "url": "https://example.com/confirm"},
		}},
	}
	scheduleExamples = map[string]*huma.Example{
		"delay": {Summary: "In ten seconds", Value: object{
			"email": "user@example.com", "subject": "Welcome!", "message": "Thanks for signing up.", "delay": 10000,
		}},
	}
	notificationExamples = map[string]*huma.Example{
		"user": {Summary: "To a user", Value: object{
			"receiverId": "42", "type": "success", "message": "Your order has been shipped.", "data": object{"order": 1001},
		}},
	}
	jobExamples = map[string]*huma.Example{
		"heartbeat": {Summary: "A line in a worker's log", Value: object{
			"type": tasks.LogHeartbeat.Name, "payload": object{"message": "hello"},
		}},
	}
	retryExamples = map[string]*huma.Example{
		"count": {Summary: "How many have failed for good?", Value: object{"state": "failed", "type": tasks.EmailSend.Name, "code": "temporary"}},
		"act":   {Summary: "Retry them", Value: object{"state": "failed", "type": tasks.EmailSend.Name, "code": "temporary", "dry_run": false}},
	}
	cancelExamples = map[string]*huma.Example{
		"count": {Summary: "How many mails of the campaign are still to be sent?", Value: object{"state": "waiting", "category": "news"}},
		"act":   {Summary: "Cancel them", Value: object{"state": "waiting", "category": "news", "dry_run": false}},
	}
	scheduleExample = map[string]*huma.Example{
		"report": {Summary: "A mail on every working day", Value: object{
			"name": "morning-report", "cron": "30 8 * * mon-fri", "time_zone": "Europe/Berlin", "missed": "once",
			"type": tasks.EmailSend.Name, "payload": object{"to": []string{"team@example.com"}, "subject": "Good morning", "text": "Here is the report."},
		}},
	}
	replaceExample = map[string]*huma.Example{
		"later": {Summary: "An hour later", Value: object{
			"cron": "30 9 * * mon-fri", "time_zone": "Europe/Berlin", "missed": "once",
			"type": tasks.EmailSend.Name, "payload": object{"to": []string{"team@example.com"}, "subject": "Good morning", "text": "Here is the report."},
		}},
	}
	batchExamples = map[string]*huma.Example{
		"two": {Summary: "Two jobs", Value: object{"jobs": []object{
			{"type": tasks.LogHeartbeat.Name, "payload": object{"message": "hello"}},
			{"type": tasks.EmailSend.Name, "payload": object{"to": []string{"user@example.com"}, "subject": "Hello", "text": "Hello."}, "delay": 60000},
		}}},
	}
)
