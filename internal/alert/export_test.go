package alert

import "time"

// Hurry makes the rounds of a Watch that is not started come as often.
func (w *Watch) Hurry(every time.Duration) { w.looks.Every, w.sends.Every = every, every }

// Hurry makes the rounds of a Reporter that is not started come as often.
func (r *Reporter) Hurry(every time.Duration) { r.rounds.Every = every }

// The schedule of attempts.
var (
	PauseAfter   = pauseAfter
	MostAttempts = mostAttempts
)
