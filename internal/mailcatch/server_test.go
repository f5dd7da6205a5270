package mailcatch

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/smtp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/testkit"
)

func TestCatches(t *testing.T) {
	s, addr := start(t)
	put(t, addr, "user@example.org", simple("one"))
	put(t, addr, "other@example.org", simple("two"))
	mails, _ := s.box.list("")
	if len(mails) != 2 || mails[0].summary.subject != "two" || mails[1].summary.subject != "one" {
		t.Fatalf("got %v", mails)
	}
	if mails, _ := s.box.list("USER@example.org"); len(mails) != 1 || mails[0].from != "shop@example.com" {
		t.Errorf("by recipient: got %v", mails)
	}
}

func TestCatchesSeveralOverOneConnection(t *testing.T) {
	s, addr := start(t)
	c, err := smtp.Dial(addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for i := range 3 {
		if err := c.Mail("a@example.com"); err != nil {
			t.Fatal(err)
		}
		for j := range i + 1 {
			if err := c.Rcpt(fmt.Sprintf("u%d@example.org", j)); err != nil {
				t.Fatal(err)
			}
		}
		w, err := c.Data()
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(w, simple(fmt.Sprint(i)))
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	mails, _ := s.box.list("")
	if len(mails) != 3 || len(mails[0].to) != 3 || len(mails[2].to) != 1 {
		t.Errorf("got %+v", mails)
	}
}

func TestConcurrentSenders(t *testing.T) {
	s, addr := start(t)
	const senders, each = 8, 10
	var wg sync.WaitGroup
	for i := range senders {
		wg.Go(func() {
			for j := range each {
				raw := simple(fmt.Sprintf("%d/%d", i, j))
				if err := smtp.SendMail(addr, nil, "a@example.com", []string{"b@example.com"}, []byte(raw)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if mails, _ := s.box.list(""); len(mails) != senders*each {
		t.Errorf("got %d", len(mails))
	}
}

// TestShutdownCutsIdleClients: a pool of kept-alive connections must not hold
// the process up.
func TestShutdownCutsIdleClients(t *testing.T) {
	s, addr := start(t)
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); err != nil || !strings.HasPrefix(line, "220") {
		t.Fatalf("greeting %q: %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := in.ReadString('\n'); err == nil {
		t.Error("the connection is still open")
	}
	if _, err := net.Dial("tcp", addr); err == nil {
		t.Error("the listener is still open")
	}
}

func TestShutdownBeforeServe(t *testing.T) {
	s := New(testkit.Logger(t))
	if err := s.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(l); err != nil {
		t.Fatal(err)
	}
	if _, err := net.Dial("tcp", l.Addr().String()); err == nil {
		t.Error("the listener is still open")
	}
}

func TestServeReportsADeadListener(t *testing.T) {
	s := New(testkit.Logger(t))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := s.Serve(l); err == nil {
		t.Error("no error")
	}
}

func TestBoxKeepsTheNewest(t *testing.T) {
	raw := []byte(simple(strings.Repeat("x", 100)))
	t.Run("by number", func(t *testing.T) {
		b := newBox(3, 1<<20)
		for range 10 {
			b.add(time.Time{}, "", nil, raw)
		}
		mails, _ := b.list("")
		if len(mails) != 3 || mails[0].id != "10" || mails[2].id != "8" || b.bytes != 3*len(raw) {
			t.Errorf("got %d mails, %d bytes", len(mails), b.bytes)
		}
		if _, ok := b.find("7"); ok {
			t.Error("found what was dropped")
		}
	})
	t.Run("by size", func(t *testing.T) {
		b := newBox(100, 2*len(raw)+1)
		for range 10 {
			b.add(time.Time{}, "", nil, raw)
		}
		if mails, _ := b.list(""); len(mails) != 2 || b.bytes != 2*len(raw) {
			t.Errorf("got %d mails, %d bytes", len(mails), b.bytes)
		}
	})
	t.Run("state changes", func(t *testing.T) {
		b := newBox(100, 1<<20)
		_, empty := b.list("")
		b.add(time.Time{}, "", nil, raw)
		_, one := b.list("")
		b.clear()
		mails, cleared := b.list("")
		if empty == one || one == cleared || empty == cleared || len(mails) != 0 || b.bytes != 0 {
			t.Errorf("states %s %s %s", empty, one, cleared)
		}
	})
}
