package httpapi

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
)

// anyKeys makes any key: the API of the test is open, which makes none.
type anyKeys struct{ MadeKeys }

func (anyKeys) Create(_ context.Context, k apikey.Key, _ auth.Principal) (apikey.Key, string, error) {
	return k, "pr_", nil
}

// TestOpenAPI holds that the document is whole: every route with its request,
// its answers and the scope it needs, and no reference into nothing.
func TestOpenAPI(t *testing.T) {
	s := serveRecipients(t, withTimetable(t), withSuppressions(t), withFeedback(t), withChats(t), func(o *Options) { o.Config.PublicURL, o.MadeKeys = "https://post.example.com/", anyKeys{} })
	a := s.get("/openapi.json").want(http.StatusOK)
	if a.str("openapi") != "3.1.0" || a.header.Get("Content-Type") != "application/openapi+json" {
		t.Errorf("it is OpenAPI %s, %v", a.str("openapi"), a.header)
	}
	if !strings.Contains(a.text, `"url":"https://post.example.com"`) {
		t.Error("it does not name the server")
	}
	var doc struct {
		Paths map[string]map[string]struct {
			OperationID string                `json:"operationId"`
			Summary     string                `json:"summary"`
			Security    []map[string][]string `json:"security"`
			RequestBody *struct {
				Content map[string]struct {
					Schema   map[string]any `json:"schema"`
					Examples map[string]struct {
						Value json.RawMessage `json:"value"`
					} `json:"examples"`
				} `json:"content"`
			} `json:"requestBody"`
			Responses map[string]struct {
				Content map[string]any `json:"content"`
			} `json:"responses"`
		} `json:"paths"`
		Components struct {
			Schemas         map[string]any `json:"schemas"`
			SecuritySchemes map[string]any `json:"securitySchemes"`
		} `json:"components"`
	}
	if err := json.Unmarshal([]byte(a.text), &doc); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{ // route → scope and status
		"post /jobs/send-email": "jobs:write 202", "post /jobs/schedule-email": "jobs:write 202",
		"post /jobs/send-notification": "jobs:write 202", "post /jobs": "jobs:write 202", "post /jobs/batch": "jobs:write 202",
		"get /jobs": "jobs:read 200", "get /jobs/{id}": "jobs:read 200", "delete /jobs/{id}": "jobs:write 200",
		"post /jobs/{id}/retry": "jobs:write 200", "post /jobs/{id}/run": "jobs:write 200", "post /jobs/{id}/resolve": "jobs:write 200",
		"post /jobs/{id}/resend":             "jobs:write 202",
		"get /recipients/{address}/timeline": "jobs:read 200", "delete /recipients/{address}": "admin 200",
		"get /keys": "admin 200", "post /keys": "admin 201", "delete /keys/{name}": "admin 204",
		"get /alerts": "admin 200", "get /audit": "admin 200", "get /audit/export": "admin 200",
		"get /live": "notifications 200", "get /live/users/{userId}": "notifications 200",
		"delete /live/users/{userId}/tokens": "admin 204", "delete /live/tokens/{tokenId}": "admin 204",
		"get /templates": "jobs:write 200", "get /templates/{name}": "jobs:write 200", "post /templates/{name}/preview": "jobs:write 200",
		"post /jobs/retry": "jobs:write 200", "post /jobs/cancel": "jobs:write 200", "get /events": "jobs:read 200",
		"post /attachments": "jobs:write 201",
		"get /schedules":    "jobs:read 200", "get /schedules/{name}": "jobs:read 200", "get /schedules/{name}/runs": "jobs:read 200",
		"post /schedules": "schedules:write 201", "put /schedules/{name}": "schedules:write 200", "delete /schedules/{name}": "schedules:write 204",
		"get /suppressions": "jobs:read 200", "put /suppressions/{address}": "jobs:write 200", "delete /suppressions/{address}": "admin 200",
		"post /feedback/message": "jobs:write 200", "post /feedback/{provider}": " 200",
		"post /suppressions/import": "admin 200", "get /suppressions/export": "admin 200",
		"post /schedules/{name}/pause": "schedules:write 200", "post /schedules/{name}/resume": "schedules:write 200", "post /schedules/{name}/run": "schedules:write 202",
		"get /recipients/{id}/preferences": "jobs:read 200", "put /recipients/{id}/preferences": "jobs:write 200",
		"delete /recipients/{id}/preferences": "jobs:write 204",
		"post /api/notifications":             "notifications 201", "get /api/notifications/{userId}": "notifications 200",
		"get /api/notifications/{userId}/after": "notifications 200", "get /api/notifications/{userId}/unread-count": "notifications 200",
		"put /api/notifications/{userId}/read-all": "notifications 200", "put /api/notifications/{userId}/archive-all": "notifications 200",
		"put /api/notifications/{userId}/seen": "notifications 200", "put /api/notifications/{id}/read": "notifications 200",
		"put /api/notifications/{id}/archive": "notifications 200",
		"get /api/rooms/{room}/messages":      "notifications 200", "post /api/rooms/{room}/messages": "notifications 201",
		"delete /api/rooms/{room}/messages/{id}": "notifications 204",
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			route := method + " " + path
			scope, status, known := strings.Cut(want[route], " ")
			if !known {
				t.Errorf("%s is not known to this test", route)
				continue
			}
			delete(want, route)
			if scope == "" { // who calls is known otherwise
				if op.Summary == "" || len(op.Security) != 0 {
					t.Errorf("%s is described as %+v", route, op)
				}
				continue
			}
			if op.Summary == "" || len(op.Security) < 2 || op.Security[0]["bearer"][0] != scope || op.Security[1]["apiKey"][0] != scope {
				t.Errorf("%s is described as %+v", route, op)
			}
			for _, answer := range []string{status, "401", "403", "422", "429", "500", "503"} {
				if len(op.Responses[answer].Content) == 0 && answer != "204" {
					t.Errorf("%s does not describe its %s", route, answer)
				}
			}
			if op.RequestBody == nil || path == "/attachments" { // which takes files
				continue
			}
			if _, isJSON := op.RequestBody.Content["application/json"]; !isJSON { // a file, or a mail
				for media, body := range op.RequestBody.Content {
					if body.Schema["type"] != "string" || media != "text/csv" && media != "message/rfc822" {
						t.Errorf("%s has the body %v", route, op.RequestBody.Content)
					}
				}
				continue
			}
			named := "probe"
			if strings.HasPrefix(path, "/templates/") {
				named = "welcome"
			}
			body := op.RequestBody.Content["application/json"]
			if body.Schema["$ref"] == nil || len(op.RequestBody.Content) != 1 {
				t.Errorf("%s has the body %v", route, op.RequestBody.Content)
			}
			for name, example := range body.Examples { // they work
				if a := s.call(strings.ToUpper(method), strings.NewReplacer("{name}", named, "{address}", "a@example.com", "{id}", "probe").Replace(path), string(example.Value)); strconv.Itoa(a.status) != status {
					t.Errorf("%s: the example %s is answered with %s", route, name, a.text)
				}
			}
		}
	}
	for route := range want {
		t.Errorf("%s is missing", route)
	}
	for ref := range references(a.json) {
		name, ok := strings.CutPrefix(ref, "#/components/schemas/")
		if _, there := doc.Components.Schemas[name]; !ok || !there {
			t.Errorf("%s leads nowhere", ref)
		}
	}
	if doc.Components.Schemas["ErrorModel"] != nil {
		t.Error("it describes an error that is never answered")
	}
	for _, request := range []string{"EmailRequest", "NotificationRequest", "JobRequest"} {
		schema := doc.Components.Schemas[request].(map[string]any)["properties"].(map[string]any)
		if most := schema["delay"].(map[string]any)["maximum"]; most != float64(job.MaxDelay.Milliseconds()) {
			t.Errorf("the longest delay of %s is %v", request, most)
		}
	}
	if len(doc.Components.SecuritySchemes) != 3 {
		t.Errorf("the security schemes are %v", doc.Components.SecuritySchemes)
	}
}

// references collects every $ref below v.
func references(v any) map[string]bool {
	out := map[string]bool{}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				out[ref] = true
			}
			for _, below := range v {
				walk(below)
			}
		case []any:
			for _, below := range v {
				walk(below)
			}
		}
	}
	walk(v)
	return out
}

func TestTwoAPIsInOneProcess(t *testing.T) {
	a, b := serve(t), serve(t)
	id := a.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted).str("id")
	b.get("/jobs/" + id).want(http.StatusNotFound)
}

// TestNewErrs holds that what cannot be built is an error and not a panic.
func TestNewErrs(t *testing.T) {
	var o Options
	serve(t, func(given *Options) { o = *given })
	if _, err := New(o); err == nil {
		t.Error("metrics that are taken are no error")
	}
	o.Metrics, o.Mounts = prometheus.NewRegistry(), map[string]http.Handler{"noslash": http.NotFoundHandler()}
	if _, err := New(o); err == nil || !strings.Contains(err.Error(), "noslash") {
		t.Errorf("a pattern that is none: %v", err)
	}
}
