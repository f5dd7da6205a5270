package store_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// Calls that come while the store closes are carried out or told that it is
// closed; none waits for ever.
func TestCloseAnswersEveryCall(t *testing.T) {
	dsn := databases[0].url(t)
	var accepted sync.Map
	for range 20 {
		s, err := store.Open(t.Context(), store.Config{URL: dsn, AutoMigrate: true}, testkit.Logger(t), store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		first := make(chan struct{}, 10)
		var callers sync.WaitGroup
		for range cap(first) {
			callers.Go(func() {
				for {
					r := request()
					if _, err := s.Accept(ctx, r); err == nil {
						accepted.Store(r.Base, true)
					} else if ctx.Err() != nil || job.CodeOf(err) != job.CodeTemporary {
						t.Errorf("accept: %v, want to be told that the store is closed", err)
						return
					} else {
						return
					}
					select {
					case first <- struct{}{}:
					default:
					}
				}
			})
		}
		<-first
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		callers.Wait()
		cancel()
	}
	s := open(t, dsn, store.Options{})
	accepted.Range(func(id, _ any) bool {
		if _, err := s.Find(t.Context(), id.(job.ID)); err != nil {
			t.Errorf("an accepted job is lost: %v", err)
		}
		return true
	})
}

// When the database is away, Close waits RepeatFor for all that is queued, not
// for each transaction.
func TestCloseWithoutDatabase(t *testing.T) {
	const repeatFor = time.Second
	gate := newGate("accept")
	s := open(t, databases[0].url(t), store.Options{RepeatFor: repeatFor, Fault: func(op, point string) error {
		if op != "accept" {
			return nil
		}
		_ = gate.fault(op, point)
		return errCut
	}})
	gate.close()
	const batches = 12 // calls of a key share no transaction
	var callers sync.WaitGroup
	var calling atomic.Int64
	for range batches {
		r := request()
		r.Key = job.IdempotencyKey{Owner: "k", Key: "same", Hash: []byte("h"), Keep: time.Hour}
		callers.Go(func() {
			calling.Add(1)
			if _, err := s.Accept(context.Background(), r); job.CodeOf(err) != job.CodeTemporary {
				t.Errorf("accept: %v, want a temporary error", err)
			}
		})
	}
	testkit.WaitFor(t, 10*time.Second, "the callers", func() bool { return calling.Load() == batches })
	gate.open()
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > batches*repeatFor/2 {
		t.Errorf("closing took %v", took)
	}
	callers.Wait()
}
