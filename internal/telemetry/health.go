package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// checkLimit bounds each readiness check.
const checkLimit = 2 * time.Second

var errTimeout = fmt.Errorf("no answer within %v", checkLimit)

// Weight says what a failing check means.
type Weight int

const (
	// Required: the process cannot do its work, so it gets no more of it.
	Required Weight = iota
	// Degraded: told, but the process goes on, as an api does that accepts jobs
	// while Redis is away.
	Degraded
)

// Check reports whether something works. It must heed ctx, which ends after two
// seconds. Its error is logged, once an outage; /readyz, which strangers may ask,
// shows a word only.
type Check func(ctx context.Context) error

// Health is a process's answer to "are you well?". Its methods may be called
// from any goroutine.
type Health struct {
	log *slog.Logger

	mu       sync.Mutex
	checks   []namedCheck
	failing  map[string]bool
	draining bool
}

type namedCheck struct {
	name   string
	weight Weight
	check  Check
}

// NewHealth returns a Health without checks, which is ready.
func NewHealth(log *slog.Logger) *Health {
	return &Health{log: log.With("component", "health"), failing: map[string]bool{}}
}

// Add has the check asked at each /readyz, under a name that no other has.
func (h *Health) Add(name string, weight Weight, check Check) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, namedCheck{name, weight, check})
}

// Drain makes the process not ready from now on, so that load balancers turn
// away before it stops.
func (h *Health) Drain() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.draining = true
}

// Status is the answer of /readyz.
type Status struct {
	// Status is ok, degraded, failing or draining; the latter two go with 503.
	Status string `json:"status"`
	// Checks holds for each check ok, failing or timeout.
	Checks map[string]string `json:"checks"`
}

// ready reports whether the process should get work.
func (s Status) ready() bool { return s.Status == "ok" || s.Status == "degraded" }

// Status asks all checks at once and returns when all have answered or two
// seconds have passed; a check that ignores its context is left behind until it
// returns.
func (h *Health) Status(ctx context.Context) Status {
	h.mu.Lock()
	checks, draining := h.checks[:len(h.checks):len(h.checks)], h.draining
	h.mu.Unlock()

	ctx, cancel := context.WithTimeoutCause(ctx, checkLimit, errTimeout)
	defer cancel()
	results := make([]chan error, len(checks))
	for i, c := range checks {
		results[i] = make(chan error, 1)
		go func() { results[i] <- c.run(ctx) }()
	}
	status := Status{Status: "ok", Checks: map[string]string{}}
	for i, c := range checks {
		err := await(ctx, results[i])
		h.note(c.name, err)
		if err == nil {
			status.Checks[c.name] = "ok"
			continue
		}
		status.Checks[c.name] = "failing"
		if errors.Is(err, errTimeout) {
			status.Checks[c.name] = "timeout"
		}
		switch {
		case c.weight == Required:
			status.Status = "failing"
		case status.Status == "ok":
			status.Status = "degraded"
		}
	}
	if draining {
		status.Status = "draining"
	}
	return status
}

// run makes the check, taking a panic for a failure: a health page must not end
// the process.
func (c namedCheck) run(ctx context.Context) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the check panicked: %v", p)
		}
	}()
	return c.check(ctx)
}

// await returns the check's result, or why it was not waited for any longer. A
// check that answered counts even if another one used up the time.
func await(ctx context.Context, result <-chan error) error {
	var err error
	select {
	case err = <-result:
	case <-ctx.Done():
		select { // the one above takes either where both are ready
		case err = <-result:
		default:
			return context.Cause(ctx)
		}
	}
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// note logs a check that begins or ceases to fail, once each.
func (h *Health) note(name string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch was := h.failing[name]; {
	case err != nil && !was:
		h.failing[name] = true
		h.log.Warn("readiness check fails", "check", name, "error", err)
	case err == nil && was:
		delete(h.failing, name)
		h.log.Info("readiness check is well again", "check", name)
	}
}

// Handler serves /healthz (200 while the process serves at all), /readyz (200
// or 503, with a Status) and /metrics.
func Handler(reg *prometheus.Registry, health *Health) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, Status{Status: "ok", Checks: map[string]string{}})
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		// A prober that hangs up early must not make the checks look failed.
		status := health.Status(context.WithoutCancel(r.Context()))
		code := http.StatusOK
		if !status.ready() {
			code = http.StatusServiceUnavailable
		}
		writeJSON(w, code, status)
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg}))
	return mux
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	// The status is sent; a client that went away cannot be told anything.
	_ = json.NewEncoder(w).Encode(v)
}
