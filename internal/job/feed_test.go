package job_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// growing is an EventLog that holds the numbers up to end.
type growing struct {
	end   atomic.Int64
	reads atomic.Int64
	away  atomic.Bool
}

func (g *growing) EventsAfter(_ context.Context, seq int64, limit int) (job.EventPage, error) {
	g.reads.Add(1)
	if g.away.Load() {
		return job.EventPage{}, errors.New("the database is away")
	}
	var page job.EventPage
	for end := g.end.Load(); seq < end && len(page.Events) < limit; {
		seq++
		page.Events = append(page.Events, job.JobEvent{Event: job.Event{Seq: seq}})
	}
	return page, nil
}

func (g *growing) EventsEnd(context.Context) (seq, mark int64, err error) {
	return g.end.Load(), 0, nil
}

func newFeed(t *testing.T, events job.EventLog, log *slog.Logger) *job.Feed {
	t.Helper()
	f := job.NewFeed(events, log, prometheus.NewRegistry())
	f.Start()
	t.Cleanup(f.Close)
	return f
}

func follow(t *testing.T, f *job.Feed, after int64) *job.Follower {
	t.Helper()
	follower, err := f.Follow(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	return follower
}

// read takes events until it has been told of one, and returns their numbers.
func read(t *testing.T, follower *job.Follower, until int64) (seqs []int64) {
	t.Helper()
	for follower.At() < until {
		events, err := follower.Next(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			seqs = append(seqs, e.Seq)
		}
	}
	return seqs
}

func wantSeqs(t *testing.T, got []int64, from, to int64) {
	t.Helper()
	var want []int64
	for seq := from; seq <= to; seq++ {
		want = append(want, seq)
	}
	if !slices.Equal(got, want) {
		t.Errorf("it tells %d events, of %v; want %d to %d", len(got), got[:min(len(got), 5)], from, to)
	}
}

// TestFeed holds that each follower is told all events behind its place: from
// memory, or, far behind, from the log.
func TestFeed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &growing{}
		g.end.Store(50_000)
		f := newFeed(t, g, slog.New(slog.DiscardHandler))
		now, early, ahead := follow(t, f, -1), follow(t, f, 10), follow(t, f, 50_010)
		if now.At() != 50_000 {
			t.Errorf("it begins behind %d", now.At())
		}
		slow := follow(t, f, -1)
		g.end.Add(40_000) // more than is kept in memory
		wantSeqs(t, read(t, now, 90_000), 50_001, 90_000)
		wantSeqs(t, read(t, early, 90_000), 11, 90_000)
		wantSeqs(t, read(t, ahead, 90_000), 50_011, 90_000)
		wantSeqs(t, read(t, slow, 90_000), 50_001, 90_000)
		for range 3 {
			g.end.Add(1)
			wantSeqs(t, read(t, now, g.end.Load()), g.end.Load(), g.end.Load())
		}
		for _, follower := range []*job.Follower{now, early, ahead, slow} {
			follower.Close()
		}
	})
}

// TestFeedIsPrompt holds that an event is told within a quarter of a second.
func TestFeedIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &growing{}
		f := newFeed(t, g, slog.New(slog.DiscardHandler))
		follower := follow(t, f, -1)
		defer follower.Close()
		for range 20 {
			time.Sleep(37 * time.Millisecond)
			began := time.Now()
			g.end.Add(1)
			read(t, follower, g.end.Load())
			if took := time.Since(began); took > 250*time.Millisecond {
				t.Errorf("it took %v", took)
			}
		}
	})
}

// TestFeedRests holds that the log is not read while nobody follows, and that
// who comes then begins where the log ends then.
func TestFeedRests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &growing{}
		f := newFeed(t, g, slog.New(slog.DiscardHandler))
		for range 2 {
			follower := follow(t, f, -1)
			g.end.Add(1)
			read(t, follower, g.end.Load())
			follower.Close()
			time.Sleep(time.Second)
			before := g.reads.Load()
			g.end.Add(5)
			time.Sleep(time.Minute)
			if n := g.reads.Load() - before; n != 0 {
				t.Errorf("the log was read %d times for nobody", n)
			}
		}
		follower := follow(t, f, -1)
		defer follower.Close()
		if follower.At() != g.end.Load() {
			t.Errorf("it begins behind %d, want %d", follower.At(), g.end.Load())
		}
	})
}

// TestFeedBearsOutages holds that a log which cannot be read costs time only,
// and one line.
func TestFeedBearsOutages(t *testing.T) {
	log, lines := testkit.CaptureLog(t)
	synctest.Test(t, func(t *testing.T) {
		g := &growing{}
		f := newFeed(t, g, log)
		follower := follow(t, f, -1)
		defer follower.Close()
		g.away.Store(true)
		g.end.Add(3)
		time.Sleep(10 * time.Second)
		g.away.Store(false)
		wantSeqs(t, read(t, follower, 3), 1, 3)
	})
	if n := lines.Count("cannot be read"); n != 1 {
		t.Errorf("it was logged %d times", n)
	}
}

// TestFeedEnds holds that nobody waits for a feed that is closed, that a
// follower's own end is its own, and that there is a bound.
func TestFeedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &growing{}
		f := newFeed(t, g, slog.New(slog.DiscardHandler))
		var all sync.WaitGroup
		for range 1000 {
			follower := follow(t, f, -1)
			all.Go(func() {
				defer follower.Close()
				if _, err := follower.Next(t.Context()); !errors.Is(err, job.ErrFeedClosed) {
					t.Errorf("it ends with %v", err)
				}
			})
		}
		if _, err := f.Follow(t.Context(), -1); job.CodeOf(err) != job.CodeTemporary {
			t.Errorf("one too many: %v", err)
		}
		synctest.Wait()
		f.Close()
		f.Close()
		all.Wait()
		if _, err := f.Follow(t.Context(), -1); !errors.Is(err, job.ErrFeedClosed) {
			t.Errorf("following what is closed: %v", err)
		}

		open := newFeed(t, g, slog.New(slog.DiscardHandler))
		follower := follow(t, open, -1)
		defer follower.Close()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := follower.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("whose time is over: %v", err)
		}
		g.away.Store(true)
		begin, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		dead := newFeed(t, g, slog.New(slog.DiscardHandler))
		if _, err := dead.Follow(begin, -1); job.CodeOf(err) != job.CodeTemporary {
			t.Errorf("following what cannot be read: %v", err)
		}
	})
}
