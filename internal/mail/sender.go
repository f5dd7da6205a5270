package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"time"
)

// Sender sends through one SMTP server. It holds no connection between calls;
// its methods may be called from any number of goroutines.
type Sender struct {
	server    server
	from      string
	timeout   time.Duration
	localName string      // for EHLO
	tls       *tls.Config // for the server's name and the system's roots
	log       *slog.Logger
}

// New makes a Sender of a valid configuration; SMTP_URL must be set. It does
// not connect: see [Sender.Check].
func New(cfg Config, log *slog.Logger) (*Sender, error) {
	if cfg.URL == "" {
		return nil, errors.New("SMTP_URL is not set")
	}
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	server, err := parseServer(cfg.URL)
	if err != nil {
		return nil, err
	}
	return &Sender{
		server:    server,
		from:      cfg.From,
		timeout:   cfg.Timeout,
		localName: localName(),
		tls:       &tls.Config{ServerName: server.host, MinVersion: tls.VersionTLS12},
		log:       log.With("component", "mail"),
	}, nil
}

var hostNamePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// localName is the host's name when EHLO can bear it (RFC 5321 §4.1.1.1).
func localName() string {
	if name, err := os.Hostname(); err == nil && hostNamePattern.MatchString(name) {
		return name
	}
	return "localhost"
}

// Send delivers the message to its one recipient in a conversation of its own
// that ends, at the latest, with ctx or after POSTRIDER_SMTP_TIMEOUT.
//
// beforeDot, which may be nil, is called once the server has been sent the
// whole content but not the final dot: the last moment at which nothing can
// have happened. Its error cuts the connection, so that the server must discard
// what it has (RFC 5321 §4.1.1.4), and Send returns it wrapped, as Cancelled.
//
// A nil error means that the server has the message; nothing that happens
// after its 2xx reply to the dot can change that. Any other error is an
// [*Error]: its Kind tells what is known.
func (s *Sender) Send(ctx context.Context, m Message, beforeDot func(context.Context) error) (Receipt, error) {
	if m.From == "" {
		m.From = s.from
	}
	l, err := compose(m)
	if err != nil {
		return Receipt{}, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	c, err := s.open(ctx)
	if err != nil {
		return Receipt{}, err
	}
	defer c.close()
	if err := c.envelope(ctx, l); err != nil {
		return Receipt{}, err
	}
	receipt, err := c.content(ctx, l, beforeDot)
	if err != nil {
		return Receipt{}, err
	}
	c.quit(ctx)
	return receipt, nil
}

// Check goes as far as the login and leaves: connect, TLS, AUTH, QUIT. A nil
// error means that a message could be offered now; any other is an [*Error].
func (s *Sender) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	c, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	c.quit(ctx)
	return nil
}

// tlsConfig is for a STARTTLS or TLS connection to the server.
func (s *Sender) tlsConfig() *tls.Config {
	config := s.tls.Clone()
	// See Config: opportunistic encryption (RFC 7435) takes any certificate,
	// unless a password is to follow.
	config.InsecureSkipVerify = s.server.mode == tlsOptional && (s.server.user == "" || s.server.loopback)
	return config
}

func (s *Sender) failure(ctx context.Context, op string, err error) *Error {
	return failure(ctx, op, s.server.addr(), err)
}

// refuse is a failure that was found here, before the server was asked.
func (s *Sender) refuse(kind Kind, op, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Host: s.server.addr(), Err: fmt.Errorf(format, args...)}
}
