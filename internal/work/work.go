// Package work carries jobs out: it has one handler for each job type, owns
// the deadline of an attempt and the lease of a run, and turns what a handler
// returns into the job's recorded outcome and the engine's next step.
package work

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/tasks"
)

// Options are what a Worker is made of; all are needed but Limits and Tracer.
type Options struct {
	Config   Config
	Runner   job.Runner
	Types    *tasks.Catalogue
	Handlers []Binding
	Limits   *limit.Fleet // on queues and domains; nil for none
	// Name tells this worker from all others, in jobs and events too.
	Name    string
	Tracer  *telemetry.Tracer // nil makes no traces
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Worker is the job.Handler that the engine calls. Its methods may be called
// from any goroutine.
type Worker struct {
	cfg      Config
	name     string
	runner   job.Runner
	handlers map[string]bound
	log      *slog.Logger
	metrics  *metrics
	tracer   *telemetry.Tracer

	limits            *limit.Fleet
	leases            *leases
	claims, settlings outage
	gate              *gate // Handle calls are inside

	open   context.Context // ends when nothing new may begin
	shut   context.CancelFunc
	halted context.Context // ends when handlers must stop
	halt   context.CancelFunc
	life   context.Context // ends when nothing may be asked of the store any more
	die    context.CancelFunc

	keeper   sync.WaitGroup
	stopOnce sync.Once
	stopErr  error
}

// New makes a Worker; Start it before its first task and Shutdown it after. It
// refuses a handler that is bound twice or to a type out of the catalogue.
func New(o Options) (*Worker, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	log := o.Log.With("component", "work", "worker", o.Name)
	handlers, err := bind(o.Types, o.Handlers, log)
	if err != nil {
		return nil, err
	}
	if o.Limits == nil {
		o.Limits = limit.NewFleet(nil, nil, o.Log)
	}
	w := &Worker{
		cfg: o.Config, name: o.Name, runner: o.Runner, handlers: handlers, log: log,
		metrics:   newMetrics(o.Metrics),
		tracer:    o.Tracer,
		limits:    o.Limits,
		leases:    newLeases(o.Runner, o.Config.StopGrace, log),
		claims:    outage{log: log, what: "claiming jobs"},
		settlings: outage{log: log, what: "recording outcomes"},
		gate:      newGate(),
	}
	w.open, w.shut = context.WithCancel(context.Background())
	w.halted, w.halt = context.WithCancel(context.Background())
	w.life, w.die = context.WithCancel(context.Background())
	return w, nil
}

// Name is the name that jobs and events know this worker by.
func (w *Worker) Name() string { return w.name }

// Start begins to keep leases.
func (w *Worker) Start() { w.keeper.Go(func() { w.leases.keep(w.life) }) }

// CancelHint tells that the job's cancellation may have been asked for: if it
// runs here, the database is asked at once.
func (w *Worker) CancelHint(id job.ID) { w.leases.hint(id) }

// Handle implements job.Handler. A durable job answers to the database alone:
// the end of ctx does not interrupt it, so that an engine that lost sight of
// its task cannot make a mail ambiguous. It ends with its deadline, its lease,
// its cancellation or Shutdown. An ephemeral job ends with ctx too.
func (w *Worker) Handle(ctx context.Context, t job.Task) job.Verdict {
	if !w.gate.enter() {
		return again(minPause, "stopping")
	}
	defer w.gate.leave()
	pass, refused := w.turn(t)
	if !pass.Granted() {
		return refused
	}
	defer pass.Leave()
	if t.Dispatch == 0 {
		return w.handleEphemeral(ctx, t)
	}
	v := w.handleDurable(context.WithoutCancel(ctx), t)
	if v.Again && v.Reason == string(job.OutcomeRateLimited) {
		pass.Undo() // another limit held it up
	}
	return v
}

// carryOut runs the handler of the run's type and counts what came of it.
func (w *Worker) carryOut(run *Run, b bound) job.Outcome {
	running := w.metrics.running.WithLabelValues(run.Job.Queue)
	running.Inc()
	defer running.Dec()
	w.metrics.started.WithLabelValues(b.Name, run.Job.Queue).Inc()
	began := time.Now()
	outcome := run.carry(b, run.Job.Payload)
	w.metrics.seconds.WithLabelValues(b.Name).Observe(time.Since(began).Seconds())
	w.metrics.runs.WithLabelValues(b.Name, string(outcome.Kind)).Inc()
	return outcome
}

// noHandler is the outcome of a job whose type this worker does not have: one
// release is ahead of the other. Another worker may have it, or this one's
// successor.
func (w *Worker) noHandler(typ string, id job.ID) job.Outcome {
	w.log.Warn("a job's type has no handler in this worker", "job", id, "type", typ)
	w.metrics.runs.WithLabelValues(unknownType, string(job.OutcomeTemporary)).Inc()
	return job.TemporaryFailure("no handler for job type %q in worker %s", typ, w.name)
}

// Shutdown ends all work; the engine must have stopped bringing tasks. Running
// jobs may go on for POSTRIDER_SHUTDOWN_LIMIT, or until ctx ends if that is
// sooner. Then they are interrupted and have POSTRIDER_STOP_GRACE to return
// and SettleBudget to be recorded. A run that does not return in that time is
// left to its lease, and is an error. A second call waits for the first and
// returns the same.
func (w *Worker) Shutdown(ctx context.Context) error {
	w.stopOnce.Do(func() { w.stopErr = w.shutdown(ctx) })
	return w.stopErr
}

func (w *Worker) shutdown(ctx context.Context) error {
	w.gate.close()
	w.shut()
	ctx, cancel := context.WithTimeout(ctx, w.cfg.ShutdownLimit)
	defer cancel()
	if !w.emptied(ctx) {
		w.log.Warn("jobs are still running: interrupting them", "jobs", w.gate.count())
		w.halt()
		bounded, cancel := context.WithTimeout(context.Background(), w.cfg.StopGrace+SettleBudget)
		defer cancel()
		w.emptied(bounded)
	}
	w.halt()
	w.die()
	w.keeper.Wait()
	return w.leftOver()
}

// emptied waits until all tasks are done with, as long as ctx lasts.
func (w *Worker) emptied(ctx context.Context) bool {
	select {
	case <-w.gate.empty:
		return true
	case <-ctx.Done():
		return false
	}
}

// leftOver tells of what Shutdown could not end.
func (w *Worker) leftOver() error {
	for _, run := range w.leases.all() {
		run.Log.Error("a handler did not return before the worker's end: the run is left to its lease")
	}
	if n := w.gate.count(); n > 0 {
		return fmt.Errorf("stopping worker %s: %d tasks did not end: %w", w.name, n, errLeft)
	}
	return nil
}

var errLeft = errors.New("their runs are left to their leases")
