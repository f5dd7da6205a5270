package socketio

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/testkit"
)

// The tests of this file have the unmodified npm package socket.io-client speak
// to the server. What it expects is in testdata/client/cases.mjs.

const clientDir = "testdata/client"

// clientServer is what the cases speak to.
func clientServer(t *testing.T) string {
	t.Helper()
	bundle := filepath.Join(clientDir, "node_modules/socket.io-client/dist/socket.io.js")
	if _, err := os.Stat(bundle); err != nil {
		t.Fatalf("this test needs the npm package socket.io-client: run `make test-deps`, or `npm ci` in internal/socketio/%s: %v", clientDir, err)
	}
	log, _ := testkit.CaptureLog(t)
	server := New(Config{Logger: log, PingInterval: 500 * time.Millisecond})
	for _, name := range []string{"/", "/second"} {
		clientNamespace(server.Namespace(name))
	}
	mux := http.NewServeMux()
	mux.Handle("/socket.io/", server)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		http.ServeFile(w, r, filepath.Join(clientDir, "page.html"))
	})
	mux.HandleFunc("/client/socket.io.js", func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, bundle) })
	mux.HandleFunc("/client/cases.mjs", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		http.ServeFile(w, r, filepath.Join(clientDir, "cases.mjs"))
	})
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		web.CloseClientConnections()
		web.Close()
	})
	return web.URL
}

func clientNamespace(n *Namespace) {
	n.OnConnect(func(_ context.Context, _ *Socket, auth json.RawMessage) error {
		var who struct{ Token string }
		if err := json.Unmarshal(auth, &who); err != nil || who.Token != "good" {
			return &ConnectError{Message: "not authorized", Data: map[string]string{"code": "E_TOKEN"}}
		}
		return nil
	})
	handle := func(event string, f func(ctx context.Context, k *Socket, e Event)) { n.Handle(event, f) }
	handle("message", func(_ context.Context, k *Socket, e Event) { _ = k.Emit("message-back", values(e.Args)...) })
	handle("message-with-ack", func(_ context.Context, _ *Socket, e Event) { _ = e.Ack(values(e.Args)...) })
	handle("where", func(_ context.Context, k *Socket, e Event) { _ = e.Ack(k.Namespace().Name()) })
	handle("burst", func(_ context.Context, k *Socket, e Event) {
		var count int
		if e.Bind(&count) == nil {
			for i := range count {
				_ = k.Emit("n", i)
			}
		}
	})
	handle("ask me", func(ctx context.Context, k *Socket, e Event) {
		var n, answer int
		if e.Bind(&n) != nil {
			return
		}
		reply, err := k.EmitWithAck(ctx, "question", n)
		if err == nil && reply.Bind(&answer) == nil {
			_ = e.Ack(answer)
		}
	})
	handle("kick", func(_ context.Context, k *Socket, _ Event) { _ = k.Emit("bye"); k.Disconnect() })
	handle("kick and close", func(_ context.Context, k *Socket, _ Event) { k.Disconnect(); k.Close() })
	handle("drop", func(_ context.Context, k *Socket, _ Event) { _ = k.Emit("bye"); k.Close() })
	handle("join", func(_ context.Context, k *Socket, e Event) {
		var room string
		if e.Bind(&room) == nil && k.Join(room) {
			_ = e.Ack()
		}
	})
	say := func(to func(k *Socket, room string) Broadcast) func(context.Context, *Socket, Event) {
		return func(_ context.Context, k *Socket, e Event) {
			var room, text string
			if e.Bind(&room, &text) == nil && to(k, room).Emit("said", text) == nil {
				_ = e.Ack()
			}
		}
	}
	handle("say", say(func(_ *Socket, room string) Broadcast { return n.To(room) }))
	handle("say to others", say(func(k *Socket, room string) Broadcast { return n.To(room).Except(k.ID()) }))
}

var modes = []string{"websocket", "polling", "upgrade"}

// caseResult is what a case came to.
type caseResult struct {
	Name  string
	OK    bool
	Error string
}

func report(t *testing.T, results []caseResult) {
	t.Helper()
	if len(results) < 15 {
		t.Errorf("only %d cases were tried", len(results))
	}
	for _, r := range results {
		if !r.OK {
			t.Errorf("%s: %s", r.Name, r.Error)
		}
	}
}

func TestClientInNode(t *testing.T) {
	url := clientServer(t)
	node, err := exec.LookPath("node")
	if err != nil {
		t.Fatal("this test needs the program node: run `make test-deps`, or install Debian's package nodejs")
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, node, filepath.Join(clientDir, "node.mjs"), url, mode)
			var complaints bytes.Buffer
			cmd.Stderr = &complaints
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%v: %s", err, complaints.String())
			}
			var results []caseResult
			lines := bufio.NewScanner(bytes.NewReader(out))
			for lines.Scan() {
				var r caseResult
				if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
					t.Fatalf("%v: %s", err, lines.Text())
				}
				results = append(results, r)
			}
			report(t, results)
		})
	}
}

func TestClientInBrowser(t *testing.T) {
	url := clientServer(t)
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true),
	)
	ctx, cancelAllocator := chromedp.NewExecAllocator(t.Context(), options...)
	defer cancelAllocator()
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	defer cancelBrowser()
	if err := chromedp.Do(ctx); err != nil { // starts the browser, which lives as long as its context
		t.Fatal(err)
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(ctx, 10*patience)
			defer cancel()
			if err := chromedp.Do(ctx, chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("html[data-ready]"))); err != nil {
				t.Fatal(err)
			}
			results, err := chromedp.Run(ctx, chromedp.Evaluate[[]caseResult](`run("`+mode+`")`, chromedp.EvalAwaitPromise))
			if err != nil {
				t.Fatal(err)
			}
			report(t, results)
		})
	}
}
