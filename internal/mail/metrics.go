package mail

import (
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of all providers; their names are the only labels
// that come from a setting.
type metrics struct {
	soon   *prometheus.HistogramVec
	named  []string // categories that soon tells apart
	sends  *prometheus.CounterVec
	took   *prometheus.HistogramVec
	opened *prometheus.CounterVec
}

func newMetrics(categories []string) *metrics {
	return &metrics{
		named: categories,
		soon: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "postrider_mail_accept_to_sent_seconds",
			Help:    "From the time when a mail was to go out, which is when it was accepted unless it is for later, until a server took it; by category, of those that are essential or have an objective.",
			Buckets: []float64{.1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600, 21600},
		}, []string{"category"}),
		sends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_mail_sends_total",
			Help: "Mails that a provider was offered, by what became of them (sent, temporary, permanent, ambiguous, cancelled) and the class of its last reply (2xx, 4xx, 5xx, none).",
		}, []string{"provider", "outcome", "reply"}),
		took: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_mail_send_seconds", Help: "How long a provider took over a mail that it was offered, with connecting where that was needed.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30},
		}, []string{"provider"}),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_mail_connections_opened_total", Help: "Connections that were made and logged in to.",
		}, []string{"provider"}),
	}
}

// Measure notes how long a mail took that a server has just taken, since it was
// due. Categories come from outside; only those that are Measured make a label.
func (s *Sender) Measure(category string, due time.Time) {
	label := "other"
	switch {
	case category == "":
		label = "none"
	case slices.Contains(s.metrics.named, category):
		label = category
	}
	s.metrics.soon.WithLabelValues(label).Observe(max(time.Since(due), 0).Seconds())
}

// sent counts a message; e is nil of one that was taken.
func (m *metrics) sent(provider string, e *Error) {
	if e == nil {
		m.sends.WithLabelValues(provider, "sent", "2xx").Inc()
		return
	}
	reply := "none"
	if e.Code != 0 {
		reply = fmt.Sprintf("%dxx", e.Code/100)
	}
	m.sends.WithLabelValues(provider, string(e.Kind), reply).Inc()
}

var (
	connectionsDesc = prometheus.NewDesc("postrider_mail_connections",
		"Open connections, by whether a mail is under way on them (lent) or not (idle).", []string{"provider", "state"}, nil)
	breakerDesc = prometheus.NewDesc("postrider_mail_breaker",
		"1 for the state that a provider's circuit breaker is in: closed (it is used), open (it is left alone), half_open (it is being tried).", []string{"provider", "state"}, nil)
	slowedDesc = prometheus.NewDesc("postrider_mail_slowed_domains",
		"Recipient domains that said they get too many mails and are sent to more slowly.", []string{"provider"}, nil)
)

// collector is the prometheus.Collector of a Sender.
type collector struct {
	*metrics
	providers []*provider
}

// Describe implements prometheus.Collector.
func (c collector) Describe(ch chan<- *prometheus.Desc) {
	c.sends.Describe(ch)
	c.took.Describe(ch)
	c.soon.Describe(ch)
	c.opened.Describe(ch)
	ch <- connectionsDesc
	ch <- breakerDesc
	ch <- slowedDesc
}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	c.sends.Collect(ch)
	c.took.Collect(ch)
	c.soon.Collect(ch)
	c.opened.Collect(ch)
	gauge := func(desc *prometheus.Desc, value int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, float64(value), labels...)
	}
	for _, p := range c.providers {
		lent, idle := p.pool.count()
		gauge(connectionsDesc, lent, p.name, "lent")
		gauge(connectionsDesc, idle, p.name, "idle")
		now := p.breaker.state()
		for _, state := range []breakerState{breakerClosed, breakerOpen, breakerHalfOpen} {
			is := 0
			if state == now {
				is = 1
			}
			gauge(breakerDesc, is, p.name, string(state))
		}
		gauge(slowedDesc, p.paces.slowed(), p.name)
	}
}
