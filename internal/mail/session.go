package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

const (
	// maxReplies bounds, in bytes, all that a server may say while it is being
	// logged in to or takes one message, certificates included: replies of
	// endless lines would fill the memory.
	maxReplies = 256 << 10
	// quitWait is how long a QUIT may take once the outcome is known.
	quitWait = 500 * time.Millisecond
)

// session is one connection to a server, logged in to. While it is watched its
// raw connection is closed when that ctx ends: this is its only deadline, so
// that context.Cause tells what a network error was due to.
type session struct {
	provider *provider
	raw      net.Conn
	heard    *boundedConn
	client   *smtp.Client
	unwatch  func() bool // ends the watch over the current ctx

	born      time.Time
	messages  int       // that were taken on it
	idleSince time.Time // when it was last given back
}

// errOpening is the cause of a session that took too long to open.
var errOpening = fmt.Errorf("not logged in within half of the time that was left: %w", errTimeout)

// open connects, encrypts and logs in, and watches ctx, which must have a
// deadline: half of the time until then is for this, so that another server
// can be tried when this one does not answer.
func (p *provider) open(ctx context.Context) (*session, error) {
	deadline, _ := ctx.Deadline()
	opening, cancel := context.WithTimeoutCause(ctx, time.Until(deadline)/2, errOpening)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(opening, "tcp", p.addr())
	if err != nil {
		return nil, p.failure(opening, opConnect, err)
	}
	s := &session{provider: p, raw: conn, heard: &boundedConn{Conn: conn}, born: time.Now()}
	s.watch(opening)
	if err := s.begin(opening); err != nil {
		s.cut()
		return nil, err
	}
	if !s.unwatch() {
		return nil, p.failure(opening, opConnect, context.Cause(opening))
	}
	s.watch(ctx)
	p.metrics.opened.WithLabelValues(p.name).Inc()
	return s, nil
}

// watch has the connection closed when ctx ends, until unwatch is called. The
// server may say as much anew.
func (s *session) watch(ctx context.Context) {
	s.heard.left = maxReplies
	s.unwatch = context.AfterFunc(ctx, func() { _ = s.raw.Close() })
}

// cut closes the connection. It is not smtp.Client's Close, which waits for a
// command under way.
func (s *session) cut() {
	s.unwatch()
	_ = s.raw.Close()
}

func (s *session) begin(ctx context.Context) error {
	p := s.provider
	var conn net.Conn = s.heard
	if p.mode == tlsImplicit {
		tlsConn := tls.Client(conn, p.tlsConfig())
		if err := tlsConn.HandshakeContext(ctx); err != nil {
			return p.failure(ctx, opTLS, err)
		}
		conn = tlsConn
	}
	var err error
	if s.client, err = smtp.NewClient(conn, p.host); err != nil {
		return p.failure(ctx, opConnect, err)
	}
	if err := s.client.Hello(p.localName); err != nil {
		return p.failure(ctx, opConnect, err)
	}
	if err := s.startTLS(ctx); err != nil {
		return err
	}
	return s.login(ctx)
}

// startTLS encrypts as SMTP_URL asks (RFC 3207). A certificate that does not
// hold is a temporary failure: it is the relay's set-up that is at fault, and
// the messages must outlive its mending.
func (s *session) startTLS(ctx context.Context) error {
	p := s.provider
	if p.mode != tlsRequired && p.mode != tlsOptional {
		return nil
	}
	offered := s.offers("STARTTLS")
	switch {
	case !offered && p.mode == tlsRequired:
		return p.refuse(Temporary, opTLS, "the server offers no STARTTLS and SMTP_URL requires it (tls=optional would do without)")
	case !offered:
		return nil
	}
	if err := s.client.StartTLS(p.tlsConfig()); err != nil {
		return p.failure(ctx, opTLS, err)
	}
	return nil
}

// offers tells whether the server's EHLO named the extension.
func (s *session) offers(extension string) bool {
	offered, _ := s.client.Extension(extension)
	return offered
}

// sizeLimit is the server's bound on a message in bytes (RFC 1870 §3), or 0.
func (s *session) sizeLimit() int64 {
	_, param := s.client.Extension("SIZE")
	limit, err := strconv.ParseInt(param, 10, 64)
	if err != nil {
		return 0
	}
	return limit
}

// quit takes leave, within quitWait, and closes the connection. It must not be
// watched any more; no outcome depends on it.
func (s *session) quit() {
	err := s.raw.SetDeadline(time.Now().Add(quitWait))
	if err == nil {
		err = s.client.Quit()
	}
	_ = s.raw.Close()
	if err != nil {
		s.provider.log.Debug("the server did not answer QUIT", "host", s.provider.addr(), "error", err)
	}
}

// boundedConn fails a Read once the peer has said more than it may.
type boundedConn struct {
	net.Conn
	left int
}

var errTooLong = errors.New("the server's replies are too long")

func (c *boundedConn) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errTooLong
	}
	n, err := c.Conn.Read(p[:min(len(p), c.left)])
	c.left -= n
	return n, err
}
