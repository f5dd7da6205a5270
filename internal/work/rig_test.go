package work

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 15 * time.Second

// The types of the tests: probeType's deadline is longer than a lease.
var (
	probeType     = tasks.Define[probe](tasks.Type{Name: "probe", Deadline: 2 * time.Minute, MaxAttempts: 3})
	holdType      = tasks.Define[probe](tasks.Type{Name: "probe:hold", Deadline: 2 * time.Minute, OnAmbiguous: tasks.Hold})
	ephemeralType = tasks.Define[probe](tasks.Type{Name: "probe:ephemeral", Deadline: 2 * time.Minute, Ephemeral: true})
	strayType     = tasks.Define[probe](tasks.Type{Name: "probe:stray"})
)

type probe struct {
	N int `json:"n"`
}

func (p *probe) Validate() error {
	if p.N < 0 {
		return tasks.Invalid{{Field: "n", Problem: "must not be negative"}}
	}
	return nil
}

type handler func(ctx context.Context, run *Run) job.Outcome

// store is a Memory whose clock goes with the test's and whose calls a test
// can count, hold and fail.
type store struct {
	*jobtest.Memory

	mu    sync.Mutex
	calls map[string][]time.Time
	hooks map[string]func(context.Context) error
}

func newStore() *store {
	return &store{Memory: jobtest.NewMemory(), calls: map[string][]time.Time{}, hooks: map[string]func(context.Context) error{}}
}

// on has f called before each call of the method; its error is the call's.
func (s *store) on(op string, f func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hooks[op] = f
}

func (s *store) called(op string) []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]time.Time(nil), s.calls[op]...)
}

func (s *store) before(ctx context.Context, op string) error {
	s.mu.Lock()
	s.calls[op] = append(s.calls[op], time.Now())
	hook := s.hooks[op]
	s.mu.Unlock()
	if hook != nil {
		if err := hook(ctx); err != nil {
			return err
		}
	}
	s.tick()
	return nil
}

// tick sets the clock, which never goes back.
func (s *store) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.Clock.Set(time.Now())
}

func (s *store) Claim(ctx context.Context, c job.Claim) (job.Claimed, error) {
	if err := s.before(ctx, "Claim"); err != nil {
		return job.Claimed{}, err
	}
	return s.Memory.Claim(ctx, c)
}

func (s *store) Extend(ctx context.Context, lease time.Duration, runs []job.RunRef) (map[job.RunRef]job.Extended, error) {
	if err := s.before(ctx, "Extend"); err != nil {
		return nil, err
	}
	return s.Memory.Extend(ctx, lease, runs)
}

func (s *store) PassNoReturn(ctx context.Context, run job.RunRef) error {
	if err := s.before(ctx, "PassNoReturn"); err != nil {
		return err
	}
	return s.Memory.PassNoReturn(ctx, run)
}

func (s *store) Settle(ctx context.Context, settlement job.Settlement) (job.Settled, error) {
	if err := s.before(ctx, "Settle"); err != nil {
		return job.Settled{}, err
	}
	return s.Memory.Settle(ctx, settlement)
}

var errAway = job.Errorf(job.CodeTemporary, "the database is away")

func away(context.Context) error { return errAway }

// rig is a worker over a store.
type rig struct {
	*Worker
	t     *testing.T
	store *store
	logs  *testkit.Log
	reg   *prometheus.Registry
}

var testConfig = Config{ShutdownLimit: 35 * time.Second, StopGrace: 5 * time.Second, ContainerGrace: time.Minute}

// rigs counts the workers, whose names differ.
var rigs atomic.Int64

// newRig starts a worker whose probes are carried out by h.
func newRig(t *testing.T, h handler) *rig { return newRigOver(t, newStore(), h) }

func newRigOver(t *testing.T, s *store, h handler, more ...Binding) *rig {
	t.Helper()
	log, logs := testkit.CaptureLog(t)
	types, err := tasks.NewCatalogue(append(tasks.Builtin(), probeType.Type, holdType.Type, ephemeralType.Type, strayType.Type)...)
	if err != nil {
		t.Fatal(err)
	}
	probed := func(ctx context.Context, run *Run, _ *probe) job.Outcome { return h(ctx, run) }
	reg := prometheus.NewRegistry()
	w, err := New(Options{
		Name: fmt.Sprintf("worker-%d", rigs.Add(1)), Config: testConfig, Runner: s, Types: types, Log: log, Metrics: reg,
		Handlers: append(more, On(probeType, probed), On(holdType, probed), On(ephemeralType, probed)),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Start()
	t.Cleanup(func() { _ = w.Shutdown(context.WithoutCancel(t.Context())) })
	return &rig{Worker: w, t: t, store: s, logs: logs, reg: reg}
}

// accept puts a job into the store and returns its task.
func (r *rig) accept(t tasks.Type, payload any) job.Task {
	r.t.Helper()
	raw, err := json.Marshal(payload)
	if err != nil {
		r.t.Fatal(err)
	}
	return r.acceptNew(job.New{Type: t.Name, Queue: t.Queue, Payload: raw, MaxAttempts: t.MaxAttempts, OnAmbiguous: t.OnAmbiguous})
}

func (r *rig) acceptNew(n job.New) job.Task {
	r.t.Helper()
	n.ID = job.NewID()
	r.store.tick()
	if _, err := r.store.Accept(r.t.Context(), job.Request{Base: n.ID, Jobs: []job.New{n}}); err != nil {
		r.t.Fatal(err)
	}
	return r.task(n.ID)
}

func (r *rig) task(id job.ID) job.Task {
	r.t.Helper()
	j := r.find(id)
	return j.Task()
}

func (r *rig) find(id job.ID) job.Job {
	r.t.Helper()
	j, err := r.store.Find(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

// last is the job's last event.
func (r *rig) last(id job.ID) job.Event {
	r.t.Helper()
	events, err := r.store.Events(context.Background(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return events[len(events)-1]
}

// alter writes to a job behind the worker's back.
func (r *rig) alter(id job.ID, f func(j *job.Job, now time.Time)) {
	r.t.Helper()
	r.store.tick()
	_, err := r.store.Change(context.Background(), []job.ID{id}, func(j *job.Job, now time.Time) ([]job.Event, error) {
		f(j, now)
		return []job.Event{{Job: j.ID, At: now, Kind: "test", State: j.State}}, nil
	})
	if err != nil {
		r.t.Fatal(err)
	}
}

func requestCancel(j *job.Job, _ time.Time) { j.CancelRequested = true }

func bury(j *job.Job, now time.Time) { job.Bury(j, now) }

// handle brings the task in a goroutine, as the engine does.
func (r *rig) handle(t job.Task) <-chan job.Verdict {
	verdict := make(chan job.Verdict, 1)
	go func() { verdict <- r.Handle(r.t.Context(), t) }()
	return verdict
}

// metric is the value of a counter, gauge or histogram's count whose labels
// are these, in the order of their names.
func (r *rig) metric(name string, labels ...string) float64 {
	r.t.Helper()
	families, err := r.reg.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetValue())
			}
			if fmt.Sprint(have) == fmt.Sprint(labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// untilEnd is a handler that does nothing until its context ends.
func untilEnd(ctx context.Context, _ *Run) job.Outcome {
	<-ctx.Done()
	return Interrupted(ctx.Err())
}

// pastUntilEnd does the same past its point of no return.
func pastUntilEnd(ctx context.Context, run *Run) job.Outcome {
	if err := run.PointOfNoReturn(ctx); err != nil {
		return Interrupted(err)
	}
	return untilEnd(ctx, run)
}

func done(context.Context, *Run) job.Outcome { return job.Succeeded("did it") }

func isAck(v job.Verdict) bool { return v == job.Verdict{} }
