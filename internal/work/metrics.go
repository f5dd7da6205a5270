package work

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
)

type metrics struct {
	runs    *prometheus.CounterVec
	started *prometheus.CounterVec
	settled *prometheus.CounterVec
	retried *prometheus.CounterVec
	wait    *prometheus.HistogramVec
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
		started: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_runs_started_total", Help: "Runs that began, by job type and queue.",
		}, []string{"type", "queue"}),
		settled: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_jobs_settled_total", Help: "Outcomes of durable jobs' runs that were recorded, by job type and the state that the job is in since; waiting ones run again.",
		}, []string{"type", "state"}),
		retried: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_job_retries_total", Help: "Attempts at durable jobs that failed and will be made again, by job type; what was only put off does not count.",
		}, []string{"type"}),
		wait: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_job_wait_seconds", Help: "From the time when a durable job's run was due until it began, by job type and by the database's clock.",
			Buckets: waitBuckets,
		}, []string{"type"}),
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
	reg.MustRegister(m.runs, m.started, m.settled, m.retried, m.wait, m.seconds, m.running, m.refused)
	return m
}

// waitBuckets reach from a worker that was woken to a backlog of hours.
var waitBuckets = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200}

// typeLabel is a job type as a label: names that are not known here come from
// outside.
func (w *Worker) typeLabel(name string) string {
	if _, known := w.handlers[name]; known {
		return name
	}
	return unknownType
}

// unknownType is the label of all job types that have no handler here: their
// names come from outside.
const unknownType = "unknown"
