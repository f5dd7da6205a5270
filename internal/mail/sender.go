package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"time"
)

// Options are what a Sender is made of; all are needed.
type Options struct {
	Config Config
	// Connections is how many there may be at once: as many as there are
	// callers of Send, or they wait for each other.
	Connections int
	Log         *slog.Logger
}

// Sender sends through one SMTP server, over connections that it keeps between
// messages. Its methods may be called from any number of goroutines.
type Sender struct {
	provider *provider
	from     string
	timeout  time.Duration
}

// New makes a Sender of a valid configuration; SMTP_URL must be set. It does
// not connect: see [Sender.Check]. Close it.
func New(o Options) (*Sender, error) {
	if o.Config.URL == "" {
		return nil, errors.New("SMTP_URL is not set")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	if o.Connections < 1 {
		return nil, fmt.Errorf("a sender needs a connection at least, and is to have %d", o.Connections)
	}
	server, err := parseServer(o.Config.URL)
	if err != nil {
		return nil, err
	}
	return &Sender{
		provider: newProvider(server, o.Connections, o.Log.With("component", "mail")),
		from:     o.Config.From,
		timeout:  o.Config.Timeout,
	}, nil
}

// Close ends the connections, each with a QUIT that the server has half a
// second to answer, and all at the same time. A Send under way may end; later
// ones fail.
func (s *Sender) Close() { s.provider.pool.close() }

var hostNamePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// localName is the host's name when EHLO can bear it (RFC 5321 §4.1.1.1).
func localName() string {
	if name, err := os.Hostname(); err == nil && hostNamePattern.MatchString(name) {
		return name
	}
	return "localhost"
}

// Send delivers the message to its one recipient in a conversation that ends,
// at the latest, with ctx or after POSTRIDER_SMTP_TIMEOUT.
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
	return s.provider.send(ctx, l, beforeDot)
}

// Check goes as far as the login and leaves: connect, TLS, AUTH, QUIT, over a
// connection of its own. A nil error means that a message could be offered
// now; any other is an [*Error].
func (s *Sender) Check(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()
	return s.provider.check(ctx)
}
