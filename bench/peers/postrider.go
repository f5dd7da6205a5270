package peers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/work"
	"github.com/postrider/postrider/tasks"
)

// The bench's job types: the same payload, with and without SQL. The deadline
// is long for the sake of the gate's jobs.
var (
	ephemeralMail = tasks.Define[Mail](tasks.Type{Name: "bench:ephemeral", Deadline: time.Hour, MaxAttempts: 3, Ephemeral: true})
	durableMail   = tasks.Define[Mail](tasks.Type{Name: "bench:durable", Deadline: time.Hour, MaxAttempts: 3})
)

// Validate implements tasks.Payload.
func (m *Mail) Validate() error {
	if m.Email == "" {
		return tasks.Invalid{{Field: "email", Problem: "must not be empty"}}
	}
	return nil
}

// postrider is Postrider without its HTTP side: jobs go in as a request's do,
// through the domain's Accept, and out as in a worker process.
type postrider struct {
	spec    Spec
	kind    tasks.Type
	payload func(Mail) ([]byte, error)
	// binding makes the handler of the kind.
	binding func(handle func(Mail)) (work.Binding, error)

	types  *tasks.Catalogue
	redis  redis.UniversalClient
	disp   *arrivals
	jobs   *job.Service
	store  *store.Store    // nil of ephemeral jobs
	mender *job.Reconciler // what a scheduler process runs; nil of ephemeral jobs

	accepted atomic.Int64
	worker   *work.Worker
	server   *broker.Server
}

var bencher = job.Caller{Name: "bench"}

// arrivals counts what has come to Redis.
type arrivals struct {
	*broker.Client
	count atomic.Int64
}

// Dispatch implements job.Dispatcher.
func (a *arrivals) Dispatch(ctx context.Context, ts []job.Task) ([]job.Task, error) {
	arrived, err := a.Client.Dispatch(ctx, ts)
	a.count.Add(int64(len(arrived)))
	return arrived, err
}

func newPostrider(ctx context.Context, spec Spec) (Queue, error) {
	return openPostrider(ctx, &postrider{spec: spec, kind: ephemeralMail.Type, payload: encode, binding: noop(ephemeralMail)})
}

func newPostriderDurable(ctx context.Context, spec Spec) (Queue, error) {
	return openPostrider(ctx, &postrider{spec: spec, kind: durableMail.Type, payload: encode, binding: noop(durableMail)})
}

func encode(m Mail) ([]byte, error) { return json.Marshal(m) }

// noop is the handler that does nothing but tell of the job.
func noop(kind tasks.Of[Mail]) func(func(Mail)) (work.Binding, error) {
	return func(handle func(Mail)) (work.Binding, error) {
		return work.On(kind, func(_ context.Context, _ *work.Run, m *Mail) job.Outcome {
			handle(*m)
			return job.Succeeded("")
		}), nil
	}
}

func openPostrider(ctx context.Context, q *postrider) (_ Queue, err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, q.Close(ctx))
		}
	}()
	if q.types, err = tasks.NewCatalogue(q.kind); err != nil {
		return nil, err
	}
	queues := q.queues(100)
	if q.redis, err = broker.Connect(broker.Config{RedisURL: "redis://" + q.spec.Redis + "/0", Queues: queues}); err != nil {
		return nil, err
	}
	q.disp = &arrivals{Client: broker.NewClient(broker.Options{
		Redis: q.redis, Queues: queues, Types: q.types, Margin: 15 * time.Second, Log: quiet(),
	})}
	o := job.Options{Dispatcher: q.disp, Types: q.types, Queues: queues.Names(), Log: quiet(), Metrics: prometheus.NewRegistry()}
	if q.kind.Ephemeral {
		q.jobs = job.NewService(o) // SQL is not asked
		return q, nil
	}
	if q.store, err = store.Open(ctx, store.Config{URL: q.spec.Database, AutoMigrate: true}, quiet(), store.Options{}); err != nil {
		return nil, err
	}
	o.Store = q.store
	q.jobs = job.NewService(o)
	q.jobs.Start()
	q.mender = job.NewReconciler(q.jobs, string(job.NewID()), job.Retention{
		Done: 30 * 24 * time.Hour, Bodies: 7 * 24 * time.Hour, Failed: 90 * 24 * time.Hour,
	})
	q.mender.Start()
	return q, nil
}

func (q *postrider) queues(concurrency int) broker.Queues {
	return broker.Queues{{Name: q.kind.Queue, Concurrency: concurrency}}
}

// Add implements Queue.
func (q *postrider) Add(ctx context.Context, m Mail, delay time.Duration) error {
	payload, err := q.payload(m)
	if err != nil {
		return fmt.Errorf("encoding a payload: %w", err)
	}
	if _, err := q.jobs.Accept(ctx, bencher, job.Submission{Type: q.kind.Name, Payload: payload, Delay: delay}); err != nil {
		return fmt.Errorf("accepting a job: %w", err)
	}
	q.accepted.Add(1)
	return nil
}

// AddBulk implements Queue.
func (q *postrider) AddBulk(ctx context.Context, ms []Mail) error {
	subs := make([]job.Submission, len(ms))
	for i, m := range ms {
		payload, err := q.payload(m)
		if err != nil {
			return fmt.Errorf("encoding a payload: %w", err)
		}
		subs[i] = job.Submission{Type: q.kind.Name, Payload: payload}
	}
	got, err := q.jobs.AcceptEach(ctx, bencher, subs)
	if err != nil {
		return fmt.Errorf("accepting jobs: %w", err)
	}
	for _, a := range got.Jobs {
		if a.Err != nil {
			return fmt.Errorf("accepting a job among others: %w", a.Err)
		}
	}
	q.accepted.Add(int64(len(ms)))
	return nil
}

// Flush implements Queue: a durable job is accepted once SQL has it, and goes to
// Redis behind that.
func (q *postrider) Flush(ctx context.Context) error {
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for q.disp.count.Load() < q.accepted.Load() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d jobs to come to Redis, %d have: %w", q.accepted.Load(), q.disp.count.Load(), context.Cause(ctx))
		}
	}
	return nil
}

// Work implements Queue.
func (q *postrider) Work(_ context.Context, concurrency int, handle func(Mail)) error {
	binding, err := q.binding(handle)
	if err != nil {
		return err
	}
	var runner job.Runner // of ephemeral jobs none is needed
	if q.store != nil {
		runner = q.store
	}
	q.worker, err = work.New(work.Options{
		Name:   string(job.NewID()),
		Config: work.Config{ShutdownLimit: 35 * time.Second, StopGrace: 5 * time.Second, ContainerGrace: time.Minute},
		Runner: runner, Types: q.types, Handlers: []work.Binding{binding},
		Log: quiet(), Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		return fmt.Errorf("making the worker: %w", err)
	}
	q.server = broker.NewServer(broker.ServerOptions{
		Redis: q.redis, Queues: q.queues(concurrency), Types: q.types,
		Handler: q.worker, OnCancel: q.worker.CancelHint, Log: quiet(),
	})
	q.worker.Start()
	if err := q.server.Start(); err != nil {
		return fmt.Errorf("starting the worker: %w", err)
	}
	return nil
}

// Close implements Queue, in the order of a process that stops. Not all need be
// there.
func (q *postrider) Close(ctx context.Context) error {
	var errs []error
	if q.server != nil {
		q.server.Quiet()
		errs = append(errs, q.worker.Shutdown(ctx), q.server.Shutdown(ctx))
	}
	if q.mender != nil {
		errs = append(errs, q.mender.Stop(ctx))
	}
	if q.store != nil && q.jobs != nil {
		errs = append(errs, q.jobs.Stop(ctx))
	}
	if q.store != nil {
		errs = append(errs, q.store.Close())
	}
	if q.redis != nil {
		errs = append(errs, q.redis.Close())
	}
	return errors.Join(errs...)
}
