package mail

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/limit"
)

const (
	// turnPatience is the longest that a mail waits in its run for its turn at a
	// provider.
	turnPatience = 200 * time.Millisecond
	// awayPause is when to ask again for a rate that could not be asked for.
	awayPause = 2 * time.Second
)

// ask is how a provider's rate over all workers is asked for: [limit.Fleet.Try],
// or keepTurn.
type ask func(context.Context, limit.Key, string) (limit.Pass, error)

// keepTurn asks for a turn that is kept until the mail comes back.
func (p *provider) keepTurn(ctx context.Context, k limit.Key, id string) (limit.Pass, error) {
	return p.limits.Pass(ctx, k, id, turnPatience)
}

// entry is what a mail's coming to a provider came to.
type entry struct {
	// leave must be called with what came of the mail; nil unless it may be
	// offered.
	leave func(ctx context.Context, err error)
	// after is when to ask again otherwise.
	after time.Duration
	// full tells that the provider has had its share, and nothing else is in
	// the way.
	full bool
}

// enter asks whether the provider may be offered the mail to the domain now.
// What costs nothing is asked first, the rate last: who is granted it begins.
func (p *provider) enter(ctx context.Context, id, domain string, rate ask) entry {
	report, wait := p.breaker.enter()
	if report == nil {
		return entry{after: wait}
	}
	if wait, ok := p.paces.enter(domain); !ok {
		report(noVerdict)
		return entry{after: wait}
	}
	pass, err := rate(ctx, limit.OfProvider(p.name), id)
	if !pass.Granted() {
		report(noVerdict)
		p.paces.forgo(domain)
		if err != nil {
			return entry{after: awayPause}
		}
		return entry{after: pass.After, full: true}
	}
	entered := time.Now()
	return entry{leave: func(ctx context.Context, err error) {
		e := asError(err)
		report(judge(ctx, e))
		p.paces.leave(domain, entered, e)
		p.metrics.sent(p.name, e)
	}}
}
