// Package bounce takes by SMTP the mails that come back: it is what the MX record
// of POSTRIDER_BOUNCE_DOMAIN can lead to. It takes mail for return paths that
// were signed here and for nobody else, and what such a mail tells is stored
// before its sender is thanked. It sends nothing to anybody.
package bounce

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/smtpserver"
	"github.com/postrider/postrider/internal/tlsfile"
	"github.com/postrider/postrider/tasks"
)

// Config is where bounces are taken.
type Config struct {
	Addr    string          `env:"POSTRIDER_BOUNCE_ADDR" help:"where the api takes mail for POSTRIDER_BOUNCE_DOMAIN by SMTP, such as :25; nowhere when empty; see docs/feedback.md"`
	TLSCert string          `env:"POSTRIDER_BOUNCE_TLS_CERT" help:"a PEM file with the certificate to offer STARTTLS with there, none is offered without; read anew when it changes"`
	TLSKey  string          `env:"POSTRIDER_BOUNCE_TLS_KEY" help:"the PEM file with its private key"`
	TLSMin  tlsfile.Version `env:"POSTRIDER_BOUNCE_TLS_MIN" envDefault:"1.2" help:"the least version of TLS that is spoken there: 1.2 or 1.3; a sender that has none of them may send in the clear"`
}

// Validate reports a setting that cannot work, by its variable's name.
func (c Config) Validate() error {
	if _, err := c.TLS(); err != nil {
		return err
	}
	if c.Addr == "" {
		return nil
	}
	if _, _, err := net.SplitHostPort(c.Addr); err != nil {
		return errors.New("POSTRIDER_BOUNCE_ADDR must be host:port, where the host may be left out")
	}
	return nil
}

// TLS is what STARTTLS is offered with; nil for none. It errs when a file cannot
// be used.
func (c Config) TLS() (*tls.Config, error) {
	if c.TLSCert == "" && c.TLSKey == "" {
		return nil, nil
	}
	config, err := tlsfile.Server{Cert: c.TLSCert, Key: c.TLSKey, Min: c.TLSMin}.Config()
	if err != nil {
		return nil, fmt.Errorf("POSTRIDER_BOUNCE_TLS_CERT or POSTRIDER_BOUNCE_TLS_KEY: %w", err)
	}
	return config, nil
}

// Bounds of the server.
const (
	maxConns = 100
	// maxRecipients is of one mail: it is one mail of ours that came back.
	maxRecipients = 10
	// idle is what RFC 5321 §4.5.3.2.7 asks of servers; life keeps one that says
	// NOOP for ever from a place.
	idle = 5 * time.Minute
	life = 15 * time.Minute
	// storeLimit bounds the wait for the database: senders wait for ten minutes
	// (RFC 5321 §4.5.3.2.6), and a repeat costs nothing.
	storeLimit = 20 * time.Second
)

// perMail is how often one of our mails may come back. Its recipient knows its
// return path, and must not be able to fill the database by it.
var perMail = limit.Rate{N: 50, Per: time.Hour}

// Store keeps what a mail tells, durably; what comes again under the same key is
// kept once.
type Store func(ctx context.Context, key string, f tasks.Feedback) error

// Options are what a Listener is made of; all but TLS are needed.
type Options struct {
	TLS     *tls.Config     // for STARTTLS
	Reader  feedback.Reader // with the return paths
	Store   Store
	Limiter *limit.Limiter
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Listener is the server. Its Serve takes mails on a listener until Shutdown.
type Listener struct {
	*smtpserver.Server
	read    feedback.Reader
	store   Store
	limiter *limit.Limiter
	log     *slog.Logger
	metrics metrics

	ctx    context.Context // of what is being stored
	cancel context.CancelFunc
}

// New makes a Listener.
func New(o Options) *Listener {
	l := &Listener{read: o.Reader, store: o.Store, limiter: o.Limiter, log: o.Log.With("component", "bounce")}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	l.Server = smtpserver.New(smtpserver.Options{
		Name: "bounces", Domain: o.Reader.Returns.Domain(), Session: func() smtp.Session { return &session{in: l} }, TLS: o.TLS,
		MaxBytes: feedback.MaxMessage, MaxRecipients: maxRecipients, Idle: idle, Life: life, MaxConns: maxConns,
		Refused: func() { l.metrics.refuse(refusedConnection) }, Log: l.log,
	})
	l.metrics = newMetrics(o.Metrics, l.Conns)
	return l
}

// Check says when new connections are refused.
func (l *Listener) Check(context.Context) error {
	if l.Conns() >= maxConns {
		return fmt.Errorf("all %d connections for bounces are taken", maxConns)
	}
	return nil
}

// Shutdown lets mails that are being taken have their reply, as long as ctx
// lasts; what is not stored by then is told so, or cut off, and comes again.
func (l *Listener) Shutdown(ctx context.Context) error {
	defer context.AfterFunc(ctx, l.cancel)()
	defer l.cancel()
	return l.Server.Shutdown(ctx)
}
