package broker

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

func TestQueueMetrics(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	r := newRig(t, srv.URL())
	if err := RegisterFleet(r.metrics, r.rdb, r.queues, r.Client.log); err != nil {
		t.Fatal(err)
	}
	scheduled := durable()
	scheduled.RunAt = time.Now().Add(time.Hour)
	r.dispatch(durable(), durable(), scheduled)
	for range 2 { // a count is good for a while
		got := testkit.Samples(t, r.metrics)
		if got["postrider_queue_tasks default pending"] != 2 || got["postrider_queue_tasks default scheduled"] != 1 {
			t.Errorf("gathered %v", got)
		}
		r.dispatch(durable())
	}

	count := func() map[string]float64 {
		fresh := prometheus.NewRegistry()
		if err := RegisterFleet(fresh, r.rdb, r.queues, r.Client.log); err != nil {
			t.Fatal(err)
		}
		return testkit.Samples(t, fresh)
	}
	got := count()
	if got["postrider_queue_tasks default pending"] != 4 || got["postrider_queue_oldest_seconds bulk"] != 0 {
		t.Errorf("gathered %v", got)
	}
	if age := got["postrider_queue_oldest_seconds default"]; age <= 0 || age > 60 {
		t.Errorf("the oldest task is %v s old", age)
	}
	for name, want := range map[string]float64{
		"asynq_queue_size default": 5, "asynq_tasks_enqueued_total default pending": 4, "asynq_tasks_processed_total default": 0,
		"postrider_queue_paused default": 0, "postrider_workers": 0,
	} {
		if is, there := got[name]; !there || is != want {
			t.Errorf("%s is %v (%v), want %v", name, is, there, want)
		}
	}
	if got["asynq_queue_memory_usage_approx_bytes default"] <= 0 {
		t.Error("the queue takes no memory")
	}
	srv.Kill()
	if got := count(); len(got) != 0 {
		t.Errorf("without Redis %v", got)
	}
}

// A worker has a server of asynq for each queue, and is one.
func TestWorkersAreCounted(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	r.serve(func(context.Context, job.Task) job.Verdict { return job.Verdict{} })
	c := newQueueCollector(r.rdb, r.queues, r.Client.log)
	testkit.WaitFor(t, patience, "both servers to announce themselves", func() bool {
		n, err := r.rdb.ZCard(t.Context(), allServers).Result()
		return err == nil && n == 2
	})
	if n, err := c.countWorkers(t.Context()); n != 1 || err != nil {
		t.Errorf("%d workers: %v", n, err)
	}
}

func TestRedisIsObserved(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	rdb := connect(t, srv.URL())
	t.Cleanup(func() { _ = rdb.Close() })
	reg := prometheus.NewRegistry()
	if err := Observe(rdb, reg); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if err := rdb.Ping(ctx).Err(); err != nil { // a connection's first words are counted, too
		t.Fatal(err)
	}
	before := observed(t, reg, "postrider_redis_seconds")[pipelined]
	for _, err := range []error{
		rdb.Set(ctx, "a", 1, 0).Err(),
		absent(rdb.Get(ctx, "missing").Err()),
		absent(rdb.BLMove(ctx, "none", "none", "RIGHT", "RIGHT", 10*time.Millisecond).Err()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := rdb.Pipelined(ctx, func(p redis.Pipeliner) error { p.Get(ctx, "a"); p.Get(ctx, "a"); return nil }); err != nil {
		t.Fatal(err)
	}
	counts := observed(t, reg, "postrider_redis_seconds")
	if counts["set"] != 1 || counts["get"] != 1 || counts[pipelined] <= before || counts["blmove"] != 0 {
		t.Errorf("counted %v", counts)
	}
	if got := testkit.Samples(t, reg); got["postrider_redis_connections idle"] < 1 || got["postrider_redis_failures_total get"] != 0 {
		t.Errorf("gathered %v", got)
	}
	srv.Kill()
	_ = rdb.Get(ctx, "a").Err()
	if got := testkit.Samples(t, reg); got["postrider_redis_failures_total get"] != 1 {
		t.Errorf("after the end of Redis %v", got)
	}
}

// observed are the counts of a histogram by its one label.
func observed(t *testing.T, reg *prometheus.Registry, name string) map[string]uint64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]uint64{}
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				out[m.GetLabel()[0].GetValue()] = m.GetHistogram().GetSampleCount()
			}
		}
	}
	return out
}
