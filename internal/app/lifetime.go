package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// lifetime is what must be ended, each with a name and a bound, in the
// opposite order of its beginning.
type lifetime struct {
	log *slog.Logger

	mu    sync.Mutex
	steps []cleanup
}

type cleanup struct {
	name  string
	limit time.Duration
	end   func(context.Context) error
}

// onStop registers a cleanup: on the line after what it ends was begun.
func (l *lifetime) onStop(name string, limit time.Duration, end func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.steps = append(l.steps, cleanup{name, limit, end})
}

// stop runs the cleanups and joins their errors. One that fails or does not
// heed its limit does not keep the others from running. The end of ctx cuts
// short what is being waited for; what comes after still has hurryLimit each.
func (l *lifetime) stop(ctx context.Context) error {
	var errs []error
	for {
		l.mu.Lock()
		n := len(l.steps)
		if n == 0 {
			l.mu.Unlock()
			return errors.Join(errs...)
		}
		step := l.steps[n-1]
		l.steps = l.steps[:n-1]
		l.mu.Unlock()
		errs = append(errs, step.run(ctx, l.log))
	}
}

// hurryLimit is what a cleanup has that begins when its caller's time is over.
const hurryLimit = 2 * time.Second

// patience is what a cleanup has beyond its limit to tell that it is over.
const patience = time.Second

func (c cleanup) run(ctx context.Context, log *slog.Logger) error {
	if ctx.Err() != nil {
		ctx, c.limit = context.WithoutCancel(ctx), min(c.limit, hurryLimit)
	}
	ctx, cancel := context.WithTimeout(ctx, c.limit)
	defer cancel()
	began := time.Now()
	ended := make(chan error, 1)
	go func() { ended <- c.end(ctx) }()
	abandon := time.NewTimer(c.limit + patience)
	defer abandon.Stop()
	select {
	case err := <-ended:
		log.Debug("stopped", "part", c.name, "took", time.Since(began))
		if err != nil {
			return fmt.Errorf("stopping %s: %w", c.name, err)
		}
		return nil
	case <-abandon.C:
		return fmt.Errorf("stopping %s: it did not end within %s and was left behind", c.name, c.limit)
	}
}
