// Package outage spares callers the wait for something that is away: one that
// is asked on behalf of every request, and that every request can do without.
package outage

import (
	"sync/atomic"
	"time"
)

// Gate tells whether to ask. It is safe for concurrent use.
type Gate struct {
	pause time.Duration
	start time.Time
	// until is when it may be asked again, in nanoseconds since start; 0 while it
	// answers.
	until atomic.Int64
}

// NewGate makes a gate that lets one caller through a pause while what is behind
// it is away, so that an outage costs one caller a pause its wait, and not every
// one.
func NewGate(pause time.Duration) *Gate { return &Gate{pause: pause, start: time.Now()} }

// Open reports whether to ask now: always, as long as it answers. Whoever is
// let through says Failed or Answered.
func (g *Gate) Open() bool {
	until := g.until.Load()
	if until == 0 {
		return true
	}
	now := time.Since(g.start)
	return now >= time.Duration(until) && g.until.CompareAndSwap(until, int64(now+g.pause))
}

// Failed begins or prolongs an outage, and reports whether it has just begun.
func (g *Gate) Failed() (began bool) {
	return g.until.Swap(int64(time.Since(g.start)+g.pause)) == 0
}

// Answered ends an outage, and reports whether there was one.
func (g *Gate) Answered() (ended bool) {
	return g.until.Load() != 0 && g.until.Swap(0) != 0
}
