package mail

import (
	"strings"
	"sync"
	"time"
)

const (
	// paceFirst is the gap between two mails to a domain after its first
	// complaint. Each further one doubles it, each mail that is taken halves it.
	paceFirst = 2 * time.Second
	paceLast  = time.Minute
	// paceWorth is the gap that is not worth keeping any more: together with
	// paceIdle it makes the domains kept few.
	paceWorth = 250 * time.Millisecond
	paceIdle  = 10 * time.Minute
	// paceHorizon bounds how far ahead mails are put off.
	paceHorizon = 10 * time.Minute
	// maxPaced is how many domains are kept at most: beyond it none is added.
	maxPaced = 10_000
)

// paces slows down the mails to recipient domains that say they get too many,
// by one provider: another one is another sender to them. They are kept in this
// process.
type paces struct {
	mu      sync.Mutex
	domains map[string]*pace
}

type pace struct {
	gap  time.Duration
	last time.Time // when it was slowed down last
	next time.Time // when the next mail may go
	// promised is when the last of those that were put off will ask again:
	// each gets a time of its own, not all the same.
	promised time.Time
}

// enter asks to send to the domain now. When it may not, wait is when to ask
// again.
func (p *paces) enter(domain string) (wait time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	slowed := p.domains[domain]
	if slowed == nil {
		return 0, true
	}
	now := time.Now()
	if !slowed.next.After(now) {
		slowed.next = now.Add(slowed.gap)
		return 0, true
	}
	if slowed.promised.Before(slowed.next) {
		slowed.promised = slowed.next
	} else if slowed.promised.Sub(now) < paceHorizon {
		slowed.promised = slowed.promised.Add(slowed.gap)
	}
	return slowed.promised.Sub(now), false
}

// forgo tells that the mail did not go that entered last.
func (p *paces) forgo(domain string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slowed := p.domains[domain]; slowed != nil && slowed.next.After(slowed.last.Add(slowed.gap)) {
		slowed.next = time.Now()
	}
}

// leave tells how a mail to the domain went that entered then; err is nil of
// one that was taken.
func (p *paces) leave(domain string, entered time.Time, err *Error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	slowed := p.domains[domain]
	switch {
	case slowed != nil && entered.Before(slowed.last):
		// It was under way already: it tells nothing of the new pace.
	case err != nil && speaksOfRate(err):
		if slowed == nil {
			if slowed = p.add(domain); slowed == nil {
				return
			}
		}
		now := time.Now()
		slowed.gap = min(max(2*slowed.gap, paceFirst), paceLast)
		slowed.last, slowed.next = now, now.Add(slowed.gap)
	case err == nil && slowed != nil:
		if slowed.gap /= 2; slowed.gap < paceWorth {
			delete(p.domains, domain)
		}
	}
}

func (p *paces) add(domain string) *pace {
	if len(p.domains) >= maxPaced {
		for name, slowed := range p.domains {
			if time.Since(slowed.next) > paceIdle {
				delete(p.domains, name)
			}
		}
		if len(p.domains) >= maxPaced {
			return nil
		}
	}
	if p.domains == nil {
		p.domains = make(map[string]*pace)
	}
	slowed := new(pace)
	p.domains[domain] = slowed
	return slowed
}

// slowed is how many domains are, for metrics.
func (p *paces) slowed() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.domains)
}

// speaksOfRate tells the replies to a message that say there are too many: 421
// (RFC 5321 §4.2.3: the service is not available), 4.7.28 (in use for rate
// limits, by Google among others), and 4xx with the words that the large
// receivers use.
func speaksOfRate(e *Error) bool {
	switch e.Op {
	case opRcpt, opData, opDot: // what comes before speaks of no recipient
	default:
		return false
	}
	if e.Code/100 != 4 {
		return false
	}
	if e.Code == 421 || e.Enhanced == "4.7.28" {
		return true
	}
	reply := strings.ToLower(e.Reply)
	for _, words := range []string{
		"rate limit", "ratelimit", "rate-limit", "sending rate", "too many", "too fast", "too quickly",
		"throttl", "limit exceeded", "exceeded the limit", "exceeds the limit", "quota for this hour", "at a rate", "deferred due to", "slow down",
	} {
		if strings.Contains(reply, words) {
			return true
		}
	}
	return false
}
