package mail

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/telemetry"
)

// provider is one server that takes mail, the connections to it, and what is
// known of how it fares.
type provider struct {
	settings
	localName string      // for EHLO
	tls       *tls.Config // for the server's name, and the system's roots or its own
	pool      *pool
	breaker   breaker
	paces     paces
	limits    *limit.Fleet
	metrics   *metrics
	log       *slog.Logger
}

// newProvider makes a provider for so many senders at once. It errs when a file
// for TLS cannot be used.
func newProvider(s settings, senders int, limits *limit.Fleet, m *metrics, log *slog.Logger) (*provider, error) {
	config, err := s.files.Config()
	if err != nil {
		return nil, fmt.Errorf("SMTP_URL: server %s: %w", s.name, err)
	}
	if config.ServerName == "" {
		config.ServerName = s.host
	}
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	if s.connections == 0 {
		s.connections = senders
	}
	p := &provider{
		settings:  s,
		localName: localName(),
		tls:       config,
		limits:    limits,
		metrics:   m,
		log:       log.With("provider", s.name),
	}
	p.breaker.changed = p.noteBreaker
	p.pool = newPool(p, min(s.connections, senders))
	return p, nil
}

// noteBreaker tells an operator once an outage.
func (p *provider) noteBreaker(state breakerState, pause time.Duration) {
	switch state {
	case breakerOpen:
		p.log.Warn("a mail provider fails: it is left alone for a while", "host", p.addr(), "pause", pause.Round(time.Second))
	case breakerClosed:
		p.log.Info("a mail provider is back", "host", p.addr())
	}
}

// judge is what a message's sending, ended by e or well, tells of the provider.
func judge(ctx context.Context, e *Error) verdict {
	switch {
	case e == nil:
		return providerUp
	case e.Op == opWait, ctx.Err() != nil && !errors.Is(context.Cause(ctx), errTimeout):
		return noVerdict
	case e.Op == opAbort:
		return providerUp // it had taken all but the dot
	case sessionFailed(e):
		return providerDown
	default:
		return providerUp
	}
}

// offer sends the message and tells leave what came of it.
func (p *provider) offer(ctx context.Context, l letter, beforeDot func(context.Context) error, leave func(context.Context, error)) (r Receipt, passed bool, err error) {
	began := time.Now()
	ctx, span := telemetry.Child(ctx, "smtp")
	span.Set("postrider.provider", p.name)
	defer func() { // also when beforeDot panics
		traceReply(span, r, err)
		p.metrics.took.WithLabelValues(p.name).Observe(time.Since(began).Seconds())
		leave(ctx, err)
	}()
	return p.send(ctx, l, beforeDot)
}

// traceReply tells a trace what a server said, but for its words.
func traceReply(span telemetry.Span, r Receipt, err error) {
	if !span.Recorded() {
		return
	}
	code := r.Code
	if err != nil {
		e := asError(err)
		code = e.Code
		span.Set("postrider.smtp.op", e.Op)
		span.Fail(string(e.Kind))
	}
	span.SetInt("postrider.smtp.reply_code", code)
	span.End()
}

// send offers the message on one connection. One that was used before may have
// been closed by the server since: if it fails before the point of no return a
// new one is tried, once.
//
// passed tells that beforeDot was called: the message must not be offered
// anywhere else.
func (p *provider) send(ctx context.Context, l letter, beforeDot func(context.Context) error) (r Receipt, passed bool, err error) {
	s, err := p.pool.borrow(ctx)
	if err != nil {
		return Receipt{}, false, err
	}
	went := false
	defer func() { // also when beforeDot panics
		switch {
		case went:
			p.pool.giveBack(s)
		case s != nil:
			p.pool.discard(s)
		}
	}()
	used := s.messages > 0
	r, passed, err = s.transact(ctx, l, beforeDot)
	if used && !passed && ctx.Err() == nil && sessionFailed(asError(err)) {
		if s, err = p.pool.renew(ctx, s); err != nil {
			return Receipt{}, false, err
		}
		r, passed, err = s.transact(ctx, l, beforeDot)
	}
	went = err == nil
	return r, passed, err
}

// check goes as far as the login and leaves.
func (p *provider) check(ctx context.Context) error {
	s, err := p.open(ctx)
	if err != nil {
		return err
	}
	if !s.unwatch() {
		return p.failure(ctx, opConnect, context.Cause(ctx))
	}
	s.quit()
	return nil
}

// tlsConfig is for a STARTTLS or TLS connection to the server.
func (p *provider) tlsConfig() *tls.Config {
	config := p.tls.Clone()
	// See server: opportunistic encryption (RFC 7435) takes any certificate,
	// unless a password is to follow or its authority is named.
	config.InsecureSkipVerify = p.mode == tlsOptional && (p.user == "" || p.loopback) && p.files.CA == ""
	return config
}

func (p *provider) failure(ctx context.Context, op string, err error) *Error {
	e := failure(ctx, op, p.addr(), err)
	e.Provider = p.name
	return e
}

// refuse is a failure that was found here, before the server was asked.
func (p *provider) refuse(kind Kind, op, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Provider: p.name, Host: p.addr(), Err: fmt.Errorf(format, args...)}
}
