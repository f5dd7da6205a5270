package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

const (
	// maxReplies bounds, in bytes, all that a server may say in one conversation,
	// certificates included: replies of endless lines would fill the memory.
	maxReplies = 256 << 10
	// quitWait is how long a QUIT may take once the outcome is known.
	quitWait = 500 * time.Millisecond
)

// conversation is one connection to the server. Its raw connection is closed
// when the ctx that it was opened with ends: this is its only deadline, so that
// context.Cause tells what a network error was due to.
type conversation struct {
	sender *Sender
	raw    net.Conn
	client *smtp.Client
	stop   func() bool // ends the watch over ctx
}

// open connects, encrypts and logs in.
func (s *Sender) open(ctx context.Context) (*conversation, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", s.server.addr())
	if err != nil {
		return nil, s.failure(ctx, opConnect, err)
	}
	c := &conversation{sender: s, raw: conn}
	c.stop = context.AfterFunc(ctx, func() { _ = conn.Close() })
	if err := c.begin(ctx); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// close cuts the connection. It is not smtp.Client's Close, which waits for a
// command under way.
func (c *conversation) close() {
	c.stop()
	_ = c.raw.Close()
}

func (c *conversation) begin(ctx context.Context) error {
	s := c.sender
	var conn net.Conn = &boundedConn{Conn: c.raw, left: maxReplies}
	if s.server.mode == tlsImplicit {
		tlsConn := tls.Client(conn, s.tlsConfig())
		if err := tlsConn.HandshakeContext(ctx); err != nil {
			return s.failure(ctx, opTLS, err)
		}
		conn = tlsConn
	}
	var err error
	if c.client, err = smtp.NewClient(conn, s.server.host); err != nil {
		return s.failure(ctx, opConnect, err)
	}
	if err := c.client.Hello(s.localName); err != nil {
		return s.failure(ctx, opConnect, err)
	}
	if err := c.startTLS(ctx); err != nil {
		return err
	}
	return c.login(ctx)
}

// startTLS encrypts as SMTP_URL asks (RFC 3207). A certificate that does not
// hold is a temporary failure: it is the relay's set-up that is at fault, and
// the messages must outlive its mending.
func (c *conversation) startTLS(ctx context.Context) error {
	s := c.sender
	if s.server.mode != tlsRequired && s.server.mode != tlsOptional {
		return nil
	}
	offered, _ := c.client.Extension("STARTTLS")
	switch {
	case !offered && s.server.mode == tlsRequired:
		return s.refuse(Temporary, opTLS, "the server offers no STARTTLS and SMTP_URL requires it (tls=optional would do without)")
	case !offered:
		return nil
	}
	if err := c.client.StartTLS(s.tlsConfig()); err != nil {
		return s.failure(ctx, opTLS, err)
	}
	return nil
}

// envelope names sender and recipient.
func (c *conversation) envelope(ctx context.Context, l letter) error {
	s := c.sender
	if l.utf8 {
		if offered, _ := c.client.Extension("SMTPUTF8"); !offered {
			return s.refuse(Permanent, opMail, "an address has letters outside ASCII before its @ and the server does not offer SMTPUTF8")
		}
	}
	if limit := c.sizeLimit(); limit > 0 && int64(len(l.raw)) > limit {
		return s.refuse(Permanent, opMail, "the message has %d bytes, the server takes at most %d", len(l.raw), limit)
	}
	// Asked for only where needed: the next server on the way may not have it.
	c.client.SkipSMTPUTF8(!l.utf8)
	if err := c.client.Mail(l.from); err != nil {
		return s.failure(ctx, opMail, err)
	}
	if err := c.client.Rcpt(l.rcpt); err != nil {
		return s.failure(ctx, opRcpt, err)
	}
	return nil
}

// sizeLimit is the server's bound on a message in bytes (RFC 1870 §3), or 0.
func (c *conversation) sizeLimit() int64 {
	_, param := c.client.Extension("SIZE")
	limit, err := strconv.ParseInt(param, 10, 64)
	if err != nil {
		return 0
	}
	return limit
}

// content sends the message and finds out what became of it.
func (c *conversation) content(ctx context.Context, l letter, beforeDot func(context.Context) error) (Receipt, error) {
	s := c.sender
	w, err := c.client.Data()
	if err != nil {
		return Receipt{}, s.failure(ctx, opData, err)
	}
	if _, err := w.Write(l.raw); err != nil {
		return Receipt{}, s.failure(ctx, opData, err)
	}
	// The writer holds back up to 4 KiB. What fails now is still harmless;
	// what would fail together with the dot is not.
	if err := c.client.Text.W.Flush(); err != nil {
		return Receipt{}, s.failure(ctx, opData, err)
	}
	if beforeDot != nil {
		if err := beforeDot(ctx); err != nil {
			return Receipt{}, s.aborted(ctx, err)
		}
	}
	if ctx.Err() != nil {
		return Receipt{}, s.failure(ctx, opData, context.Cause(ctx))
	}
	return c.dot(ctx, l, w)
}

// aborted is the failure of a beforeDot that refused. One that refused only
// because our own time limit had ended its ctx is a slow server's.
func (s *Sender) aborted(ctx context.Context, err error) *Error {
	if errors.Is(context.Cause(ctx), errTimeout) {
		return s.failure(ctx, opData, err)
	}
	return &Error{Kind: Cancelled, Op: opAbort, Host: s.server.addr(), Err: err}
}

// dot ends the content and reads the verdict. From here on every error but a
// well-formed refusal is ambiguous.
func (c *conversation) dot(ctx context.Context, l letter, w io.WriteCloser) (Receipt, error) {
	code, text := 250, ""
	if err := w.Close(); err != nil {
		// A code of the 2xx class is an acceptance, whichever it is
		// (RFC 5321 §4.3.2: the first digit decides).
		var reply *textproto.Error
		if !errors.As(err, &reply) || reply.Code/100 != 2 {
			return Receipt{}, c.sender.failure(ctx, opDot, err)
		}
		code, text = reply.Code, reply.Msg
	} else if closer, ok := w.(*smtp.DataCloser); ok {
		text = closer.ServerResponse()
	}
	return Receipt{Code: code, Reply: printable(text), MessageID: l.messageID, Host: c.sender.server.addr()}, nil
}

// quit takes leave; the outcome does not depend on it.
func (c *conversation) quit(ctx context.Context) {
	err := c.client.UpdateDeadline(quitWait)
	if err == nil {
		err = c.client.Quit()
	}
	if err != nil {
		c.sender.log.DebugContext(ctx, "the server did not answer QUIT", "host", c.sender.server.addr(), "error", err)
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
