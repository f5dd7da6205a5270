package socketio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"github.com/postrider/postrider/internal/testkit"
)

// newSlowBody is a body that ends when it is told to.
func newSlowBody() (io.Reader, func()) {
	r, w := io.Pipe()
	return r, func() { _ = w.Close() }
}

// join is a server whose clients are in the rooms that they name.
func join(s *Server) {
	s.Namespace("/").OnConnect(func(_ context.Context, k *Socket, auth json.RawMessage) error {
		var rooms []string
		if err := json.Unmarshal(auth, &struct{ Rooms *[]string }{&rooms}); err != nil {
			return err
		}
		k.Join(rooms...)
		return nil
	})
}

// member connects a client that is in the rooms.
func (r *rig) member(rooms ...string) (*wire, string) {
	r.t.Helper()
	w := r.ws()
	list, err := json.Marshal(rooms)
	if err != nil {
		r.t.Fatal(err)
	}
	w.send(`40{"Rooms":` + string(list) + `}`)
	var welcome struct{ SID string }
	if err := json.Unmarshal([]byte(strings.TrimPrefix(w.read(), "40")), &welcome); err != nil {
		r.t.Fatal(err)
	}
	return w, welcome.SID
}

func TestBroadcast(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, join)
	n := r.server.Namespace("/")
	a, idA := r.member("red", "blue")
	b, _ := r.member("blue")
	c, idC := r.member()
	for i, send := range []Broadcast{n.To(), n.To("red"), n.To("red", "blue"), n.To("blue").Except(idA), n.To().Except(idA, idC), n.To("nobody's"), n.To("blue").Within("red")} {
		if err := send.Emit("n", i); err != nil {
			t.Fatal(err)
		}
	}
	if err := n.To().Emit("end", Binary{1, 2}); err != nil {
		t.Fatal(err)
	}
	end := []string{`451-["end",{"_placeholder":true,"num":0}]`, "\x01\x02"}
	a.want(append([]string{`42["n",0]`, `42["n",1]`, `42["n",2]`, `42["n",6]`}, end...)...)
	b.want(append([]string{`42["n",0]`, `42["n",2]`, `42["n",3]`, `42["n",4]`}, end...)...)
	c.want(append([]string{`42["n",0]`}, end...)...)
}

func TestRooms(t *testing.T) {
	t.Parallel()
	gone := make(chan []string, 1)
	r := newRig(t, Config{}, func(s *Server) {
		join(s)
		s.Namespace("/").OnDisconnect(func(_ context.Context, k *Socket, _ Reason) { gone <- k.Rooms() })
	})
	n := r.server.Namespace("/")
	w, id := r.member("red", "blue")
	k, ok := n.Socket(id)
	if !ok || k.ID() != id || k.Namespace() != n || n.Len() != 1 {
		t.Fatal("the socket is not found")
	}
	k.Leave("red", "never in it")
	if !k.In("blue") || k.In("red") || !slices.Equal(k.Rooms(), []string{"blue"}) {
		t.Errorf("it is in %v", k.Rooms())
	}
	w.send("1")
	if rooms := next(t, gone); !slices.Equal(rooms, []string{"blue"}) {
		t.Errorf("when it left it was in %v", rooms)
	}
	if k.Join("red") || len(n.rooms) != 0 || n.Len() != 0 {
		t.Errorf("rooms are left behind: %v", n.rooms)
	}
	if err := k.Emit("x"); !errors.Is(err, ErrDisconnected) {
		t.Errorf("emitting to nobody: %v", err)
	}
}

func TestEmitWithAck(t *testing.T) {
	t.Parallel()
	type outcome struct {
		n   int
		err error
	}
	replies := make(chan outcome, 1)
	r := newRig(t, Config{}, func(s *Server) {
		s.Namespace("/").Handle("ask me", func(ctx context.Context, k *Socket, e Event) {
			var patience int
			if err := e.Bind(&patience); err != nil {
				replies <- outcome{err: err}
				return
			}
			ctx, cancel := context.WithTimeout(ctx, time.Duration(patience)*time.Millisecond)
			defer cancel()
			args, err := k.EmitWithAck(ctx, "question")
			got := outcome{err: err}
			if err == nil {
				got.err = args.Bind(&got.n)
			}
			replies <- got
		})
	})
	w := r.in()
	w.send(`42["ask me",30000]`)
	w.want(`421["question"]`)
	w.send(`4399[0]`) // of no question
	w.send(`431[42]`)
	w.send(`431[43]`) // twice
	if got := next(t, replies); got.n != 42 || got.err != nil {
		t.Errorf("the answer is %d, %v", got.n, got.err)
	}
	w.send(`42["ask me",1]`)
	if got := next(t, replies); !errors.Is(got.err, context.DeadlineExceeded) {
		t.Errorf("no answer: %v", got.err)
	}
	w.want(`422["question"]`)
	w.send(`432["late"]`)
	w.send(`42["ask me",30000]`)
	w.want(`423["question"]`)
	w.send(`1`)
	if got := next(t, replies); !errors.Is(got.err, ErrDisconnected) && !errors.Is(got.err, context.Canceled) {
		t.Errorf("a client that goes: %v", got.err)
	}
}

func TestAckOnce(t *testing.T) {
	t.Parallel()
	w := newRig(t, Config{}, func(s *Server) {
		s.Namespace("/").Handle("x", func(_ context.Context, k *Socket, e Event) {
			_ = e.Ack(e.WantsAck(), nil)
			_ = e.Ack("again")
			_ = k.Emit("done")
		})
	}).in()
	w.send(`427["x"]`)
	w.want(`437[true,null]`, `42["done"]`)
	w.send(`42["x"]`)
	w.want(`42["done"]`)
}

// The events of one socket are handled one after the other and in order; those
// of another do not wait for them.
func TestEventsInOrder(t *testing.T) {
	t.Parallel()
	hold, held := make(chan struct{}), make(chan struct{}, 1)
	var running atomic.Int32
	var got []int
	r := newRig(t, Config{}, func(s *Server) {
		n := s.Namespace("/")
		n.Handle("hold", func(context.Context, *Socket, Event) { held <- struct{}{}; <-hold })
		n.Handle("n", func(_ context.Context, k *Socket, e Event) {
			if running.Add(1) != 1 {
				_ = k.Emit("two at once")
			}
			var i int
			if err := e.Bind(&i); err == nil {
				got = append(got, i)
			}
			running.Add(-1)
			_ = e.Ack()
		})
	})
	slow, quick := r.in(), r.in()
	slow.send(`42["hold"]`)
	next(t, held)
	quick.send(`421["n",-1]`)
	quick.want("431[]")
	for i := range 300 {
		slow.send(fmt.Sprintf(`42%d["n",%d]`, i, i))
	}
	close(hold)
	for i := range 300 {
		slow.want(fmt.Sprintf("43%d[]", i))
	}
	if got = got[1:]; len(got) != 300 || !slices.IsSorted(got) {
		t.Errorf("handled in the order %v", got)
	}
}

func TestKick(t *testing.T) {
	t.Parallel()
	gone := make(chan Reason, 2)
	var after atomic.Bool
	r := newRig(t, Config{}, func(s *Server) {
		s.Namespace("/other")
		n := s.Namespace("/")
		n.Handle("kick", func(_ context.Context, k *Socket, _ Event) {
			_ = k.Emit("bye")
			k.Disconnect()
		})
		n.Handle("after", func(context.Context, *Socket, Event) { after.Store(true) })
		n.Handle("drop", func(_ context.Context, k *Socket, _ Event) {
			_ = k.Emit("bye")
			k.Close()
		})
		n.OnDisconnect(func(_ context.Context, _ *Socket, reason Reason) { gone <- reason })
	})
	w := r.in()
	w.send("40/other,")
	w.read()
	w.send(`42["kick"]`)
	w.send(`42["after"]`)
	w.want(`42["bye"]`, "41")
	if reason := next(t, gone); reason != ServerLeft {
		t.Errorf("kicked: %q", reason)
	}
	w.send("40") // the connection stays, and the client may come back
	if welcome := w.read(); !strings.HasPrefix(welcome, `40{"sid":"`) {
		t.Errorf("got %q", welcome)
	}
	if after.Load() {
		t.Error("an event was handled after the client was kicked")
	}
	w.send(`42["drop"]`)
	w.want(`42["bye"]`)
	if said := w.wantEnd(); len(said) != 0 {
		t.Errorf("the server says %q", said)
	}
	if reason := next(t, gone); reason != ServerClosed {
		t.Errorf("dropped: %q", reason)
	}
}

func TestBefore(t *testing.T) {
	t.Parallel()
	w := newRig(t, Config{}, func(s *Server) {
		n := s.Namespace("/")
		n.Before(func(_ context.Context, k *Socket, e Event) bool {
			_ = k.Emit("seen", e.Name)
			return e.Name != "no"
		})
		n.Handle("no", func(_ context.Context, k *Socket, _ Event) { _ = k.Emit("handled") })
		n.Handle("yes", func(_ context.Context, k *Socket, _ Event) { _ = k.Emit("handled") })
	}).in()
	w.send(`42["no"]`)
	w.send(`42["unknown"]`)
	w.send(`42["yes"]`)
	w.want(`42["seen","no"]`, `42["seen","unknown"]`, `42["seen","yes"]`, `42["handled"]`)
}

func TestHandlerPanics(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, func(s *Server) {
		s.Namespace("/").Handle("x", func(context.Context, *Socket, Event) { panic("oops") })
	})
	w, other := r.in(), r.in()
	w.send(`42["x"]`)
	w.wantEnd()
	other.send(`42["y"]`)
	testkit.WaitFor(t, patience, "its session ends", func() bool { return r.server.Sessions() == 1 })
	if !strings.Contains(r.log.String(), "panic: oops") {
		t.Error("the panic was not told")
	}
}

// A client that takes nothing is cut off; nobody waits for it.
func TestSlowClient(t *testing.T) {
	t.Parallel()
	gone := make(chan Reason, 2)
	r := newRig(t, Config{MaxQueued: 1 << 20}, func(s *Server) {
		s.Namespace("/").OnDisconnect(func(_ context.Context, _ *Socket, reason Reason) { gone <- reason })
	})
	r.in() // reads nothing more
	quick := r.in()
	n := r.server.Namespace("/")
	chunk := strings.Repeat("x", 100_000)
	read := make(chan int)
	go func() {
		count := 0
		for {
			_, data, err := quick.ReadMessage()
			if err != nil || string(data) == `42["end"]` {
				read <- count
				return
			}
			count++
		}
	}()
	sent := 0
	for done := false; !done; sent++ { // the kernel's buffers fill first
		if err := n.To().Emit("x", chunk); err != nil {
			t.Fatal(err)
		}
		testkit.WaitFor(t, patience, "the quick client reads", func() bool { return r.queued(quick) == 0 || len(gone) > 0 })
		done = len(gone) > 0
	}
	if reason := next(t, gone); reason != SlowClient {
		t.Errorf("it was cut by %q", reason)
	}
	if err := n.To().Emit("end"); err != nil {
		t.Fatal(err)
	}
	if got := next(t, read); got != sent {
		t.Errorf("the quick client got %d of %d", got, sent)
	}
}

// queued is the size of what waits for the clients that are there.
func (r *rig) queued(*wire) (least int) {
	least = -1
	for _, k := range r.server.Namespace("/").To().Sockets() {
		s := k.conn.session
		s.mu.Lock()
		if least < 0 || s.queued < least {
			least = s.queued
		}
		s.mu.Unlock()
	}
	return least
}

// A client that sends faster than its events are handled is not read from until
// they are.
func TestBackpressure(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	var handled atomic.Int32
	r := newRig(t, Config{MaxPayload: 10_000, PingInterval: time.Hour}, func(s *Server) {
		s.Namespace("/").Handle("x", func(_ context.Context, _ *Socket, e Event) {
			<-hold
			handled.Add(1)
			_ = e.Ack()
		})
	})
	w := r.in()
	const events = 2000
	sent := make(chan error, 1)
	go func() {
		for i := range events {
			if err := w.WriteMessage(websocket.TextMessage, fmt.Appendf(nil, `42%d["x",%q]`, i, strings.Repeat("x", 5000))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	k := func() *Socket {
		var k *Socket
		testkit.WaitFor(t, patience, "the reader waits", func() bool {
			for _, k = range r.server.Namespace("/").To().Sockets() {
			}
			k.conn.mu.Lock()
			defer k.conn.mu.Unlock()
			return k.inbox.drained != nil
		})
		return k
	}()
	k.conn.mu.Lock()
	if k.inbox.size > 10_000 {
		t.Errorf("%d bytes wait", k.inbox.size)
	}
	k.conn.mu.Unlock()
	close(hold)
	for i := range events {
		w.want(fmt.Sprintf("43%d[]", i))
	}
	if err := next(t, sent); err != nil || handled.Load() != events {
		t.Errorf("%d handled, %v", handled.Load(), err)
	}
}

// A client that connects and leaves again and again has few handlers at work.
func TestConnectAndLeave(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	var now, most atomic.Int32
	r := newRig(t, Config{}, func(s *Server) {
		s.Namespace("/").OnConnect(func(context.Context, *Socket, json.RawMessage) error {
			most.Store(max(most.Load(), now.Add(1))) // only ever too low, should two come at once
			<-hold
			now.Add(-1)
			return nil
		})
	})
	sid := r.open()
	posted := make(chan reply, 1)
	go func() {
		status, body, err := r.try(context.Background(), "POST", onSID(sid), strings.Repeat("40\x1e41\x1e", connectBurst-1)+"40")
		posted <- reply{status, body, err}
	}()
	session := r.server.session(sid)
	testkit.WaitFor(t, patience, "the reader waits", func() bool {
		session.conn.mu.Lock()
		defer session.conn.mu.Unlock()
		return session.conn.done != nil
	})
	close(hold)
	if got := next(t, posted); got.err != nil || got.status != 200 {
		t.Errorf("the POST was answered %d %q, %v", got.status, got.body, got.err)
	}
	if _, body := r.do("GET", onSID(sid), ""); !strings.HasPrefix(body, `40{"sid":"`) {
		t.Errorf("in the end it is told %q", body)
	}
	if n := most.Load(); n > maxLeaving+1 {
		t.Errorf("%d handlers were at work for one client", n)
	}
}

// Nothing of a session stays behind, however it ends.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	r := newRig(t, Config{}, echo)
	for range 20 {
		w := r.in()
		sid := r.open()
		r.do("POST", onSID(sid), "40")
		up := r.dial("&sid=" + sid)
		up.send("2probe")
		_ = w.Close()
		_ = up.Close()
		r.do("POST", onSID(sid), "1")
	}
	testkit.WaitFor(t, patience, "all sessions end", func() bool { return r.server.Sessions() == 0 })
	n := r.server.Namespace("/")
	if n.Len() != 0 || len(n.rooms) != 0 {
		t.Errorf("%d sockets and %d rooms stay", n.Len(), len(n.rooms))
	}
}
