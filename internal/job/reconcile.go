package job

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	reconcileEvery  = 5 * time.Second
	reconcileLease  = 4 * reconcileEvery // another process may take over after this
	reconcileName   = "reconcile"
	reconcilePage   = 500
	undispatchedAge = 2 * time.Second  // younger ones are on their way; with reconcileEvery it bounds how long after an outage of Redis the last of them goes
	unclaimedAge    = 15 * time.Second // younger ones wait for a worker, or asynq's whole seconds
	lossAge         = 2 * time.Second  // the same for lossMemory after Redis lost tasks
	lossMemory      = time.Minute
	slowPages       = 4  // of what is due but not claimed, of each queue each time round
	restorePages    = 10 // of all that waits, of each lost queue before the rest has its turn
	purgeEvery      = time.Minute
	purgePage       = 500
)

// Reconciler mends what crashes and lost connections leave behind: dead
// leases, jobs whose task never reached Redis or was lost there, jobs past
// their expiry, and what retention has done with. Any number of processes may
// run one; a lease in SQL lets one at a time do it.
type Reconciler struct {
	service   *Service
	holder    string
	retention Retention
	log       *slog.Logger
	every     time.Duration

	sweeps   map[string]*sweep // by queue
	purgedAt time.Time

	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// NewReconciler makes one; holder names the process.
func NewReconciler(s *Service, holder string, keep Retention) *Reconciler {
	return &Reconciler{
		service: s, holder: holder, retention: keep, every: reconcileEvery,
		log: s.log.With("component", "reconcile"), sweeps: map[string]*sweep{},
	}
}

// Start reconciles now and every few seconds until Stop.
func (r *Reconciler) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	r.wait.Go(func() {
		tick := time.NewTicker(r.every)
		defer tick.Stop()
		for {
			if err := r.Turn(ctx); err != nil && ctx.Err() == nil {
				r.log.Error("reconciling failed", "err", err)
			}
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
		}
	})
}

// Stop ends a pass that is under way and gives the lease up.
func (r *Reconciler) Stop(ctx context.Context) error {
	if r.cancel == nil {
		return nil
	}
	r.cancel()
	r.wait.Wait()
	return r.service.store.Yield(ctx, reconcileName, r.holder)
}

// Turn mends what there is to mend if it is this process's to do.
func (r *Reconciler) Turn(ctx context.Context) error {
	for {
		mine, err := r.service.store.Lead(ctx, reconcileName, r.holder, reconcileLease)
		if err != nil || !mine {
			return err
		}
		more, err := r.counted(ctx)
		if err != nil || !more {
			return err
		}
	}
}

// counted is pass, for the metrics.
func (r *Reconciler) counted(ctx context.Context) (more bool, err error) {
	began := time.Now()
	more, err = r.pass(ctx)
	result := "ok"
	if err != nil {
		result = "failed"
	}
	r.service.count.passes.WithLabelValues(result).Inc()
	r.service.count.passSeconds.Observe(time.Since(began).Seconds())
	return more, err
}

// pass does the steps in an order in which each leaves less to the next, and
// reports whether a lost queue is not restored yet. A step that fails does not
// keep the others from being done, but what needs Redis is left alone while
// Redis is away.
func (r *Reconciler) pass(ctx context.Context) (more bool, err error) {
	s := r.service
	errs := []error{s.buryDead(ctx), s.expireOverdue(ctx), r.purge(ctx)}
	more, err = r.restore(ctx)
	if err != nil {
		return false, errors.Join(append(errs, err)...)
	}
	errs = append(errs, r.heal(ctx), s.sendUndispatched(ctx), r.sweepDue(ctx))
	return more, errors.Join(errs...)
}

// buryDead ends runs whose lease has run out and sends their jobs anew.
func (s *Service) buryDead(ctx context.Context) error {
	for {
		ids, err := s.store.DeadLeases(ctx, reconcilePage)
		if err != nil || len(ids) == 0 {
			return err
		}
		changed, err := s.store.Change(ctx, ids, func(j *Job, now time.Time) ([]Event, error) {
			if j.State != Running || j.LeaseUntil.After(now) {
				return nil, nil
			}
			events := Bury(j, now)
			if j.State == Waiting {
				j.redispatch(now)
			}
			return events, nil
		})
		if err != nil {
			return err
		}
		for _, j := range changed {
			s.count.died.WithLabelValues(j.Type, string(j.State)).Inc()
			s.log.Warn("a run's lease ran out", "job", j.ID, "run", j.Runs, "deaths", j.Deaths, "state", j.State)
		}
		if err := s.send(ctx, tasksOf(changed), becauseDeadLease); err != nil {
			s.log.Warn("what a dead worker left was not sent; trying on", "err", err)
		}
		if len(ids) < reconcilePage {
			return nil
		}
	}
}

// expireOverdue ends waiting jobs past their expiry.
func (s *Service) expireOverdue(ctx context.Context) error {
	for {
		ids, err := s.store.Overdue(ctx, reconcilePage)
		if err != nil || len(ids) == 0 {
			return err
		}
		changed, err := s.store.Change(ctx, ids, func(j *Job, now time.Time) ([]Event, error) {
			if e, expired := expire(j, now); expired {
				return []Event{e}, nil
			}
			return nil, nil
		})
		if err != nil {
			return err
		}
		gone := make([]Task, len(changed))
		for i := range changed {
			gone[i] = changed[i].Task()
			s.count.expired.WithLabelValues(changed[i].Type, changed[i].Queue).Inc()
		}
		s.disp.Withdraw(ctx, gone)
		if len(ids) < reconcilePage {
			return nil
		}
	}
}

// purge deletes what retention has done with, a small batch at a time.
func (r *Reconciler) purge(ctx context.Context) error {
	if time.Since(r.purgedAt) < purgeEvery {
		return nil
	}
	r.purgedAt = time.Now()
	for ctx.Err() == nil {
		n, err := r.service.store.Purge(ctx, r.retention, purgePage)
		if err != nil || n < purgePage {
			return err
		}
	}
	return nil
}
