package testkit

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// FaultProxy is a TCP proxy that a test tells to misbehave. Its
// methods may be called from any goroutine.
type FaultProxy struct {
	// Addr is the proxy's own host:port.
	Addr string

	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	refuse  bool
	delay   time.Duration
	drop    bool
	trigger []byte                // see DropReplyTo
	conns   map[net.Conn]struct{} // both sides of every link
	links   map[*link]struct{}
}

// TCPProxy starts a proxy to the target's host:port on 127.0.0.1. It ends with
// the test.
func TCPProxy(t testing.TB, target string) *FaultProxy {
	t.Helper()
	return TCPProxyOn(t, localhost, target)
}

// TCPProxyOn is TCPProxy on another address of this process.
func TCPProxyOn(t testing.TB, ip, target string) *FaultProxy {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(ip, "0"))
	if err != nil {
		t.Fatalf("listening for a proxy: %v", err)
	}
	p := &FaultProxy{Addr: l.Addr().String(), target: target, listener: l, conns: map[net.Conn]struct{}{}, links: map[*link]struct{}{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.mu.Lock()
		p.closed = true
		p.mu.Unlock()
		l.Close()
		p.Cut()
		p.wg.Wait()
	})
	return p
}

// Cut closes all connections at once. New ones are still taken.
func (p *FaultProxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

// Refuse closes new connections as soon as they are taken, while on. Those
// there are stay.
func (p *FaultProxy) Refuse(on bool) { p.set(func() { p.refuse = on }) }

// HalfOpen closes the server's side of all connections and tells the clients
// nothing, as a firewall that has forgotten them: what a client sends is taken
// and never answered, until it gives up. New connections are served.
func (p *FaultProxy) HalfOpen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.halfOpen = true
		l.server.Close()
	}
}

// Delay holds everything back by d, in both directions.
func (p *FaultProxy) Delay(d time.Duration) { p.set(func() { p.delay = d }) }

// DropReplies, while on, passes requests on and, when the server answers one,
// swallows the answer and cuts that connection: the client cannot know whether
// its request was carried out.
func (p *FaultProxy) DropReplies(on bool) { p.set(func() { p.drop = on }) }

// DropReplyTo does once what DropReplies does, to the first request that
// contains the text, such as "commit". The text must not straddle two writes of
// the client.
func (p *FaultProxy) DropReplyTo(text string) { p.set(func() { p.trigger = []byte(text) }) }

func (p *FaultProxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// accept takes connections until the listener is closed.
func (p *FaultProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

// link is one client's connection and the one to the target that belongs to it.
type link struct {
	proxy          *FaultProxy
	client, server net.Conn
	// doomed (guarded by the proxy's mutex) tells that the next answer is to be
	// dropped.
	doomed bool
	// halfOpen (guarded by it too) tells that the client is to learn nothing.
	halfOpen bool
}

// serve carries one connection until either side ends.
func (p *FaultProxy) serve(client net.Conn) {
	defer client.Close()
	if !p.track(client) {
		return
	}
	defer p.untrack(client)
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		return
	}
	defer server.Close()
	if !p.track(server) {
		return
	}
	defer p.untrack(server)

	l := &link{proxy: p, client: client, server: server}
	p.set(func() { p.links[l] = struct{}{} })
	defer p.set(func() { delete(p.links, l) })
	var both sync.WaitGroup
	both.Go(func() { l.copy(server, client, l.request) })
	both.Go(func() { l.copy(client, server, l.reply) })
	both.Wait()
}

// end closes both sides when one of them, src, has nothing more to say. A
// client whose connection is half open is listened to until it gives up.
func (l *link) end(src net.Conn) {
	l.proxy.mu.Lock()
	halfOpen := l.halfOpen
	l.proxy.mu.Unlock()
	l.server.Close()
	if halfOpen && src == l.server {
		return
	}
	if halfOpen {
		_, _ = io.Copy(io.Discard, l.client)
	}
	l.client.Close()
}

// copy moves bytes as long as allow agrees, then ends the link.
func (l *link) copy(dst, src net.Conn, allow func([]byte) (time.Duration, bool)) {
	defer l.end(src)
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if n > 0 {
			delay, ok := allow(buf[:n])
			if !ok {
				return
			}
			time.Sleep(delay)
			if _, err := dst.Write(buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// request looks at what the client sends.
func (l *link) request(b []byte) (time.Duration, bool) {
	p := l.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.trigger) > 0 && bytes.Contains(b, p.trigger) {
		p.trigger, l.doomed = nil, true
	}
	return p.delay, true
}

// reply looks at what the server sends.
func (l *link) reply([]byte) (time.Duration, bool) {
	p := l.proxy
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.delay, !p.drop && !l.doomed
}

// track lists a connection for Cut; false means that it is not wanted.
func (p *FaultProxy) track(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.refuse {
		return false
	}
	p.conns[c] = struct{}{}
	return true
}

func (p *FaultProxy) untrack(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}
