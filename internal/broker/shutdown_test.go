package broker

import (
	"context"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

func TestQuietThenShutdown(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	begun, finish := make(chan context.Context, 10), make(chan struct{})
	s := r.serve(func(ctx context.Context, _ job.Task) job.Verdict {
		begun <- ctx
		<-finish
		return job.Verdict{}
	})
	first, second := durable(), durable()
	r.dispatch(first)
	ctx := next(t, begun)
	s.Quiet()
	s.Quiet()
	r.dispatch(second)

	// A task that runs holds Shutdown up and is not disturbed by it.
	short, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := s.Shutdown(short); err == nil {
		t.Error("Shutdown did not wait for the running task")
	}
	if ctx.Err() != nil {
		t.Errorf("the handler's context ended: %v", ctx.Err())
	}
	if got := r.state(first); got != "active" || !r.knows(first) {
		t.Errorf("the running task is %q", got)
	}
	close(finish)
	r.shutdown(s)
	r.shutdown(s)
	if got := r.state(first); got != "" {
		t.Errorf("the finished task is %q", got)
	}
	if got := r.state(second); got != "pending" {
		t.Errorf("the task that came after Quiet is %q", got)
	}
}

func TestServerNeverStarted(t *testing.T) {
	r := newRig(t, testkit.Redis(t).URL())
	s := NewServer(ServerOptions{Redis: r.rdb, Queues: testQueues(), Types: r.types, Handler: handler(nil), Log: r.Client.log})
	r.shutdown(s)
}

// TestStartAndStop races many lives of a server.
func TestStartAndStop(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	h, _ := collect()
	done := make(chan struct{})
	for range 10 {
		go func() {
			defer func() { done <- struct{}{} }()
			for range 5 {
				s := NewServer(ServerOptions{Redis: r.rdb, Queues: testQueues(), Types: r.types, Handler: h, Log: r.Client.log})
				if err := s.Start(); err != nil {
					t.Error(err)
				}
				r.shutdown(s)
			}
		}()
	}
	for range 10 {
		next(t, done)
	}
}

// TestRedisRestarts: the server outlives an outage, and says so once.
func TestRedisRestarts(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t, "appendonly yes", "appendfsync always")
	r := newRig(t, srv.URL())
	hinted := make(chan job.ID, 100)
	h, brought := collect()
	r.serveWith(h, func(id job.ID) { hinted <- id })
	first := durable()
	r.dispatch(first)
	next(t, brought)
	r.gone(first)

	srv.Kill()
	testkit.WaitFor(t, patience, "the outage is noticed", func() bool { return r.log.Count("does not serve the queues") > 0 })
	// Long enough for asynq's forwarder to complain several times.
	testkit.WaitFor(t, patience, "asynq has complained", func() bool { return r.log.Count("Failed to forward") > 3 })
	srv.Restart()
	second := durable()
	testkit.WaitFor(t, patience, "tasks can be sent again", func() bool {
		_, err := r.Dispatch(bound(t), []job.Task{second})
		return err == nil
	})
	if got := next(t, brought); got.ID != second.ID {
		t.Errorf("brought %s, want %s", got.ID, second.ID)
	}
	testkit.WaitFor(t, patience, "hints are heard again", func() bool {
		r.HintCancel(bound(t), second.ID)
		return len(hinted) > 0
	})
	if n := r.log.Count("level=WARN"); n != 1 {
		t.Errorf("%d warnings during one outage:\n%s", n, r.log)
	}
	if n := r.log.Count("serves the queues again"); n != 1 {
		t.Errorf("its end was told %d times", n)
	}
}

// TestStartWithoutRedis: the order in which things start does not matter.
func TestStartWithoutRedis(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	srv.Kill()
	r := newRig(t, srv.URL())
	h, brought := collect()
	s := r.serve(h)
	testkit.WaitFor(t, patience, "the outage is noticed", func() bool { return r.log.Count("does not serve the queues") == 1 })
	srv.Restart()
	task := durable()
	testkit.WaitFor(t, patience, "a task can be sent", func() bool {
		_, err := r.Dispatch(bound(t), []job.Task{task})
		return err == nil
	})
	next(t, brought)
	srv.Kill()
	r.shutdown(s) // and neither does the order in which they stop
}

// TestOutageIsNotASpin counts how often a refused connection is asked.
func TestOutageIsNotASpin(t *testing.T) {
	log, lines := testkit.CaptureLog(t)
	l := newLink(log)
	refused := context.DeadlineExceeded // any error that is no answer
	began := time.Now()
	for range 3 {
		l.note(t.Context(), refused)
	}
	if took := time.Since(began); took < 3*restPause {
		t.Errorf("three failures took %v", took)
	}
	close(l.stopping)
	began = time.Now()
	l.note(t.Context(), refused)
	if took := time.Since(began); took >= restPause {
		t.Errorf("a stopping server rested %v", took)
	}
	l.note(t.Context(), nil)
	if lines.Count("level=WARN") != 1 || lines.Count("level=INFO") != 1 {
		t.Errorf("logged:\n%s", lines)
	}
}
