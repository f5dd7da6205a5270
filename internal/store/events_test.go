package store_test

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// watched tells when its events were read.
type watched struct {
	*store.Store
	reads chan struct{}
}

func (w watched) EventsAfter(ctx context.Context, seq int64, limit int) (job.EventPage, error) {
	page, err := w.Store.EventsAfter(ctx, seq, limit)
	select {
	case w.reads <- struct{}{}:
	case <-ctx.Done():
	}
	return page, err
}

// eventsRig follows the events of a PostgreSQL on which the test has
// transactions of its own.
type eventsRig struct {
	t     *testing.T
	ctx   context.Context
	db    *sql.DB
	store watched
	feed  *job.Feed

	readers *sync.WaitGroup // that release began
}

func newEventsRig(t *testing.T) *eventsRig {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	var readers sync.WaitGroup
	t.Cleanup(func() { cancel(); readers.Wait() })
	url := testkit.Postgres(t)
	r := &eventsRig{t: t, ctx: ctx, readers: &readers, store: watched{open(t, url, store.Options{}), make(chan struct{})}, db: raw(t, url)}
	r.feed = job.NewFeed(r.store, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	r.feed.Start()
	t.Cleanup(r.feed.Close)
	return r
}

// turns lets the feed read so often, and end what it does with all but the last.
func (r *eventsRig) turns(n int) {
	r.t.Helper()
	for range n {
		select {
		case <-r.store.reads:
		case <-r.ctx.Done():
			r.t.Fatal("nobody reads the events")
		}
	}
}

// release lets the feed read on by itself.
func (r *eventsRig) release() {
	r.readers.Go(func() {
		for {
			select {
			case <-r.store.reads:
			case <-r.ctx.Done():
				return
			}
		}
	})
}

// write begins a transaction that writes an event, and returns the event's
// number.
func (r *eventsRig) write() (*sql.Tx, int64) {
	r.t.Helper()
	tx, err := r.db.BeginTx(r.ctx, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() {
		if err := tx.Rollback(); err != nil && !errors.Is(err, sql.ErrTxDone) && r.ctx.Err() == nil {
			r.t.Error(err)
		}
	})
	// As every writer does, it has the number of a transaction before that of an
	// event.
	var seq int64
	if _, err := tx.ExecContext(r.ctx, "UPDATE jobs SET updated_at = updated_at WHERE FALSE"); err != nil {
		r.t.Fatal(err)
	}
	err = tx.QueryRowContext(r.ctx, "INSERT INTO job_events (job_id, at, kind, state) VALUES ($1, 0, 'accepted', 'waiting') RETURNING seq", string(job.NewID())).Scan(&seq)
	if err != nil {
		r.t.Fatal(err)
	}
	return tx, seq
}

func (r *eventsRig) commit(tx *sql.Tx) {
	r.t.Helper()
	if err := tx.Commit(); err != nil {
		r.t.Fatal(err)
	}
}

// follow begins to follow, and passes on what it is told.
func (r *eventsRig) follow() (begun chan int64, told chan int64) {
	begun, told = make(chan int64, 1), make(chan int64, 100)
	ended := make(chan struct{})
	ctx, cancel := context.WithCancel(r.ctx)
	go func() {
		defer close(ended)
		follower, err := r.feed.Follow(ctx, -1)
		if err != nil {
			return
		}
		defer follower.Close()
		begun <- follower.At()
		for {
			events, err := follower.Next(ctx)
			if err != nil {
				return
			}
			for _, e := range events {
				told <- e.Seq
			}
		}
	}()
	r.t.Cleanup(func() { cancel(); <-ended })
	return begun, told
}

func (r *eventsRig) want(from chan int64, what string, seq int64) {
	r.t.Helper()
	select {
	case got := <-from:
		if got != seq {
			r.t.Fatalf("%s is %d, want %d", what, got, seq)
		}
	case <-r.ctx.Done():
		r.t.Fatalf("%s did not come, want %d", what, seq)
	}
}

func (r *eventsRig) wantNone(from chan int64, what string) {
	r.t.Helper()
	select {
	case got := <-from:
		r.t.Fatalf("%s is %d, while a transaction may still commit a lower number", what, got)
	default:
	}
}

// seen waits for nothing: it says whether the event is to be seen by others.
func (r *eventsRig) seen(seq int64) bool {
	r.t.Helper()
	page, err := r.store.Store.EventsAfter(r.ctx, seq-1, 1)
	if err != nil {
		r.t.Fatal(err)
	}
	return len(page.Events) == 1 && page.Events[0].Seq == seq
}

// TestEventsOfTransactionsThatOverlap holds that an event which is committed
// after one with a higher number is told before it, and not passed over.
func TestEventsOfTransactionsThatOverlap(t *testing.T) {
	r := newEventsRig(t)
	begun, told := r.follow()
	r.turns(2)
	r.want(begun, "the beginning", 0)

	slow, first := r.write()
	quick, second := r.write()
	if first >= second {
		t.Fatalf("the numbers are %d and %d", first, second)
	}
	r.commit(quick)
	if !r.seen(second) || r.seen(first) {
		t.Fatal("the test's transactions are not as it thinks")
	}
	r.turns(5)
	r.wantNone(told, "an event")
	r.commit(slow)
	r.release()
	r.want(told, "the first event", first)
	r.want(told, "the second event", second)
}

// TestEventNumbersThatWillNeverBe holds that a transaction which is rolled back
// does not hold the others' events up for good.
func TestEventNumbersThatWillNeverBe(t *testing.T) {
	r := newEventsRig(t)
	begun, told := r.follow()
	r.turns(2)
	r.want(begun, "the beginning", 0)

	doomed, _ := r.write()
	good, second := r.write()
	r.commit(good)
	r.turns(5)
	r.wantNone(told, "an event")
	if err := doomed.Rollback(); err != nil {
		t.Fatal(err)
	}
	r.release()
	r.want(told, "the event", second)
	last, third := r.write()
	r.commit(last)
	r.want(told, "the next event", third)
}

// TestEventsUnderWayWhenFollowingBegins holds that the place to begin from has
// nothing below it that comes to light later.
func TestEventsUnderWayWhenFollowingBegins(t *testing.T) {
	r := newEventsRig(t)
	slow, first := r.write()
	quick, second := r.write()
	r.commit(quick)
	begun, told := r.follow()
	r.turns(5)
	r.wantNone(begun, "the beginning")
	r.commit(slow)
	r.release()
	r.want(begun, "the beginning", second)
	last, third := r.write()
	r.commit(last)
	r.want(told, "the event", third)
	if !r.seen(first) {
		t.Error("the first event is not to be seen")
	}
}
