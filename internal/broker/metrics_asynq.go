package broker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// inspectEvery is how long what asynq tells of its queues is good for. It looks
// at some hundred tasks of each queue to estimate their memory.
const inspectEvery = 30 * time.Second

// asynqCollector tells of the queues by the names that asynqmon's metrics page
// asks Prometheus for (asynqmon v0.7.2, metrics_handler.go). They are those of
// asynq's own module for metrics, which cannot be had for this version of asynq.
type asynqCollector struct {
	rdb    redis.UniversalClient
	queues []string
	log    *slog.Logger

	mu    sync.Mutex // held while asking
	asked time.Time
	infos []*asynq.QueueInfo
}

func newAsynqCollector(rdb redis.UniversalClient, queues []string, log *slog.Logger) *asynqCollector {
	return &asynqCollector{rdb: rdb, queues: queues, log: log}
}

// asynqMetrics are what asynqmon knows of a queue.
var asynqMetrics = []struct {
	desc  *prometheus.Desc
	kind  prometheus.ValueType
	value func(*asynq.QueueInfo) float64
}{
	{asynqDesc("size", "Tasks of the queue"), prometheus.GaugeValue, func(q *asynq.QueueInfo) float64 { return float64(q.Size) }},
	{asynqDesc("latency_seconds", "How long the oldest pending task has been waiting"), prometheus.GaugeValue, func(q *asynq.QueueInfo) float64 { return q.Latency.Seconds() }},
	{asynqDesc("memory_usage_approx_bytes", "What the queue takes of Redis' memory, estimated"), prometheus.GaugeValue, func(q *asynq.QueueInfo) float64 { return float64(q.MemoryUsage) }},
	{asynqTotal("processed", "Tasks that were processed, failed ones with them"), prometheus.CounterValue, func(q *asynq.QueueInfo) float64 { return float64(q.ProcessedTotal) }},
	{asynqTotal("failed", "Tasks that failed"), prometheus.CounterValue, func(q *asynq.QueueInfo) float64 { return float64(q.FailedTotal) }},
}

// asynqTasks has the name of a counter and is none, which asynqmon will have so.
var asynqTasks = prometheus.NewDesc("asynq_tasks_enqueued_total", "Tasks in the queue by state, a gauge: for asynqmon.", []string{"queue", "state"}, nil)

func asynqDesc(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("asynq_queue_"+name, help+": for asynqmon.", []string{"queue"}, nil)
}

func asynqTotal(name, help string) *prometheus.Desc {
	return prometheus.NewDesc("asynq_tasks_"+name+"_total", help+": for asynqmon.", []string{"queue"}, nil)
}

// Describe implements prometheus.Collector.
func (c *asynqCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range asynqMetrics {
		ch <- m.desc
	}
	ch <- asynqTasks
}

// Collect implements prometheus.Collector.
func (c *asynqCollector) Collect(ch chan<- prometheus.Metric) {
	for _, q := range c.current() {
		for _, m := range asynqMetrics {
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, m.value(q), q.Queue)
		}
		for state, n := range map[string]int{
			stateActive: q.Active, statePending: q.Pending, stateScheduled: q.Scheduled, stateRetry: q.Retry, stateArchived: q.Archived,
		} {
			ch <- prometheus.MustNewConstMetric(asynqTasks, prometheus.GaugeValue, float64(n), q.Queue, state)
		}
	}
}

// current returns what asynq tells of the queues that it knows, which are those
// that had a task.
func (c *asynqCollector) current() []*asynq.QueueInfo {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.asked.IsZero() && time.Since(c.asked) < inspectEvery {
		return c.infos
	}
	ctx, cancel := context.WithTimeout(context.Background(), countLimit)
	defer cancel()
	look := inspector(ctx, c.rdb)
	c.infos = nil
	for _, queue := range c.queues {
		info, err := look.GetQueueInfo(queue)
		if err == nil {
			c.infos = append(c.infos, info)
		} else if !errors.Is(err, asynq.ErrQueueNotFound) {
			c.log.Debug("asynq could not tell of a queue", "queue", queue, "err", err)
		}
	}
	c.asked = time.Now()
	return c.infos
}
