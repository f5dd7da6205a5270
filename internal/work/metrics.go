package work

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
)

type metrics struct {
	runs    *prometheus.CounterVec
	seconds *prometheus.HistogramVec
	running *prometheus.GaugeVec
	refused *prometheus.CounterVec
	expired *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_runs_total", Help: "Runs that ended, by job type and outcome.",
		}, []string{"type", "outcome"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_run_seconds", Help: "How long handlers took, by job type.",
			Buckets: []float64{.001, .005, .025, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 300},
		}, []string{"type"}),
		running: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postrider_jobs_running", Help: "Jobs whose handlers are at work, by queue.",
		}, []string{"queue"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_claims_refused_total", Help: "Claims that were not granted, by reason; unavailable means that the database did not answer.",
		}, []string{"reason"}),
		expired: job.NewExpiredCounter(reg),
	}
	reg.MustRegister(m.runs, m.seconds, m.running, m.refused)
	return m
}

// unknownType is the label of all job types that have no handler here: their
// names come from outside.
const unknownType = "unknown"
