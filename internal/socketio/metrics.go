package socketio

import (
	"maps"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what a server does.
type metrics struct {
	sessions *prometheus.CounterVec // by transport
	ends     *prometheus.CounterVec // by reason
	upgrades atomic.Int64
	events   atomic.Int64
}

func newMetrics() *metrics {
	return &metrics{
		sessions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_live_sessions_total", Help: "Socket.IO sessions begun, by the transport of their handshake.",
		}, []string{"transport"}),
		ends: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_live_session_ends_total", Help: "Socket.IO sessions ended, by reason.",
		}, []string{"reason"}),
	}
}

func (m *metrics) opened(transport string) { m.sessions.WithLabelValues(transport).Inc() }
func (m *metrics) closed(reason Reason)    { m.ends.WithLabelValues(string(reason)).Inc() }
func (m *metrics) upgraded()               { m.upgrades.Add(1) }

var (
	openDesc     = prometheus.NewDesc("postrider_live_sessions", "Socket.IO sessions open now.", nil, nil)
	upgradesDesc = prometheus.NewDesc("postrider_live_upgrades_total", "Socket.IO sessions that went from polling to WebSocket.", nil, nil)
	queuedDesc   = prometheus.NewDesc("postrider_live_queued_bytes", "What waits to be sent to Socket.IO clients of this process; one for whom too much waits is cut off, see the reason \"slow client\".", nil, nil)
	eventsDesc   = prometheus.NewDesc("postrider_live_events_received_total", "Events that Socket.IO clients have sent.", nil, nil)
)

// Describe and Collect make the server a prometheus.Collector.
func (s *Server) Describe(ch chan<- *prometheus.Desc) {
	s.metrics.sessions.Describe(ch)
	s.metrics.ends.Describe(ch)
	ch <- openDesc
	ch <- queuedDesc
	ch <- upgradesDesc
	ch <- eventsDesc
}

// Collect reports the figures; see Describe.
func (s *Server) Collect(ch chan<- prometheus.Metric) {
	s.metrics.sessions.Collect(ch)
	s.metrics.ends.Collect(ch)
	ch <- prometheus.MustNewConstMetric(openDesc, prometheus.GaugeValue, float64(s.Sessions()))
	ch <- prometheus.MustNewConstMetric(queuedDesc, prometheus.GaugeValue, float64(s.queuedBytes()))
	ch <- prometheus.MustNewConstMetric(upgradesDesc, prometheus.CounterValue, float64(s.metrics.upgrades.Load()))
	ch <- prometheus.MustNewConstMetric(eventsDesc, prometheus.CounterValue, float64(s.metrics.events.Load()))
}

// queuedBytes is what waits for all clients.
func (s *Server) queuedBytes() int {
	s.mu.Lock()
	sessions := slices.Collect(maps.Values(s.sessions)) // a session is not to be locked below the server
	s.mu.Unlock()
	total := 0
	for _, session := range sessions {
		session.mu.Lock()
		total += session.queued
		session.mu.Unlock()
	}
	return total
}
