package httpapi

import (
	"bufio"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// TestNastyBodies holds that what is odd is refused by its name and makes no
// job. The field "" stands for a 400: it is no JSON.
func TestNastyBodies(t *testing.T) {
	mail := func(more string) string { return strings.TrimSuffix(shortMail, "}") + "," + more + "}" }
	note := func(more string) string { return `{"everyone":true,"message":"m",` + more + `}` }
	noop := func(more string) string { return `{"type":"noop",` + more + `}` }
	deep := func(n int) string { return strings.Repeat("[", n) + strings.Repeat("]", n) }
	digits := strings.Repeat("9", 100_000)
	s := serve(t)
	for path, bodies := range map[string]map[string]string{
		"/jobs/send-email": {
			mail(`"delay":99999999999999999999`): "delay", mail(`"delay":9223372036854775807`): "delay", mail(`"delay":` + digits[:300]): "delay",
			mail(`"delay":-1`): "delay", mail(`"delay":1.5`): "delay", mail(`"delay":1e3`): "delay", mail(`"delay":"1"`): "delay",
			mail(`"delay":` + digits): "body", mail(`"delay":1e400`): "body",
			mail(`"delay":5,"delay":31622400001`): "delay",
			// Another case is another field, so that the schema sees what Go reads.
			mail(`"delay":5,"Delay":31622400001`): "Delay", mail(`"priority":"bulk","PRIORITY":"odd"`): "PRIORITY",
			mail(`"attachments":[{"name":"a","content":"aGk=","Name":"b"}]`): "attachments[0].Name",
			mail(`"send_at":"2999-13-01T00:00:00Z"`):                         "send_at", mail(`"send_at":1700000000`): "send_at", mail(`"send_at":""`): "send_at",
			mail(`"headers":{"X-A":"a\r\nBcc: b@example.com"}`): "headers.X-A", mail(`"headers":{"X-A\r\nBcc":"b"}`): "headers.X-A??Bcc",
			mail(`"headers":{"X-A":null}`): "headers.X-A", mail(`"attachments":[null]`): "attachments[0]",
			mail(`"cc":[null]`): "cc", mail(`"cc":{"a":1}`): "cc", mail(`"cc":[""]`): "cc[0]",
			`{"email":"a@example.com","subject":"s\u0000","message":"m"}`:          "subject",
			`{"email":"a@example.com","subject":"s","message":"m\u0000"}`:          "message",
			`{"email":"a@example.com\u0000","subject":"s","message":"m"}`:          "email",
			"{\"email\":\"a@example.com\",\"subject\":\"\xff\",\"message\":\"m\"}": "", "\xef\xbb\xbf" + shortMail: "",
			shortMail + "\x00": "", shortMail + shortMail: "", deep(20_000): "", "null": "body", "[]": "body",
		},
		"/jobs/schedule-email": {shortMail: "delay", mail(`"delay":null`): "delay"},
		"/jobs/send-notification": {
			note(`"data":` + deep(20_000)): "", note("\"data\":\"\xff\""): "", note(`"data":"` + strings.Repeat("x", 64_000) + `"`): "data",
			note(`"Type":"loud"`): "Type", `{"everyone":"true","message":"m"}`: "everyone", `{"room":"\u0000","message":"m"}`: "room",
		},
		"/jobs": {
			noop(`"delay":5,"delaY":18446744073710`):       "delaY", // in nanoseconds it overflows to a small one
			noop(`"payload":{"sleep_ms":5,"SLEEP_MS":-5}`): "payload.sleep_ms", noop(`"payload":{"sleep_ms":1e1}`): "payload.sleep_ms",
			noop(`"payload":{"sleep_ms":` + digits[:300] + `}`): "payload.sleep_ms", noop(`"payload":` + digits[:300]): "payload",
			noop(`"payload":"x"`): "payload", noop("\"payload\":{\"pad\":\"\xff\"}"): "", noop(`"payload":` + deep(20_000)): "",
			`{"type":"noop\u0000"}`: "type", `{"type":["noop"]}`: "type", noop(`"` + strings.Repeat("n", 5000) + `":1`): strings.Repeat("n", 200) + "…",
		},
		"/jobs/batch": {
			`null`: "jobs", `{"JOBS":[{"type":"noop"}],"jobs":[]}`: "JOBS", `{"jobs":` + deep(20_000) + `}`: "",
			"{\"jobs\":[{\"type\":\"noop\",\"payload\":{\"pad\":\"\xff\"}}]}": "",
		},
	} {
		for body, field := range bodies {
			a := s.post(path, body)
			if field == "" {
				a.want(http.StatusBadRequest)
			} else if got := slices.Collect(maps.Keys(a.want(http.StatusUnprocessableEntity).fields())); !slices.Contains(got, field) {
				t.Errorf("%s %.150s: the fields are %.300q, want %.50s", path, body, got, field)
			}
			if len(a.text) > 2000 {
				t.Errorf("%s %.150s is answered with %d bytes", path, body, len(a.text))
			}
		}
	}
	if jobs := s.all(); len(jobs) != 0 {
		t.Errorf("%d jobs were made, the last of %s", len(jobs), jobs[0].Type)
	}
	// In a batch each entry is refused on its own.
	a := s.post("/jobs/batch", `{"jobs":[{"type":"noop","delay":1e400},{"type":"noop","delay":1,"Delay":2},null,{"type":"noop"}]}`).want(http.StatusAccepted)
	if a.str("message") != "1 job added to queue, 3 refused" {
		t.Errorf("the answer is %s", a.text)
	}
}

// TestNoMoreThanSent holds that HTML is not weighed in its escaped form.
func TestNoMoreThanSent(t *testing.T) {
	s := serve(t)
	s.post("/jobs/send-notification", `{"everyone":true,"message":"m","data":"`+strings.Repeat("<", 63_990)+`"}`).want(http.StatusAccepted)
	html := strings.Repeat("<br>", 1<<18-100)
	id := s.post("/jobs/send-email", `{"to":"a@example.com","subject":"s","html":"`+html+`"}`).want(http.StatusAccepted).str("id")
	if got := len(s.stored(id).Payload); got > len(html)+200 {
		t.Errorf("%d bytes of HTML take %d", len(html), got)
	}
}

func TestNastyQueries(t *testing.T) {
	s := serve(t)
	for query, field := range map[string]string{
		"recipient=%00": "recipient", "recipient=user:%ff": "recipient", "type=%00": "type", "queue=%c3%28": "queue", "state=%00": "state",
		"limit=99999999999999999999": "limit", "limit=-1": "limit", "limit=1.5": "limit", "batch_id=%00": "batch_id",
		"cursor=%00": "cursor", "cursor=AAAA": "cursor", "cursor=" + strings.Repeat("A", 20_000): "cursor", "since=2026-13-01T00:00:00Z": "since",
	} {
		if a := s.get("/jobs?" + query).want(http.StatusUnprocessableEntity); a.fields()[field] == "" || len(a.text) > 2000 {
			t.Errorf("%.60s: the answer is %.500s", query, a.text)
		}
	}
	for _, path := range []string{"/jobs/%00", "/jobs/%ff", "/jobs/..%2f..%2fetc", "//jobs", "/JOBS"} {
		s.get(path).want(http.StatusNotFound)
	}
	for _, method := range []string{http.MethodHead, http.MethodOptions, http.MethodTrace, http.MethodPatch, "get"} {
		if a := s.call(method, "/jobs", ""); a.status != http.StatusMethodNotAllowed || a.header.Get("Allow") != "GET, POST" {
			t.Errorf("%s is answered with %d, allowed is %q", method, a.status, a.header.Get("Allow"))
		}
	}
}

// TestNastyWire holds that requests which are broken on the wire are refused
// and make no job.
func TestNastyWire(t *testing.T) {
	s := serve(t)
	server := httptest.NewUnstartedServer(s)
	server.Config = Server(s, Config{}, testkit.Logger(t))
	server.Start()
	defer server.Close()
	const head = "POST /jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
	const body = `{"type":"noop"}`
	for name, c := range map[string]struct {
		text   string
		status int
	}{
		"chunks cut off":        {head + "Transfer-Encoding: chunked\r\n\r\nf\r\n" + body + "\r\n", 400},
		"a chunk cut off":       {head + "Transfer-Encoding: chunked\r\n\r\nff\r\n" + body, 400},
		"a chunk without size":  {head + "Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + body + "\r\n0\r\n\r\n", 400},
		"a length cut off":      {head + "Content-Length: 100\r\n\r\n" + body, 400},
		"a length too short":    {head + "Content-Length: 14\r\nConnection: close\r\n\r\n" + body, 400},
		"two lengths":           {head + "Content-Length: 15\r\nContent-Length: 14\r\n\r\n" + body, 400},
		"a negative length":     {head + "Content-Length: -1\r\n\r\n" + body, 400},
		"a huge length":         {head + "Content-Length: 9223372036854775807\r\n\r\n" + body, 413},
		"an unknown encoding":   {head + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
		"CR in a header":        {head + "Idempotency-Key: a\rb\r\nContent-Length: 15\r\n\r\n" + body, 400},
		"NUL in a header":       {head + "Idempotency-Key: a\x00b\r\nContent-Length: 15\r\n\r\n" + body, 400},
		"a header's broken key": {head + "Idempotency-Key: \xff\r\nConnection: close\r\nContent-Length: 15\r\n\r\n" + body, 422},
		"a huge header":         {head + "X-Pad: " + strings.Repeat("x", 64<<10) + "\r\nContent-Length: 15\r\n\r\n" + body, 431},
		"another host's target": {"POST http://attacker.example/jobs HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 15\r\n\r\n" + body, 403},
		"two hosts":             {head + "Host: attacker.example\r\nContent-Length: 15\r\n\r\n" + body, 400},
	} {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Fprint(conn, c.text); err != nil {
			t.Fatal(err)
		}
		// Who closes behind a whole request is taken for gone, and may get no answer.
		if !strings.Contains(c.text, "Connection: close") {
			if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
				t.Fatal(err)
			}
		}
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if _ = res.Body.Close(); res.StatusCode != c.status {
			t.Errorf("%s is answered with %d, want %d", name, res.StatusCode, c.status)
		}
		_ = conn.Close()
	}
	if n := len(s.all()); n != 0 {
		t.Errorf("%d jobs were made", n)
	}
	if s.log.Count("level=ERROR") != 0 {
		t.Errorf("the log says %s", s.log)
	}
}
