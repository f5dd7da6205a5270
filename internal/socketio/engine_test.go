package socketio

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

// The tests of this file are the Engine.IO protocol's, revision 4, section by
// section.

func TestHandshake(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{PingInterval: 300 * time.Second, PingTimeout: 200 * time.Second, MaxPayload: 1_000_000}, none)
	_, byPolling := r.do(http.MethodGet, polling, "")
	for transport, c := range map[string]struct {
		open     string
		upgrades []string
	}{
		"polling":   {byPolling, []string{"websocket"}},
		"websocket": {r.dial("").read(), []string{}},
	} {
		got := readShake(t, c.open)
		if got.SID == "" || !slices.Equal(got.Upgrades, c.upgrades) || got.Upgrades == nil ||
			got.PingInterval != 300_000 || got.PingTimeout != 200_000 || got.MaxPayload != 1_000_000 {
			t.Errorf("%s: the handshake is %q", transport, c.open)
		}
	}
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, none)
	sid := r.open()
	for name, c := range map[string]struct{ method, url, code string }{
		"no EIO":                {"GET", "?transport=polling", "5"},
		"another EIO":           {"GET", "?EIO=3&transport=polling", "5"},
		"EIO that is none":      {"GET", "?EIO=abc&transport=polling", "5"},
		"no transport":          {"GET", "?EIO=4", "0"},
		"another transport":     {"GET", "?EIO=4&transport=abc", "0"},
		"POST to begin":         {"POST", "?EIO=4&transport=polling", "2"},
		"PUT to begin":          {"PUT", "?EIO=4&transport=polling", "2"},
		"PUT to a session":      {"PUT", "?EIO=4&transport=polling&sid=" + sid, "3"},
		"unknown session":       {"GET", "?EIO=4&transport=polling&sid=abc", "1"},
		"POST to unknown":       {"POST", "?EIO=4&transport=polling&sid=abc", "1"},
		"WebSocket without one": {"GET", "?EIO=4&transport=websocket", "3"},
	} {
		r := *r
		r.base = strings.TrimSuffix(r.base, "?EIO=4")
		if status, body := r.do(c.method, c.url, ""); status != http.StatusBadRequest || !strings.Contains(body, `"code":`+c.code+",") {
			t.Errorf("%s: answered %d %s, want code %s", name, status, body, c.code)
		}
	}
	for _, query := range []string{"?transport=websocket", "?EIO=abc&transport=websocket", "?EIO=4", "?EIO=4&transport=abc", "?EIO=4&transport=websocket&sid=abc"} {
		url := "ws" + strings.TrimSuffix(strings.TrimPrefix(r.base, "http"), "?EIO=4") + query
		ws, resp, err := r.dialer.Dial(url, nil)
		if err == nil {
			_ = ws.Close()
			t.Errorf("a WebSocket was opened with %s", query)
			continue
		}
		if resp == nil || resp.StatusCode != http.StatusBadRequest {
			t.Errorf("a WebSocket with %s: %v", query, err)
		}
	}
}

func TestPollingMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, echo)
	sid := r.open()
	r.want("POST", onSID(sid), "40", 200, "ok")
	if _, body := r.do("GET", onSID(sid), ""); !strings.HasPrefix(body, `40{"sid":"`) {
		t.Fatalf("CONNECT was answered %q", body)
	}
	for _, c := range []struct{ post, get string }{
		{`42["message","hello"]`, `42["message-back","hello"]`},
		{"42[\"message\",1]\x1e42[\"message\",2]\x1e42[\"message\",3]", "42[\"message-back\",1]\x1e42[\"message-back\",2]\x1e42[\"message-back\",3]"},
		{"451-[\"message\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA==", "451-[\"message-back\",{\"_placeholder\":true,\"num\":0}]\x1ebAQIDBA=="},
	} {
		r.want("POST", onSID(sid), c.post, 200, "ok")
		got := ""
		for len(got) < len(c.get) { // they may come in several answers
			_, body := r.do("GET", onSID(sid), "")
			got = strings.TrimPrefix(got+"\x1e"+body, "\x1e")
		}
		got = strings.TrimPrefix(strings.TrimPrefix(got, `42["auth",{}]`), "\x1e")
		if !strings.HasSuffix(c.get, got) || got == "" {
			t.Errorf("%q was answered %q, not %q", c.post, got, c.get)
		}
	}
}

func TestPollingInvalid(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]string{
		"unknown type":         "abc",
		"empty":                "",
		"empty among others":   "42[\"message\"]\x1e",
		"client pings":         "2",
		"not UTF-8":            "42[\"\xff\"]",
		"no base64":            "b!!!",
		"open packet":          "0{}",
		"upgrade packet":       "5",
		"no Socket.IO packet":  "4abc",
		"event before CONNECT": `42["message"]`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{}, echo)
			sid := r.open()
			if status, body := r.do("POST", onSID(sid), body); status != http.StatusBadRequest {
				t.Errorf("answered %d %s", status, body)
			}
			r.wantGone(sid)
		})
	}
}

// wantGone waits until the session is no more.
func (r *rig) wantGone(sid string) {
	r.t.Helper()
	testkit.WaitFor(r.t, patience, "the session ends", func() bool {
		status, body, err := r.try(context.Background(), "POST", onSID(sid), "6")
		return err == nil && status == http.StatusBadRequest && strings.Contains(body, `"code":1,`)
	})
}

func TestOversizedPost(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{MaxPayload: 100}, none)
	sid := r.open()
	if status, _ := r.do("POST", onSID(sid), "4"+strings.Repeat("x", 200)); status != http.StatusRequestEntityTooLarge {
		t.Errorf("answered %d", status)
	}
	r.wantGone(sid)
}

// A client that sends bodies of bytes speaks an older revision.
func TestBinaryBody(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, none)
	resp, err := r.http.Post(r.base+onSID(r.open()), "application/octet-stream", strings.NewReader("40"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("answered %d", resp.StatusCode)
	}
}

func TestSecondPollEndsSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, none)
	sid := r.open()
	first := r.begin("GET", onSID(sid))
	r.waitPoll(sid)
	if status, _ := r.do("GET", onSID(sid), ""); status != http.StatusBadRequest {
		t.Errorf("the second GET was answered %d", status)
	}
	if got := next(t, first); got.status != 200 || got.body != "1" {
		t.Errorf("the first GET was answered %d %q %v", got.status, got.body, got.err)
	}
	r.wantGone(sid)
}

// waitPoll waits until a GET of the session waits at the server.
func (r *rig) waitPoll(sid string) {
	r.t.Helper()
	testkit.WaitFor(r.t, patience, "a GET waits", func() bool {
		s := r.server.session(sid)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.poll != nil
	})
}

func TestSecondPostEndsSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, none)
	sid := r.open()
	slow := make(chan error, 1)
	body, end := newSlowBody()
	go func() {
		resp, err := r.http.Post(r.base+onSID(sid), "text/plain", body)
		if err == nil {
			_ = resp.Body.Close()
		}
		slow <- err
	}()
	testkit.WaitFor(t, patience, "the first POST is being read", func() bool {
		s := r.server.session(sid)
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.posting
	})
	r.want("POST", onSID(sid), "40", http.StatusBadRequest, `{"code":3,"message":"Bad request"}`)
	r.wantGone(sid)
	end()
	_ = next(t, slow)
}

func TestCancelledPollEndsSession(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, none)
	sid := r.open()
	ctx, cancel := context.WithCancel(t.Context())
	cut := make(chan struct{})
	go func() {
		_, _, _ = r.try(ctx, "GET", onSID(sid), "")
		close(cut)
	}()
	r.waitPoll(sid)
	cancel()
	<-cut
	r.wantGone(sid)
}

func TestWebSocketMessages(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, echo)
	w := r.in()
	w.want(`42["auth",{}]`)
	w.send(`42["message","hello"]`)
	w.want(`42["message-back","hello"]`)
	w.send("1")
	w.wantEnd()
}

func TestWebSocketInvalid(t *testing.T) {
	t.Parallel()
	for name, send := range map[string]string{
		"unknown type": "abc", "empty": "", "client pings": "2", "not UTF-8": "42[\"\xff\"]", "upgrade": "5", "too long": "4" + strings.Repeat("x", 2000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Config{MaxPayload: 1000}, echo)
			w := r.in()
			w.want(`42["auth",{}]`)
			w.send(send)
			if said := w.wantEnd(); len(said) != 0 {
				t.Errorf("the server says %q", said)
			}
		})
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, echo)
	sid := r.open()
	waiting := r.begin("GET", onSID(sid))
	r.waitPoll(sid)
	w := r.dial("&sid=" + sid)
	w.send("2probe")
	w.want("3probe")
	if got := next(t, waiting); got.status != 200 || got.body != "6" {
		t.Errorf("the GET that waited was answered %d %q", got.status, got.body)
	}
	r.want("GET", onSID(sid), "", 200, "6") // polling has not ended yet
	r.want("POST", onSID(sid), "40", 200, "ok")
	w.send("5")
	if welcome := w.read(); !strings.HasPrefix(welcome, `40{"sid":"`) { // queued meanwhile
		t.Errorf("the first message is %q", welcome)
	}
	w.want(`42["auth",{}]`)
	w.send(`42["message","hello"]`)
	w.want(`42["message-back","hello"]`)

	r.want("GET", onSID(sid), "", 400, `{"code":3,"message":"Bad request"}`)
	r.want("POST", onSID(sid), "6", 400, `{"code":3,"message":"Bad request"}`)
	second := r.dial("&sid=" + sid)
	if said := second.wantEnd(); len(said) != 0 {
		t.Errorf("a second WebSocket hears %q", said)
	}
	w.send(`42["message","still here"]`)
	w.want(`42["message-back","still here"]`)
}

// A POST that is still being taken in when the WebSocket takes over is taken in
// as a whole, before what comes by the WebSocket.
func TestUpgradeDuringPost(t *testing.T) {
	t.Parallel()
	const events = 300 // more than may wait for the handler
	hold, handled := make(chan struct{}), make(chan int, events)
	r := newRig(t, Config{MaxPayload: 10_000}, func(s *Server) {
		s.Namespace("/").Handle("x", func(_ context.Context, _ *Socket, e Event) {
			<-hold
			var n int
			_ = e.Args.Bind(&n)
			handled <- n
		})
	})
	sid := r.open()
	r.want("POST", onSID(sid), "40", 200, "ok")
	if _, body := r.do("GET", onSID(sid), ""); !strings.HasPrefix(body, `40{"sid":"`) {
		t.Fatalf("the client is told %q", body)
	}
	var body []string
	for n := range events {
		body = append(body, fmt.Sprintf(`42["x",%d]`, n))
	}
	posted := make(chan reply, 1)
	go func() {
		status, body, err := r.try(context.Background(), "POST", onSID(sid), strings.Join(body, "\x1e"))
		posted <- reply{status, body, err}
	}()
	session := r.server.session(sid)
	testkit.WaitFor(t, patience, "the POST is taken in", func() bool {
		if session.reading.TryLock() {
			session.reading.Unlock()
			return false
		}
		return true
	})
	w := r.dial("&sid=" + sid)
	w.send("2probe")
	w.want("3probe")
	w.send("5")
	w.send(fmt.Sprintf(`451-["x",%d,{"_placeholder":true,"num":0}]`, events))
	w.sendBytes(1, 2, 3)
	close(hold)
	for want := range events + 1 {
		if got := next(t, handled); got != want {
			t.Fatalf("%d was handled when it was %d's turn", got, want)
		}
	}
	if got := next(t, posted); got.err != nil || got.status != 200 {
		t.Errorf("the POST was answered %d %q, %v", got.status, got.body, got.err)
	}
}

// While one upgrade is tried, another WebSocket of the session is closed, and
// one that fails leaves the session polling.
func TestUpgradeThatFails(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{UpgradeTimeout: patience}, echo)
	sid := r.open()
	w := r.dial("&sid=" + sid)
	w.send("2probe")
	w.want("3probe")
	r.dial("&sid=" + sid).wantEnd()
	w.send("4no upgrade")
	w.wantEnd()
	r.want("POST", onSID(sid), "40", 200, "ok")
	if _, body := r.do("GET", onSID(sid), ""); !strings.HasPrefix(body, `40{"sid":"`) {
		t.Errorf("polling goes on with %q", body)
	}
}

func TestOrigin(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, none)
	host := strings.TrimPrefix(strings.TrimSuffix(r.base, "/socket.io/?EIO=4"), "http://")
	for origin, allowed := range map[string]bool{"": true, "http://" + host: true, "https://evil.example": false, "null": false} {
		header := http.Header{}
		if origin != "" {
			header.Set("Origin", origin)
		}
		ws, _, err := r.dialer.Dial("ws://"+host+"/socket.io/?EIO=4&transport=websocket", header)
		if err == nil {
			_ = ws.Close()
		}
		if (err == nil) != allowed {
			t.Errorf("a WebSocket from a page of %q: %v", origin, err)
		}
		req, _ := http.NewRequest("GET", r.base+polling, nil)
		req.Header = header
		resp, err := r.http.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		if (resp.StatusCode == 200) != allowed {
			t.Errorf("polling from a page of %q: %s", origin, resp.Status)
		}
	}
}

func TestAdmit(t *testing.T) {
	t.Parallel()
	seen := make(chan any, 1)
	r := newRig(t, Config{Admit: func(r *http.Request) (any, error) {
		if r.URL.Query().Get("full") != "" {
			return nil, &HandshakeError{Status: http.StatusTooManyRequests, Message: "too many"}
		}
		return r.URL.Query().Get("who"), nil
	}}, func(s *Server) {
		s.Namespace("/").Handle("who", func(_ context.Context, k *Socket, _ Event) { seen <- k.Handshake() })
	})
	r.want("GET", polling+"&full=1", "", http.StatusTooManyRequests, `{"code":4,"message":"too many"}`)
	w := r.dial("&who=ann")
	w.read()
	w.send("40")
	w.read()
	w.send(`42["who"]`)
	if got := next(t, seen); got != "ann" {
		t.Errorf("the handshake is %v", got)
	}
}
