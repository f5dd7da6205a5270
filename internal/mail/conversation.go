package mail

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"
)

// conversation is one Send, over all providers that are tried.
type conversation struct {
	id        string
	letter    letter
	beforeDot func(context.Context) error

	receipt Receipt
	err     error // how the last one ended that was offered the mail

	soonest time.Duration // until one may be asked again that is not full; 0: there is none

	full *provider     // of those that have had their share, the one that is free first
	turn time.Duration // until it is
}

// tryAt offers the mail to the provider, if that may be, and reports whether
// what came of it is final.
func (c *conversation) tryAt(ctx context.Context, p *provider, rate ask) (final bool) {
	at := p.enter(ctx, c.id, c.letter.rcptDomain, rate)
	if at.leave == nil {
		c.note(p, at)
		if ctx.Err() != nil && c.err == nil {
			c.err = failure(ctx, opChoose, "", context.Cause(ctx))
		}
		return ctx.Err() != nil
	}
	if p == c.full {
		c.full = nil
	}
	var passed bool
	c.receipt, passed, c.err = p.offer(ctx, c.letter, c.beforeDot, at.leave)
	if c.err == nil || passed || ctx.Err() != nil || !sessionFailed(asError(c.err)) {
		return true
	}
	p.log.DebugContext(ctx, "a mail provider failed; others are tried if there are", "job", c.id, "error", c.err)
	return false
}

// note takes down when the provider may be asked again.
func (c *conversation) note(p *provider, at entry) {
	switch after := spread(at.after); {
	case !at.full:
		if p == c.full {
			c.full = nil
		}
		if c.soonest == 0 || after < c.soonest {
			c.soonest = after
		}
	case p == c.full, c.full == nil, at.after < c.turn:
		c.full, c.turn = p, at.after
	}
}

// leftOver is the error of a mail that no provider has taken. One that has a
// turn somewhere has not failed, whatever it met before.
func (c *conversation) leftOver() error {
	after := c.soonest
	switch {
	case c.full != nil && (after == 0 || c.turn < after):
		after = c.turn
	case c.full == nil && c.err != nil:
		return c.err
	}
	return &Error{
		Kind: Deferred, Op: opChoose, After: after,
		Err: errors.New("each provider that is for this mail has had its share, is being left alone, or slowed down for the recipient's domain, or its rate could not be asked for"),
	}
}

// spread keeps what is put off from coming back all at once.
func spread(d time.Duration) time.Duration {
	d = max(d, time.Second)
	return d + rand.N(d/2)
}
