package broker

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// scripts is how many scripts Redis was sent.
func (r *rig) scripts() int {
	r.t.Helper()
	told := map[string]string{}
	if err := info(bound(r.t), r.rdb, "commandstats", told); err != nil {
		r.t.Fatal(err)
	}
	sum := 0
	for _, command := range []string{"cmdstat_evalsha", "cmdstat_eval"} {
		calls, _, _ := strings.Cut(strings.TrimPrefix(told[command], "calls="), ",")
		n, _ := strconv.Atoi(calls)
		sum += n
	}
	return sum
}

// aboard waits until so many calls wait for the next flight.
func (r *rig) aboard(n int) {
	r.t.Helper()
	testkit.WaitFor(r.t, patience, "the calls wait", func() bool {
		r.pipe.mu.Lock()
		defer r.pipe.mu.Unlock()
		return r.pipe.open != nil && len(r.pipe.open.calls) == n
	})
}

// TestCoalesced: what is sent at the same moment travels together, each with
// its own outcome, and who cannot wait leaves.
func TestCoalesced(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	r := newRig(t, srv.URL())
	other := durable()
	other.Queue = "bulk"
	r.dispatch(durable(), other) // asynq takes note of a queue once
	before := r.scripts()

	srv.Pause()
	done := make(chan error, 100)
	send := func(ctx context.Context, task job.Task) {
		go func() {
			_, err := r.Dispatch(ctx, []job.Task{task})
			done <- err
		}()
	}
	first := durable()
	send(bound(t), first)
	testkit.WaitFor(t, patience, "the first is under way", func() bool {
		r.pipe.mu.Lock()
		defer r.pipe.mu.Unlock()
		if r.pipe.open != nil {
			return false
		}
		free := r.pipe.turn.TryLock()
		if free {
			r.pipe.turn.Unlock()
		}
		return !free
	})
	ts := make([]job.Task, 60)
	for i := range ts {
		ts[i] = durable()
		if i%3 == 0 {
			ts[i].Queue = "bulk"
		}
		send(bound(t), ts[i])
	}
	r.aboard(len(ts))
	impatient, cancel := context.WithCancelCause(t.Context())
	send(impatient, durable())
	r.aboard(len(ts) + 1)
	cancel(errors.New("the caller left"))
	if err := next(t, done); err == nil || !strings.Contains(err.Error(), "the caller left") {
		t.Errorf("leaving: %v", err)
	}
	srv.Resume()
	for range len(ts) + 1 {
		if err := next(t, done); err != nil {
			t.Error(err)
		}
	}
	// One for the first, one a queue for the others.
	if n := r.scripts() - before; n != 3 {
		t.Errorf("%d scripts carried %d tasks", n, len(ts)+2)
	}
	for i, found := range r.look(append(ts, first)...) {
		if found != job.Known {
			t.Errorf("task %d did not arrive", i)
		}
	}
}

// crowd is a companion who expects more calls.
type crowd struct{ over chan struct{} }

func (c crowd) expected() <-chan struct{} { return c.over }
func (crowd) board([]*call) *call         { return nil }
func (crowd) landed(*call)                {}

// TestBoarding: a flight waits for calls that are expected, but not for ever.
func TestBoarding(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	r.dispatch(durable()) // asynq is told of the queue once
	c := crowd{make(chan struct{})}
	r.pipe.also, r.pipe.wait = c, patience
	before := r.scripts()
	done := make(chan error, 3)
	for range cap(done) {
		go func() {
			_, err := r.Dispatch(bound(t), []job.Task{durable()})
			done <- err
		}()
	}
	r.aboard(cap(done))
	close(c.over)
	for range cap(done) {
		if err := next(t, done); err != nil {
			t.Error(err)
		}
	}
	if n := r.scripts() - before; n != 1 {
		t.Errorf("%d scripts carried 3 tasks", n)
	}
	r.pipe.also, r.pipe.wait = crowd{make(chan struct{})}, time.Millisecond
	r.dispatch(durable())
}

// TestBulk: ten thousand tasks in few round trips; a task that is there twice
// arrives once.
func TestBulk(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	ts := make([]job.Task, 10_000)
	for i := range ts {
		ts[i] = durable()
	}
	ts[77] = ts[76]
	r.dispatch(ts...)
	if n := r.scripts(); n > 100 {
		t.Errorf("%d scripts", n)
	}
	if n := len(r.queued()); n != len(ts)-1 {
		t.Errorf("%d are pending", n)
	}
}

// TestScriptsAreForgotten: Redis was restarted or told to forget scripts.
func TestScriptsAreForgotten(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	h, brought := collect()
	s := r.serve(h)
	for range 3 {
		task := durable()
		r.dispatch(task)
		if got := next(t, brought); got.ID != task.ID {
			t.Errorf("brought %s", got.ID)
		}
		r.gone(task)
		if err := r.rdb.ScriptFlush(bound(t)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	r.shutdown(s)
	if n := r.log.Count("level=WARN") + r.log.Count("level=ERROR"); n > 0 {
		t.Errorf("logged:\n%s", r.log)
	}
}
