package mail

import (
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// breakerLimit is how many sessions in a row must fail for a provider to be
	// left alone.
	breakerLimit = 5
	// It is left alone for breakerPause, then twice that, and so on.
	breakerPause    = 10 * time.Second
	breakerMaxPause = 5 * time.Minute
	// probeWait is when to ask again while one message is trying it.
	probeWait = 5 * time.Second
)

// verdict is what a message's sending told of the provider.
type verdict int

const (
	noVerdict    verdict = iota // the caller ended it, or the server was not asked
	providerUp                  // it answered, whatever it said about the message
	providerDown                // no session, a 421, or silence
)

// breakerState is what metrics and logs call it.
type breakerState string

const (
	breakerClosed   breakerState = "closed"    // all may pass
	breakerOpen     breakerState = "open"      // none may
	breakerHalfOpen breakerState = "half_open" // one message is under way to find out
)

// breaker keeps messages from a provider that is down. When its pause is over
// one message at a time may try; the first that finds the provider up closes
// it.
type breaker struct {
	changed func(breakerState, time.Duration) // called with the lock held

	mu       sync.Mutex
	failures int           // in a row
	pause    time.Duration // the last one; 0: closed
	until    time.Time     // the end of the pause
	probing  bool
}

// enter asks to pass. When it may, leave must be called with how it went; when
// it may not, leave is nil and wait is how long there is no use in asking again.
func (b *breaker) enter() (leave func(verdict), wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.pause == 0 {
		return b.leave, 0
	}
	if left := time.Until(b.until); left > 0 {
		return nil, left
	}
	if b.probing {
		return nil, probeWait
	}
	b.probing = true
	b.changed(breakerHalfOpen, 0)
	return b.leaveProbe, 0
}

func (b *breaker) leave(v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch v {
	case providerUp:
		b.close()
	case providerDown:
		// Those that were under way when it opened tell nothing new.
		if b.failures++; b.pause == 0 && b.failures >= breakerLimit {
			b.open()
		}
	}
}

func (b *breaker) leaveProbe(v verdict) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.probing = false
	switch v {
	case providerUp:
		b.close()
	case providerDown:
		b.open()
	}
}

func (b *breaker) close() {
	b.failures = 0
	if b.pause > 0 {
		b.pause = 0
		b.changed(breakerClosed, 0)
	}
}

func (b *breaker) open() {
	b.pause = min(max(2*b.pause, breakerPause), breakerMaxPause)
	// Not all workers of a fleet at the same moment.
	wait := b.pause + rand.N(b.pause/4)
	b.until = time.Now().Add(wait)
	b.changed(breakerOpen, wait)
}

// state is for metrics.
func (b *breaker) state() breakerState {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.pause == 0:
		return breakerClosed
	case b.probing:
		return breakerHalfOpen
	default:
		return breakerOpen
	}
}
