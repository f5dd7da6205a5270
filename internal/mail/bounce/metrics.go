package bounce

import (
	"errors"

	"github.com/emersion/go-smtp"
	"github.com/prometheus/client_golang/prometheus"
)

// Why mails, recipients and connections are refused.
const (
	refusedConnection = "connections" // there are maxConns
	refusedRecipient  = "recipient"   // it is no return path of ours
	refusedRate       = "rate"        // one mail comes back too often
	refusedSize       = "size"
	refusedBroken     = "broken" // its content did not come to its end
	refusedStore      = "store"  // the database did not answer
)

func refusedFor(err error) string {
	if errors.Is(err, smtp.ErrDataTooLarge) {
		return refusedSize
	}
	return refusedBroken
}

type metrics struct {
	received *prometheus.CounterVec
	refused  *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, conns func() int) metrics {
	m := metrics{
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_bounces_received_total", Help: "Mails taken by SMTP for return paths: reports that were stored, and others, which were not.",
		}, []string{"kind"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_bounces_refused_total", Help: "What was not taken by SMTP for return paths, by reason.",
		}, []string{"reason"}),
	}
	reg.MustRegister(m.received, m.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postrider_bounce_connections", Help: "SMTP connections that bounces come by.",
	}, func() float64 { return float64(conns()) }))
	for _, kind := range []string{"report", "other"} {
		m.received.WithLabelValues(kind)
	}
	for _, reason := range []string{refusedConnection, refusedRecipient, refusedRate, refusedSize, refusedBroken, refusedStore} {
		m.refused.WithLabelValues(reason)
	}
	return m
}

func (m metrics) refuse(reason string) { m.refused.WithLabelValues(reason).Inc() }

func (m metrics) took(report bool) {
	kind := "other"
	if report {
		kind = "report"
	}
	m.received.WithLabelValues(kind).Inc()
}
