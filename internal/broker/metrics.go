package broker

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/numbers"
	"github.com/postrider/postrider/internal/telemetry"
)

const (
	// countEvery is how long a count is good for, however often it is scraped.
	countEvery = 5 * time.Second
	// countLimit bounds one count.
	countLimit = 2 * time.Second
)

// queueCollector tells how many tasks are in the queues, how long the oldest
// waits, and who is there to take them. Without Redis there are no samples, and
// the page is whole otherwise.
type queueCollector struct {
	census *Census
	log    *slog.Logger

	mu      sync.Mutex // held while counting: scrapes at the same moment share it
	counted time.Time
	counts  *fleetCount // nil without Redis
}

type fleetCount struct {
	queues  []numbers.Count
	workers int // processes
}

var (
	queueTasks = prometheus.NewDesc("postrider_queue_tasks",
		"Tasks in Redis, by queue and asynq's state.", []string{"queue", "state"}, nil)
	queueOldest = prometheus.NewDesc("postrider_queue_oldest_seconds",
		"How long the oldest pending task of the queue has been waiting; 0 when none is.", []string{"queue"}, nil)
	queuePaused = prometheus.NewDesc("postrider_queue_paused",
		"Whether somebody has paused the queue: 1 or 0.", []string{"queue"}, nil)
	workersDesc = prometheus.NewDesc("postrider_workers",
		"Worker processes that have told Redis that they are alive, within the last 10 s or so.", nil, nil)
)

// newLostAcks counts acknowledgements that were given up.
func newLostAcks(reg prometheus.Registerer) *prometheus.CounterVec {
	return telemetry.Shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postrider_lost_acks_total",
		Help: "Outcomes of tasks that did not reach Redis before the task's lease ended, by queue; such a task is brought again.",
	}, []string{"queue"}))
}

// newSlotsGauge tells how many tasks of each queue a worker may run at a time.
func newSlotsGauge(reg prometheus.Registerer) *prometheus.GaugeVec {
	return telemetry.Shared(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "postrider_queue_slots", Help: "Jobs that this worker runs at a time at most, by queue.",
	}, []string{"queue"}))
}

// RegisterFleet registers what is the same whoever tells it: how the queues in
// Redis stand, and how many workers serve them. One process of all is enough; a
// scrape costs Redis three round trips, every five seconds at most.
func RegisterFleet(reg prometheus.Registerer, rdb redis.UniversalClient, queues []string, log *slog.Logger) error {
	log = component(log)
	for _, c := range []prometheus.Collector{newQueueCollector(rdb, queues, log), newAsynqCollector(rdb, queues, log)} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

func newQueueCollector(rdb redis.UniversalClient, queues []string, log *slog.Logger) *queueCollector {
	return &queueCollector{census: NewCensus(rdb, queues), log: log}
}

// Describe implements prometheus.Collector.
func (c *queueCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{queueTasks, queueOldest, queuePaused, workersDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *queueCollector) Collect(ch chan<- prometheus.Metric) {
	counts := c.current()
	if counts == nil {
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	for _, q := range counts.queues {
		for state, n := range map[string]int64{
			statePending: q.Pending, stateActive: q.Active, stateScheduled: q.Scheduled, stateRetry: q.Retry, stateArchived: q.Archived,
		} {
			gauge(queueTasks, float64(n), q.Queue, state)
		}
		gauge(queueOldest, q.Oldest.Seconds(), q.Queue)
		gauge(queuePaused, truth(q.Paused), q.Queue)
	}
	gauge(workersDesc, float64(counts.workers))
}

// truth is a bool as a metric has it.
func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// current returns the counts, new ones when the last are too old. An outage is
// remembered as long as a count, lest each scrape wait for Redis.
func (c *queueCollector) current() *fleetCount {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.counted.IsZero() && time.Since(c.counted) < countEvery {
		return c.counts
	}
	ctx, cancel := context.WithTimeout(context.Background(), countLimit)
	defer cancel()
	c.counts = nil
	queues, err := c.census.Count(ctx)
	var workers int
	if err == nil {
		workers, err = c.countWorkers(ctx)
	}
	if err != nil {
		c.log.Debug("the queues could not be counted", "err", err)
	} else {
		c.counts = &fleetCount{queues, workers}
	}
	c.counted = time.Now()
	return c.counts
}

// countWorkers counts the processes among asynq's living servers, of which each
// has one a queue: asynq:servers:{host:pid:id} with the time until which it lives
// (asynq v0.26.0, internal/rdb, ListServers).
func (c *queueCollector) countWorkers(ctx context.Context) (int, error) {
	living, err := c.census.rdb.ZRangeByScore(ctx, allServers, &redis.ZRangeBy{Min: strconv.FormatInt(time.Now().Unix(), 10), Max: "+inf"}).Result()
	if err != nil {
		return 0, fmt.Errorf("listing asynq's servers: %w", err)
	}
	processes := map[string]bool{}
	for _, server := range living {
		processes[server[:max(strings.LastIndex(server, ":"), 0)]] = true
	}
	return len(processes), nil
}
