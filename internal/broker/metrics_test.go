package broker

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/testkit"
)

func TestQueueMetrics(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	r := newRig(t, srv.URL())
	scheduled := durable()
	scheduled.RunAt = time.Now().Add(time.Hour)
	r.dispatch(durable(), durable(), scheduled)
	for range 2 { // a count is good for a while
		got := testkit.Samples(t, r.metrics)
		if len(got) != 12 || got["postrider_queue_tasks default pending"] != 2 || got["postrider_queue_tasks default scheduled"] != 1 {
			t.Errorf("gathered %v", got)
		}
		r.dispatch(durable())
	}

	count := func() map[string]float64 {
		fresh := prometheus.NewRegistry()
		fresh.MustRegister(newQueueCollector(r.rdb, r.queues, r.Client.log))
		return testkit.Samples(t, fresh)
	}
	got := count()
	if got["postrider_queue_tasks default pending"] != 4 || got["postrider_queue_oldest_seconds bulk"] != 0 {
		t.Errorf("gathered %v", got)
	}
	if age := got["postrider_queue_oldest_seconds default"]; age <= 0 || age > 60 {
		t.Errorf("the oldest task is %v s old", age)
	}
	srv.Kill()
	if got := count(); len(got) != 0 {
		t.Errorf("without Redis %v", got)
	}
}
