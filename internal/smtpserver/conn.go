package smtpserver

import (
	"crypto/tls"
	"io"
	"net"
	"time"

	"github.com/emersion/go-smtp"
)

// tooMany is the reply to a connection beyond Options.MaxConns (RFC 5321
// §3.8: a server may close with 421), and refuseLimit the time to say it.
const (
	tooMany     = "421 4.3.2 Too many connections, come again later\r\n"
	refuseLimit = time.Second
)

// listener tells the server of every connection.
type listener struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener: it returns the connections that there is room
// for.
func (l listener) Accept() (net.Conn, error) {
	for {
		raw, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		c, err := l.server.take(raw)
		if c != nil || err != nil {
			return c, err
		}
		_ = raw.SetWriteDeadline(time.Now().Add(refuseLimit))
		_, _ = io.WriteString(raw, tooMany) // who does not read it sees the end
		_ = raw.Close()
		if l.server.Refused != nil {
			l.server.Refused()
		}
	}
}

// take keeps a connection; nil where there is no room for it.
func (s *Server) take(raw net.Conn) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		_ = raw.Close()
		return nil, net.ErrClosed
	}
	if s.MaxConns > 0 && len(s.conns) >= s.MaxConns {
		return nil, nil
	}
	c := &conn{Conn: raw, server: s}
	if s.Life > 0 {
		c.end = time.Now().Add(s.Life)
	}
	s.conns[c] = struct{}{}
	return c, nil
}

// conn is a connection that the server knows of.
type conn struct {
	net.Conn
	server *Server
	end    time.Time // of its life; zero for never

	sending bool // guarded by server.mu: a message's content is on its way, or its reply
}

// connOf is the server's connection below what go-smtp has: itself, or TLS over
// it after a STARTTLS.
func connOf(c net.Conn) *conn {
	if over, ok := c.(*tls.Conn); ok {
		c = over.NetConn()
	}
	return c.(*conn)
}

// Close implements net.Conn.
func (c *conn) Close() error {
	c.server.mu.Lock()
	delete(c.server.conns, c)
	c.server.mu.Unlock()
	return c.Conn.Close()
}

// SetReadDeadline implements net.Conn: none is after the end of its life.
func (c *conn) SetReadDeadline(t time.Time) error {
	if !c.end.IsZero() && (t.IsZero() || t.After(c.end)) {
		t = c.end
	}
	return c.Conn.SetReadDeadline(t)
}

// send notes whether a message is being sent. One that ends while the server
// stops was the connection's last.
func (c *conn) send(sending bool) {
	c.server.mu.Lock()
	c.sending = sending
	over := c.server.stopping && !sending
	c.server.mu.Unlock()
	if over {
		_ = c.Close()
	}
}

// session notes on its connection when a message is being sent. go-smtp calls
// Reset when the reply has been written.
type session struct {
	smtp.Session
	conn *conn
}

func (s session) Data(r io.Reader) error {
	s.conn.send(true)
	return s.Session.Data(r)
}

func (s session) Reset() {
	s.Session.Reset()
	s.conn.send(false)
}
