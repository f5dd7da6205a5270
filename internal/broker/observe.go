package broker

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// Observe has a client that was just made tell how Redis fares: how long
// commands take and which fail, and how its connections are used. Commands that
// wait for something to come (BLMOVE and its like) are left out.
func Observe(rdb redis.UniversalClient, reg prometheus.Registerer) error {
	w := &redisWatch{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_redis_seconds", Help: "How long Redis took to answer, by command; a pipeline counts once.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}, []string{"command"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_redis_failures_total", Help: "Commands that Redis did not carry out: no connection, no answer in time, or a server that is not ready to serve.",
		}, []string{"command"}),
	}
	if cluster, ok := rdb.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(w) })
	} else {
		rdb.AddHook(w)
	}
	for _, c := range []prometheus.Collector{w.seconds, w.failed, redisPool{rdb}} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}

// redisWatch is a go-redis hook that counts.
type redisWatch struct {
	seconds *prometheus.HistogramVec
	failed  *prometheus.CounterVec
}

// pipelined is the command that pipelines are told under.
const pipelined = "pipeline"

func (w *redisWatch) note(command string, began time.Time, err error) {
	w.seconds.WithLabelValues(command).Observe(time.Since(began).Seconds())
	if !served(err) && !moved(err) && !errors.Is(err, context.Canceled) {
		w.failed.WithLabelValues(command).Inc()
	}
}

// DialHook implements redis.Hook.
func (w *redisWatch) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := next(ctx, network, addr)
		if err != nil {
			w.failed.WithLabelValues("connect").Inc()
		}
		return conn, err
	}
}

// ProcessHook implements redis.Hook.
func (w *redisWatch) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if waits(cmd.Name()) {
			return next(ctx, cmd)
		}
		began := time.Now()
		err := next(ctx, cmd)
		w.note(cmd.Name(), began, err)
		return err
	}
}

// ProcessPipelineHook implements redis.Hook.
func (w *redisWatch) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		w.note(pipelined, began, err)
		return err
	}
}

// waits reports whether a command may block in Redis.
func waits(command string) bool {
	switch command {
	case "blmove", "blpop", "brpop", "blmpop", "bzmpop", "bzpopmin", "bzpopmax", "brpoplpush", "xread", "xreadgroup", "wait":
		return true
	}
	return false
}

// redisPool tells of a client's connections; on a Cluster it sums its nodes up.
type redisPool struct{ rdb redis.UniversalClient }

var (
	redisConnections = prometheus.NewDesc("postrider_redis_connections",
		"Connections to Redis, by whether a command is under way on them (lent) or not (idle).", []string{"state"}, nil)
	redisPoolTimeouts = prometheus.NewDesc("postrider_redis_pool_timeouts_total",
		"Commands that found no free connection to Redis in time.", nil, nil)
)

// Describe implements prometheus.Collector.
func (redisPool) Describe(ch chan<- *prometheus.Desc) {
	ch <- redisConnections
	ch <- redisPoolTimeouts
}

// Collect implements prometheus.Collector.
func (p redisPool) Collect(ch chan<- prometheus.Metric) {
	s := p.rdb.PoolStats()
	lent := max(int(s.TotalConns)-int(s.IdleConns), 0)
	ch <- prometheus.MustNewConstMetric(redisConnections, prometheus.GaugeValue, float64(lent), "lent")
	ch <- prometheus.MustNewConstMetric(redisConnections, prometheus.GaugeValue, float64(s.IdleConns), "idle")
	ch <- prometheus.MustNewConstMetric(redisPoolTimeouts, prometheus.CounterValue, float64(s.Timeouts))
}
