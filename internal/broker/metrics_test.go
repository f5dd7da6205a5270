package broker

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/testkit"
)

// samples gathers all samples: "family label…" to value.
func samples(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = m.GetGauge().GetValue()
		}
	}
	return out
}

func TestQueueMetrics(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	r := newRig(t, srv.URL())
	scheduled := durable()
	scheduled.RunAt = time.Now().Add(time.Hour)
	r.dispatch(durable(), durable(), scheduled)
	for range 2 { // a count is good for a while
		got := samples(t, r.metrics)
		if len(got) != 12 || got["postrider_queue_tasks default pending"] != 2 || got["postrider_queue_tasks default scheduled"] != 1 {
			t.Errorf("gathered %v", got)
		}
		r.dispatch(durable())
	}

	count := func() map[string]float64 {
		fresh := prometheus.NewRegistry()
		fresh.MustRegister(newQueueCollector(r.rdb, r.queues, r.Client.log))
		return samples(t, fresh)
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
