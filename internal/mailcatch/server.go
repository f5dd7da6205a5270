// Package mailcatch is the development mailbox: an SMTP server that takes every
// mail, keeps the newest in memory and shows them on a page.
package mailcatch

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

const (
	maxMailBytes  = 32 << 20 // one mail
	maxRecipients = 100      // RFC 5321 §4.5.3.1.8
	idleTimeout   = 5 * time.Minute
)

// Server takes mails and shows them. It needs no login and offers none: it is
// for a listener that only this machine reaches.
type Server struct {
	box  *box
	smtp *smtp.Server
	log  *slog.Logger

	mu       sync.Mutex
	stopping bool
	listener net.Listener
	served   chan struct{} // closed when Serve's loop has ended; nil before Serve
	conns    map[net.Conn]struct{}
}

// New makes a mailbox that holds the newest 500 mails of at most 64 MiB
// together.
func New(log *slog.Logger) *Server {
	s := &Server{
		box:   newBox(maxMails, maxBoxBytes),
		log:   log.With("component", "mailcatch"),
		conns: make(map[net.Conn]struct{}),
	}
	s.smtp = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) {
		return &session{server: s}, nil
	}))
	s.smtp.Domain = "localhost"
	s.smtp.MaxMessageBytes = maxMailBytes
	s.smtp.MaxRecipients = maxRecipients
	s.smtp.ReadTimeout = idleTimeout
	s.smtp.WriteTimeout = idleTimeout
	s.smtp.EnableSMTPUTF8 = true
	s.smtp.ErrorLog = errorLog{s.log}
	return s
}

// Serve takes mails on the listener, which it closes, until Shutdown; then it
// returns nil. It is called once.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.stopping {
		s.mu.Unlock()
		return l.Close()
	}
	s.listener, s.served = l, make(chan struct{})
	s.mu.Unlock()

	err := s.smtp.Serve(trackingListener{l, s})
	close(s.served)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil
	}
	_ = l.Close()
	return fmt.Errorf("serving the mail catcher: %w", err)
}

// Shutdown closes the listener and all connections, and waits for their
// goroutines until ctx ends. A mail that is just being sent is cut off: who
// sends it learns that it did not arrive. A second call is harmless.
//
// go-smtp's own Shutdown waits for clients to leave, which idle ones do not; it
// comes last, when nothing can be accepted any more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.stopping
	s.stopping = true
	served, conns := s.served, slices.Collect(maps.Keys(s.conns))
	if s.listener != nil {
		_ = s.listener.Close()
	}
	s.mu.Unlock()
	for _, conn := range conns {
		_ = conn.Close()
	}
	if !first || served == nil {
		return nil
	}
	select {
	case <-served:
	case <-ctx.Done():
		return fmt.Errorf("stopping the mail catcher: %w", context.Cause(ctx))
	}
	if err := s.smtp.Shutdown(ctx); err != nil && ctx.Err() != nil {
		return fmt.Errorf("stopping the mail catcher: %w", err)
	}
	return nil
}

// trackingListener tells the server of every connection, so that Shutdown can
// close them.
type trackingListener struct {
	net.Listener
	server *Server
}

func (l trackingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	s := l.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		_ = conn.Close()
		return nil, net.ErrClosed
	}
	tracked := &trackedConn{Conn: conn, server: s}
	s.conns[tracked] = struct{}{}
	return tracked, nil
}

type trackedConn struct {
	net.Conn
	server *Server
}

func (c *trackedConn) Close() error {
	c.server.mu.Lock()
	delete(c.server.conns, c)
	c.server.mu.Unlock()
	return c.Conn.Close()
}

// session is one SMTP connection's transaction.
type session struct {
	server *Server
	from   string
	to     []string
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	s.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = append(s.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err // go-smtp answers 552 for a mail that is too large
	}
	id := s.server.box.add(time.Now(), s.from, s.to, raw)
	s.server.log.Debug("caught a mail", "id", id, "bytes", len(raw))
	return nil
}

func (s *session) Reset() { s.from, s.to = "", nil }

func (s *session) Logout() error { return nil }

// errorLog takes go-smtp's complaints, which are about clients that left.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Printf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l errorLog) Println(v ...any)               { l.log.Debug(fmt.Sprint(v...)) }
