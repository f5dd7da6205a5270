package mail

import (
	"testing"
	"testing/synctest"
	"time"
)

// recorded is a breaker and the states it went through.
func recorded() (*breaker, *[]breakerState) {
	states := new([]breakerState)
	return &breaker{changed: func(s breakerState, _ time.Duration) { *states = append(*states, s) }}, states
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, states := recorded()
		pass := func(v verdict) {
			t.Helper()
			leave, wait := b.enter()
			if leave == nil {
				t.Fatalf("%s: nothing may pass for %v", b.state(), wait)
			}
			leave(v)
		}
		for range breakerLimit - 1 {
			pass(providerDown)
		}
		pass(providerUp) // not in a row
		for range breakerLimit - 1 {
			pass(providerDown)
		}
		pass(noVerdict)
		straggler, _ := b.enter()
		pass(providerDown)

		// Open: each pause is twice the last, up to the longest.
		for pause := breakerPause; pause <= 2*breakerMaxPause; pause *= 2 {
			pause := min(pause, breakerMaxPause)
			leave, wait := b.enter()
			if leave != nil || wait < pause || wait > pause+pause/4 {
				t.Fatalf("%s: open for %v, want %v and up to a quarter more", b.state(), wait, pause)
			}
			if straggler != nil {
				straggler(providerDown) // begun before: it tells nothing new
				straggler = nil
			}
			time.Sleep(wait)
			probe, _ := b.enter()
			if probe == nil || b.state() != breakerHalfOpen {
				t.Fatalf("%s: nothing may try after the pause", b.state())
			}
			if second, wait := b.enter(); second != nil || wait <= 0 {
				t.Error("two may try at once")
			}
			probe(noVerdict) // it was cancelled: another may try
			pass(providerDown)
		}
		_, wait := b.enter()
		time.Sleep(wait)
		pass(providerUp)
		if got := (*states)[len(*states)-1]; got != breakerClosed || b.state() != breakerClosed {
			t.Errorf("went through %v", *states)
		}
		pass(providerDown) // one failure does not open it again
		pass(providerUp)
	})
}

// TestBreakerHearsGoodNews: a message that was under way when it opened and
// went well closes it.
func TestBreakerHearsGoodNews(t *testing.T) {
	b, _ := recorded()
	late, _ := b.enter()
	for range breakerLimit {
		leave, _ := b.enter()
		leave(providerDown)
	}
	if leave, _ := b.enter(); leave != nil {
		t.Fatal("it is not open")
	}
	late(providerUp)
	if leave, _ := b.enter(); leave == nil {
		t.Error("it is still open")
	}
}
