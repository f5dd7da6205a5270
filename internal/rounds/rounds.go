// Package rounds does something again and again in the background, and tells of
// an outage once, however long it lasts.
package rounds

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// Rounds are made from Start to Stop, one after the other. The fields are set
// before Start.
type Rounds struct {
	Every  time.Duration               // between the beginnings of two
	Nudged <-chan struct{}             // begins one at once; may be nil
	Round  func(context.Context) error // bounds itself; its context ends with Stop
	Log    *slog.Logger
	// Failing and Well are what is logged when rounds begin to fail and when
	// they no longer do.
	Failing, Well string

	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// Start makes a round now and then every so often. It can be called once.
func (r *Rounds) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.wait.Go(func() {
		tick := time.NewTicker(r.Every)
		defer tick.Stop()
		failing := false
		for {
			err := r.Round(ctx)
			switch {
			case err != nil && ctx.Err() == nil && !failing:
				r.Log.Error(r.Failing, "err", err)
			case err == nil && failing:
				r.Log.Info(r.Well)
			}
			failing = err != nil
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			case <-r.Nudged:
			}
		}
	})
}

// Stop ends a round that is under way and waits for it. Without Start it does
// nothing.
func (r *Rounds) Stop() {
	if r.cancel != nil {
		r.cancel()
	}
	r.wait.Wait()
}
