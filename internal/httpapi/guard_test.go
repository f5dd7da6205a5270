package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/testkit"
)

// TestScopes holds who may do what, on every route.
func TestScopes(t *testing.T) {
	s := serve(t, withKeys(t))
	id := s.post("/jobs", `{"type":"noop"}`, "X-API-Key", "writer-secret-0000").want(http.StatusAccepted).str("id")
	secrets := map[string]string{
		"writer": "writer-secret-0000", "reader": "reader-secret-0000", "boss": "boss-secret-000000",
		"other": "other-secret-00000", "nobody": "nobody-secret-0000", "wrong": "wrong-secret-00000", "none": "",
	}
	for _, route := range []struct{ method, path, body, may string }{
		{http.MethodPost, "/jobs/send-email", shortMail, "writer boss other"},
		{http.MethodPost, "/jobs/schedule-email", shortMail, "writer boss other"},
		{http.MethodPost, "/jobs/send-notification", `{"everyone":true,"message":"m"}`, "writer boss other"},
		{http.MethodPost, "/jobs", `{"type":"noop"}`, "writer boss other"},
		{http.MethodPost, "/jobs/batch", `{"jobs":[{"type":"noop"}]}`, "writer boss other"},
		{http.MethodPost, "/jobs/" + id + "/run", "", "writer boss other"},
		{http.MethodPost, "/jobs/" + id + "/retry", "", "writer boss other"},
		{http.MethodPost, "/jobs/" + id + "/resolve", `{"outcome":"done"}`, "writer boss other"},
		{http.MethodDelete, "/jobs/" + id, "", "writer boss other"},
		{http.MethodGet, "/jobs/" + id, "", "reader boss other"},
		{http.MethodGet, "/jobs", "", "reader boss other"},
	} {
		for name, secret := range secrets {
			header := []string{"Authorization", "Bearer " + secret}
			if secret == "" {
				header = nil
			}
			a := s.call(route.method, route.path, route.body, header...)
			switch {
			case name == "wrong" || name == "none":
				a.want(http.StatusUnauthorized)
				if !strings.HasPrefix(a.header.Get("WWW-Authenticate"), "Bearer") {
					t.Errorf("%s %s: no WWW-Authenticate", route.method, route.path)
				}
			case strings.Contains(route.may, name):
				if a.status == http.StatusUnauthorized || a.status == http.StatusForbidden {
					t.Errorf("%s %s: %s is refused: %s", route.method, route.path, name, a.text)
				}
			default:
				a.want(http.StatusForbidden)
			}
		}
	}
	// The document is for everyone.
	s.get("/openapi.json").want(http.StatusOK)
	if log := s.log.String(); strings.Contains(log, "-secret-") || !strings.Contains(log, "key=writer") {
		t.Error("the log holds a secret, or not who asked")
	}
}

// TestOpenAPIAnswersLocalHostsOnly holds that a page whose domain resolves to
// 127.0.0.1 reaches nothing, mounts neither.
func TestOpenAPIAnswersLocalHostsOnly(t *testing.T) {
	mount := func(o *Options) {
		o.Config.PublicURL = "https://Post.example.org/base"
		o.Mounts = map[string]http.Handler{"/dev/mail/*": http.NotFoundHandler()}
	}
	open, closed := serve(t, mount), serve(t, mount, withKeys(t))
	for host, local := range map[string]bool{
		"localhost": true, "LocalHost:8080": true, "127.0.0.1": true, "127.0.0.1:8080": true, "127.9.9.9:1": true,
		"[::1]": true, "[::1]:8080": true, "[::ffff:127.0.0.1]:1": true, "post.example.org": true, "POST.example.org:8443": true,
		"": false, "attacker.example": false, "attacker.example:8080": false, "localhost.attacker.example": false,
		"127.0.0.1.attacker.example:80": false, "post.example.org.attacker.example": false, "192.0.2.1": false, "0.0.0.0:8080": false,
		"[::]:8080": false, "localhost:80:80": false, "localhost@attacker.example": false,
	} {
		for _, path := range []string{"/jobs", "/openapi.json", "/dev/mail/messages", "/nothing"} {
			r := httptest.NewRequest(http.MethodGet, path, nil)
			r.Host = host
			a := open.send(r)
			if refused := a.status == http.StatusForbidden; refused == local {
				t.Errorf("%s of host %q is answered with %d", path, host, a.status)
			}
			if !local && !strings.Contains(a.want(http.StatusForbidden).str("detail"), "POSTRIDER_PUBLIC_URL") {
				t.Errorf("the reason is not told: %s", a.text)
			}
			r.Header.Set("X-API-Key", "reader-secret-0000")
			if a := closed.send(r); a.status == http.StatusForbidden {
				t.Errorf("with keys, %s of host %q is answered with %d", path, host, a.status)
			}
		}
	}
	// Without a public URL there is no host to be empty like.
	r := httptest.NewRequest(http.MethodGet, "/jobs", nil)
	r.Host = ""
	serve(t).send(r).want(http.StatusForbidden)
}

func TestMediaTypes(t *testing.T) {
	s := serve(t)
	send := func(contentType string, more ...string) answer {
		r := httptest.NewRequest(http.MethodPost, "/jobs/send-email", strings.NewReader(shortMail))
		if contentType != "" {
			r.Header.Set("Content-Type", contentType)
		}
		for i := 0; i < len(more); i += 2 {
			r.Header.Set(more[i], more[i+1])
		}
		return s.send(r)
	}
	for _, good := range []string{"application/json", "application/json; charset=utf-8", "Application/JSON"} {
		send(good).want(http.StatusAccepted)
	}
	for _, bad := range []string{"", "text/plain", "application/xml", "application/cbor", "application/x-www-form-urlencoded", "json", ";"} {
		a := send(bad).want(http.StatusUnsupportedMediaType)
		if !strings.Contains(a.str("detail"), "Content-Type: application/json") || a.header.Get("Accept") != "application/json" {
			t.Errorf("%q is answered with %s", bad, a.text)
		}
	}
	if a := send("application/x-www-form-urlencoded"); !strings.Contains(a.text, "curl") {
		t.Errorf("curl's user is not helped: %s", a.text)
	}
	send("application/json", "Content-Encoding", "gzip").want(http.StatusUnsupportedMediaType)
}

func TestMalformedBodies(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"/jobs/send-email", "/jobs", "/jobs/batch", "/jobs/send-notification"} {
		for _, body := range []string{`{`, `{"email":}`, `nonsense`, `{} {}`, "{\"email\":\"\x01\"}"} {
			a := s.post(path, body).want(http.StatusBadRequest)
			if a.str("code") != "invalid" {
				t.Errorf("the answer is %s", a.text)
			}
		}
		r := httptest.NewRequest(http.MethodPost, path, nil)
		r.Header.Set("Content-Type", "application/json")
		s.send(r).want(http.StatusBadRequest)
	}
}

func TestUnknownRoutes(t *testing.T) {
	s := serve(t)
	for _, path := range []string{"/", "/nothing", "/jobs/x/y/z", "/docs", "/openapi.yaml", "/schemas/Problem.json"} {
		a := s.get(path).want(http.StatusNotFound)
		if a.str("code") != "not_found" {
			t.Errorf("%s: %s", path, a.text)
		}
	}
	for path, allow := range map[string]string{
		"/jobs": "GET, POST", "/jobs/send-email": "GET, POST, DELETE", "/openapi.json": "GET",
	} {
		if got := s.call(http.MethodPut, path, "").want(http.StatusMethodNotAllowed).header.Get("Allow"); got != allow {
			t.Errorf("%s allows %q, want %q", path, got, allow)
		}
	}
	s.call("BREW", "/jobs", "").want(http.StatusMethodNotAllowed)
}

// endless is a body that has as many bytes as its reader wants, and counts
// them.
type endless struct {
	mu   sync.Mutex
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for i := range p {
		p[i] = ' '
	}
	e.read += len(p)
	return len(p), nil
}

func TestBodyLimits(t *testing.T) {
	s := serve(t)
	pad := func(total int) string { // a good mail of just that many bytes
		const head, tail = `{"email":"a@example.com","subject":"s","message":"`, `"}`
		return head + strings.Repeat("x", total-len(head)-len(tail)) + tail
	}
	// White space counts too, and keeps the payload below its own bound.
	exact := shortMail + strings.Repeat(" ", maxBody-len(shortMail))
	s.post("/jobs/send-email", exact).want(http.StatusAccepted)
	if a := s.post("/jobs/send-email", exact+" ").want(http.StatusRequestEntityTooLarge); !strings.Contains(a.text, fmt.Sprint("larger than ", maxBody, " bytes")) {
		t.Errorf("the answer names another bound: %s", a.text)
	}
	s.post("/jobs/batch", `{"jobs":[{"type":"noop"}]}`+strings.Repeat(" ", maxBody)).want(http.StatusAccepted)
	s.post("/jobs/batch", strings.Repeat(" ", maxBatchBody+1)).want(http.StatusRequestEntityTooLarge)
	if a := s.post("/jobs/send-email", pad(maxBody)).want(http.StatusUnprocessableEntity); a.fields()["body"] == "" {
		t.Errorf("a payload beyond its bound is answered with %s", a.text)
	}

	server := httptest.NewServer(s)
	defer server.Close()
	defer server.Client().CloseIdleConnections()
	// Without a length the body comes in chunks; it must not be read to its end,
	// which this one does not have.
	body := &endless{}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/jobs/send-email", body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("an endless body is answered with %d", res.StatusCode)
	}
	body.mu.Lock()
	defer body.mu.Unlock()
	if body.read > 8<<20 {
		t.Errorf("%d bytes of it were taken", body.read)
	}
}

// TestNothingReadForStrangers holds that a body is looked at only when its
// sender may send one.
func TestNothingReadForStrangers(t *testing.T) {
	s := serve(t, withKeys(t))
	for secret, status := range map[string]int{"wrong-secret-00000": 401, "reader-secret-0000": 403} {
		body := &endless{}
		r := httptest.NewRequest(http.MethodPost, "/jobs/send-email", body)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("X-API-Key", secret)
		s.send(r).want(status)
		if body.read != 0 {
			t.Errorf("%d bytes were read", body.read)
		}
	}
}

// limiters makes two services that share one Redis.
func limiters(t *testing.T, rates limit.Config) (a, b *service, unchecked func() int) {
	t.Helper()
	server := testkit.Redis(t)
	var all []*limit.Limiter
	with := func(o *Options) {
		options := server.Options()
		options.ContextTimeoutEnabled = true
		rdb := redis.NewClient(options)
		t.Cleanup(func() { _ = rdb.Close() })
		o.Rates, o.Limiter = rates, limit.New(rdb, o.Log)
		all = append(all, o.Limiter)
	}
	a, b = serve(t, withKeys(t), with), serve(t, withKeys(t), with)
	return a, b, func() int {
		n := 0.0
		for _, l := range all {
			reg := prometheus.NewRegistry()
			reg.MustRegister(l)
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				for _, m := range f.Metric {
					if m.Label[0].GetValue() == "unchecked" {
						n += m.Counter.GetValue()
					}
				}
			}
		}
		return int(n)
	}
}

func TestRateLimitOfKey(t *testing.T) {
	a, b, unchecked := limiters(t, limit.Config{Key: limit.Rate{N: 20, Per: time.Hour}})
	admitted, refused := 0, map[*service]bool{}
	for range 40 {
		for _, s := range []*service{a, b} {
			got := s.post("/jobs", `{"type":"noop"}`, "X-API-Key", "writer-secret-0000")
			switch got.status {
			case http.StatusAccepted:
				admitted++
			case http.StatusTooManyRequests:
				refused[s] = true
				got.wantProblem()
				if got.str("code") != "rate_limited" || got.header.Get("Retry-After") == "" || got.header.Get("Retry-After") == "0" {
					t.Fatalf("the refusal is %v %s", got.header, got.text)
				}
				if got.header.Get("RateLimit-Policy") != `"key";q=20;w=3600` || got.header.Get("RateLimit") != `"key";r=0` {
					t.Fatalf("the headers are %v", got.header)
				}
			default:
				t.Fatalf("the answer is %d", got.status)
			}
		}
	}
	// A busy machine may let Redis miss its 100 ms; such requests are let
	// through and counted.
	if n := unchecked(); admitted > 20+n || admitted < 20 || len(refused) != 2 && n == 0 {
		t.Errorf("%d were admitted, %d of them unchecked; refusals at %d services", admitted, n, len(refused))
	}
	// Another key has its own budget.
	a.post("/jobs", `{"type":"noop"}`, "X-API-Key", "other-secret-00000").want(http.StatusAccepted)
}

func TestRateLimitOfAddress(t *testing.T) {
	a, b, unchecked := limiters(t, limit.Config{Addr: limit.Rate{N: 5, Per: time.Hour}})
	from := func(s *service, addr string) int {
		r := httptest.NewRequest(http.MethodGet, "/jobs", nil)
		r.RemoteAddr = addr
		r.Header.Set("X-API-Key", "guess")
		// Nobody believes this: no proxy is trusted.
		r.Header.Set("X-Forwarded-For", fmt.Sprintf("198.51.100.%d", time.Now().Nanosecond()%250))
		return s.send(r).status
	}
	count := map[int]int{}
	for range 6 {
		count[from(a, "192.0.2.1:1000")]++
		count[from(b, "192.0.2.1:2000")]++
	}
	if n := unchecked(); count[http.StatusUnauthorized] > 5+n || count[http.StatusUnauthorized] < 5 {
		t.Errorf("the answers are %v, %d unchecked", count, n)
	}
	if got := from(a, "192.0.2.2:1000"); got != http.StatusUnauthorized {
		t.Errorf("another address is answered with %d", got)
	}
}

func TestClientAddr(t *testing.T) {
	for _, c := range []struct{ remote, forwarded, want string }{
		{"192.0.2.1:99", "", "192.0.2.1"},
		{"192.0.2.1:99", "203.0.113.9", "192.0.2.1"},                          // not from a proxy
		{"10.0.0.1:99", "203.0.113.9", "203.0.113.9"},                         // from one
		{"10.0.0.1:99", "198.51.100.7, 203.0.113.9", "203.0.113.9"},           // the left is the client's own claim
		{"10.0.0.1:99", "198.51.100.7, 203.0.113.9, 10.0.0.2", "203.0.113.9"}, // over two proxies
		{"10.0.0.1:99", "198.51.100.7, nonsense", "10.0.0.1"},
		{"10.0.0.1:99", "", "10.0.0.1"},
		{"10.0.0.1:99", "10.0.0.2, 10.0.0.3", "10.0.0.1"},
		{"[::ffff:10.0.0.1]:99", "::ffff:203.0.113.9", "203.0.113.9"},
		{"[2001:db8:1:2:3::4]:99", "", "2001:db8:1:2::/64"},
		{"[2001:db8:1:2:5::6%eth0]:99", "", "2001:db8:1:2::/64"},
		{"@", "", "invalid IP"},
	} {
		var got string
		h := clientAddress(Proxies{netip.MustParsePrefix("10.0.0.0/8")})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = limit.ClientAddr(r) }))
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.remote
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		h.ServeHTTP(httptest.NewRecorder(), r)
		if got != c.want {
			t.Errorf("%s forwarded %q draws on %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
}

// TestClientThatLeaves holds that a client which goes while its request is at
// work is not taken for a fault of ours.
func TestClientThatLeaves(t *testing.T) {
	s := serve(t)
	server := httptest.NewServer(s)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// Half a body, then gone.
	fmt.Fprintf(conn, "POST /jobs/send-email HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(shortMail), shortMail[:10])
	if err := conn.Close(); err != nil {
		t.Fatal(err)
	}
	testkit.WaitFor(t, 10*time.Second, "the request is in the log", func() bool { return s.log.Count("msg=request") == 1 })
	if s.log.Count("level=ERROR") != 0 || s.log.Count("level=WARN") != 0 || len(s.all()) != 0 {
		t.Errorf("the log says %s", s.log)
	}
	if n := s.log.Count("status=400") + s.log.Count("status=499"); n != 1 {
		t.Errorf("the status is neither 400 nor 499: %s", s.log)
	}

	// A request whose client is gone when the store is asked.
	r := httptest.NewRequest(http.MethodGet, "/jobs", nil)
	ctx, cancel := contextWithCancel(r)
	cancel()
	s.store.Fail("List", job.Errorf(job.CodeInternal, "interrupted"))
	if a := s.send(r.WithContext(ctx)); a.status != statusClientGone {
		t.Errorf("the answer is %d", a.status)
	}
	if s.log.Count("level=ERROR") != 0 {
		t.Errorf("the log says %s", s.log)
	}
}

// TestSlowBody holds that a body that stalls is given up.
func TestSlowBody(t *testing.T) {
	s := serve(t)
	server := httptest.NewUnstartedServer(s)
	server.Config = Server(s, Config{}, testkit.Logger(t))
	server.Config.ReadTimeout = 200 * time.Millisecond
	server.Start()
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	fmt.Fprint(conn, "POST /jobs/send-email HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{")
	if err := conn.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	text, _ := io.ReadAll(res.Body)
	if res.StatusCode != http.StatusRequestTimeout || !strings.Contains(string(text), "in time") {
		t.Errorf("the answer is %d %s", res.StatusCode, text)
	}
}
