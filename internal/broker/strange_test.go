package broker

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// FuzzStrangeTask puts into the queue what another version of Postrider, of
// asynq, or somebody's hand may have written there: a task of any type, id and
// payload, and a message that is any bytes. A task that is none of ours ends;
// none keeps the next from being brought.
func FuzzStrangeTask(f *testing.F) {
	f.Add("email:send", "", []byte(`{"to":["ann@example.org"]}`), []byte{})
	f.Add("report:v2", "01890a5d-ac96-774b-bcce-b302099a8057~2", []byte(nil), []byte("\x0a\x04noop"))
	f.Add("", "~", []byte("\x00"), []byte("\xff\xff\xff\xff"))
	f.Add("noop", "01890a5d-ac96-774b-bcce-b302099a8057~1", []byte("x"), []byte("not a message"))
	f.Add("flaky", "no-id", []byte("{}"), []byte("\x1a\x02\x7b\x7d\x22\x03x}{"))

	redisURL, stop, err := Embedded(slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(stop)
	rdb := connect(f, redisURL)
	f.Cleanup(func() { _ = rdb.Close() })
	o := Options{
		Redis: rdb, Queues: testQueues(), Types: catalogue(f), Margin: time.Second,
		Log: slog.New(slog.DiscardHandler),
	}
	client := NewClient(o)
	brought := make(chan job.Task, 100)
	server := NewServer(ServerOptions{
		Redis: rdb, Queues: o.Queues, Types: o.Types, Log: o.Log,
		Handler: handler(func(_ context.Context, t job.Task) job.Verdict { brought <- t; return job.Verdict{} }),
	})
	if err := server.Start(); err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			f.Error(err)
		}
	})
	foreign := asynq.NewClientFromRedisClient(rdb)

	f.Fuzz(func(t *testing.T, typ, id string, payload, message []byte) {
		opts := []asynq.Option{asynq.Queue("default"), asynq.MaxRetry(0)}
		if id != "" {
			opts = append(opts, asynq.TaskID(id))
		}
		// What asynq itself refuses does not come to the queue.
		_, _ = foreign.EnqueueContext(bound(t), asynq.NewTask(typ, payload), opts...)
		raw := string(job.NewID())
		for _, err := range []error{
			rdb.HSet(bound(t), taskKey("default", raw), "msg", message, "state", "pending").Err(),
			rdb.LPush(bound(t), queueKey("default", statePending), raw).Err(),
		} {
			if err != nil {
				t.Fatal(err)
			}
		}
		last := durable()
		if _, err := client.Dispatch(bound(t), []job.Task{last}); err != nil {
			t.Fatal(err)
		}
		for got := next(t, brought); got.ID != last.ID; got = next(t, brought) {
		}
		if _, err := client.Heal(bound(t), "default"); err != nil {
			t.Error(err)
		}
	})
}

// TestHealDropsGarbage: a message that nobody can read, or that is another
// task's, is dropped; asynq would stumble over it each time that it looks for
// what dead workers left.
func TestHealDropsGarbage(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	torn, other, whole := durable(), durable(), durable()
	for _, task := range []job.Task{torn, other, whole} {
		r.dispatch(task)
		r.leak(task)
	}
	key := func(task job.Task) string { return taskKey(task.Queue, task.TaskID()) }
	r.must(
		r.rdb.HSet(bound(t), key(torn), "msg", "\xff\xff\xff"),
		r.rdb.HSet(bound(t), key(other), "msg", r.rdb.HGet(bound(t), key(whole), "msg").Val()),
	)
	if n, err := r.Heal(bound(t), "default"); err != nil || n != 1 {
		t.Fatalf("healed %d tasks, %v; want one", n, err)
	}
	for _, task := range []job.Task{torn, other} {
		if got := r.look(task)[0]; got != job.Absent {
			t.Errorf("a task that cannot be read is %v", got)
		}
	}
	if r.log.Count("could not be read") != 2 {
		t.Errorf("logged:\n%s", r.log)
	}
	// Its name is free: it is sent again by the version that reads it.
	r.dispatch(torn)
	if !r.knows(torn) || !r.knows(whole) {
		t.Error("what was healed is not there")
	}
}
