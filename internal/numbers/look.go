package numbers

import (
	"context"
	"errors"
	"sync"
	"time"
)

const (
	// lookLimit bounds one look at everything.
	lookLimit = 2 * time.Second
	// workersEvery is how long a list of the workers is good for: they renew what
	// they say as often.
	workersEvery = 5 * time.Second
	// grace is how long after a second's end its events may still come to light.
	// Those that take longer are counted when the second is counted again.
	grace = 300 * time.Millisecond
	// again is how many seconds before the new ones are counted again.
	again = 2
	// mostEvents bounds how far back events are read at first.
	mostEvents = 200_000
)

// What a part's problem is called.
const (
	partQueues, partWorkers, partRates, partConnections = "queues", "workers", "rates", "connections"

	noRedis    = "Redis does not answer"
	noDatabase = "the database does not answer"
)

// look is what one look at everything has seen. A part whose error is set is
// without value.
type look struct {
	at       time.Time // by this process' clock
	counts   []Count
	queueErr error
	workers  []Worker
	workErr  error
	live     *Connections
	liveErr  error
	tally    Tally
	from, to Second // the span of the tally, whose seconds from begin on are new
	begin    Second
	tallyErr error
	queues   []Queue // as told
}

func (l look) err() error { return errors.Join(l.queueErr, l.workErr, l.liveErr, l.tallyErr) }

// problems says what cannot be told, nil for nothing.
func (l look) problems() map[string]string {
	out := map[string]string{}
	for part, why := range map[string]struct {
		err  error
		text string
	}{
		partQueues: {l.queueErr, noRedis}, partWorkers: {l.workErr, noRedis},
		partConnections: {l.liveErr, noRedis}, partRates: {l.tallyErr, noDatabase},
	} {
		if why.err != nil {
			out[part] = why.text
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// look looks at everything at once, so that who does not answer keeps nobody
// else's answer. The caller holds c.looking.
func (c *Collector) look(ctx context.Context) look {
	ctx, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	l := look{at: time.Now(), workers: c.workers}
	var parts sync.WaitGroup
	parts.Go(func() { l.counts, l.queueErr = c.o.Engine.Count(ctx) })
	if l.at.Sub(c.workersAt) >= workersEvery {
		parts.Go(func() { l.workers, l.workErr = c.o.Engine.Workers(ctx) })
	}
	if c.o.Connections != nil {
		parts.Go(func() { l.live, l.liveErr = c.o.Connections(ctx) })
	}
	parts.Go(func() { l.tallyErr = c.tally(ctx, &l) })
	parts.Wait()
	if l.workErr != nil {
		c.workersAt, c.workers = time.Time{}, nil
	} else if l.at.Sub(c.workersAt) >= workersEvery {
		c.workersAt, c.workers = l.at, l.workers
	}
	return l
}

// mark is a moment of the database's clock, and the highest number that an event
// had then: every event of a later second has a higher one.
type mark struct {
	at  time.Time
	seq int64
}

// tally counts the events of the seconds that are over, from a little before
// those that were counted last.
func (c *Collector) tally(ctx context.Context, l *look) error {
	now := l.at.Add(c.offset)
	l.to = Second(now.Add(-grace).Unix())
	l.begin = c.counted
	l.from = max(c.counted-again, l.to-Kept)
	after, known := c.after(l.from)
	if !known {
		end, _, err := c.o.Log.EventsEnd(ctx)
		if err != nil {
			return err
		}
		after = max(end-mostEvents, 0)
	}
	got, err := c.o.Log.Tally(ctx, after, l.from, l.to)
	if err != nil {
		return err
	}
	l.tally = got
	c.offset = got.Now.Sub(l.at)
	c.counted = l.to
	c.marks = append(c.marks, mark{got.Now, got.End})
	return nil
}

// after is the number above which all events of the second and later ones are.
// It forgets the marks that are of no use any more.
func (c *Collector) after(from Second) (seq int64, known bool) {
	for len(c.marks) > 0 {
		// A second more, since the number was read a moment after the clock.
		if time.Unix(int64(from), 0).Sub(c.marks[0].at) < time.Second {
			break
		}
		seq, known = c.marks[0].seq, true
		if len(c.marks) == 1 || time.Unix(int64(from), 0).Sub(c.marks[1].at) < time.Second {
			break
		}
		c.marks = c.marks[1:]
	}
	return seq, known
}
