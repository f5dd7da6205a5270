package job_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var holdType = tasks.Define[tasks.Nothing](tasks.Type{Name: "test:hold", OnAmbiguous: tasks.Hold, MaxAttempts: 5})

// rig is the domain over a store in memory and a Redis that can be taken away.
type rig struct {
	*job.Service
	store *jobtest.Memory
	redis *jobtest.Dispatcher
}

// newRig makes one; its Service sends nothing by itself before Start.
func newRig(t *testing.T, with ...func(*job.Options)) *rig {
	t.Helper()
	types, err := tasks.NewCatalogue(append(tasks.Builtin(), holdType.Type)...)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{store: jobtest.NewMemory(), redis: jobtest.NewDispatcher()}
	o := job.Options{
		Store: r.store, Dispatcher: r.redis, Types: types,
		Queues: []string{"default", "email", "notification", "maintenance"},
		Log:    slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
	}
	for _, f := range with {
		f(&o)
	}
	r.Service = job.NewService(o)
	return r
}

var caller = job.Caller{Name: "shop"}

func noop() job.Submission { return job.Submission{Type: "noop"} }

func (r *rig) accept(t *testing.T, sub job.Submission) job.ID {
	t.Helper()
	got, err := r.Accept(t.Context(), caller, sub)
	if err != nil {
		t.Fatalf("accepting: %v", err)
	}
	return got.Jobs[0].ID
}

func (r *rig) find(t *testing.T, id job.ID) job.Job {
	t.Helper()
	j, err := r.Find(t.Context(), id)
	if err != nil {
		t.Fatalf("finding: %v", err)
	}
	return j
}

func (r *rig) claim(t *testing.T, id job.ID) job.Job {
	t.Helper()
	c, err := r.store.Claim(t.Context(), job.Claim{ID: id, Token: string(job.NewID()), Worker: "w", Lease: 30 * time.Second})
	if err != nil || c.Verdict != job.Granted {
		t.Fatalf("claiming: %s, %v", c.Verdict, err)
	}
	return c.Job
}

func (r *rig) settle(t *testing.T, j job.Job, o job.Outcome) {
	t.Helper()
	if _, err := r.store.Settle(t.Context(), job.Plan(&j, tasks.DefaultBackoff, o)); err != nil {
		t.Fatalf("settling: %v", err)
	}
}

// within bounds a wait of a test.
func within(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}
