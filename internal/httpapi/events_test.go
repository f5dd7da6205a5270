package httpapi

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// listener is a client of an event stream.
type listener struct {
	t     testing.TB
	res   *http.Response
	lines *bufio.Scanner
	last  string // id that it was given last
}

// listen serves the API over a connection and asks for its events; it has been
// told the place to go on from when it returns.
func (s *service) listen(query string, header ...string) *listener {
	s.t.Helper()
	server := httptest.NewUnstartedServer(s)
	server.Config = Server(s, Config{}, testkit.Logger(s.t))
	server.Start()
	s.t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	s.t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/events"+query, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	res, err := server.Client().Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = res.Body.Close() })
	l := &listener{t: s.t, res: res, lines: bufio.NewScanner(res.Body)}
	if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
		s.t.Fatalf("the answer is %d, %v", res.StatusCode, res.Header)
	}
	l.block()
	return l
}

// block reads to the next empty line and returns the data, if there was any;
// false at the stream's end.
func (l *listener) block() (data string, ok bool) {
	for l.lines.Scan() {
		name, value, _ := strings.Cut(l.lines.Text(), ": ")
		switch name {
		case "":
			return data, true
		case "id":
			l.last = value
		case "data":
			data = value
		}
	}
	return "", false
}

// event reads the next event.
func (l *listener) event() map[string]any {
	l.t.Helper()
	for {
		data, ok := l.block()
		if !ok {
			l.t.Fatalf("the stream ended: %v", l.lines.Err())
		}
		if data == "" {
			continue
		}
		var out map[string]any
		if err := json.Unmarshal([]byte(data), &out); err != nil {
			l.t.Fatalf("%q is no event: %v", data, err)
		}
		return out
	}
}

func (l *listener) want(id, kind, state string) map[string]any {
	l.t.Helper()
	e := l.event()
	if e["job_id"] != id || e["kind"] != kind || e["state"] != state {
		l.t.Fatalf("the event is %v, want %s of %s, which is %s then", e, kind, id, state)
	}
	return e
}

func TestEventStream(t *testing.T) {
	s := serve(t)
	before := s.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted).str("id")
	l := s.listen("")
	id := s.post("/jobs/send-email", shortMail).want(http.StatusAccepted).str("id")
	e := l.want(id, "accepted", "waiting")
	if e["type"] != "email:send" || e["queue"] != "email" || e["actor"] != "anonymous" || e["at"] == "" {
		t.Errorf("the event is %v", e)
	}
	s.run(id, job.PermanentFailure("550 no"))
	l.want(id, "started", "running")
	if e := l.want(id, "settled", "failed"); e["code"] != "permanent" || e["message"] != "550 no" {
		t.Errorf("the event is %v", e)
	}

	// Who comes back is told what happened meanwhile, and nothing twice.
	_ = l.res.Body.Close()
	s.post("/jobs/"+id+"/retry", "").want(http.StatusOK)
	again := s.listen("", "Last-Event-ID", l.last)
	again.want(id, "retried", "waiting")
	s.run(before, job.Succeeded("ok"))
	again.want(before, "started", "running")

	all := s.listen("", "Last-Event-ID", "0")
	all.want(before, "accepted", "waiting")
	all.want(id, "accepted", "waiting")
}

func TestEventStreamFilters(t *testing.T) {
	s := serve(t)
	mail := s.post("/jobs/send-email", shortMail).want(http.StatusAccepted).str("id")
	bulk := s.post("/jobs/send-email", strings.Replace(shortMail, "{", `{"priority":"bulk",`, 1)).want(http.StatusAccepted).str("id")
	other := s.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted).str("id")
	s.run(bulk, job.Succeeded("ok"))
	for query, want := range map[string][]string{
		"?type=email:send":          {mail, bulk, bulk, bulk},
		"?type=email:send,noop":     {mail, bulk, other, bulk, bulk},
		"?queue=bulk":               {bulk, bulk, bulk},
		"?id=" + other:              {other},
		"?id=" + mail + "," + other: {mail, other},
		"?state=done":               {bulk},
		"?queue=bulk&state=waiting": {bulk},
	} {
		l := s.listen(query, "Last-Event-ID", "0")
		for _, id := range want {
			if e := l.event(); e["job_id"] != id {
				t.Errorf("%s: the event is %v, want one of %s", query, e, id)
			}
		}
		_ = l.res.Body.Close()
	}
	for query, field := range map[string]string{
		"?id=none": "id", "?state=fine": "state", "?nosuch=1": "nosuch",
		"?type=" + strings.Repeat("a,", 100) + "a": "type",
	} {
		a := s.get("/events" + query).want(http.StatusUnprocessableEntity)
		named := false
		for name := range a.fields() {
			named = named || strings.HasPrefix(name, field)
		}
		if !named {
			t.Errorf("%.30s: the answer is %s", query, a.text)
		}
	}
	for _, id := range []string{"x", "-1", "1.5"} {
		if a := s.get("/events", "Last-Event-ID", id).want(http.StatusUnprocessableEntity); a.fields()["Last-Event-ID"] == "" {
			t.Errorf("%s: the answer is %s", id, a.text)
		}
	}
}

func TestEventStreamNeedsScope(t *testing.T) {
	s := serve(t, withKeys(t))
	s.get("/events").want(http.StatusUnauthorized)
	s.get("/events", "X-API-Key", "writer-secret-0000").want(http.StatusForbidden)
	s.listen("", "X-API-Key", "reader-secret-0000")
}

// TestEventStreamEnds holds that streams and waiting requests end when the
// process stops, and that there are no new ones.
func TestEventStreamEnds(t *testing.T) {
	s := serve(t)
	id := s.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted).str("id")
	l := s.listen("")
	waiting := make(chan answer, 1)
	go func() { waiting <- s.get("/jobs/" + id + "?wait=60s") }()
	s.awaitFollowers(2)
	s.feed.Close()
	if data, ok := l.block(); ok {
		t.Errorf("the stream goes on with %q", data)
	}
	if a := (<-waiting).want(http.StatusOK); a.str("state") != "queued" {
		t.Errorf("the answer is %s", a.text)
	}
	if a := s.get("/events").want(http.StatusServiceUnavailable); a.header.Get("Retry-After") == "" {
		t.Errorf("the answer is %v", a.header)
	}
	if a := s.get("/jobs/" + id + "?wait=60s").want(http.StatusOK); a.str("state") != "queued" {
		t.Errorf("the answer is %s", a.text)
	}
}

// TestSlowReaderIsCutOff holds that a client which takes nothing is let go, and
// holds nobody up meanwhile.
func TestSlowReaderIsCutOff(t *testing.T) {
	s := serve(t)
	server, client := net.Pipe() // which holds nothing, so that a write waits for its reader
	t.Cleanup(func() { _ = client.Close() })
	one := &oneListener{conn: server, done: make(chan struct{})}
	h := Server(s, Config{}, testkit.Logger(t))
	served := make(chan struct{})
	go func() { defer close(served); _ = h.Serve(one) }()
	t.Cleanup(func() { _ = h.Close(); <-served })
	if _, err := client.Write([]byte("GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	s.awaitFollowers(1)
	quick := s.listen("")
	id := s.post("/jobs", `{"type":"noop"}`).want(http.StatusAccepted).str("id")
	quick.want(id, "accepted", "waiting")
	_ = quick.res.Body.Close()
	s.awaitFollowers(0)
}

// oneListener accepts one connection.
type oneListener struct {
	conn net.Conn
	done chan struct{}
}

func (l *oneListener) Accept() (net.Conn, error) {
	if c := l.conn; c != nil {
		l.conn = nil
		return c, nil
	}
	<-l.done
	return nil, net.ErrClosed
}

func (l *oneListener) Close() error { close(l.done); return nil }

func (l *oneListener) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }
