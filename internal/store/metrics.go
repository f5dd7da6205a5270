package store

import (
	"database/sql"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// opRead is the label of all that is read outside of transactions.
const opRead = "read"

// metrics are how the database fares; the names of transactions are a label.
type metrics struct {
	seconds *prometheus.HistogramVec
	failed  *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_sql_seconds", Help: "How long transactions took, from begin to commit, by what they do; read is all that is only looked up. Calls that share a transaction count once.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"op"}),
		failed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_sql_failures_total", Help: "Transactions and reads that the database did not carry out, by what they do and whether trying again helps (again) or not (refused).",
		}, []string{"op", "kind"}),
	}
}

// note counts one attempt.
func (m *metrics) note(op string, began time.Time, err error) {
	m.seconds.WithLabelValues(op).Observe(time.Since(began).Seconds())
	if err == nil {
		return
	}
	kind := "refused"
	if again(err) {
		kind = "again"
	}
	m.failed.WithLabelValues(op, kind).Inc()
}

// register makes the figures and those of the pools known.
func (s *Store) register(reg prometheus.Registerer) error {
	pools := map[string]*sql.DB{"main": s.write}
	if s.read != s.write {
		pools = map[string]*sql.DB{"write": s.write, "read": s.read}
	}
	if s.byID != nil {
		pools["by_id"] = s.byID
	}
	all := []prometheus.Collector{s.metrics.seconds, s.metrics.failed}
	for name, db := range pools {
		all = append(all, collectors.NewDBStatsCollector(db, name))
	}
	for _, c := range all {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	return nil
}
