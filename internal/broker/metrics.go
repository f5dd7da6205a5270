package broker

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

const (
	// countEvery is how long a count is good for, however often it is scraped.
	countEvery = 5 * time.Second
	// countLimit bounds one count.
	countLimit = 2 * time.Second
)

// queueCollector tells how many tasks are in the queues and how long the
// oldest waits. It counts in two round trips; asynq's GetQueueInfo would also
// estimate the memory that each queue takes, which is costly. Without Redis
// there are no samples, and the page is whole otherwise.
type queueCollector struct {
	rdb    redis.UniversalClient
	queues []string
	log    *slog.Logger

	mu      sync.Mutex // held while counting: scrapes at the same moment share it
	counted time.Time
	counts  []queueCount
}

type queueCount struct {
	queue  string
	tasks  map[string]int64 // by state
	oldest time.Duration
}

var (
	queueTasks = prometheus.NewDesc("postrider_queue_tasks",
		"Tasks in Redis, by queue and asynq's state.", []string{"queue", "state"}, nil)
	queueOldest = prometheus.NewDesc("postrider_queue_oldest_seconds",
		"How long the oldest pending task of the queue has been waiting; 0 when none is.", []string{"queue"}, nil)
)

// newLostAcks counts acknowledgements that were given up. A registry may be
// nil, or have it from another Server.
func newLostAcks(reg prometheus.Registerer) *prometheus.CounterVec {
	lost := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postrider_lost_acks_total",
		Help: "Outcomes of tasks that did not reach Redis before the task's lease ended, by queue; such a task is brought again.",
	}, []string{"queue"})
	if reg == nil {
		return lost
	}
	var there prometheus.AlreadyRegisteredError
	if err := reg.Register(lost); errors.As(err, &there) {
		if first, ok := there.ExistingCollector.(*prometheus.CounterVec); ok {
			return first
		}
	}
	return lost
}

func newQueueCollector(rdb redis.UniversalClient, queues []string, log *slog.Logger) *queueCollector {
	return &queueCollector{rdb: rdb, queues: queues, log: log}
}

// Describe implements prometheus.Collector.
func (c *queueCollector) Describe(ch chan<- *prometheus.Desc) {
	ch <- queueTasks
	ch <- queueOldest
}

// Collect implements prometheus.Collector.
func (c *queueCollector) Collect(ch chan<- prometheus.Metric) {
	for _, q := range c.current() {
		for state, n := range q.tasks {
			ch <- prometheus.MustNewConstMetric(queueTasks, prometheus.GaugeValue, float64(n), q.queue, state)
		}
		ch <- prometheus.MustNewConstMetric(queueOldest, prometheus.GaugeValue, q.oldest.Seconds(), q.queue)
	}
}

// current returns the counts, new ones when the last are too old. An outage is
// remembered as long as a count, lest each scrape wait for Redis.
func (c *queueCollector) current() []queueCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.counted.IsZero() && time.Since(c.counted) < countEvery {
		return c.counts
	}
	ctx, cancel := context.WithTimeout(context.Background(), countLimit)
	defer cancel()
	counts, err := c.count(ctx)
	if err != nil {
		c.log.Debug("the queues could not be counted", "err", err)
	}
	c.counted, c.counts = time.Now(), counts
	return counts
}

func (c *queueCollector) count(ctx context.Context) ([]queueCount, error) {
	sizes := make([]map[string]*redis.IntCmd, len(c.queues))
	last := make([]*redis.StringCmd, len(c.queues))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, q := range c.queues {
			sizes[i] = map[string]*redis.IntCmd{
				statePending:   p.LLen(ctx, queueKey(q, statePending)),
				stateActive:    p.LLen(ctx, queueKey(q, stateActive)),
				stateScheduled: p.ZCard(ctx, queueKey(q, stateScheduled)),
				stateRetry:     p.ZCard(ctx, queueKey(q, stateRetry)),
				stateArchived:  p.ZCard(ctx, queueKey(q, stateArchived)),
			}
			// asynq pushes on the left and takes from the right.
			last[i] = p.LIndex(ctx, queueKey(q, statePending), -1)
		}
		return nil
	})
	if absent(err) != nil {
		return nil, err
	}
	since := make([]*redis.StringCmd, len(c.queues))
	_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, q := range c.queues {
			since[i] = p.HGet(ctx, taskKey(q, last[i].Val()), "pending_since")
		}
		return nil
	})
	if absent(err) != nil {
		return nil, err
	}
	counts := make([]queueCount, len(c.queues))
	for i, q := range c.queues {
		counts[i] = queueCount{queue: q, tasks: map[string]int64{}}
		for state, n := range sizes[i] {
			if n.Err() != nil {
				return nil, n.Err()
			}
			counts[i].tasks[state] = n.Val()
		}
		if nanos, err := strconv.ParseInt(since[i].Val(), 10, 64); err == nil {
			counts[i].oldest = max(time.Since(time.Unix(0, nanos)), 0)
		}
	}
	return counts, nil
}
