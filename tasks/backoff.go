package tasks

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Backoff spaces a job's attempts: exponential from Base, at most Max, with
// Jitter to keep jobs that failed together from coming back together.
type Backoff struct {
	Base time.Duration // wait after the first failed attempt
	Max  time.Duration // longest wait, jitter aside
	// Jitter is the share of the wait that is drawn by chance, 0 to 1: with
	// 0.2 the wait is between 80 % and 120 % of its nominal length.
	Jitter float64
}

// DefaultBackoff waits 5 s, 10 s, 20 s … up to an hour, give or take 20 %.
var DefaultBackoff = Backoff{Base: 5 * time.Second, Max: time.Hour, Jitter: 0.2}

func (b Backoff) check() error {
	if b.Base <= 0 || b.Max < b.Base || b.Jitter < 0 || b.Jitter > 1 {
		return errors.New("its backoff must have 0 < base <= max and a jitter from 0 to 1")
	}
	return nil
}

// After returns how long to wait after the attempt with that number, counted
// from 1.
func (b Backoff) After(attempt int) time.Duration {
	wait := b.Max
	// Base << 62 would overflow; long before that Max rules.
	if shift := attempt - 1; shift < 40 {
		if w := b.Base << max(shift, 0); w > 0 && w < b.Max {
			wait = w
		}
	}
	return wait + time.Duration((rand.Float64()*2-1)*b.Jitter*float64(wait))
}
