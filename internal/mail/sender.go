package mail

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/limit"
)

// Options are what a Sender is made of; all are needed but Limits.
type Options struct {
	Config Config
	// Senders is how many callers Send has at once, and so how many connections
	// each provider may be asked for; with fewer of them callers wait.
	Senders int
	// Measured are the categories whose time to be sent is told apart.
	Measured []string
	Limits   *limit.Fleet // on providers; nil for none
	Log      *slog.Logger
	Metrics  prometheus.Registerer
}

// Sender sends through the providers of SMTP_URL, over connections that it
// keeps between messages. Its methods may be called from any number of
// goroutines.
type Sender struct {
	providers []*provider
	metrics   *metrics
	keys      Keys
	from      string
	returns   *ReturnPaths // nil: bounces go to the header's sender
	postmark  bool         // one of the providers is Postmark
	timeout   time.Duration
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
	if o.Senders < 1 {
		return nil, fmt.Errorf("a sender needs one caller at least, and is to have %d", o.Senders)
	}
	all, err := parseProviders(o.Config.URL)
	if err != nil {
		return nil, err
	}
	keys, err := LoadKeys(o.Config.DKIM)
	if err != nil {
		return nil, err
	}
	if o.Limits == nil {
		o.Limits = limit.NewFleet(nil, nil, o.Log)
	}
	s := &Sender{keys: keys, from: o.Config.From, returns: NewReturnPaths(o.Config), timeout: o.Config.Timeout}
	m := newMetrics(o.Measured)
	s.metrics = m
	log := o.Log.With("component", "mail")
	for _, w := range keys.Warnings {
		log.Warn(w)
	}
	for _, settings := range all {
		s.postmark = s.postmark || strings.HasSuffix(strings.ToLower(settings.host), ".postmarkapp.com")
		p, err := newProvider(settings, o.Senders, o.Limits, m, log)
		if err != nil {
			return nil, err
		}
		s.providers = append(s.providers, p)
	}
	if err := o.Metrics.Register(collector{m, s.providers}); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return s, nil
}

// Down names the providers that are left alone now, since they fail.
func (s *Sender) Down() (names []string) {
	for _, p := range s.providers {
		if p.breaker.state() != breakerClosed {
			names = append(names, p.name)
		}
	}
	return names
}

// Close ends the connections, each with a QUIT that the server has half a
// second to answer, and all at the same time. A Send under way may end; later
// ones fail.
func (s *Sender) Close() {
	var all sync.WaitGroup
	for _, p := range s.providers {
		all.Go(p.pool.close)
	}
	all.Wait()
}

var hostNamePattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?$`)

// localName is the host's name when EHLO can bear it (RFC 5321 §4.1.1.1).
func localName() string {
	if name, err := os.Hostname(); err == nil && hostNamePattern.MatchString(name) {
		return name
	}
	return "localhost"
}

// Send delivers the message to its one recipient, within POSTRIDER_SMTP_TIMEOUT
// and no longer than ctx lasts.
//
// The providers that fit the sender's domain and the category are tried one
// after the other, as long as it is the provider that fails (no connection, no
// login, 421, a line that is cut) and not the message. One that has had its
// share is passed over. When all that are left have, the mail gets a turn at the
// one that is free first; as when each is being left alone, or has been told to
// slow down for the recipient's domain, the error is then Deferred.
//
// beforeDot, which may be nil, is called once at most: when a server has been
// sent the whole content but not the final dot, the last moment at which
// nothing can have happened. From there on no other connection is tried. Its
// error cuts this one, so that the server must discard what it has (RFC 5321
// §4.1.1.4), and Send returns it wrapped, as Cancelled.
//
// A nil error means that the server has the message; nothing that happens
// after its 2xx reply to the dot can change that. Any other error is an
// [*Error]: its Kind tells what is known.
func (s *Sender) Send(ctx context.Context, m Message, beforeDot func(context.Context) error) (Receipt, error) {
	if m.From == "" {
		m.From = s.from
	}
	if s.postmark {
		m.Headers = withPostmarkMetadata(m.Headers, m.ID)
	}
	l, err := compose(m, s.keys)
	if err != nil {
		return Receipt{}, err
	}
	if s.returns != nil {
		if back := s.returns.Of(m.ID); back != "" {
			l.from = "<" + back + ">"
		}
	}
	if m.Sink {
		return l.sunk(), nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
	defer cancel()

	fitting := route(s.providers, l.fromDomain, m.Category, m.Avoid)
	if len(fitting) == 0 {
		return Receipt{}, &Error{Kind: Temporary, Op: opChoose, Err: errors.New("no provider in SMTP_URL is for this sender's domain and category")}
	}
	c := conversation{id: m.ID, letter: l, beforeDot: beforeDot}
	for _, p := range fitting {
		if c.tryAt(ctx, p, p.limits.Try) {
			return c.receipt, c.err
		}
	}
	// Others may have been faster, or it may be free by now.
	if p := c.full; p != nil && c.tryAt(ctx, p, p.keepTurn) {
		return c.receipt, c.err
	}
	return Receipt{}, c.leftOver()
}

// PostmarkMetadata is the metadata by which Postmark's webhooks name the job of a
// mail: Postmark keeps neither Message-ID nor return path.
const PostmarkMetadata = "postrider-job"

func withPostmarkMetadata(headers map[string]string, id string) map[string]string {
	out := maps.Clone(headers)
	if out == nil {
		out = map[string]string{}
	}
	out["X-PM-Metadata-"+PostmarkMetadata] = id
	return out
}

// Check goes with each provider as far as the login and leaves: connect, TLS,
// AUTH, QUIT, over a connection of its own. An error, an [*Error], means that no
// message could be offered to it now.
func (s *Sender) Check(ctx context.Context) []Checked {
	out := make([]Checked, len(s.providers))
	var all sync.WaitGroup
	for i, p := range s.providers {
		all.Go(func() {
			ctx, cancel := context.WithTimeoutCause(ctx, s.timeout, errTimeout)
			defer cancel()
			out[i] = Checked{p.name, p.check(ctx)}
		})
	}
	all.Wait()
	return out
}

// Checked is what Check found of a provider.
type Checked struct {
	Provider string // its name in SMTP_URL
	Err      error
}
