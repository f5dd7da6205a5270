package socketio

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this file are about time, and run where time does what they say.

// pipes is a network within the process.
type pipes struct {
	dialed chan net.Conn
	closed chan struct{}
	once   sync.Once
}

var errPipesClosed = errors.New("the network is closed")

func newPipes() *pipes { return &pipes{dialed: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.dialed:
		return c, nil
	case <-p.closed:
		return nil, errPipesClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return pipeAddr{} }

type pipeAddr struct{}

func (pipeAddr) Network() string { return "pipe" }
func (pipeAddr) String() string  { return "pipe.example:80" }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.dialed <- far:
		return near, nil
	case <-p.closed:
		return nil, errPipesClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// bubble runs a test with a server in a bubble of synctest.
func bubble(t *testing.T, cfg Config, setup func(*Server), test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := newPipes()
		test(rigOn(t, cfg, setup, network, network.dial))
	})
}

// Pings keep to the schedule, however late their answers come.
func TestHeartbeatKeepsItsSchedule(t *testing.T) {
	bubble(t, Config{}, none, func(r *rig) {
		began := time.Now()
		w := r.in()
		for i := 1; i <= 5; i++ {
			w.want("2")
			if at, want := time.Since(began), time.Duration(i)*25*time.Second; at != want {
				r.t.Errorf("ping %d came after %s, not %s", i, at, want)
			}
			time.Sleep(19 * time.Second)
			w.send("3")
		}
	})
}

func TestHeartbeatTimeout(t *testing.T) {
	bubble(t, Config{}, none, func(r *rig) {
		began := time.Now()
		w := r.in()
		w.want("2")
		w.wantEnd()
		if at := time.Since(began); at != 45*time.Second {
			r.t.Errorf("the session ended after %s", at)
		}
	})
}

// A client may be asked again before it has answered: the oldest question
// counts.
func TestHeartbeatTimeoutAboveInterval(t *testing.T) {
	bubble(t, Config{PingInterval: 10 * time.Second, PingTimeout: 35 * time.Second}, none, func(r *rig) {
		began := time.Now()
		w := r.in()
		w.want("2", "2", "2")
		w.send("3")
		w.want("2") // at 40 s
		if said := w.wantEnd(); len(said) != 3 {
			r.t.Errorf("the server asks %d times more", len(said))
		}
		if at := time.Since(began); at != 75*time.Second {
			r.t.Errorf("the session ended after %s", at)
		}
	})
}

func TestHeartbeatByPolling(t *testing.T) {
	bubble(t, Config{}, none, func(r *rig) {
		began := time.Now()
		sid := r.open()
		r.want("POST", onSID(sid), "40", 200, "ok")
		r.do("GET", onSID(sid), "")
		for range 3 {
			r.want("GET", onSID(sid), "", 200, "2")
			r.want("POST", onSID(sid), "3", 200, "ok")
		}
		r.want("GET", onSID(sid), "", 200, "2")
		r.want("GET", onSID(sid), "", 200, "1")
		if at := time.Since(began); at != 120*time.Second {
			r.t.Errorf("the session ended after %s", at)
		}
		r.want("POST", onSID(sid), "3", 400, `{"code":1,"message":"Session ID unknown"}`)
	})
}

// A session is not kept for a client that is in no namespace, be it that it
// never was, was refused, or has left.
func TestConnectTimeout(t *testing.T) {
	for name, sends := range map[string][]string{"never": nil, "refused": {"40/none,"}, "left": {"40", "41"}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{ConnectTimeout: 10 * time.Second}, none, func(r *rig) {
				began := time.Now()
				w := r.ws()
				for _, s := range sends {
					w.send(s)
				}
				w.wantEnd()
				if at := time.Since(began); at != 10*time.Second {
					r.t.Errorf("the session ended after %s", at)
				}
			})
		})
	}
}

// The GET that goes with a client's closing POST is answered, whichever of them
// comes first.
func TestPollingClose(t *testing.T) {
	for name, getFirst := range map[string]bool{"GET first": true, "POST first": false} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, none, func(r *rig) {
				sid := r.open()
				var get <-chan reply
				if getFirst {
					get = r.begin("GET", onSID(sid))
					synctest.Wait()
				}
				r.want("POST", onSID(sid), "1", 200, "ok")
				if !getFirst {
					get = r.begin("GET", onSID(sid))
				}
				if got := next(r.t, get); got.status != 200 || got.body != "6" {
					r.t.Errorf("the last GET was answered %d %q %v", got.status, got.body, got.err)
				}
				time.Sleep(time.Second)
				r.want("GET", onSID(sid), "", 400, `{"code":1,"message":"Session ID unknown"}`)
			})
		})
	}
}

// An upgrade that leads to nothing is given up, at either of its steps, and the
// session goes on polling.
func TestUpgradeThatStalls(t *testing.T) {
	for name, sends := range map[string][]string{"no probe": nil, "no upgrade": {"2probe"}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Config{}, none, func(r *rig) {
				began := time.Now()
				sid := r.open()
				w := r.dial("&sid=" + sid)
				for _, s := range sends {
					w.send(s)
				}
				w.wantEnd()
				if at := time.Since(began); at != 10*time.Second {
					r.t.Errorf("it was given up after %s", at)
				}
				r.want("POST", onSID(sid), "40", 200, "ok")
				if _, body := r.do("GET", onSID(sid), ""); !strings.HasPrefix(body, `40{"sid":"`) {
					r.t.Errorf("polling goes on with %q", body)
				}
			})
		})
	}
}

// What a client that polls is told last is not mixed with the end.
func TestPollingDrain(t *testing.T) {
	bubble(t, Config{}, func(s *Server) {
		s.Namespace("/").Handle("go", func(_ context.Context, k *Socket, _ Event) {
			_ = k.Emit("last", 1)
			k.Disconnect()
			k.Close()
		})
	}, func(r *rig) {
		sid := r.open()
		r.want("POST", onSID(sid), "40", 200, "ok")
		r.do("GET", onSID(sid), "")
		r.want("POST", onSID(sid), `42["go"]`, 200, "ok")
		synctest.Wait()
		r.want("GET", onSID(sid), "", 200, "42[\"last\",1]\x1e41")
		r.want("GET", onSID(sid), "", 200, "1")
		r.want("GET", onSID(sid), "", 400, `{"code":1,"message":"Session ID unknown"}`)
	})
}

// A client that does not fetch its last messages is not waited for.
func TestDrainEnds(t *testing.T) {
	bubble(t, Config{}, none, func(r *rig) {
		sid := r.open()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		began := time.Now()
		if err := r.server.Shutdown(ctx); err != nil {
			r.t.Error(err)
		}
		if took := time.Since(began); took != drainTimeout {
			r.t.Errorf("it took %s", took)
		}
		r.want("GET", onSID(sid), "", 400, `{"code":1,"message":"Session ID unknown"}`)
		if status, _ := r.do(http.MethodGet, polling, ""); status != http.StatusServiceUnavailable {
			r.t.Errorf("a new session was answered %d", status)
		}
		// Not upgraded only to be closed: a proxy asks another server then.
		ws, resp, err := r.dialer.DialContext(ctx, "ws"+strings.TrimPrefix(r.base, "http")+"&transport=websocket", nil)
		if err == nil {
			_ = ws.Close()
			r.t.Error("a WebSocket is taken")
		} else if resp == nil || resp.StatusCode != http.StatusServiceUnavailable {
			r.t.Errorf("a WebSocket is answered %v, %v", resp, err)
		}
	})
}

// Sessions are let go over a while, not all at once.
func TestShutdownSpreads(t *testing.T) {
	bubble(t, Config{DrainSpread: 10 * time.Second}, none, func(r *rig) {
		const clients = 50
		ends := make(chan time.Duration, clients)
		began := time.Now()
		for range clients {
			w := r.in()
			go func() {
				w.wantEnd()
				ends <- time.Since(began)
			}()
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.server.Shutdown(ctx); err != nil {
			r.t.Error(err)
		}
		moments := map[time.Duration]bool{}
		var last time.Duration
		for range clients {
			at := next(r.t, ends)
			moments[at], last = true, max(last, at)
		}
		if len(moments) < clients/2 || last < 4*time.Second || last > 20*time.Second {
			r.t.Errorf("%d clients went at %d moments, the last after %s", clients, len(moments), last)
		}
	})
}

// A handler that does not end keeps Shutdown no longer than its caller allows,
// and has its context ended.
func TestShutdownIsBounded(t *testing.T) {
	ended := make(chan struct{})
	bubble(t, Config{}, func(s *Server) {
		s.Namespace("/").Handle("long", func(ctx context.Context, _ *Socket, _ Event) {
			<-ctx.Done()
			close(ended)
		})
	}, func(r *rig) {
		w := r.in()
		w.send(`42["long"]`)
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		go func() { w.wantEnd() }()
		if err := r.server.Shutdown(ctx); err != nil {
			r.t.Error(err) // the session's end has ended the handler
		}
		<-ended
	})
}
