package job

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	feedEvery     = 100 * time.Millisecond // how often the log is read while somebody follows
	feedRetry     = time.Second            // after a failure
	feedWait      = 5 * time.Second        // bound of one read
	feedKeep      = 8192                   // events in memory, at least, of those there were; twice as many at most
	feedPage      = 500                    // events that a follower gets at once, at most
	feedFollowers = 1000
)

// Feed tells of jobs' events as they happen, in the order of their numbers and
// without passing one over, whichever process has caused them. One goroutine
// reads the log for all that follow, and rests while nobody does.
//
// A follower that is slow holds nobody up: it falls behind and is served from
// the log.
type Feed struct {
	log  EventLog
	warn *slog.Logger

	cancel context.CancelFunc
	ended  chan struct{}
	wake   chan struct{} // holds one when a follower came

	mu        sync.Mutex
	followers int
	closed    bool
	changed   chan struct{} // closed and made anew when what follows changes
	known     bool          // whether end is
	end       int64         // every event up to this number can be had
	recent    []JobEvent    // all events behind from, up to end
	from      int64
}

// Errors of a Feed. Both have CodeTemporary: another process may serve.
var (
	ErrFeedClosed = Errorf(CodeTemporary, "this process is stopping")
	errFeedFull   = Errorf(CodeTemporary, "too many follow the events of this process")
)

// NewFeed makes a Feed; Start it before use and Close it after.
func NewFeed(events EventLog, log *slog.Logger, reg prometheus.Registerer) *Feed {
	f := &Feed{
		log: events, warn: log.With("component", "feed"),
		wake: make(chan struct{}, 1), changed: make(chan struct{}),
	}
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postrider_event_followers", Help: "Event streams and requests that wait for a job to end.",
	}, func() float64 {
		f.mu.Lock()
		defer f.mu.Unlock()
		return float64(f.followers)
	}))
	return f
}

// Start begins to serve, once.
func (f *Feed) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.ended = cancel, make(chan struct{})
	go func() {
		defer close(f.ended)
		for f.rest(ctx) {
			f.read(ctx)
		}
	}()
}

// Close ends every follower's waiting with ErrFeedClosed, and the reading.
// Closing twice is no error.
func (f *Feed) Close() {
	f.mu.Lock()
	if !f.closed {
		f.closed = true
		f.tell()
	}
	f.mu.Unlock()
	if f.cancel != nil {
		f.cancel()
		<-f.ended
	}
}

// tell wakes all that wait. The lock is held.
func (f *Feed) tell() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// rest waits until somebody follows; false means that ctx ended.
func (f *Feed) rest(ctx context.Context) bool {
	for {
		f.mu.Lock()
		n := f.followers
		f.mu.Unlock()
		if n > 0 {
			return ctx.Err() == nil
		}
		select {
		case <-f.wake:
		case <-ctx.Done():
			return false
		}
	}
}

// read reads the log from its end on until nobody follows any more.
func (f *Feed) read(ctx context.Context) {
	t := tail{log: f.log}
	failing := false
	for {
		again, err := f.turn(ctx, &t)
		if ctx.Err() != nil {
			return
		}
		pause := feedEvery
		switch {
		case err != nil:
			pause = feedRetry
			if !failing {
				f.warn.Warn("events cannot be read; who follows them waits", "err", err)
			}
		case again:
			pause = 0
		}
		failing = err != nil
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if f.forget() {
			return
		}
	}
}

// turn reads once and passes on what it read.
func (f *Feed) turn(ctx context.Context, t *tail) (again bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, feedWait)
	defer cancel()
	if !t.begun {
		if begun, err := t.begin(ctx); !begun {
			return false, err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.known, f.end, f.from, f.recent = true, t.at, t.at, nil
		f.tell()
		return true, nil
	}
	events, again, err := t.next(ctx)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.end == t.at {
		return again, err
	}
	f.end = t.at
	f.recent = append(f.recent, events...)
	if over := len(f.recent) - feedKeep; over >= feedKeep {
		f.from = f.recent[over-1].Seq
		f.recent = slices.Clone(f.recent[over:])
	}
	f.tell()
	return again, err
}

// forget drops what is in memory when nobody follows, and reports that.
func (f *Feed) forget() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers > 0 {
		return false
	}
	f.known, f.end, f.from, f.recent = false, 0, 0, nil
	return true
}

// Follower is one reader's place in the events. It is for one goroutine.
type Follower struct {
	feed *Feed
	at   int64
}

// Follow begins behind the event of that number, or with what happens from now
// on where it is negative. It waits until the log's end is known. The follower
// must be closed. Where this process cannot serve another one, or stops, the
// error has CodeTemporary.
func (f *Feed) Follow(ctx context.Context, after int64) (*Follower, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.followers >= feedFollowers {
		return nil, errFeedFull
	}
	f.followers++
	select {
	case f.wake <- struct{}{}:
	default:
	}
	for f.closed || !f.known {
		if err := f.await(ctx); err != nil {
			f.followers--
			return nil, err
		}
	}
	if after < 0 {
		after = f.end
	}
	return &Follower{feed: f, at: after}, nil
}

// await gives the lock up until something changes.
func (f *Feed) await(ctx context.Context) error {
	if f.closed {
		return ErrFeedClosed
	}
	changed := f.changed
	f.mu.Unlock()
	defer f.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return Wrap(CodeTemporary, context.Cause(ctx), "no events could be read in time")
		}
		return context.Cause(ctx)
	}
}

// Close ends the following.
func (w *Follower) Close() {
	w.feed.mu.Lock()
	defer w.feed.mu.Unlock()
	w.feed.followers--
}

// At is the number up to which the follower has been told of all events.
func (w *Follower) At() int64 { return w.at }

// Next waits for events and returns those that follow, in their order, some
// hundred at once. Its errors are ErrFeedClosed, ctx's own, and the log's.
func (w *Follower) Next(ctx context.Context) ([]JobEvent, error) {
	f := w.feed
	f.mu.Lock()
	for f.closed || f.end <= w.at {
		if err := f.await(ctx); err != nil {
			f.mu.Unlock()
			return nil, err
		}
	}
	end, from, recent := f.end, f.from, f.recent
	f.mu.Unlock()
	if w.at >= from {
		first, _ := slices.BinarySearchFunc(recent, w.at+1, func(e JobEvent, seq int64) int { return int(e.Seq - seq) })
		recent = recent[first:]
		if len(recent) > feedPage {
			recent = recent[:feedPage]
			end = recent[feedPage-1].Seq
		}
		w.at = end
		return recent, nil
	}
	ctx, cancel := context.WithTimeout(ctx, feedWait)
	defer cancel()
	page, err := f.log.EventsAfter(ctx, w.at, feedPage)
	if err != nil {
		return nil, err
	}
	events := page.Events
	if n := slices.IndexFunc(events, func(e JobEvent) bool { return e.Seq > end }); n >= 0 {
		events = events[:n] // what is behind the end may have gaps
	} else if len(events) == feedPage {
		end = events[feedPage-1].Seq
	}
	w.at = end
	return events, nil
}
