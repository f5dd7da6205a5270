package mail

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
)

// provider is one server that takes mail, and the connections to it.
type provider struct {
	server    server
	localName string      // for EHLO
	tls       *tls.Config // for the server's name and the system's roots
	pool      *pool
	log       *slog.Logger
}

func newProvider(s server, connections int, log *slog.Logger) *provider {
	p := &provider{
		server:    s,
		localName: localName(),
		tls: &tls.Config{
			ServerName: s.host, MinVersion: tls.VersionTLS12,
			ClientSessionCache: tls.NewLRUClientSessionCache(connections),
		},
		log: log,
	}
	p.pool = newPool(p, connections)
	return p
}

// send offers the message on one connection. One that was used before may have
// been closed by the server since: if it fails before the point of no return a
// new one is tried, once.
func (p *provider) send(ctx context.Context, l letter, beforeDot func(context.Context) error) (Receipt, error) {
	s, err := p.pool.borrow(ctx)
	if err != nil {
		return Receipt{}, err
	}
	used := s.messages > 0
	receipt, passed, err := s.transact(ctx, l, beforeDot)
	if used && !passed && goneStale(ctx, err) {
		if s, err = p.pool.renew(ctx, s); err != nil {
			return Receipt{}, err
		}
		receipt, _, err = s.transact(ctx, l, beforeDot)
	}
	if err != nil {
		p.pool.discard(s)
		return Receipt{}, err
	}
	p.pool.giveBack(s)
	return receipt, nil
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
	// See Config: opportunistic encryption (RFC 7435) takes any certificate,
	// unless a password is to follow.
	config.InsecureSkipVerify = p.server.mode == tlsOptional && (p.server.user == "" || p.server.loopback)
	return config
}

func (p *provider) failure(ctx context.Context, op string, err error) *Error {
	return failure(ctx, op, p.server.addr(), err)
}

// refuse is a failure that was found here, before the server was asked.
func (p *provider) refuse(kind Kind, op, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Host: p.server.addr(), Err: fmt.Errorf(format, args...)}
}
