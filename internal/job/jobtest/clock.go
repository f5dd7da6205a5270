package jobtest

import (
	"sync"
	"time"
)

// Clock is the time of a store under test. Now may go on by itself, as a
// database's does, or stand still until Advance.
type Clock interface {
	Now() time.Time
	Advance(d time.Duration)
}

// ManualClock is a Clock that stands still, in whole milliseconds as the
// databases keep them.
type ManualClock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock makes a ManualClock that shows the present: the domain checks some
// times of a request by the process's clock.
func NewClock() *ManualClock {
	c := &ManualClock{}
	c.Set(time.Now())
	return c
}

// Now is the time that it shows.
func (c *ManualClock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves it on by d.
func (c *ManualClock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = milli(c.now.Add(d))
}

// Set makes it show t.
func (c *ManualClock) Set(t time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = milli(t)
}

// milli is t as the databases keep it. The zero time stays zero.
func milli(t time.Time) time.Time {
	if t.IsZero() {
		return time.Time{}
	}
	return t.UTC().Truncate(time.Millisecond)
}
