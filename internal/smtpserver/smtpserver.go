// Package smtpserver runs an SMTP server of go-smtp within bounds: how many
// connections there are, how long each may last, and that all of them are over
// when it has stopped.
package smtpserver

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// maxLine bounds a line, in bytes. RFC 5321 §4.5.3.1.6 lets senders write 1,000;
// some write more into the content, and nothing is won by refusing that.
const maxLine = 64 << 10

// Options are what a Server is made of.
type Options struct {
	Name    string // of the server, in its errors
	Domain  string // that it greets with
	Session func() smtp.Session

	// TLS has the server offer STARTTLS (RFC 3207); nil for none.
	TLS *tls.Config

	MaxBytes      int64 // of a message; announced as SIZE
	MaxRecipients int   // of a message
	// Idle bounds the wait for a command, for a message's content and for a reply
	// to be read.
	Idle time.Duration
	// Life bounds a connection; 0 for no bound.
	Life time.Duration
	// MaxConns bounds the connections at a time; 0 for no bound. One more is
	// answered 421 and told to Refused.
	MaxConns int
	Refused  func()

	Log *slog.Logger
}

// Server is an SMTP server without login.
type Server struct {
	Options
	smtp *smtp.Server

	mu       sync.Mutex
	stopping bool
	listener net.Listener
	served   chan struct{} // closed when Serve's loop has ended; nil before Serve
	conns    map[*conn]struct{}
}

// New makes a Server.
func New(o Options) *Server {
	s := &Server{Options: o, conns: make(map[*conn]struct{})}
	s.smtp = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return session{o.Session(), connOf(c.Conn())}, nil
	}))
	s.smtp.TLSConfig = o.TLS
	s.smtp.Domain = o.Domain
	s.smtp.MaxMessageBytes, s.smtp.MaxRecipients, s.smtp.MaxLineLength = o.MaxBytes, o.MaxRecipients, maxLine
	s.smtp.ReadTimeout, s.smtp.WriteTimeout = o.Idle, o.Idle
	s.smtp.EnableSMTPUTF8 = true
	s.smtp.ErrorLog = errorLog{o.Log}
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

	err := s.smtp.Serve(listener{l, s})
	close(s.served)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil
	}
	_ = l.Close()
	return fmt.Errorf("serving %s: %w", s.Name, err)
}

// Shutdown closes the listener and every connection on which no message is being
// sent, and lets the others have their reply, as long as ctx lasts; then they are
// cut, and who sends learns that the message did not arrive. A second call is
// harmless.
//
// go-smtp's own Shutdown waits for clients to leave, which idle ones do not; it
// comes last, when nothing can be accepted any more.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	first := !s.stopping
	s.stopping = true
	served := s.served
	if s.listener != nil {
		_ = s.listener.Close()
	}
	s.mu.Unlock()
	s.cut(func(c *conn) bool { return !c.sending })
	if !first || served == nil {
		return nil
	}
	defer context.AfterFunc(ctx, func() { s.cut(func(*conn) bool { return true }) })()
	select {
	case <-served:
	case <-ctx.Done():
		return fmt.Errorf("stopping %s: %w", s.Name, context.Cause(ctx))
	}
	if err := s.smtp.Shutdown(ctx); err != nil && ctx.Err() != nil {
		return fmt.Errorf("stopping %s: %w", s.Name, err)
	}
	return nil
}

// cut closes the connections that are chosen, with the lock held.
func (s *Server) cut(chosen func(*conn) bool) {
	s.mu.Lock()
	all := slices.DeleteFunc(slices.Collect(maps.Keys(s.conns)), func(c *conn) bool { return !chosen(c) })
	s.mu.Unlock()
	for _, c := range all {
		_ = c.Close()
	}
}

// Conns is how many connections there are.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// errorLog takes go-smtp's complaints, which are about clients that left.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Printf(format string, v ...any) { l.log.Debug(fmt.Sprintf(format, v...)) }
func (l errorLog) Println(v ...any)               { l.log.Debug(fmt.Sprint(v...)) }
