package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

const (
	// pollEvery is how often, on average, a queue found empty is asked again
	// (asynq waits from half to one and a half of it). Five idle queues cost Redis
	// 50 small scripts a second, and 20 more by forwardEvery: 0.2 % of its time.
	pollEvery = 100 * time.Millisecond
	// forwardEvery is how often tasks that have become due are moved to their
	// queue: two scripts a queue. Together with whole seconds and polling a
	// delayed task is late by 1.65 s at most.
	forwardEvery = 500 * time.Millisecond
	// takenBack is the pause before a task comes again that asynq decided about,
	// which happens only if somebody cancels it in asynqmon or its lease was
	// lost.
	takenBack = time.Second
	// forever is above every limit: Shutdown's context bounds the stop, and what
	// is then still running is left to its lease. asynq would push it back to be
	// run at once, while it still runs here.
	forever = 1000 * time.Hour

	// With the layer an idle queue is waited for, so that asynq need not pause.
	layeredPoll = time.Millisecond
	// layeredForward is how often asynq forwards due tasks beside the layer, which
	// does so at their time.
	layeredForward = 5 * time.Second
)

// ServerOptions are what a Server is made of; all are needed but OnCancel,
// Metrics and Plain.
type ServerOptions struct {
	Redis   redis.UniversalClient
	Queues  Queues // to serve, each with its concurrency; one with 0 is not
	Types   *tasks.Catalogue
	Handler job.Handler
	// OnCancel is told of each job whose cancellation was asked for, whoever runs
	// it, as well as can be. It must not block.
	OnCancel func(job.ID)
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	// Plain leaves the broker layer out, see [Config].
	Plain bool
}

// Server brings tasks to the handler: one asynq server a queue, since asynq
// knows concurrency per server only.
//
// The handler's context ends a margin after the type's deadline (see
// Options.Margin), when the lease is lost, or when somebody cancels the task
// in asynqmon; not by Quiet or Shutdown: a worker that stops ends its jobs
// itself. While Redis is away the server keeps asking.
type Server struct {
	rdb      redis.UniversalClient
	outage   *outage
	servers  []*asynq.Server
	layers   []*queueLayer // of the servers, in their order; none in plain mode
	types    *tasks.Catalogue
	handler  job.Handler
	onCancel func(job.ID)
	log      *slog.Logger

	cancels sync.Map // job.ID → context.CancelFunc of the ephemeral tasks that run here

	mu      sync.Mutex // keeps Start from running into Quiet
	quiet   bool
	once    sync.Once
	hearing sync.WaitGroup
	deaf    chan struct{} // closed to end hear
	stopped chan struct{} // closed when all is over
}

// NewServer makes a Server. It must be stopped before its Redis client is
// closed.
func NewServer(o ServerOptions) *Server {
	log := component(o.Log)
	s := &Server{
		rdb: o.Redis, outage: newOutage(log), types: o.Types, handler: o.Handler, onCancel: o.OnCancel, log: log,
		deaf: make(chan struct{}), stopped: make(chan struct{}),
	}
	contract := asynqContract()
	plain := o.Plain || !contract.kept(log)
	lost, slots := newLostAcks(o.Metrics), newSlotsGauge(o.Metrics)
	for _, q := range o.Queues {
		slots.WithLabelValues(q.Name).Set(float64(q.Concurrency))
		if q.Concurrency == 0 {
			continue
		}
		l := &link{outage: s.outage, queue: q.Name}
		p := paced{o.Redis, l}
		cfg := asynq.Config{
			Concurrency:              q.Concurrency,
			Queues:                   map[string]int{q.Name: q.Concurrency}, // the priority means nothing to one queue; it tells the dashboard
			TaskCheckInterval:        pollEvery,
			DelayedTaskCheckInterval: forwardEvery,
			ShutdownTimeout:          forever,
			RetryDelayFunc:           s.retryDelay,
			IsFailure:                isFailure,
			Logger:                   asynqLog{log.With("queue", q.Name), l},
		}
		if plain {
			s.servers = append(s.servers, asynq.NewServerFromRedisClient(p, cfg))
			continue
		}
		cfg.TaskCheckInterval, cfg.DelayedTaskCheckInterval = layeredPoll, layeredForward
		layer := newQueueLayer(o.Redis, q, contract, l, log, lost.WithLabelValues(q.Name))
		cfg.Concurrency = layer.slots.most
		s.layers = append(s.layers, layer)
		s.servers = append(s.servers, asynq.NewServerFromRedisClient(layered{p, layer}, cfg))
	}
	return s
}

// Start begins to bring tasks; whether Redis answers does not matter. It can
// be called once, and not after Quiet or Shutdown.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet {
		return errors.New("starting the queues' servers: they were stopped before")
	}
	for i, srv := range s.servers {
		if err := srv.Start(s.handlerOf(i)); err != nil {
			for _, layer := range s.layers {
				layer.fetcher.close()
			}
			for _, started := range s.servers[:i] {
				started.Shutdown()
			}
			return fmt.Errorf("starting a queue's server: %w", err)
		}
	}
	for _, layer := range s.layers {
		layer.keeper.start()
	}
	s.hearing.Go(s.hear)
	return nil
}

// Quiet stops the fetching of tasks and returns when no more will come; those
// that run go on.
func (s *Server) Quiet() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quiet {
		return
	}
	s.quiet = true
	close(s.outage.stopped)
	var all sync.WaitGroup
	for i, srv := range s.servers {
		if s.layers == nil {
			all.Go(srv.Stop)
			continue
		}
		layer := s.layers[i]
		all.Go(func() {
			layer.fetcher.close() // or asynq's loop would wait with it for a task
			srv.Stop()
			layer.keeper.stop()
			layer.settle()
		})
	}
	all.Wait()
}

// Shutdown waits until the running tasks are done with and Redis knows it, as
// long as ctx lasts. Those that are not are left to their leases, of which the
// error tells. It may be called again to wait on.
func (s *Server) Shutdown(ctx context.Context) error {
	s.once.Do(func() { go s.stop() })
	select {
	case <-s.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stopping the queues' servers; tasks are left to their leases: %w", context.Cause(ctx))
	}
}

func (s *Server) stop() {
	defer close(s.stopped)
	s.Quiet()
	var all sync.WaitGroup
	for _, srv := range s.servers {
		all.Go(srv.Shutdown)
	}
	all.Wait()
	for _, layer := range s.layers {
		layer.hands.close()
	}
	close(s.deaf)
	s.hearing.Wait()
}

// hear passes cancellations on. go-redis keeps the subscription up over lost
// connections; what was said meanwhile is not heard, and need not be.
func (s *Server) hear() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sub := s.rdb.Subscribe(ctx, cancelChannel)
	defer sub.Close()
	heard := sub.Channel()
	for {
		select {
		case <-s.deaf:
			return
		case m, open := <-heard:
			if !open {
				return
			}
			id, err := job.ParseID(m.Payload)
			if err != nil {
				s.log.Debug("a cancellation names no job", "err", err)
				continue
			}
			if cancel, runs := s.cancels.Load(id); runs {
				cancel.(context.CancelFunc)()
			}
			if s.onCancel != nil {
				s.onCancel(id)
			}
		}
	}
}

// handlerOf is the handler of the i-th queue's server.
func (s *Server) handlerOf(i int) asynq.Handler {
	if s.layers == nil {
		return asynq.HandlerFunc(s.process)
	}
	layer := s.layers[i]
	return asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		id, _ := asynq.GetTaskID(ctx)
		retried, _ := asynq.GetRetryCount(ctx)
		return layer.run(ctx, id, func(ctx context.Context) (time.Time, error) {
			err := s.process(ctx, t)
			return s.comesBack(retried, err, t), err
		})
	})
}

// process brings one task to the handler and tells asynq what to do with it.
func (s *Server) process(ctx context.Context, at *asynq.Task) error {
	taskID, _ := asynq.GetTaskID(ctx)
	queue, _ := asynq.GetQueueName(ctx)
	id, dispatch, err := job.ParseTaskID(taskID)
	if err != nil {
		s.log.Warn("a task is not one of Postrider's; it is archived", "queue", queue, "err", err)
		return over{err, asynq.SkipRetry}
	}
	t := job.Task{ID: id, Dispatch: dispatch, Type: at.Type(), Queue: queue}
	if len(at.Payload()) == 0 {
		return verdictError(s.handler.Handle(ctx, t))
	}
	t.Dispatch, t.Payload, t.Trace = 0, at.Payload(), at.Headers()[traceHeader]
	return s.processEphemeral(ctx, t)
}

func (s *Server) processEphemeral(ctx context.Context, t job.Task) error {
	own, cancel := context.WithCancel(ctx)
	defer cancel()
	s.cancels.Store(t.ID, cancel)
	defer s.cancels.Delete(t.ID)

	v := s.handler.Handle(own, t)
	if own.Err() != nil && ctx.Err() == nil && (v.Again || v.Err != nil) {
		s.log.Info("an ephemeral job was cancelled", "job", t.ID, "type", t.Type)
		return over{errors.New("cancelled"), asynq.RevokeTask}
	}
	retried, _ := asynq.GetRetryCount(ctx)
	if retried+1 >= typeOf(s.types, t.Type).MaxAttempts {
		v.Skip = true
	}
	return verdictError(v)
}
