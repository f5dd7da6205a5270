package work

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	sqlstore "github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// moments is a database whose calls a test has something done around.
type moments struct {
	job.Store
	at func(moment string)
}

func (m moments) Claim(ctx context.Context, c job.Claim) (job.Claimed, error) {
	m.at("before the claim")
	defer m.at("after the claim")
	return m.Store.Claim(ctx, c)
}

func (m moments) PassNoReturn(ctx context.Context, run job.RunRef) error {
	m.at("before the point of no return")
	defer m.at("after the point of no return")
	return m.Store.PassNoReturn(ctx, run)
}

func (m moments) Settle(ctx context.Context, s job.Settlement) (job.Settled, error) {
	m.at("before the settle")
	defer m.at("after the settle")
	return m.Store.Settle(ctx, s)
}

// onDatabases runs a test over each real database.
func onDatabases(t *testing.T, f func(t *testing.T, s job.Store)) {
	for name, url := range map[string]func() string{
		"sqlite":   func() string { return "sqlite:" + filepath.Join(t.TempDir(), "postrider.db") },
		"postgres": func() string { return testkit.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			s, err := sqlstore.Open(t.Context(), sqlstore.Config{URL: url(), AutoMigrate: true}, testkit.Logger(t), sqlstore.Options{})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			f(t, s)
		})
	}
}

func newCommands(t *testing.T, s job.Store) *job.Service {
	t.Helper()
	types, err := tasks.NewCatalogue(probeType.Type)
	if err != nil {
		t.Fatal(err)
	}
	return job.NewService(job.Options{
		Store: s, Dispatcher: jobtest.NewDispatcher(), Types: types, Queues: []string{"default"},
		Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
	})
}

func acceptProbe(t *testing.T, jobs *job.Service) job.Task {
	t.Helper()
	got, err := jobs.Accept(t.Context(), job.Caller{Name: "shop"}, job.Submission{Type: probeType.Name})
	if err != nil {
		t.Fatal(err)
	}
	j, err := jobs.Find(t.Context(), got.Jobs[0].ID)
	if err != nil {
		t.Fatal(err)
	}
	return j.Task()
}

// TestCancelAtEveryMoment cancels a job around each step of its run: it is shown
// as cancelled exactly when it had no effect.
func TestCancelAtEveryMoment(t *testing.T) {
	onDatabases(t, func(t *testing.T, s job.Store) {
		for moment, want := range map[string]job.State{
			"while it is queued": job.Cancelled, "before the claim": job.Cancelled, "after the claim": job.Cancelled,
			"while it runs": job.Cancelled, "before the point of no return": job.Cancelled,
			"after the point of no return": job.Done, "before the settle": job.Done, "after the settle": job.Done,
			"during the shutdown": job.Cancelled,
		} {
			t.Run(moment, func(t *testing.T) {
				jobs := newCommands(t, s)
				task := acceptProbe(t, jobs)
				var cancelled error
				var once sync.Once
				at := func(now string) {
					if now == moment {
						once.Do(func() { _, cancelled = jobs.Cancel(t.Context(), task.ID, "ann") })
					}
				}
				var effects atomic.Int64
				began := make(chan struct{})
				w := newCommandedWorker(t, moments{s, at}, func(ctx context.Context, run *Run) job.Outcome {
					at("while it runs")
					if moment == "during the shutdown" {
						close(began)
						<-ctx.Done()
						return Interrupted(ctx.Err())
					}
					if err := run.PointOfNoReturn(ctx); err != nil {
						return Interrupted(err)
					}
					effects.Add(1)
					return job.Succeeded("did it")
				})
				at("while it is queued")
				if moment == "during the shutdown" {
					handled := make(chan job.Verdict, 1)
					go func() { handled <- w.Handle(t.Context(), task) }()
					<-began
					at("during the shutdown")
					hurry, cancel := context.WithTimeout(t.Context(), time.Millisecond)
					defer cancel()
					_ = w.Shutdown(hurry) // that it was cut short is what is wanted
					<-handled
				} else {
					w.Handle(t.Context(), task)
				}

				j, err := jobs.Find(t.Context(), task.ID)
				if err != nil {
					t.Fatal(err)
				}
				events, err := jobs.Events(t.Context(), task.ID)
				if err != nil {
					t.Fatal(err)
				}
				if j.State != want || events[len(events)-1].State != want || j.CancelRequested {
					t.Errorf("it is shown as %s, its history ends with %+v; want %s", j.State, events[len(events)-1], want)
				}
				if had := effects.Load() > 0; had != (want == job.Done) {
					t.Errorf("it had %d effects and is shown as %s", effects.Load(), j.State)
				}
				if tooLate := job.CodeOf(cancelled) == job.CodeConflict; tooLate != (moment == "after the settle") || cancelled != nil && !tooLate {
					t.Errorf("cancelling it is answered with %v", cancelled)
				}
			})
		}
	})
}

func newCommandedWorker(t *testing.T, runner job.Runner, h handler) *Worker {
	t.Helper()
	types, err := tasks.NewCatalogue(probeType.Type)
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(Options{
		Name: "worker", Config: testConfig, Runner: runner, Types: types, Log: testkit.Logger(t), Metrics: prometheus.NewRegistry(),
		Handlers: []Binding{On(probeType, func(ctx context.Context, run *Run, _ *probe) job.Outcome { return h(ctx, run) })},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Start()
	t.Cleanup(func() { _ = w.Shutdown(context.WithoutCancel(t.Context())) })
	return w
}

// TestRetriesAtOnce lets filters, single retries and cancellations meet on the
// same jobs: what is counted as retried has that in its history, as often.
func TestRetriesAtOnce(t *testing.T) {
	const n = 60
	onDatabases(t, func(t *testing.T, s job.Store) {
		jobs := newCommands(t, s)
		w := newCommandedWorker(t, s, func(context.Context, *Run) job.Outcome { return job.PermanentFailure("no") })
		var ids []job.ID
		for range n {
			task := acceptProbe(t, jobs)
			w.Handle(t.Context(), task)
			ids = append(ids, task.ID)
		}
		var counted atomic.Int64
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				got, err := jobs.ActOnMatching(t.Context(), job.BulkRetry, job.Filter{Status: "failed", Limit: job.MaxBulk}, "filter")
				if err != nil {
					t.Error(err)
				}
				counted.Add(int64(got.Done))
			})
			all.Go(func() {
				for _, id := range ids {
					switch _, err := jobs.Retry(t.Context(), id, "ann"); job.CodeOf(err) {
					case "":
						counted.Add(1)
					case job.CodeConflict:
					default:
						t.Error(err)
					}
				}
			})
			all.Go(func() {
				for _, id := range ids {
					if _, err := jobs.Cancel(t.Context(), id, "bob"); err != nil && job.CodeOf(err) != job.CodeConflict {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		told := 0
		for _, id := range ids {
			events, err := jobs.Events(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			state := job.Waiting
			for i, e := range events {
				if e.Kind == job.EventRetried {
					told++
					if !state.Final() {
						t.Errorf("event %d of %s retries a job that is %s", i, id, state)
					}
				}
				state = e.State
			}
			if j, err := jobs.Find(t.Context(), id); err != nil || j.State != state {
				t.Errorf("%s is shown as %s, its history ends as %s: %v", id, j.State, state, err)
			}
		}
		if told < n || int64(told) != counted.Load() {
			t.Errorf("%d retries of %d jobs were answered, %d are in their histories", counted.Load(), n, told)
		}
	})
}

// TestExpiredIsCounted holds that a job which is found expired at its claim is
// told of.
func TestExpiredIsCounted(t *testing.T) {
	r := newRig(t, done)
	task := r.acceptNew(job.New{Type: probeType.Name, Queue: "default", Payload: []byte("{}"), MaxAttempts: 3, ExpiresAt: time.Now().Add(-time.Second)})
	if v := r.Handle(t.Context(), task); !isAck(v) {
		t.Errorf("the verdict is %+v", v)
	}
	if j := r.find(task.ID); j.State != job.Expired {
		t.Errorf("it is %s", j.State)
	}
	if n := r.metric("postrider_jobs_expired_total", "default", probeType.Name); n != 1 {
		t.Errorf("%v are counted", n)
	}
}
