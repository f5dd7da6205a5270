package schedule_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 30 * time.Second

var errAway = errors.New("redis is away")

// databases are what the tests of the whole timetable run on.
var databases = []struct {
	name string
	url  func(t *testing.T) string
}{
	{"sqlite", lite},
	{"postgres", func(t *testing.T) string { return testkit.Postgres(t) }},
}

func lite(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "timetable.db") }

// rig is a timetable on a database with a clock of its own, and the jobs that
// it makes.
type rig struct {
	*schedule.Service
	t     *testing.T
	store *store.Store
	disp  *jobtest.Dispatcher
	jobs  *job.Service
	clock *jobtest.ManualClock
	log   *testkit.Log
	fault atomic.Pointer[func(point string) error]   // of the timetable's transactions
	admit atomic.Pointer[func(*job.Candidate) error] // asked about each job of type noop
}

func newRig(t *testing.T, url string, queues ...string) *rig {
	t.Helper()
	if queues == nil {
		queues = []string{"default", "maintenance", "email"}
	}
	log, lines := testkit.CaptureLog(t)
	r := &rig{t: t, disp: jobtest.NewDispatcher(), clock: jobtest.NewClock(), log: lines}
	r.clock.Set(time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC))
	var err error
	r.store, err = store.Open(t.Context(), store.Config{URL: url, AutoMigrate: true}, log, store.Options{
		Clock: r.clock.Now,
		Fault: func(op, point string) error {
			f := r.fault.Load()
			if f == nil || !slices.Contains([]string{"change_schedule", "fire", "note_run"}, op) {
				return nil
			}
			return (*f)(point)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	types, err := tasks.NewCatalogue(tasks.Builtin()...)
	if err != nil {
		t.Fatal(err)
	}
	r.jobs = job.NewService(job.Options{
		Store: r.store, Dispatcher: r.disp, Types: types, Queues: queues,
		Admissions: map[string]job.Admission{"noop": r}, Log: log, Metrics: prometheus.NewRegistry(),
	})
	r.jobs.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := errors.Join(r.jobs.Stop(ctx), r.store.Close()); err != nil {
			t.Error(err)
		}
	})
	r.Service = r.another()
	return r
}

// fail has f asked at each point of the timetable's transactions, as
// store.Options.Fault is.
func (r *rig) fail(f func(point string) error) { r.fault.Store(&f) }

// Admit implements job.Admission.
func (r *rig) Admit(_ context.Context, jobs []*job.Candidate) error {
	f := r.admit.Load()
	for _, c := range jobs {
		if f == nil {
			return nil
		}
		if err := (*f)(c); err != nil {
			return err
		}
	}
	return nil
}

// another is one more scheduler's timetable.
func (r *rig) another() *schedule.Service {
	log, _ := testkit.CaptureLog(r.t)
	return schedule.New(schedule.Options{Store: r.store.Schedules(), Jobs: r.jobs, Log: log, Metrics: prometheus.NewRegistry()})
}

// each is a schedule of each minute.
func each(name string, with ...func(*schedule.Change)) schedule.Change {
	c := schedule.Change{Definition: schedule.Definition{Name: name, Type: "noop", Cron: "* * * * *"}}
	for _, f := range with {
		f(&c)
	}
	return c
}

func (r *rig) create(c schedule.Change) schedule.Entry {
	r.t.Helper()
	e, err := r.Create(r.t.Context(), c, "ann")
	r.ok(err)
	return e
}

func (r *rig) ok(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// after moves the clock on and looks at the timetable.
func (r *rig) after(d time.Duration) {
	r.t.Helper()
	r.clock.Advance(d)
	r.ok(r.Turn(r.t.Context()))
}

func (r *rig) history(name string) []schedule.Run {
	r.t.Helper()
	runs, err := r.store.Schedules().Runs(r.t.Context(), name, 0, schedule.MaxPage)
	r.ok(err)
	slices.Reverse(runs)
	return runs
}

// outcomes are those of a schedule's runs, oldest first.
func (r *rig) outcomes(name string) []schedule.RunOutcome {
	r.t.Helper()
	var out []schedule.RunOutcome
	for _, run := range r.history(name) {
		out = append(out, run.Outcome)
	}
	return out
}

func (r *rig) allJobs() []job.Job {
	r.t.Helper()
	jobs, err := r.store.List(r.t.Context(), job.Filter{Limit: 1000})
	r.ok(err)
	return jobs
}

func (r *rig) get(name string) schedule.Entry {
	r.t.Helper()
	e, err := r.Get(r.t.Context(), name)
	r.ok(err)
	return e
}

func (r *rig) wantCode(err error, want job.Code) {
	r.t.Helper()
	if job.CodeOf(err) != want {
		r.t.Errorf("the error is %v, want %s", err, want)
	}
}
