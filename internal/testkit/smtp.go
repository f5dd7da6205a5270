package testkit

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
)

// SMTP is a scripted SMTP server on 127.0.0.1: it serves honestly until told,
// verb by verb, to fail, hang, cut the line or lie. It speaks raw lines, since
// a real server library would refuse to misbehave. Safe for concurrent use.
type SMTP struct {
	listener  net.Listener
	tlsConfig *tls.Config
	roots     *x509.CertPool

	startTLS, implicitTLS bool
	user, password        string
	mechanisms            []string
	extensions            []string
	inGroups              bool

	handlers sync.WaitGroup
	closed   chan struct{}

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	always  map[SMTPVerb]SMTPAction
	once    map[SMTPVerb][]SMTPAction
	seen    map[SMTPVerb]int
	dots    map[string]int
	content int // bytes
	mails   []SMTPMail
	journal []*SMTPTransaction
	judge   func(recipient string) (SMTPAction, bool)
	changed chan struct{} // closed and replaced at every change of seen, content or mails
}

// SMTPMail is a message that the server took responsibility for.
type SMTPMail struct {
	From       string   // the address of MAIL FROM, without angle brackets
	To         []string // the addresses of RCPT TO
	MailParams string   // what followed the address in MAIL FROM
	Data       []byte   // the content with dot-stuffing undone, CRLF line ends
	MessageID  string   // the Message-ID header with its angle brackets
	User       string   // who authenticated, or ""
	TLS        bool
}

// SMTPOption configures a server at its making. One may serve several servers
// at once.
type SMTPOption func(*SMTP)

// SMTPOfferTLS makes the server offer STARTTLS.
func SMTPOfferTLS() SMTPOption { return func(s *SMTP) { s.startTLS = true } }

// SMTPImplicitTLS makes the server speak TLS from the first byte (smtps).
func SMTPImplicitTLS() SMTPOption { return func(s *SMTP) { s.implicitTLS = true } }

// SMTPLogin makes the server offer AUTH with the mechanisms (PLAIN, LOGIN,
// CRAM-MD5; PLAIN and LOGIN when none is named), and refuse MAIL before it.
func SMTPLogin(user, password string, mechanisms ...string) SMTPOption {
	if len(mechanisms) == 0 {
		mechanisms = []string{"PLAIN", "LOGIN"}
	}
	return func(s *SMTP) { s.user, s.password, s.mechanisms = user, password, mechanisms }
}

// SMTPExtension adds lines to the EHLO reply, for example "SMTPUTF8".
func SMTPExtension(lines ...string) SMTPOption {
	return func(s *SMTP) { s.extensions = append(s.extensions, lines...) }
}

// SMTPInGroups makes the server say nothing to MAIL and RCPT before it has read
// DATA: it gets on with clients that pipeline (RFC 2920) only.
func SMTPInGroups() SMTPOption { return func(s *SMTP) { s.inGroups = true } }

// NewSMTP starts a server on a free port; the test's cleanup closes it.
func NewSMTP(t testing.TB, opts ...SMTPOption) *SMTP {
	t.Helper()
	s := &SMTP{
		closed:  make(chan struct{}),
		conns:   make(map[net.Conn]struct{}),
		always:  make(map[SMTPVerb]SMTPAction),
		once:    make(map[SMTPVerb][]SMTPAction),
		seen:    make(map[SMTPVerb]int),
		dots:    make(map[string]int),
		changed: make(chan struct{}),
	}
	for _, opt := range opts {
		opt(s)
	}
	if s.startTLS || s.implicitTLS {
		var err error
		if s.tlsConfig, s.roots, err = selfSigned(); err != nil {
			t.Fatalf("making the SMTP server's certificate: %v", err)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("listening for SMTP: %v", err)
	}
	s.listener = l
	s.handlers.Go(s.accept)
	t.Cleanup(s.Close)
	return s
}

// Close stops the server, cuts its connections and waits for their goroutines.
// More than one call is harmless.
func (s *SMTP) Close() {
	s.mu.Lock()
	select {
	case <-s.closed:
	default:
		close(s.closed)
		_ = s.listener.Close()
		for conn := range s.conns {
			_ = conn.Close()
		}
	}
	s.mu.Unlock()
	s.handlers.Wait()
}

// Addr is the server's host:port.
func (s *SMTP) Addr() string { return s.listener.Addr().String() }

// URL is the SMTP_URL of the server: credentials, scheme and TLS mode included.
func (s *SMTP) URL() string {
	u := url.URL{Scheme: "smtp", Host: s.Addr()}
	if s.user != "" {
		u.User = url.UserPassword(s.user, s.password)
	}
	switch {
	case s.implicitTLS:
		u.Scheme = "smtps"
	case s.startTLS:
		u.RawQuery = "tls=starttls"
	default:
		u.RawQuery = "tls=none"
	}
	return u.String()
}

// CAFile is a PEM file of the authority of the server's certificate.
func (s *SMTP) CAFile(t testing.TB) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	block := pem.Block{Type: "CERTIFICATE", Bytes: s.tlsConfig.Certificates[0].Certificate[0]}
	if err := os.WriteFile(file, pem.EncodeToMemory(&block), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// Roots is the pool that trusts the server's certificate; nil without TLS.
func (s *SMTP) Roots() *x509.CertPool { return s.roots }

// On makes the server answer every further verb with the action.
func (s *SMTP) On(verb SMTPVerb, action SMTPAction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.always[verb] = action
}

// Once queues actions for the next occurrences of the verb, one each; they come
// before what On has set.
func (s *SMTP) Once(verb SMTPVerb, actions ...SMTPAction) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.once[verb] = append(s.once[verb], actions...)
}

// Mails returns the accepted messages in the order of acceptance.
func (s *SMTP) Mails() []SMTPMail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.mails)
}

// Count tells how many accepted messages bear the Message-ID (with its angle
// brackets).
func (s *SMTP) Count(messageID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for _, m := range s.mails {
		if m.MessageID == messageID {
			n++
		}
	}
	return n
}

// Dots tells how often a message with the Message-ID came whole, final dot
// included, whatever was then answered: the server may have had it.
func (s *SMTP) Dots(messageID string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.dots[messageID]
}

// Seen tells how often the verb was reached, on all connections together.
func (s *SMTP) Seen(verb SMTPVerb) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen[verb]
}

// Wait returns the accepted messages once there are at least n of them, or
// ctx's error with the number there were.
func (s *SMTP) Wait(ctx context.Context, n int) ([]SMTPMail, error) {
	err := s.until(ctx, func() bool { return len(s.mails) >= n })
	mails := s.Mails()
	if err != nil {
		return mails, fmt.Errorf("waiting for mail %d of %d: %w", len(mails)+1, n, err)
	}
	return mails, nil
}

// WaitVerb returns once the verb has been reached n times, or ctx's error.
func (s *SMTP) WaitVerb(ctx context.Context, verb SMTPVerb, n int) error {
	if err := s.until(ctx, func() bool { return s.seen[verb] >= n }); err != nil {
		return fmt.Errorf("waiting for %s: %w", verb, err)
	}
	return nil
}

// WaitContent returns once at least n bytes of content have been read, whether
// or not a final dot has followed, or ctx's error. It counts over all messages,
// with dot-stuffing undone.
func (s *SMTP) WaitContent(ctx context.Context, n int) error {
	if err := s.until(ctx, func() bool { return s.content >= n }); err != nil {
		return fmt.Errorf("waiting for %d bytes of content: %w", n, err)
	}
	return nil
}

// until waits for the condition, which is asked with the lock held.
func (s *SMTP) until(ctx context.Context, condition func() bool) error {
	for {
		s.mu.Lock()
		met, changed := condition(), s.changed
		s.mu.Unlock()
		if met {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// announce wakes whoever waits; the lock must be held.
func (s *SMTP) announce() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// reached records the verb and returns the action scripted for it, if any.
func (s *SMTP) reached(verb SMTPVerb) (SMTPAction, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[verb]++
	defer s.announce()
	if queue := s.once[verb]; len(queue) > 0 {
		s.once[verb] = queue[1:]
		return queue[0], true
	}
	action, ok := s.always[verb]
	return action, ok
}

func (s *SMTP) contentReceived(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.content += n
	s.announce()
}

func (s *SMTP) dotReceived(messageID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dots[messageID]++
}

func (s *SMTP) accepted(m SMTPMail) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mails = append(s.mails, m)
	s.announce()
}

func (s *SMTP) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		select {
		case <-s.closed:
			_ = conn.Close()
		default:
			s.conns[conn] = struct{}{}
			s.handlers.Go(func() { s.serve(conn) })
		}
		s.mu.Unlock()
	}
}

func (s *SMTP) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.conns, conn)
		s.mu.Unlock()
	}()
	(&smtpSession{server: s, raw: conn}).run()
}
