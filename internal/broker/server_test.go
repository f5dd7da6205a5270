package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// late is how late a delayed task may be: some milliseconds, the rest is for a
// busy machine. It is less than asynq's forwarder would take.
const late = 2 * time.Second

func TestDelays(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	type visit struct {
		id job.ID
		at time.Time
	}
	visits := make(chan visit, 100)
	var seen sync.Map
	r.serve(func(_ context.Context, task job.Task) job.Verdict {
		visits <- visit{task.ID, time.Now()}
		if _, again := seen.LoadOrStore(task.ID, true); !again && task.RunAt.IsZero() {
			return job.Verdict{Again: true, After: 700 * time.Millisecond}
		}
		return job.Verdict{}
	})
	// Sent for later, the first visit is the due one; the second, if any, is 0.7 s
	// after it.
	due := map[job.ID]time.Time{}
	for i := range 10 {
		task := durable()
		task.RunAt = time.Now().Add(600*time.Millisecond + time.Duration(i)*130*time.Millisecond)
		due[task.ID] = task.RunAt
		r.dispatch(task)
	}
	for range 2 * len(due) {
		v := next(t, visits)
		after := v.at.Sub(due[v.id])
		if after < 0 || after > late {
			t.Errorf("a task came %v after it was due", after)
		}
		t.Logf("late by %v", after)
		due[v.id] = v.at.Add(700 * time.Millisecond)
	}
}

// TestVerdicts gives each verdict once and looks what becomes of the task.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	verdicts := map[job.ID]job.Verdict{}
	begun := make(chan job.Task, 100)
	h := func(_ context.Context, task job.Task) job.Verdict {
		begun <- task
		return verdicts[task.ID]
	}
	failure := errors.New("mailbox gone")
	cases := []struct {
		name    string
		task    job.Task
		verdict job.Verdict
		state   string // afterwards
		retried int
		lastErr string
	}{
		{"acknowledged", durable(), job.Verdict{}, "", 0, ""},
		{"again later", durable(), job.Verdict{Again: true, After: time.Hour, Reason: "busy"}, "retry", 0, "busy"},
		{"again later, for no reason", durable(), job.Verdict{Again: true, After: time.Hour}, "retry", 0, "comes again"},
		{"skip means nothing without an error", durable(), job.Verdict{Skip: true}, "", 0, ""},
		{"ephemeral done", ephemeral(), job.Verdict{}, "", 0, ""},
		{"ephemeral again later", ephemeral(), job.Verdict{Again: true, After: time.Hour, Reason: "rate_limited"}, "retry", 0, "rate_limited"},
		{"ephemeral over", ephemeral(), job.Verdict{Err: failure, Skip: true}, "archived", 0, "mailbox gone"},
	}
	for _, c := range cases {
		verdicts[c.task.ID] = c.verdict
		r.dispatch(c.task)
	}
	s := r.serve(h)
	for range cases {
		next(t, begun)
	}
	r.shutdown(s)
	look := asynq.NewInspectorFromRedisClient(r.rdb)
	for _, c := range cases {
		if got := r.state(c.task); got != c.state {
			t.Errorf("%s: the task is %q, want %q", c.name, got, c.state)
		}
		if c.state == "" {
			continue
		}
		info, err := look.GetTaskInfo(c.task.Queue, c.task.TaskID())
		if err != nil || info.Retried != c.retried || info.LastErr != c.lastErr {
			t.Errorf("%s: %+v, %v", c.name, info, err)
		}
	}
	// Only what failed is counted as failed.
	info, err := look.GetQueueInfo("default")
	if err != nil || info.Failed != 1 {
		t.Errorf("%d failures are counted, want 1: %v", info.Failed, err)
	}
}

func TestRetryDelay(t *testing.T) {
	r := &Server{types: catalogue(t)}
	long := asynq.NewTask(flaky.Name, []byte("{}"))
	for name, test := range map[string]struct {
		err      error
		task     *asynq.Task
		min, max time.Duration // of the time after now, whole seconds included
	}{
		"at once":             {verdictError(job.Verdict{Again: true}), long, -time.Second, 0},
		"negative is at once": {verdictError(job.Verdict{Again: true, After: -time.Hour}), long, -time.Second, 0},
		"again":               {verdictError(job.Verdict{Again: true, After: 3 * time.Second}), long, 3 * time.Second, 4 * time.Second},
		"wrapped":             {fmt.Errorf("so: %w", verdictError(job.Verdict{Again: true, After: 3 * time.Second})), long, 3 * time.Second, 4 * time.Second},
		"ephemeral backoff":   {errors.New("x"), long, 0, 1100 * time.Millisecond},
		"lease lost":          {asynq.ErrLeaseExpired, asynq.NewTask("noop", nil), takenBack, takenBack + time.Second},
		"cancelled by hand":   {context.Canceled, asynq.NewTask("noop", nil), takenBack, takenBack + time.Second},
	} {
		const busy = time.Second // what may pass meanwhile
		now := time.Now()
		delay := r.retryDelay(0, test.err, test.task)
		// What asynq does with it.
		at := time.Unix(time.Now().Add(delay).Unix(), 0).Sub(now)
		if at < test.min || at > test.max+busy {
			t.Errorf("%s: comes after %v, want %v to %v", name, at, test.min, test.max)
		}
	}
	for err, want := range map[error]bool{
		again{}: false, errors.New("x"): true, over{errors.New("x"), asynq.SkipRetry}: true, asynq.ErrLeaseExpired: true,
	} {
		if isFailure(err) != want {
			t.Errorf("%v: failure %v", err, !want)
		}
	}
}

func TestGarbageInTheQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	h, brought := collect()
	foreign := asynq.NewClientFromRedisClient(r.rdb)
	id := job.NewID()
	for _, taskID := range []string{"not-an-id", string(job.NewID()) + "~0", string(job.NewID()) + "~x", strings.ToUpper(string(id)) + "~~"} {
		if _, err := foreign.Enqueue(asynq.NewTask("noop", nil), asynq.TaskID(taskID), asynq.Queue("default")); err != nil {
			t.Fatal(err)
		}
	}
	// What has a job's name is brought, whatever it is: the handler answers.
	for _, task := range []*asynq.Task{asynq.NewTask("from:tomorrow", nil), asynq.NewTask("noop", []byte("\x00\xff"))} {
		if _, err := foreign.Enqueue(task, asynq.TaskID(string(job.NewID())), asynq.Queue("default")); err != nil {
			t.Fatal(err)
		}
	}
	s := r.serve(h)
	for range 2 {
		switch task := next(t, brought); task.Type {
		case "from:tomorrow":
			if task.Dispatch != 1 || task.Payload != nil {
				t.Errorf("brought %+v", task)
			}
		case "noop":
			if task.Dispatch != 0 || string(task.Payload) != "\x00\xff" {
				t.Errorf("brought %+v", task)
			}
		default:
			t.Errorf("brought %+v", task)
		}
	}
	testkit.WaitFor(t, patience, "the garbage is archived", func() bool {
		return r.rdb.ZCard(bound(t), queueKey("default", "archived")).Val() == 4
	})
	r.shutdown(s)
	if n := r.log.Count("not one of Postrider's"); n != 4 {
		t.Errorf("%d warnings, want 4", n)
	}
}

func TestTwoServersShare(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	var mu sync.Mutex
	visits := map[job.ID]int{}
	var share [2]atomic.Int64
	var all sync.WaitGroup
	serve := func(i int) handler {
		return func(_ context.Context, task job.Task) job.Verdict {
			mu.Lock()
			visits[task.ID]++
			mu.Unlock()
			share[i].Add(1)
			all.Done()
			return job.Verdict{}
		}
	}
	servers := []*Server{r.serve(serve(0)), r.serve(serve(1))}
	ts := make([]job.Task, 1000)
	all.Add(len(ts))
	for i := range ts {
		ts[i] = durable()
		if i%2 == 0 {
			ts[i].Queue = "bulk"
		}
	}
	r.dispatch(ts...)
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	next(t, done)
	for _, s := range servers {
		r.shutdown(s)
	}
	for id, n := range visits {
		if n != 1 {
			t.Errorf("job %s was brought %d times", id, n)
		}
	}
	if len(visits) != len(ts) || share[0].Load() < 100 || share[1].Load() < 100 {
		t.Errorf("%d jobs, shared %d to %d", len(visits), share[0].Load(), share[1].Load())
	}
}

func TestConcurrencyIsTheQueues(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	begun, finish := make(chan job.Task, 100), make(chan struct{})
	var bulk, most atomic.Int64
	r.serve(func(_ context.Context, task job.Task) job.Verdict {
		if task.Queue == "bulk" {
			n := bulk.Add(1)
			defer bulk.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
		}
		begun <- task
		<-finish
		return job.Verdict{}
	})
	for range 30 {
		task := durable()
		task.Queue = "bulk"
		r.dispatch(task)
	}
	for range 4 {
		next(t, begun)
	}
	// A full queue does not hold another one up.
	task := durable()
	r.dispatch(task)
	if got := next(t, begun); got.ID != task.ID {
		t.Errorf("brought %+v, want the other queue's", got)
	}
	close(finish)
	for range 26 {
		next(t, begun)
	}
	if n := most.Load(); n != 4 {
		t.Errorf("%d of queue bulk ran at a time, want 4", n)
	}
}

// TestQueueLeftToOthers: a server brings no task of a queue with concurrency 0,
// which is there for who serves it.
func TestQueueLeftToOthers(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	begun := make(chan job.Task, 10)
	serving := func(queues Queues) {
		t.Helper()
		s := NewServer(ServerOptions{
			Redis: r.rdb, Queues: queues, Types: r.types, Log: r.Client.log,
			Handler: handler(func(_ context.Context, task job.Task) job.Verdict { begun <- task; return job.Verdict{} }),
		})
		if err := s.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.shutdown(s) })
	}
	left, taken := durable(), durable()
	taken.Queue = "bulk"
	serving(Queues{{"default", 0}, {"bulk", 1}})
	r.dispatch(left)
	r.dispatch(taken)
	if got := next(t, begun); got.ID != taken.ID {
		t.Errorf("brought %s, want the task of its own queue", got.ID)
	}
	if state := r.state(left); state != statePending {
		t.Errorf("the task of the other queue is %q", state)
	}
	serving(Queues{{"default", 1}, {"bulk", 0}})
	if got := next(t, begun); got.ID != left.ID {
		t.Errorf("brought %s, want the task that was left", got.ID)
	}
}
