package job

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/tasks"
)

// Service is the domain's commands over its ports.
type Service struct {
	store  Store
	disp   Dispatcher
	types  *tasks.Catalogue
	queues []string
	out    *outbox

	admissions map[string]Admission

	tracer *telemetry.Tracer

	log   *slog.Logger
	count *counters
}

// Options are what a Service is made of; all but Admissions and Tracer are needed.
type Options struct {
	Store      Store
	Dispatcher Dispatcher
	Types      *tasks.Catalogue
	Queues     []string // that workers serve: a job for another is refused
	// Admissions are asked about new jobs, by type.
	Admissions map[string]Admission
	Tracer     *telemetry.Tracer // nil makes no traces
	Log        *slog.Logger
	Metrics    prometheus.Registerer
}

// NewService makes a Service; Start it before use and Stop it after.
func NewService(o Options) *Service {
	log := o.Log.With("component", "job")
	return &Service{
		store: o.Store, disp: o.Dispatcher, types: o.Types, queues: o.Queues, log: log,
		out:        newOutbox(o.Store, o.Dispatcher, log),
		admissions: o.Admissions, tracer: o.Tracer,
		count: newCounters(o.Metrics),
	}
}

// Start begins to send accepted jobs to their queues.
func (s *Service) Start() { s.out.start() }

// Stop sends what was accepted before, as long as ctx lasts. What it does not
// manage is not lost: Reconcile sends it.
func (s *Service) Stop(ctx context.Context) error {
	if err := s.out.stop(ctx); err != nil {
		return fmt.Errorf("sending the last dispatches: %w", err)
	}
	return nil
}

// Find returns a job; an ephemeral one while it lives.
func (s *Service) Find(ctx context.Context, id ID) (Job, error) {
	j, err := s.store.Find(ctx, id)
	if CodeOf(err) != CodeNotFound {
		return j, err
	}
	if j, ephemeralErr := s.disp.FindEphemeral(ctx, id); ephemeralErr == nil {
		return j, nil
	}
	return Job{}, err
}

// Events returns a job's history, oldest first.
func (s *Service) Events(ctx context.Context, id ID) ([]Event, error) {
	return s.store.Events(ctx, id)
}

// statuses are the values of Filter.Status.
var statuses = func() []string {
	out := []string{"scheduled", "queued", "retrying"}
	for _, state := range States {
		out = append(out, string(state))
	}
	return out
}()

// MaxPage is the most jobs that List returns.
const MaxPage = 1000

// Count says how many jobs the filter chooses; its Limit does not count.
func (s *Service) Count(ctx context.Context, f Filter) (int, error) {
	if err := f.check().OrNil(); err != nil {
		return 0, Invalid(err)
	}
	return s.store.Count(ctx, f)
}

// List returns jobs, newest first, without their payloads.
func (s *Service) List(ctx context.Context, f Filter) ([]Job, error) {
	bad := f.check()
	if f.Limit < 1 || f.Limit > MaxPage {
		bad.Add("limit", fmt.Sprintf("must be from 1 to %d", MaxPage))
	}
	if err := bad.OrNil(); err != nil {
		return nil, Invalid(err)
	}
	return s.store.List(ctx, f)
}

// check finds what a filter, but for its Limit, cannot be asked for.
func (f Filter) check() (bad tasks.Invalid) {
	if f.Status != "" && !slices.Contains(statuses, f.Status) {
		bad.Add("state", fmt.Sprintf("must be one of %v", statuses))
	}
	for field, text := range map[string]string{"type": f.Type, "queue": f.Queue, "recipient": f.Recipient, "code": string(f.Code),
		"template": f.Template, "category": f.Category, "schedule": f.Schedule, "worker": f.Worker} {
		if !utf8.ValidString(text) || strings.ContainsRune(text, 0) { // what PostgreSQL refuses
			bad.Add(field, "must be UTF-8 without NUL")
		}
	}
	return bad
}

// Now is the database's time.
func (s *Service) Now(ctx context.Context) (time.Time, error) { return s.store.Now(ctx) }

type counters struct {
	accepted, replayed, redispatched, expired *prometheus.CounterVec

	died, passes *prometheus.CounterVec
	passSeconds  prometheus.Histogram
}

func newCounters(reg prometheus.Registerer) *counters {
	c := &counters{
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_jobs_accepted_total", Help: "Jobs accepted, by type and queue.",
		}, []string{"type", "queue"}),
		replayed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_requests_replayed_total", Help: "Requests answered from their idempotency key.",
		}, nil),
		redispatched: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_jobs_redispatched_total", Help: "Jobs that reconcile sent to their queue anew, by what it found.",
		}, []string{"reason"}),
		expired: NewExpiredCounter(reg),
		died: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_dead_leases_total", Help: "Runs that reconcile found with a lease that nobody extends, by job type and the state that the job is in since.",
		}, []string{"type", "state"}),
		passes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_reconcile_passes_total", Help: "Times that reconcile went round, by result: ok, or failed in part.",
		}, []string{"result"}),
		passSeconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postrider_reconcile_pass_seconds", Help: "How long reconcile took to go round once.",
			Buckets: prometheus.ExponentialBuckets(0.005, 4, 8),
		}),
	}
	reg.MustRegister(c.accepted, c.replayed, c.redispatched, c.died, c.passes, c.passSeconds)
	return c
}

// NewExpiredCounter returns the counter of jobs that expired, by type and queue.
// Reconcile finds them, and so does a worker at its claim: in a process that has
// both they share it.
func NewExpiredCounter(reg prometheus.Registerer) *prometheus.CounterVec {
	return telemetry.Shared(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "postrider_jobs_expired_total", Help: "Jobs that were not run before their expiry, by type and queue.",
	}, []string{"type", "queue"}))
}
