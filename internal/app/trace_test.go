package app

import (
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/postrider/postrider/internal/testkit"
)

// collected are the spans that an OTLP collector was sent, by process.
type collected struct {
	*httptest.Server
	mu    sync.Mutex
	spans []seenSpan
	bad   error
}

type seenSpan struct {
	*tracepb.Span
	service string
}

func collect(t *testing.T) *collected {
	c := &collected{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var req collector.ExportTraceServiceRequest
		body, err := io.ReadAll(r.Body)
		if err == nil {
			err = proto.Unmarshal(body, &req)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if err != nil || r.URL.Path != "/v1/traces" {
			c.bad = err
		}
		for _, of := range req.GetResourceSpans() {
			service := ""
			for _, a := range of.GetResource().GetAttributes() {
				if a.GetKey() == "service.name" {
					service = a.GetValue().GetStringValue()
				}
			}
			for _, in := range of.GetScopeSpans() {
				for _, s := range in.GetSpans() {
					c.spans = append(c.spans, seenSpan{s, service})
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// of are the spans of a trace, by process and name, and all that there are.
func (c *collected) of(trace string) (names []string, spans []seenSpan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if hex.EncodeToString(s.GetTraceId()) == trace {
			names, spans = append(names, s.service+" "+s.GetName()), append(spans, s)
		}
	}
	slices.Sort(names)
	return names, spans
}

// postTraced is post by a caller whose span is part of the trace.
func postTraced(t *testing.T, base, path, body, trace string) (a answer) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("traceparent", "00-"+trace+"-b7ad6b7169203331-01")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&a); err != nil || res.StatusCode != http.StatusAccepted {
		t.Fatalf("POST %s: %s, %v", path, res.Status, err)
	}
	return a
}

// A mail that fails once and then goes out is one trace, over both processes,
// below the caller's span; a notification's trace reaches its push.
func TestOneTracePerJob(t *testing.T) {
	traces, smtp := collect(t), testkit.NewSMTP(t)
	environ := []string{
		"DATABASE_URL=" + testkit.Postgres(t), "REDIS_URL=" + testkit.Redis(t).URL(), "SMTP_URL=" + smtp.URL(),
		"OTEL_EXPORTER_OTLP_ENDPOINT=" + traces.URL,
	}
	api, worker := boot(t, API, environ...), boot(t, Worker, environ...)
	smtp.Once(testkit.SMTPAtRcpt, testkit.SMTPReply(451, "4.7.1 greylisted"))

	const mailTrace, noteTrace = "0af7651916cd43dd8448eb211c80319c", "1af7651916cd43dd8448eb211c80319c"
	mail := postTraced(t, api.Addr(), "/jobs/send-email", email("user@example.com", "Welcome!"), mailTrace)
	note := postTraced(t, api.Addr(), "/jobs/send-notification", `{"receiverId":"u1","message":"hello","type":"info"}`, noteTrace)
	quick := postTraced(t, api.Addr(), "/jobs", `{"type":"noop:ephemeral","payload":{}}`, "2af7651916cd43dd8448eb211c80319c")
	post(t, api.Addr(), "/jobs", `{"type":"noop","payload":{}}`) // begins a trace of its own
	testkit.WaitFor(t, patienceInTests, "the first attempt to fail", func() bool { return stateOf(t, api.Addr(), mail.ID) == "retrying" })
	res, err := http.Post("http://"+api.Addr()+"/jobs/"+mail.ID+"/run", "application/json", nil)
	if err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("running it now: %v, %v", res, err)
	}
	res.Body.Close()
	for _, id := range []string{mail.ID, note.ID} {
		testkit.WaitFor(t, patienceInTests, "the job to be done", func() bool { return stateOf(t, api.Addr(), id) == "done" })
	}
	for _, a := range []*App{worker, api} { // which sends what they have
		if err := a.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if traces.bad != nil {
		t.Errorf("what was sent could not be read: %v", traces.bad)
	}

	names, spans := traces.of(mailTrace)
	count := map[string]int{}
	byID := map[string]seenSpan{}
	for i, s := range spans {
		count[names[i]]++
		byID[hex.EncodeToString(s.GetSpanId())] = s
	}
	for name, want := range map[string]int{
		"postrider-api POST /jobs/send-email": 1, "postrider-api accept": 2, // the request's, and its transaction's
		"postrider-worker run email:send": 2, "postrider-worker claim": 2, "postrider-worker smtp": 2, "postrider-worker settle": 2,
		"postrider-worker no_return": 1, // the first attempt did not come to it
	} {
		if count[name] != want {
			t.Errorf("%d spans %q, want %d; all are %q", count[name], name, want, names)
		}
	}
	for _, s := range spans {
		parent, ours := byID[hex.EncodeToString(s.GetParentSpanId())]
		if !ours && s.GetName() != "POST /jobs/send-email" {
			t.Errorf("%s hangs in the air", s.GetName())
		}
		if s.GetName() == "run email:send" && parent.GetName() != "accept" {
			t.Errorf("a run is below %s", parent.GetName())
		}
	}
	if names, _ := traces.of(noteTrace); !slices.Contains(names, "postrider-api push") || !slices.Contains(names, "postrider-worker run notification:send") {
		t.Errorf("the notification's trace is %q", names)
	}
	if names, _ := traces.of("2af7651916cd43dd8448eb211c80319c"); !slices.Contains(names, "postrider-worker run noop:ephemeral") || !slices.Contains(names, "postrider-api enqueue") {
		t.Errorf("the ephemeral job %s has the trace %q", quick.ID, names)
	}
}
