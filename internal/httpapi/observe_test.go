package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

func contextWithCancel(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithCancel(r.Context())
}

func TestRequestID(t *testing.T) {
	s := serve(t)
	for _, good := range []string{"a", "req-7.b_C", strings.Repeat("x", 64)} {
		if got := s.get("/jobs", "X-Request-Id", good).header.Get("X-Request-Id"); got != good {
			t.Errorf("%q comes back as %q", good, got)
		}
	}
	seen := map[string]bool{}
	for _, bad := range []string{"", "a b", "a\tb", "ä", strings.Repeat("x", 65), "<script>"} {
		got := s.get("/jobs", "X-Request-Id", bad).header.Get("X-Request-Id")
		if got == bad || len(got) != 36 || seen[got] {
			t.Errorf("%q comes back as %q", bad, got)
		}
		seen[got] = true
	}
}

// TestAccessLog holds what the log tells of requests, and what it must not.
func TestAccessLog(t *testing.T) {
	s := serve(t, func(o *Options) {
		o.Mounts = map[string]http.Handler{"/healthz": http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
	})
	id := s.post("/jobs/send-email", shortMail, "X-Request-Id", "r1").str("id")
	s.get("/jobs/"+id, "X-Request-Id", "r2")
	s.get("/jobs?recipient=user@example.com", "X-Request-Id", "r3")
	s.get("/secret-path", "X-Request-Id", "r4")
	s.get("/healthz", "X-Request-Id", "r5")
	log := s.log.String()
	for _, secret := range []string{"user@example.com", "Welcome", "Thanks", id, "secret-path"} {
		if strings.Contains(log, secret) {
			t.Errorf("the log holds %q: %s", secret, log)
		}
	}
	for _, line := range []string{
		"level=INFO msg=request component=http method=POST route=/jobs/send-email status=202 bytes=",
		"method=GET route=/jobs/{id} status=200",
		"method=GET route=/jobs status=200",
		"method=GET route=none status=404",
		"level=DEBUG msg=request component=http method=GET route=/healthz status=200",
		"request_id=r1 key=anonymous",
	} {
		if s.log.Count(line) != 1 {
			t.Errorf("no line, or several, with %q: %s", line, log)
		}
	}
	w := httptest.NewRecorder()
	promhttp.HandlerFor(s.metrics, promhttp.HandlerOpts{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	for _, line := range []string{
		`postrider_http_requests_total{method="GET",route="/healthz",status="200"} 1`,
		`postrider_http_requests_total{method="GET",route="/jobs",status="200"} 1`,
		`postrider_http_requests_total{method="GET",route="/jobs/{id}",status="200"} 1`,
		`postrider_http_requests_total{method="GET",route="none",status="404"} 1`,
		`postrider_http_requests_total{method="POST",route="/jobs/send-email",status="202"} 1`,
		`postrider_http_request_seconds_count{route="/jobs/send-email"} 1`,
	} {
		if !strings.Contains(w.Body.String(), line+"\n") {
			t.Errorf("the metrics lack %s", line)
		}
	}
}

func TestPanics(t *testing.T) {
	s := serve(t, func(o *Options) {
		o.Mounts = map[string]http.Handler{
			"/early": http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("inner words") }),
			"/late": http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte("half an ans"))
				panic("inner words")
			}),
			"/sub/*": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write([]byte(r.URL.Path)) }),
		}
	})
	a := s.get("/early").want(http.StatusInternalServerError)
	if strings.Contains(a.text, "inner") || s.log.Count("inner words") != 1 || s.log.Count("stack=") != 1 {
		t.Errorf("the answer is %s, the log %s", a.text, s.log)
	}
	server := httptest.NewServer(s)
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	if res, err := server.Client().Get(server.URL + "/late"); err == nil {
		_ = res.Body.Close()
		t.Error("half an answer passes for a whole one")
	}
	if got := s.get("/sub/a/b").text; got != "/sub/a/b" {
		t.Errorf("a mount sees %q", got)
	}
}

func TestCORS(t *testing.T) {
	closed := serve(t)
	preflight := func(s *service, origin string) answer {
		return s.call(http.MethodOptions, "/jobs/send-email", "", "Origin", origin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type,idempotency-key")
	}
	if a := preflight(closed, "https://app.example.com"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("without origins a preflight is answered with %v", a.header)
	}
	s := serve(t, func(o *Options) { o.Config.CORSOrigins = Origins{"https://app.example.com"} })
	a := preflight(s, "https://app.example.com").want(http.StatusNoContent)
	if a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("a preflight is answered with %v", a.header)
	}
	if a := preflight(s, "https://evil.example.com"); a.header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("a stranger's preflight is answered with %v", a.header)
	}
	a = s.post("/jobs/send-email", shortMail, "Origin", "https://app.example.com").want(http.StatusAccepted)
	if a.header.Get("Access-Control-Allow-Origin") != "https://app.example.com" || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "X-Request-Id") {
		t.Errorf("a request is answered with %v", a.header)
	}
}
