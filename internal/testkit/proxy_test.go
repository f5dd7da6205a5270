package testkit_test

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/testkit"
)

func TestProxyFaults(t *testing.T) {
	server := testkit.Redis(t)
	proxy := testkit.TCPProxy(t, server.Addr)
	direct := server.Client()
	c := redis.NewClient(&redis.Options{Addr: proxy.Addr, MaxRetries: -1, DialerRetries: 1, PoolSize: 1})
	t.Cleanup(func() { _ = c.Close() })
	incr := func(key string) error { return c.Incr(t.Context(), key).Err() }
	count := func(key string) int { n, _ := direct.Get(t.Context(), key).Int(); return n }
	mustWork := func(after string) {
		t.Helper()
		// The pool may still hold a connection that was cut.
		testkit.WaitFor(t, limit, "commands work after "+after, func() bool { return incr("ok") == nil })
	}
	mustWork("the start")

	proxy.DropReplies(true)
	if err := incr("a"); err == nil {
		t.Error("a dropped reply arrived")
	}
	proxy.DropReplies(false)
	if n := count("a"); n != 1 {
		t.Errorf("the command with a dropped reply ran %d times, want once", n)
	}
	mustWork("DropReplies")

	proxy.DropReplyTo("needle")
	mustWork("DropReplyTo on another command")
	if err := incr("needle"); err == nil {
		t.Error("the reply to the named command arrived")
	}
	if n := count("needle"); n != 1 {
		t.Errorf("the named command ran %d times, want once", n)
	}
	mustWork("DropReplyTo")
	if err := incr("needle"); err != nil {
		t.Errorf("DropReplyTo worked twice: %v", err)
	}

	proxy.Refuse(true)
	if err := incr("b"); err != nil {
		t.Errorf("Refuse cut a connection that was there: %v", err)
	}
	proxy.Cut()
	if err := incr("b"); err == nil {
		t.Error("a cut connection worked")
	}
	if err := incr("b"); err == nil {
		t.Error("a refused connection worked")
	}
	proxy.Refuse(false)
	mustWork("Refuse and Cut")

	const delay = 30 * time.Millisecond
	proxy.Delay(delay)
	start := time.Now()
	if err := incr("c"); err != nil {
		t.Error(err)
	}
	if took := time.Since(start); took < 2*delay {
		t.Errorf("a delayed command took %v, want %v there and %v back", took, delay, delay)
	}
}

// A client whose connection is half open hears nothing, the server hears
// nothing of it either, and a new connection works.
func TestProxyHalfOpen(t *testing.T) {
	server := testkit.Redis(t)
	proxy := testkit.TCPProxy(t, server.Addr)
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", proxy.Addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	incr := func(c net.Conn, patience time.Duration) error {
		if _, err := c.Write([]byte("INCR n\r\n")); err != nil {
			return err
		}
		_ = c.SetReadDeadline(time.Now().Add(patience))
		_, err := c.Read(make([]byte, 64))
		return err
	}
	old := dial()
	if err := incr(old, limit); err != nil {
		t.Fatal(err)
	}
	proxy.HalfOpen()
	for range 2 { // the proxy meets the server's end at the first
		if err := incr(old, 50*time.Millisecond); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("a command on a half open connection: %v, want silence", err)
		}
	}
	if err := incr(dial(), limit); err != nil {
		t.Errorf("a new connection: %v", err)
	}
	if n, _ := server.Client().Get(t.Context(), "n").Int(); n != 2 {
		t.Errorf("the server has carried out %d commands, want 2", n)
	}
}

func TestProxyToNowhere(t *testing.T) {
	server := testkit.Redis(t)
	proxy := testkit.TCPProxy(t, server.Addr)
	server.Kill()
	c := redis.NewClient(&redis.Options{Addr: proxy.Addr, MaxRetries: -1})
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	if err := c.Ping(ctx).Err(); err == nil || ctx.Err() != nil {
		t.Errorf("PING to nowhere: %v, want an error at once", err)
	}
}
