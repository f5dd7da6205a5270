package broker

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func TestMain(m *testing.M) {
	// go-redis asks an absent server once a second, and sees only then that its
	// client was closed.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 30 * time.Second

// flaky is an ephemeral type whose failures come back soon.
var flaky = tasks.Define[tasks.Nothing](tasks.Type{
	Name: "flaky", Ephemeral: true, MaxAttempts: 3,
	Backoff: tasks.Backoff{Base: time.Millisecond, Max: time.Millisecond},
})

// handler is a job.Handler made of a function.
type handler func(context.Context, job.Task) job.Verdict

func (h handler) Handle(ctx context.Context, t job.Task) job.Verdict { return h(ctx, t) }

// rig is a Client with what a test needs around it.
type rig struct {
	*Client
	t       testing.TB
	metrics *prometheus.Registry
	log     *testkit.Log
	plain   bool // without the layer
}

func testQueues() Queues { return Queues{{"default", 10}, {"bulk", 4}} }

func newRig(t testing.TB, redisURL string) *rig {
	t.Helper()
	return rigOn(t, connect(t, redisURL), false)
}

func connect(t testing.TB, redisURL string) redis.UniversalClient {
	t.Helper()
	rdb, err := Connect(Config{RedisURL: redisURL, Queues: testQueues()})
	if err != nil {
		t.Fatal(err)
	}
	return rdb
}

// rigOn makes a rig on a client, which it closes.
func rigOn(t testing.TB, rdb redis.UniversalClient, plain bool) *rig {
	t.Helper()
	t.Cleanup(func() { _ = rdb.Close() })
	log, lines := testkit.CaptureLog(t)
	r := &rig{t: t, metrics: prometheus.NewRegistry(), log: lines, plain: plain}
	r.Client = NewClient(Options{
		Redis: rdb, Queues: testQueues(), Types: catalogue(t), Margin: 15 * time.Second, Log: log, Plain: plain,
	})
	r.Client.log = log
	return r
}

func catalogue(t testing.TB) *tasks.Catalogue {
	t.Helper()
	types, err := tasks.NewCatalogue(append(tasks.Builtin(), flaky.Type)...)
	if err != nil {
		t.Fatal(err)
	}
	return types
}

// serve starts a Server with the handler; it ends with the test.
func (r *rig) serve(h handler) *Server { return r.serveWith(h, nil) }

func (r *rig) serveWith(h handler, onCancel func(job.ID)) *Server {
	r.t.Helper()
	s := r.server(h, onCancel)
	if err := s.Start(); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { r.shutdown(s) })
	return s
}

// server makes a Server, which the caller starts and stops.
func (r *rig) server(h job.Handler, onCancel func(job.ID)) *Server {
	return NewServer(ServerOptions{
		Redis: r.rdb, Queues: testQueues(), Types: r.types, Handler: h, OnCancel: onCancel,
		Log: r.Client.log, Metrics: r.metrics, Plain: r.plain,
	})
}

func (r *rig) shutdown(s *Server) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		r.t.Error(err)
	}
}

// dispatch sends tasks and fails the test unless all arrive.
func (r *rig) dispatch(ts ...job.Task) {
	r.t.Helper()
	arrived, err := r.Dispatch(bound(r.t), ts)
	if err != nil || len(arrived) != len(ts) {
		r.t.Fatalf("%d of %d tasks arrived: %v", len(arrived), len(ts), err)
	}
}

// knows asks whether Redis knows the task.
func (r *rig) knows(task job.Task) bool {
	r.t.Helper()
	return r.look(task)[0] == job.Known
}

// look asks what Redis has of the tasks.
func (r *rig) look(ts ...job.Task) []job.Presence {
	r.t.Helper()
	found, err := r.Look(bound(r.t), ts)
	if err != nil {
		r.t.Fatal(err)
	}
	return found
}

// gone waits until asynq has forgotten the task.
func (r *rig) gone(task job.Task) {
	r.t.Helper()
	testkit.WaitFor(r.t, patience, "the task is gone from Redis", func() bool {
		return r.rdb.Exists(bound(r.t), taskKey(task.Queue, task.TaskID())).Val() == 0
	})
}

// state is the task's state in asynq's words, empty for none.
func (r *rig) state(task job.Task) string {
	r.t.Helper()
	state, err := r.rdb.HGet(bound(r.t), taskKey(task.Queue, task.TaskID()), "state").Result()
	if absent(err) != nil {
		r.t.Fatal(err)
	}
	return state
}

func bound(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// durable is a task whose job would be in SQL.
func durable() job.Task {
	return job.Task{ID: job.NewID(), Dispatch: 1, Type: tasks.Noop.Name, Queue: "default"}
}

// ephemeral is a task that is all there is of its job.
func ephemeral() job.Task {
	return job.Task{ID: job.NewID(), Type: flaky.Name, Queue: "default", Payload: []byte(`{}`)}
}

// collect is a handler that hands each task to the returned channel and
// acknowledges it.
func collect() (handler, <-chan job.Task) {
	ch := make(chan job.Task, 100)
	return func(_ context.Context, t job.Task) job.Verdict { ch <- t; return job.Verdict{} }, ch
}

// next waits for a value.
func next[T any](t testing.TB, ch <-chan T) T {
	t.Helper()
	select {
	case v := <-ch:
		return v
	case <-time.After(patience):
		t.Fatal("waited in vain")
		panic("unreachable")
	}
}
