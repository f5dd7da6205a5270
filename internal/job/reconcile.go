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
	undispatchedAge = 5 * time.Second  // younger ones are on their way
	unclaimedAge    = 15 * time.Second // younger ones wait for a worker, or asynq's whole seconds
	slowPages       = 4                // of what is due but not claimed, each time round
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

	slow     map[string]Cursor // where the slow pages go on, by queue
	purgedAt time.Time

	cancel context.CancelFunc
	wait   sync.WaitGroup
}

// NewReconciler makes one; holder names the process.
func NewReconciler(s *Service, holder string, keep Retention) *Reconciler {
	return &Reconciler{
		service: s, holder: holder, retention: keep, every: reconcileEvery,
		log: s.log.With("component", "reconcile"), slow: map[string]Cursor{},
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

// Turn does one pass if it is this process's to do.
func (r *Reconciler) Turn(ctx context.Context) error {
	mine, err := r.service.store.Lead(ctx, reconcileName, r.holder, reconcileLease)
	if err != nil || !mine {
		return err
	}
	return r.service.reconcile(ctx, r)
}

// reconcile does the steps in an order in which each leaves less to the next.
// A step that fails does not keep the others from being done, but what needs
// Redis is left alone while Redis is away.
func (s *Service) reconcile(ctx context.Context, r *Reconciler) error {
	errs := []error{s.buryDead(ctx), s.expireOverdue(ctx), r.purge(ctx)}
	for _, queue := range s.queues {
		mark, lost, err := s.disp.Lost(ctx, queue)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if !lost {
			continue
		}
		s.log.Debug("redis may have lost tasks; sending again what it does not know", "queue", queue)
		if _, err := s.resendUnknown(ctx, queue, -1, Cursor{}, 0, "redis_lost"); err != nil {
			return errors.Join(append(errs, err)...)
		}
		errs = append(errs, s.disp.Restored(ctx, queue, mark))
	}
	errs = append(errs, s.sendUndispatched(ctx))
	for _, queue := range s.queues {
		next, err := s.resendUnknown(ctx, queue, unclaimedAge, r.slow[queue], slowPages, "task_missing")
		r.slow[queue] = next
		errs = append(errs, err)
	}
	return errors.Join(errs...)
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
			s.log.Warn("a run's lease ran out", "job", j.ID, "run", j.Runs, "deaths", j.Deaths, "state", j.State)
		}
		s.sendAgain(ctx, changed, "dead_lease")
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
		}
		s.disp.Withdraw(ctx, gone)
		if len(ids) < reconcilePage {
			return nil
		}
	}
}

// sendUndispatched sends the jobs whose task never reached Redis.
func (s *Service) sendUndispatched(ctx context.Context) error {
	for {
		ids, err := s.store.Undispatched(ctx, undispatchedAge, reconcilePage)
		if err != nil || len(ids) == 0 {
			return err
		}
		changed, err := s.store.Change(ctx, ids, func(j *Job, now time.Time) ([]Event, error) {
			if j.State != Waiting || j.Dispatched || now.Sub(j.DispatchAt) < undispatchedAge {
				return nil, nil
			}
			return j.sentAgain(now, "undispatched"), nil
		})
		if err != nil {
			return err
		}
		if !s.sendAgain(ctx, changed, "undispatched") || len(ids) < reconcilePage {
			return nil
		}
	}
}

// resendUnknown pages through a queue's dispatched jobs that wait, and sends
// those anew that Redis does not know. pages bounds it, 0 does not; it
// returns where to go on, or the beginning when it came to the end.
func (s *Service) resendUnknown(ctx context.Context, queue string, age time.Duration, from Cursor, pages int, reason string) (Cursor, error) {
	for n := 0; pages == 0 || n < pages; n++ {
		waiting, next, err := s.store.Unclaimed(ctx, queue, age, from, reconcilePage)
		if err != nil {
			return from, err
		}
		if len(waiting) == 0 {
			return Cursor{}, nil
		}
		known, err := s.disp.Known(ctx, waiting)
		if err != nil {
			return from, err
		}
		missing := map[ID]int{}
		var ids []ID
		for i, t := range waiting {
			if !known[i] {
				missing[t.ID] = t.Dispatch
				ids = append(ids, t.ID)
			}
		}
		changed, err := s.store.Change(ctx, ids, func(j *Job, now time.Time) ([]Event, error) {
			if j.State != Waiting || j.Dispatches != missing[j.ID] {
				return nil, nil // it has moved on meanwhile
			}
			return j.sentAgain(now, reason), nil
		})
		if err != nil {
			return from, err
		}
		if !s.sendAgain(ctx, changed, reason) {
			return from, Errorf(CodeTemporary, "queue %s did not take all that was to be sent again", queue)
		}
		from = next
		if len(waiting) < reconcilePage {
			return Cursor{}, nil
		}
	}
	return from, nil
}

func (j *Job) sentAgain(now time.Time, why string) []Event {
	j.redispatch(now)
	return []Event{j.event(EventRedispatched, now, Event{Message: why})}
}

// sendAgain sends the jobs that wait and notes that they arrived; false when
// not all did, which the next pass sees to.
func (s *Service) sendAgain(ctx context.Context, jobs []Job, reason string) bool {
	var out []Task
	for i := range jobs {
		if jobs[i].State == Waiting {
			out = append(out, jobs[i].Task())
		}
	}
	if len(out) == 0 {
		return true
	}
	arrived, err := s.disp.Dispatch(ctx, out)
	s.count.redispatched.WithLabelValues(reason).Add(float64(len(arrived)))
	if err != nil {
		s.log.Warn("dispatching anew failed", "reason", reason, "tasks", len(out)-len(arrived), "err", err)
	}
	if len(arrived) == 0 {
		return false
	}
	s.log.Info("dispatched anew", "reason", reason, "tasks", len(arrived))
	if err := s.store.MarkDispatched(ctx, arrived); err != nil {
		s.log.Warn("noting dispatches failed", "tasks", len(arrived), "err", err)
	}
	return len(arrived) == len(out)
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
