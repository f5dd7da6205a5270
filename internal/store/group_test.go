package store_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
)

// Callers that come at the same time again and again share transactions.
func TestCallersShareTransactions(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		var begun atomic.Int64
		s := open(t, url, store.Options{Fault: func(op, point string) error {
			if op == "accept" && point == "begin" {
				begun.Add(1)
			}
			return nil
		}})
		const callers, times = 50, 10
		each(callers, func(int) {
			for range times {
				if _, err := s.Accept(t.Context(), request()); err != nil {
					t.Errorf("accepting: %v", err)
				}
			}
		})
		if n := begun.Load(); n > callers*times/4 {
			t.Errorf("%d accepts took %d transactions", callers*times, n)
		}
	})
}

// What needs neither keys nor effects is one statement on PostgreSQL. When
// its commit is not seen it is repeated like any other.
func TestUnknownCommitOfALoneStatement(t *testing.T) {
	onEach(t, func(t *testing.T, url string) {
		var points atomic.Int64
		s := open(t, url, store.Options{Fault: func(op, point string) error {
			if point == "committed" && points.Add(1)%2 == 1 {
				return errCut
			}
			return nil
		}})
		each(20, func(int) {
			r := request()
			if got, err := s.Accept(t.Context(), r); err != nil || got.Base != r.Base || got.Replayed {
				t.Errorf("accept: %+v, %v; want its own receipt", got, err)
				return
			}
			c, err := s.Claim(t.Context(), claimOf(r.Base))
			if err != nil || c.Verdict != job.Granted || c.Job.Runs != 1 {
				t.Errorf("claim: %+v, %v", c, err)
				return
			}
			if x, err := s.Settle(t.Context(), done(c.Job)); err != nil || x.Late || x.State != job.Done {
				t.Errorf("settle: %+v, %v", x, err)
			}
			if events, err := s.Events(t.Context(), r.Base); err != nil || len(events) != 3 {
				t.Errorf("events: %+v, %v; want accepted, started, settled", events, err)
			}
		})
	})
}

// What a lone statement has committed is not reported failed because the rest
// of its batch fails.
func TestAnswersBeforeAFailureStand(t *testing.T) {
	var attempts atomic.Int64
	entered, free := make(chan struct{}), make(chan struct{})
	s := open(t, testkit.Postgres(t), store.Options{RepeatFor: time.Second, Fault: func(op, point string) error {
		if op != "claim" || point != "begin" {
			return nil
		}
		switch n := attempts.Add(1); {
		case n == 2: // the first claim's, behind which the others gather
			close(entered)
			<-free
		case n > 3: // their transaction, behind their lone statement
			return errCut
		}
		return nil
	}})
	taken := running(t, s, 1)[0] // attempt 1
	var calls sync.WaitGroup
	claim := func(id job.ID, refused bool) {
		calls.Go(func() {
			c, err := s.Claim(t.Context(), claimOf(id))
			if refused && job.CodeOf(err) != job.CodeTemporary || !refused && (err != nil || c.Verdict != job.Granted) {
				t.Errorf("claiming: %v, %v; want it granted or, of a job that runs, failed: %v", c.Verdict, err, refused)
			}
		})
	}
	var ids []job.ID
	for range 2 {
		r := request()
		if _, err := s.Accept(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.Base)
	}
	claim(ids[0], false)
	<-entered
	claim(ids[1], false)
	claim(taken.ID, true)
	for deadline := time.Now().Add(time.Minute); s.ClaimsWaiting() < 2 && time.Now().Before(deadline); {
		runtime.Gosched()
	}
	close(free)
	calls.Wait()
}

// BenchmarkRun measures a claim with its settlement, and BenchmarkAccept an
// accept, by so many callers at once.
func BenchmarkRun(b *testing.B) {
	benchmark(b, func(b *testing.B, s *store.Store, ids []job.ID) func(int) error {
		for from := 0; from < len(ids); from += 1000 {
			r := job.Request{Base: job.NewID()}
			for _, id := range ids[from:min(from+1000, len(ids))] {
				n := request().Jobs[0]
				n.ID = id
				r.Jobs = append(r.Jobs, n)
			}
			if _, err := s.Accept(b.Context(), r); err != nil {
				b.Fatal(err)
			}
		}
		return func(i int) error {
			c, err := s.Claim(b.Context(), claimOf(ids[i]))
			if err != nil || c.Verdict != job.Granted {
				return fmt.Errorf("claiming: %v, %w", c.Verdict, err)
			}
			_, err = s.Settle(b.Context(), done(c.Job))
			return err
		}
	})
}

// BenchmarkAccept: see BenchmarkRun.
func BenchmarkAccept(b *testing.B) {
	benchmark(b, func(b *testing.B, s *store.Store, _ []job.ID) func(int) error {
		return func(int) error {
			_, err := s.Accept(b.Context(), request())
			return err
		}
	})
}

// benchmark opens stores whose commits are on disk before they are told.
func benchmark(b *testing.B, prepare func(*testing.B, *store.Store, []job.ID) func(i int) error) {
	pg := testkit.PostgresServer(b, "fsync=on")
	for name, url := range map[string]func(b *testing.B) string{
		"sqlite":   func(b *testing.B) string { return "sqlite:" + filepath.Join(b.TempDir(), "postrider.db") },
		"postgres": func(*testing.B) string { return pg.Database() },
	} {
		for _, callers := range []int{1, 10, 100} {
			b.Run(fmt.Sprintf("%s/callers=%d", name, callers), func(b *testing.B) {
				var groups atomic.Int64
				s, err := store.Open(context.Background(), store.Config{URL: url(b), AutoMigrate: true}, slog.New(slog.DiscardHandler), store.Options{
					Fault: func(_, point string) error {
						if point == "committed" {
							groups.Add(1)
						}
						return nil
					},
				})
				if err != nil {
					b.Fatal(err)
				}
				defer s.Close()
				ids := make([]job.ID, b.N)
				for i := range ids {
					ids[i] = job.NewID()
				}
				f := prepare(b, s, ids)
				groups.Store(0)
				var next atomic.Int64
				b.ResetTimer()
				each(callers, func(int) {
					for i := next.Add(1) - 1; i < int64(b.N); i = next.Add(1) - 1 {
						if err := f(int(i)); err != nil {
							b.Error(err)
						}
					}
				})
				b.StopTimer()
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
				b.ReportMetric(float64(groups.Load())/float64(b.N), "commits/job")
			})
		}
	}
}
