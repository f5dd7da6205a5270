package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// balancer is the clients' one address: each connection goes to one of the
// processes that are there, in turn. It can cut connections off.
type balancer struct {
	addr     string // host:port
	listener net.Listener
	carriers sync.WaitGroup

	mu      sync.Mutex
	targets []string // host:port
	turn    int
	open    map[*net.TCPConn]struct{} // the clients' ends
	closed  bool
}

func newBalancer() (*balancer, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("listening for the clients: %w", err)
	}
	b := &balancer{addr: l.Addr().String(), listener: l, open: map[*net.TCPConn]struct{}{}}
	b.carriers.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			b.carriers.Go(func() { b.carry(client.(*net.TCPConn)) })
		}
	})
	return b, nil
}

// to says which processes there are.
func (b *balancer) to(targets ...string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.targets = targets
}

// next are the processes to try, in order.
func (b *balancer) next() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.turn++
	out := make([]string, len(b.targets))
	for i := range out {
		out[i] = b.targets[(b.turn+i)%len(b.targets)]
	}
	return out
}

func (b *balancer) carry(client *net.TCPConn) {
	defer client.Close()
	for _, target := range b.next() {
		server, err := net.DialTimeout("tcp", target, time.Second)
		if err != nil {
			continue
		}
		defer server.Close()
		if !b.keep(client) {
			return
		}
		var both sync.WaitGroup
		both.Go(func() { pass(server, client) })
		both.Go(func() { pass(client, server) })
		both.Wait()
		b.mu.Lock()
		delete(b.open, client)
		b.mu.Unlock()
		return
	}
}

// keep lists a connection; false means that it came too late.
func (b *balancer) keep(c *net.TCPConn) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.closed {
		b.open[c] = struct{}{}
	}
	return !b.closed
}

// pass moves bytes until either side ends, then ends both.
func pass(dst, src net.Conn) {
	_, _ = io.Copy(dst, src) // cuts are what this is about
	_ = dst.Close()
	_ = src.Close()
}

// drop cuts off about that share of the connections, without a farewell.
func (b *balancer) drop(share float64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for c := range b.open {
		if rand.Float64() < share {
			_ = c.SetLinger(0)
			_ = c.Close()
		}
	}
}

func (b *balancer) close() error {
	err := b.listener.Close()
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.drop(1)
	b.carriers.Wait()
	return err
}
