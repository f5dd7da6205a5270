package broker

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/testkit"
)

// TestForgottenConnections has a firewall forget all connections: whoever waits
// for an answer loses it, and nobody after that has to wait.
func TestForgottenConnections(t *testing.T) {
	t.Parallel()
	const many = 8
	proxy := testkit.TCPProxy(t, testkit.Redis(t).Addr)
	c := address{addrs: []string{proxy.Addr}}.open(many)
	defer c.Close()
	var held []*redis.Conn // each its connection until all have one
	for range many {
		conn := c.(*redis.Client).Conn()
		held = append(held, conn)
		if err := conn.Ping(bound(t)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for _, conn := range held {
		if err := conn.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if idle := c.PoolStats().IdleConns; idle != many {
		t.Fatalf("%d connections are idle, want %d", idle, many)
	}

	proxy.HalfOpen()
	if err := c.Get(bound(t), "key").Err(); err == nil || err == redis.Nil {
		t.Fatalf("a forgotten connection answered: %v", err)
	}
	for range many {
		if err := c.Get(bound(t), "key").Err(); err != redis.Nil {
			t.Errorf("after one waited in vain: %v, want redis: nil", err)
		}
	}
}

// TestHangUp tells whom a wait in vain takes with it: those that heard nothing
// meanwhile, and nobody if the caller was merely impatient.
func TestHangUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		far := map[net.Conn]net.Conn{} // the server's end
		c := newCircle(func(context.Context, string, string) (net.Conn, error) {
			client, server := net.Pipe()
			far[client] = server
			return client, nil
		})
		join := func(addr string) *member {
			conn, err := c.connect(t.Context(), "tcp", addr)
			if err != nil {
				t.Fatal(err)
			}
			return conn.(*member)
		}
		waits, idle, busy, other := join("a:1"), join("a:1"), join("a:1"), join("b:1")
		buf := make([]byte, 8)
		wait := func(d time.Duration) {
			if err := waits.SetReadDeadline(time.Now().Add(d)); err != nil {
				t.Fatal(err)
			}
			if _, err := waits.Read(buf); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("waiting in vain: %v", err)
			}
		}
		open := func(m *member) bool { return m.SetDeadline(time.Time{}) == nil }

		time.Sleep(time.Second) // by the test's own clock
		wait(50 * time.Millisecond)
		if !open(idle) || !open(busy) {
			t.Fatal("an impatient caller took others with it")
		}
		wait(ioTimeout)
		if !open(idle) || !open(busy) {
			t.Fatal("a subscriber to silence took others with it")
		}
		go io.Copy(io.Discard, far[waits.Conn])
		if _, err := waits.Write([]byte("PING")); err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Second, func() { _, _ = far[busy.Conn].Write([]byte("+OK")) })
		go busy.Read(make([]byte, 8))
		wait(ioTimeout)
		for name, got := range map[string]bool{"idle": !open(idle), "waiting": !open(waits), "busy": open(busy), "of another server": open(other)} {
			if !got {
				t.Errorf("the connection that was %s: open or closed, and should not be", name)
			}
		}
		if len(c.members) != 2 {
			t.Errorf("the circle has %d members, want the two that are open", len(c.members))
		}
	})
}
