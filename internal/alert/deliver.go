package alert

import (
	"context"
	"sync"
	"time"
)

const (
	// claimHold is how long a notice is kept from others: longer than a delivery
	// may take.
	claimHold    = time.Minute
	deliverLimit = 30 * time.Second
	// stopGrace is what one under way has when the process ends: told and not known
	// to be told, it would be told once more.
	stopGrace = time.Second
	// A target that fails is tried again after firstPause, then twice that, and so
	// on, and each notice for giveUpAfter.
	firstPause  = 5 * time.Second
	longPause   = 10 * time.Minute
	giveUpAfter = 24 * time.Hour
	// mostAtOnce bounds how many notices of each target one round delivers.
	mostAtOnce = 50
)

// The results of an attempt.
const (
	resultDelivered = "delivered"
	resultFailed    = "failed"
	resultGivenUp   = "given_up"
)

// deliver sends what is due, the targets side by side, each one's notices in their
// order. An error is the database's; a target's is its own affair.
func (w *Watch) deliver(ctx context.Context) error {
	for range mostAtOnce {
		due, err := w.o.Store.Claim(ctx, claimHold)
		if err != nil || len(due) == 0 {
			return err
		}
		errs := make([]error, len(due))
		var all sync.WaitGroup
		for i, n := range due {
			all.Go(func() { errs[i] = w.send(ctx, n) })
		}
		all.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// send delivers one notice and notes how that went.
func (w *Watch) send(ctx context.Context, n Notice) error {
	t, set := w.targets[n.Target]
	if !set { // it is no longer in the settings
		return w.o.Store.Delivered(ctx, n.ID)
	}
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), deliverLimit)
	spare := context.AfterFunc(ctx, func() { time.AfterFunc(stopGrace, cancel) })
	err := t(bounded, n)
	spare()
	cancel()
	log := w.log.With("target", n.Target, "rule", n.Rule, "subject", n.Subject, "kind", n.Kind, "attempt", n.Attempts)
	switch {
	case err == nil:
		w.notices.WithLabelValues(metricTarget(n.Target), resultDelivered).Inc()
		log.Info("a notice was delivered")
		return w.o.Store.Delivered(context.WithoutCancel(ctx), n.ID)
	case ctx.Err() != nil: // this process ends, and another goes on
		return w.o.Store.Postpone(context.WithoutCancel(ctx), n.ID, 0)
	case n.Attempts >= mostAttempts:
		w.notices.WithLabelValues(metricTarget(n.Target), resultGivenUp).Inc()
		log.Error("a notice is given up", "err", err)
		return w.o.Store.Delivered(ctx, n.ID)
	}
	w.notices.WithLabelValues(metricTarget(n.Target), resultFailed).Inc()
	log.Warn("a notice could not be delivered; it is tried again", "err", err)
	return w.o.Store.Postpone(ctx, n.ID, pauseAfter(n.Attempts))
}

// pauseAfter is how long to wait after so many attempts.
func pauseAfter(attempts int) time.Duration {
	pause := firstPause
	for ; attempts > 1 && pause < longPause; attempts-- {
		pause *= 2
	}
	return min(pause, longPause)
}

// mostAttempts is how many there are in giveUpAfter.
var mostAttempts = func() int {
	n := 1
	for waited := pauseAfter(n); waited < giveUpAfter; waited += pauseAfter(n) {
		n++
	}
	return n
}()
