package telemetry

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// checkEvery is how long a check's result is good for, however often it is
// scraped.
const checkEvery = 5 * time.Second

var checkUp = prometheus.NewDesc("postrider_check_up",
	"Whether what the process needs works, by check, as /readyz tells: 1 or 0.", []string{"check"}, nil)

// Checks tells of the checks as a metric.
func Checks(h *Health) prometheus.Collector { return &healthCollector{health: h} }

// healthCollector asks a Health when its metrics are.
type healthCollector struct {
	health *Health

	mu    sync.Mutex // held while asking: scrapes at the same moment share it
	asked time.Time
	last  Status
}

// Describe implements prometheus.Collector.
func (*healthCollector) Describe(ch chan<- *prometheus.Desc) { ch <- checkUp }

// Collect implements prometheus.Collector; it takes as long as the checks, two
// seconds at most.
func (c *healthCollector) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked.IsZero() || time.Since(c.asked) >= checkEvery {
		c.last = c.health.Status(context.Background())
		c.asked = time.Now()
	}
	for name, result := range c.last.Checks {
		up := 0.0
		if result == "ok" {
			up = 1
		}
		ch <- prometheus.MustNewConstMetric(checkUp, prometheus.GaugeValue, up, name)
	}
}
