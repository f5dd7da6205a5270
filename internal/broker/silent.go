package broker

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// silentFor is how long an answer must be outstanding before the others are
// suspected: a caller's own, shorter deadline says nothing of the connection.
// Nor does the silence of a subscription, which has asked for nothing.
const silentFor = ioTimeout - time.Second

// circle is the connections of one client. What a firewall or a failed host
// forgets it forgets for all of them at once, and none is told. When one has
// waited for an answer in vain, those that heard nothing meanwhile are closed
// with it; else each would be tried in turn, for ioTimeout each.
type circle struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)
	born time.Time // its clock's beginning: wall clocks jump

	mu      sync.Mutex
	members map[*member]struct{}
}

func newCircle(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *circle {
	return &circle{dial: dial, born: time.Now(), members: map[*member]struct{}{}}
}

func (c *circle) now() time.Duration { return time.Since(c.born) }

// connect is a redis Dialer.
func (c *circle) connect(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := c.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	m := &member{Conn: conn, circle: c, addr: addr}
	m.heard.Store(int64(c.now()))
	c.mu.Lock()
	c.members[m] = struct{}{}
	c.mu.Unlock()
	if raw, ok := conn.(syscall.Conn); ok {
		return rawMember{m, raw}, nil
	}
	return m, nil
}

// hangUp closes the connections to addr that have heard nothing since. A healthy
// one that was idle is among them, and is made anew when it is needed.
func (c *circle) hangUp(addr string, since time.Duration) {
	var silent []*member
	c.mu.Lock()
	for m := range c.members {
		if m.addr == addr && m.heard.Load() < int64(since) {
			silent = append(silent, m)
		}
	}
	c.mu.Unlock()
	for _, m := range silent {
		_ = m.Close() // whoever uses it sees its error
	}
}

// member is one connection; it notes when it last heard anything.
type member struct {
	net.Conn
	circle *circle
	addr   string
	// When it last heard, and asked, anything: a time.Duration by the circle's
	// clock.
	heard, asked atomic.Int64
}

func (m *member) Write(b []byte) (int, error) {
	m.asked.Store(int64(m.circle.now()))
	return m.Conn.Write(b)
}

func (m *member) Read(b []byte) (int, error) {
	began := m.circle.now()
	n, err := m.Conn.Read(b)
	switch {
	case n > 0:
		m.heard.Store(int64(m.circle.now()))
	case errors.Is(err, os.ErrDeadlineExceeded) && m.circle.now()-began >= silentFor && m.asked.Load() > m.heard.Load():
		m.circle.hangUp(m.addr, began)
	}
	return n, err
}

func (m *member) Close() error {
	m.circle.mu.Lock()
	delete(m.circle.members, m)
	m.circle.mu.Unlock()
	return m.Conn.Close()
}

// rawMember is a connection that go-redis can look at before it uses it: so it
// finds those that were closed here. It cannot look beneath TLS.
type rawMember struct {
	*member
	syscall.Conn
}
