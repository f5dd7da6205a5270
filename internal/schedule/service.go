package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/rounds"
)

const (
	turnEvery  = time.Second
	turnLimit  = 15 * time.Second // bound of one turn
	duePage    = 100
	purgeEvery = 10 * time.Minute
	purgePage  = 500
	// acceptedBy is what the jobs of slots show. No API key has such a name.
	acceptedBy = "schedule:"
)

// Service is the timetable's commands, and with Start the scheduler.
type Service struct {
	store Store
	jobs  Jobs
	log   *slog.Logger
	runs  *prometheus.CounterVec
	lag   prometheus.Histogram

	nudged   chan struct{}
	turning  sync.Mutex // held by a turn
	purgedAt time.Time

	rounds rounds.Rounds
}

// Options are what a Service is made of; all are needed.
type Options struct {
	Store   Store
	Jobs    Jobs // a *job.Service, which must have been started
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// New makes a Service. It can be used at once; Start makes a scheduler of it.
func New(o Options) *Service {
	s := &Service{
		store: o.Store, jobs: o.Jobs, log: o.Log.With("component", "schedule"),
		runs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_schedule_runs_total", Help: "Slots of schedules that were seen to, by what they came to.",
		}, []string{"outcome"}),
		lag: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "postrider_schedule_lag_seconds", Help: "How long after a slot of a schedule its job was made, by the database's clock.",
			Buckets: []float64{.1, .5, 1, 2, 5, 15, 60, 300, 1800, 7200},
		}),
		nudged: make(chan struct{}, 1),
	}
	s.rounds = rounds.Rounds{
		Every: turnEvery, Nudged: s.nudged, Round: s.Turn, Log: s.log,
		Failing: "keeping the timetable failed; trying on", Well: "the timetable is kept again",
	}
	o.Metrics.MustRegister(s.runs, s.lag)
	return s
}

// Start looks at the timetable now, each second and when nudged, until Stop. It
// can be called once.
func (s *Service) Start() { s.rounds.Start() }

// Stop ends a turn that is under way, which is safe at any point, and waits for
// it. Without Start it does nothing.
func (s *Service) Stop() { s.rounds.Stop() }

// Nudge has a started Service look at the timetable at once.
func (s *Service) Nudge() {
	select {
	case s.nudged <- struct{}{}:
	default: // it will
	}
}

// Turn sees to all slots that are due. Any number of processes may do so at the
// same time.
func (s *Service) Turn(ctx context.Context) error {
	s.turning.Lock()
	defer s.turning.Unlock()
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	for {
		names, err := s.store.Due(ctx, duePage)
		if err != nil {
			return err
		}
		seen := 0
		var errs []error
		for _, name := range names {
			n, err := s.fire(ctx, name)
			seen += n
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if len(names) < duePage || seen == 0 { // the others are another process's
			return s.purge(ctx)
		}
	}
}

// fire sees to a schedule's due slots and says how many of them it did. What
// the database refuses for what is in it is over with a line in the history, so
// that a bad entry hurts only itself.
func (s *Service) fire(ctx context.Context, name string) (int, error) {
	prepared, prepare, err := s.ready(ctx, name)
	if job.CodeOf(err) == job.CodeNotFound { // deleted meanwhile
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	f, err := s.store.Fire(ctx, name, func(e *Entry, now time.Time, busy bool) Firing {
		if !e.same(&prepared.Definition) { // changed meanwhile: it stays due
			return Firing{Last: e.LastSlot, Next: e.NextAt}
		}
		return e.plan(now, busy, prepare)
	})
	if job.CodeOf(err) == job.CodeInternal {
		s.log.Error("a schedule's job was refused", "schedule", name, "err", err)
		f, err = s.store.Fire(ctx, name, func(e *Entry, now time.Time, _ bool) Firing {
			return e.refuse(now, "the database refused the job")
		})
	}
	if err != nil {
		return 0, fmt.Errorf("seeing to the schedule %s: %w", name, err)
	}
	for _, r := range f.Runs {
		s.runs.WithLabelValues(string(r.Outcome)).Inc()
		log := s.log.With("schedule", r.Name, "slot", r.Slot, "late", r.At.Sub(r.Slot))
		if r.Outcome == RunFired {
			s.lag.Observe(max(r.At.Sub(r.Slot), 0).Seconds())
			log.Info("a schedule's slot made a job", "job", r.JobID)
		} else {
			log.Warn("a schedule's slot made no job", "outcome", r.Outcome, "reason", r.Reason)
		}
	}
	if len(f.Jobs) > 0 {
		s.jobs.Dispatch(f.Jobs, f.Runs[0].At)
	}
	return len(f.Runs), nil
}

// ready prepares a schedule's jobs, before the transaction that accepts them:
// all its slots ask for the same, and admission may have to look things up.
func (s *Service) ready(ctx context.Context, name string) (Entry, func() (job.New, error), error) {
	e, err := s.store.Get(ctx, name)
	if err != nil {
		return e, nil, fmt.Errorf("reading the schedule %s: %w", name, err)
	}
	n, err := s.jobs.Prepare(ctx, e.submission(), acceptedBy+name)
	if err != nil && job.CodeOf(err) != job.CodeInvalid {
		return e, nil, fmt.Errorf("preparing a job of the schedule %s: %w", name, err)
	}
	return e, func() (job.New, error) {
		again := n
		again.ID = job.NewID()
		return again, err
	}, nil
}

// purge deletes runs that have had their time.
func (s *Service) purge(ctx context.Context) error {
	if time.Since(s.purgedAt) < purgeEvery {
		return nil
	}
	for {
		n, err := s.store.PurgeRuns(ctx, KeepRuns, purgePage)
		if err != nil {
			return fmt.Errorf("deleting old runs of schedules: %w", err)
		}
		if n < purgePage {
			s.purgedAt = time.Now()
			return nil
		}
	}
}
