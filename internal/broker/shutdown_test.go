package broker

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

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
	s := r.server(handler(nil), nil)
	r.shutdown(s)
	if s.Start() == nil {
		t.Error("it started after its end")
	}
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
				s := r.server(h, nil)
				var stopping sync.WaitGroup
				stopping.Go(func() { r.shutdown(s) })
				_ = s.Start() // may lose the race, and is then refused
				stopping.Wait()
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
	testkit.WaitFor(t, patience, "its end is told", func() bool { return r.log.Count("serves the queues again") > 0 })
	if warnings, ends := r.log.Count("level=WARN"), r.log.Count("serves the queues again"); warnings != 1 || ends != 1 {
		t.Errorf("%d warnings and %d ends of one outage:\n%s", warnings, ends, r.log)
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
	r.gone(task) // or Shutdown would wait for its acknowledgement
	srv.Kill()
	r.shutdown(s) // and neither does the order in which they stop
}

// TestOutageIsNotASpin counts how often a refused connection is asked.
func TestOutageIsNotASpin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, lines := testkit.CaptureLog(t)
		l := &link{outage: newOutage(log), queue: "default"}
		refused := io.EOF
		began := time.Now()
		for range 3 {
			l.note(t.Context(), refused)
		}
		if took := time.Since(began); took != 3*restPause {
			t.Errorf("three failures took %v", took)
		}
		close(l.outage.stopped)
		began = time.Now()
		l.note(t.Context(), refused)
		if took := time.Since(began); took != 0 {
			t.Errorf("a stopping server rested %v", took)
		}
		l.note(t.Context(), nil)
		if lines.Count("level=WARN") != 1 || lines.Count("level=INFO") != 1 {
			t.Errorf("logged:\n%s", lines)
		}
	})
}

// TestOutageOfANode: on a Cluster some queues may be served and others not.
func TestOutageOfANode(t *testing.T) {
	log, lines := testkit.CaptureLog(t)
	o := newOutage(log)
	close(o.stopped) // no rests
	a, b := &link{outage: o, queue: "a"}, &link{outage: o, queue: "b"}
	step := func(l *link, err error, warnings, infos int) {
		t.Helper()
		l.note(t.Context(), err)
		if w, i := lines.Count("level=WARN"), lines.Count("level=INFO"); w != warnings || i != infos {
			t.Errorf("%d warnings and %d infos, want %d and %d", w, i, warnings, infos)
		}
	}
	step(a, io.EOF, 1, 0)
	step(b, nil, 1, 0)
	step(b, io.EOF, 1, 0)
	step(a, redis.Nil, 1, 0)
	step(b, redis.ErrNoScript, 1, 1)
	step(a, errors.New("LOADING Redis is loading the dataset in memory"), 2, 1)
}
