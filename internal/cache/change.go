package cache

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// tellAtOnce is the most deletions in one round trip.
const tellAtOnce = 1000

// changes are things that have changed and are still to be told of.
type changes struct {
	nudge chan struct{}

	mu    sync.Mutex
	count int
	of    map[string]change
}

// change is the last one of a thing.
type change struct {
	n  int // tells it from another of the same thing
	at time.Time
}

func newChanges() changes {
	return changes{nudge: make(chan struct{}, 1), of: map[string]change{}}
}

func (c *changes) add(things []string, now time.Time) map[string]change {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count++
	added := make(map[string]change, len(things))
	for _, thing := range things {
		added[thing] = change{c.count, now}
	}
	maps.Copy(c.of, added)
	return added
}

// touch reports whether one of the things is to be told of.
func (c *changes) touch(things []string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.of) == 0 {
		return false
	}
	return slices.ContainsFunc(things, func(thing string) bool { _, is := c.of[thing]; return is })
}

// waiting lists what is to be told, but for what has waited for Longest: no
// answer from before is kept any more.
func (c *changes) waiting(now time.Time) map[string]change {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.of, func(_ string, one change) bool { return now.Sub(one.at) > Longest })
	return maps.Clone(c.of)
}

// done notes that changes have been told, unless a thing has changed again.
func (c *changes) done(things []string, told map[string]change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, thing := range things {
		if c.of[thing].n == told[thing].n {
			delete(c.of, thing)
		}
	}
}

// Changed says that things have changed, and never blocks: this process gives no
// answer from before any more, and the others will not a moment later.
func (s *Store) Changed(of ...string) {
	s.changes.add(of, s.now())
	select {
	case s.changes.nudge <- struct{}{}:
	default: // it is awake
	}
}

// Drop says that things have changed: when it returns no process gives an answer
// from before any more. If Redis does not answer within 100 ms that holds for
// this process only, and for the others when Redis is back, or after Longest.
// The change must have been committed. It does not heed the end of ctx.
func (s *Store) Drop(ctx context.Context, of ...string) {
	// When this fails, the rounds try again.
	if err := s.delete(context.WithoutCancel(ctx), s.changes.add(of, s.now())); err != nil {
		s.log.Debug("a change could not be told yet", "err", err)
	}
}

// tell tells of all changes that are waiting.
func (s *Store) tell(ctx context.Context) error { return s.delete(ctx, s.changes.waiting(s.now())) }

var errClosed = errors.New("telling of changes: Redis did not answer a moment ago")

// delete deletes the versions of things.
func (s *Store) delete(ctx context.Context, changed map[string]change) error {
	for things := range slices.Chunk(slices.Collect(maps.Keys(changed)), tellAtOnce) {
		if !s.gate.Open() {
			return errClosed
		}
		bounded, cancel := context.WithTimeout(ctx, s.limit)
		_, err := s.redis.Pipelined(bounded, func(pipe redis.Pipeliner) error {
			for _, thing := range things {
				pipe.Del(bounded, versionKey(thing))
			}
			return nil
		})
		cancel()
		if !s.heard(ctx, err) {
			return fmt.Errorf("telling of changes: %w", err)
		}
		s.changes.done(things, changed)
	}
	return nil
}
