package limit

import (
	"context"
	"crypto/rand"
	"sync"
	"time"
)

// enter takes a place, waiting for one as long as patience; nil when there was
// none.
func (f *Fleet) enter(ctx context.Context, d *door, patience time.Duration) (leave func(), err error) {
	if d.rule.Concurrency == 0 {
		return open.Leave, nil
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-limit.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	token := rand.Text()
	for {
		entered, err := f.occupy(ctx, d, token)
		if err != nil {
			return nil, err
		}
		if entered {
			d.hold(token)
			return sync.OnceFunc(func() { f.vacate(d, token) }), nil
		}
		knock := time.NewTimer(knockEvery)
		select {
		case <-d.left:
		case <-knock.C:
		case <-limit.C:
			knock.Stop()
			return nil, nil
		case <-ctx.Done():
			knock.Stop()
			return nil, context.Cause(ctx)
		}
		knock.Stop()
	}
}

func (f *Fleet) occupy(ctx context.Context, d *door, token string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, fleetAnswer)
	defer cancel()
	return enterScript.Run(ctx, f.rdb, []string{d.places}, d.rule.Concurrency, placeLease.Milliseconds(), token).Bool()
}

// vacate leaves a place. If Redis does not hear of it, the place is free when
// its lease ends.
func (f *Fleet) vacate(d *door, token string) {
	d.mu.Lock()
	delete(d.held, token)
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), fleetAnswer)
	defer cancel()
	if err := f.rdb.ZRem(ctx, d.places, token).Err(); err != nil {
		f.log.Debug("a place was not given back; it stays taken until its lease ends", "limit", d.name, "err", err)
	}
	select {
	case d.left <- struct{}{}:
	default:
	}
}

func (d *door) hold(token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[token] = true
}

func (f *Fleet) extend(ctx context.Context, d *door) {
	d.mu.Lock()
	args := []any{placeLease.Milliseconds()}
	for token := range d.held {
		args = append(args, token)
	}
	d.mu.Unlock()
	if len(args) == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fleetAnswer)
	defer cancel()
	if err := extendScript.Run(ctx, f.rdb, []string{d.places}, args...).Err(); err != nil && ctx.Err() == nil {
		f.log.Warn("places under a limit could not be kept", "limit", d.name, "places", len(args)-1, "err", err)
	}
}
