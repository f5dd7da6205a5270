package socketio

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/postrider/postrider/internal/testkit"
)

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 30 * time.Second

// rig is a server with clients that speak its protocols by hand.
type rig struct {
	t      testing.TB
	server *Server
	base   string // http://host/socket.io/?EIO=4
	http   *http.Client
	dialer websocket.Dialer
	log    *testkit.Log
}

// newRig serves what setup makes of a server, until the test ends.
func newRig(t testing.TB, cfg Config, setup func(*Server)) *rig {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return rigOn(t, cfg, setup, l, new(net.Dialer).DialContext)
}

// rigOn is newRig on some network.
func rigOn(t testing.TB, cfg Config, setup func(*Server), l net.Listener, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *rig {
	t.Helper()
	log, lines := testkit.CaptureLog(t)
	cfg.Logger = log
	server := New(cfg)
	setup(server)
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", server)
	web := &http.Server{Handler: mux, ReadHeaderTimeout: patience}
	served := make(chan error, 1)
	go func() { served <- web.Serve(l) }()
	transport := &http.Transport{DialContext: dial}
	r := &rig{
		t: t, server: server, log: lines, base: "http://" + l.Addr().String() + "/socket.io/?EIO=4",
		http: &http.Client{Transport: transport}, dialer: websocket.Dialer{NetDialContext: dial},
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		transport.CloseIdleConnections()
		if err := web.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		<-served
	})
	return r
}

// do sends a request to the server and returns the answer's status and body.
func (r *rig) do(method, query, body string) (int, string) {
	r.t.Helper()
	status, answer, err := r.try(context.Background(), method, query, body)
	if err != nil {
		r.t.Fatal(err)
	}
	return status, answer
}

func (r *rig) try(ctx context.Context, method, query, body string) (int, string, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.base+query, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text), err
}

// reply is what came of a request.
type reply struct {
	status int
	body   string
	err    error
}

// begin sends a request whose answer may take long.
func (r *rig) begin(method, query string) <-chan reply {
	out := make(chan reply, 1)
	go func() {
		status, body, err := r.try(context.Background(), method, query, "")
		out <- reply{status, body, err}
	}()
	return out
}

// want fails the test unless the request is answered so.
func (r *rig) want(method, query, body string, status int, answer string) {
	r.t.Helper()
	gotStatus, got := r.do(method, query, body)
	if gotStatus != status || got != answer {
		r.t.Errorf("%s %s with %q was answered %d %q, not %d %q", method, query, body, gotStatus, got, status, answer)
	}
}

const polling = "&transport=polling"

func onSID(sid string) string { return polling + "&sid=" + sid }

// shake is what the server tells at the beginning of a session.
type shake struct {
	SID          string   `json:"sid"`
	Upgrades     []string `json:"upgrades"`
	PingInterval int      `json:"pingInterval"`
	PingTimeout  int      `json:"pingTimeout"`
	MaxPayload   int      `json:"maxPayload"`
}

// open begins a session by polling and returns its id.
func (r *rig) open() string {
	r.t.Helper()
	status, body := r.do(http.MethodGet, polling, "")
	if status != http.StatusOK || !strings.HasPrefix(body, "0") {
		r.t.Fatalf("the handshake was answered %d %q", status, body)
	}
	return readShake(r.t, body).SID
}

func readShake(t testing.TB, open string) shake {
	t.Helper()
	var out shake
	dec := json.NewDecoder(strings.NewReader(open[1:]))
	dec.DisallowUnknownFields() // the keys are exactly these
	if err := dec.Decode(&out); err != nil {
		t.Fatalf("reading the handshake %q: %v", open, err)
	}
	return out
}

// wire is a WebSocket that the test speaks on by hand.
type wire struct {
	t testing.TB
	*websocket.Conn
}

// dial opens a WebSocket without the server's having said anything.
func (r *rig) dial(query string) *wire {
	r.t.Helper()
	ws, resp, err := r.dialer.DialContext(context.Background(), "ws"+strings.TrimPrefix(r.base, "http")+"&transport=websocket"+query, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	_ = resp.Body.Close()
	r.t.Cleanup(func() { _ = ws.Close() })
	return &wire{r.t, ws}
}

// ws begins a session by WebSocket and has read the handshake.
func (r *rig) ws() *wire {
	r.t.Helper()
	w := r.dial("")
	if open := w.read(); !strings.HasPrefix(open, "0{") {
		r.t.Fatalf("the session begins with %q", open)
	}
	return w
}

// in begins a session by WebSocket in the main namespace.
func (r *rig) in() *wire {
	r.t.Helper()
	w := r.ws()
	w.send("40")
	if welcome := w.read(); !strings.HasPrefix(welcome, `40{"sid":"`) {
		r.t.Fatalf("CONNECT was answered %q", welcome)
	}
	return w
}

func (w *wire) send(text string) {
	w.t.Helper()
	if err := w.WriteMessage(websocket.TextMessage, []byte(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) sendBytes(b ...byte) {
	w.t.Helper()
	if err := w.WriteMessage(websocket.BinaryMessage, b); err != nil {
		w.t.Fatal(err)
	}
}

// read returns the next message; of bytes, as text.
func (w *wire) read() string {
	w.t.Helper()
	_ = w.SetReadDeadline(time.Now().Add(10 * patience))
	_, data, err := w.ReadMessage()
	if err != nil {
		w.t.Fatal(err)
	}
	return string(data)
}

// want fails the test unless the next messages are these.
func (w *wire) want(texts ...string) {
	w.t.Helper()
	for _, text := range texts {
		if got := w.read(); got != text {
			w.t.Fatalf("got %q, want %q", got, text)
		}
	}
}

// wantEnd fails the test unless the server closes the connection, whatever else
// it says before, and returns the rest of what it said.
func (w *wire) wantEnd() (said []string) {
	w.t.Helper()
	_ = w.SetReadDeadline(time.Now().Add(10 * patience))
	for {
		_, data, err := w.ReadMessage()
		if err == nil {
			said = append(said, string(data))
			continue
		}
		if timeout, ok := err.(net.Error); ok && timeout.Timeout() {
			w.t.Fatal("the server does not close the connection")
		}
		return said
	}
}

// next waits for a value.
func next[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}

// none is a server with nothing but the main namespace.
func none(s *Server) { s.Namespace("/") }

// echo answers as the servers of the protocols' own test suites do.
func echo(s *Server) {
	for _, name := range []string{"/", "/custom"} {
		n := s.Namespace(name)
		n.OnConnect(func(_ context.Context, k *Socket, auth json.RawMessage) error {
			if auth == nil {
				auth = json.RawMessage("{}")
			}
			return k.Emit("auth", auth)
		})
		n.Handle("message", func(_ context.Context, k *Socket, e Event) { _ = k.Emit("message-back", values(e.Args)...) })
		n.Handle("message-with-ack", func(_ context.Context, _ *Socket, e Event) { _ = e.Ack(values(e.Args)...) })
	}
}

// values is arguments as Emit takes them.
func values(a Args) []any {
	out := make([]any, a.Len())
	for i := range out {
		if strings.Contains(string(a.Raw(i)), `"_placeholder"`) {
			out[i] = new(Binary)
		} else {
			out[i] = new(json.RawMessage)
		}
	}
	if err := a.Bind(out...); err != nil {
		return []any{err.Error()}
	}
	return out
}
