package job

import (
	"context"
	"errors"
	"time"
)

// Why tasks are sent again: the label of postrider_jobs_redispatched_total,
// and the words of the job's event where it has one.
const (
	becauseDeadLease    = "dead_lease"
	becauseUndispatched = "undispatched" // it never reached Redis, as far as is known
	becauseRedisLost    = "redis_lost"   // Redis was flushed, restarted or replaced
	becauseTaskMissing  = "task_missing" // it is due, and Redis does not know it
	becauseTaskLeaked   = "task_leaked"  // it was taken, and nobody keeps its lease
)

// sweep is how far the passes over a queue's waiting jobs have come.
type sweep struct {
	slow Cursor // through what is due

	mark     string // of the loss that is being restored; empty for none
	lost     Cursor // through all that waits
	restored int    // tasks sent so far
	since    time.Time
	mended   time.Time // when the last loss was made good
}

// late is for how long a due job may be unclaimed before it is looked for. A
// run that was under way when Redis lost its task cannot have it brought again:
// for a while after a loss such jobs are looked for at once.
func (w *sweep) late() time.Duration {
	if time.Since(w.mended) < lossMemory {
		return lossAge
	}
	return unclaimedAge
}

func (r *Reconciler) sweepOf(queue string) *sweep {
	w := r.sweeps[queue]
	if w == nil {
		w = &sweep{}
		r.sweeps[queue] = w
	}
	return w
}

// restore sends what a Redis that lost tasks does not know any more, and
// reports whether there is more to send. It goes some pages at a time, the
// queues by turns and what is due first: a million jobs for later must not
// keep another queue's waiting, nor dead leases.
func (r *Reconciler) restore(ctx context.Context) (more bool, err error) {
	for _, queue := range r.service.queues {
		w := r.sweepOf(queue)
		mark, lost, err := r.service.disp.Lost(ctx, queue, w.mark)
		if err != nil {
			return false, err
		}
		if !lost {
			w.mark = ""
			continue
		}
		if mark != w.mark { // lost for the first time, or once more
			w.mark, w.lost, w.restored, w.since = mark, Cursor{}, 0, time.Now()
			r.log.Debug("redis may have lost tasks; sending again what it does not know", "queue", queue)
		}
		sent, whole, err := r.service.resendLost(ctx, queue, &w.lost)
		w.restored += sent
		if err != nil {
			return false, err
		}
		if !whole {
			more = true
			continue
		}
		if err := r.service.disp.Restored(ctx, queue, w.mark); err != nil {
			return false, err
		}
		if w.restored > 0 {
			r.log.Info("what redis had lost was sent again", "queue", queue, "tasks", w.restored, "took", time.Since(w.since))
		}
		w.mark, w.mended = "", time.Now()
	}
	return more, nil
}

// resendLost sends the next pages of a queue's waiting jobs again that Redis
// does not know, and says whether that was all. A task of which Redis has
// nothing goes under its own name: SQL need not be written, and whoever is
// late finds the task there already. That makes it right to send also what is
// not known to have arrived: it may have, with nobody having noted it before it
// was lost.
func (s *Service) resendLost(ctx context.Context, queue string, at *Cursor) (sent int, whole bool, err error) {
	for range restorePages {
		waiting, next, err := s.store.Unclaimed(ctx, queue, -1, *at, reconcilePage)
		if err != nil {
			return sent, false, err
		}
		absent, stuck, _, err := s.sort(ctx, waiting)
		if err != nil {
			return sent, false, err
		}
		arrived, err := s.disp.Dispatch(ctx, absent)
		sent += len(arrived)
		s.count.redispatched.WithLabelValues(becauseRedisLost).Add(float64(len(arrived)))
		if err != nil {
			return sent, false, err
		}
		if err := s.sendAnew(ctx, stuck, becauseRedisLost); err != nil {
			return sent, false, err
		}
		sent += len(stuck)
		*at = next
		if len(waiting) < reconcilePage {
			return sent, true, nil
		}
	}
	return sent, false, nil
}

// heal gives back what asynq has lost sight of.
func (r *Reconciler) heal(ctx context.Context) error {
	for _, queue := range r.service.queues {
		n, err := r.service.disp.Heal(ctx, queue)
		if n > 0 {
			r.log.Info("tasks that nobody worked on were given back to their queue", "queue", queue, "tasks", n)
			r.service.count.redispatched.WithLabelValues(becauseTaskLeaked).Add(float64(n))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sendUndispatched sends the jobs whose task is not known to have reached
// Redis. One that has is only noted.
func (s *Service) sendUndispatched(ctx context.Context) error {
	for {
		unsent, err := s.store.Undispatched(ctx, undispatchedAge, reconcilePage)
		if err != nil || len(unsent) == 0 {
			return err
		}
		absent, stuck, known, err := s.sort(ctx, unsent)
		if err != nil {
			return err
		}
		if err := s.arrived(ctx, known); err != nil {
			return err
		}
		if err := s.send(ctx, absent, becauseUndispatched); err != nil {
			return err
		}
		if err := s.sendAnew(ctx, stuck, becauseUndispatched); err != nil {
			return err
		}
		if len(unsent) < reconcilePage {
			return nil
		}
	}
}

// sweepDue goes on through what is due and not claimed, some pages a queue. A
// queue that is being restored is left to that.
func (r *Reconciler) sweepDue(ctx context.Context) error {
	for _, queue := range r.service.queues {
		w := r.sweepOf(queue)
		for n := 0; n < slowPages && w.mark == ""; n++ {
			due, next, err := r.service.store.Unclaimed(ctx, queue, w.late(), w.slow, reconcilePage)
			if err != nil {
				return err
			}
			absent, stuck, _, err := r.service.sort(ctx, due)
			if err != nil {
				return err
			}
			// What was claimed and acknowledged since it was listed is absent,
			// too: sendAnew looks again.
			if err := r.service.sendAnew(ctx, append(absent, stuck...), becauseTaskMissing); err != nil {
				return err
			}
			w.slow = next
			if len(due) < reconcilePage {
				w.slow = Cursor{}
				break
			}
		}
	}
	return nil
}

// sort asks Redis what it has of each task.
func (s *Service) sort(ctx context.Context, tasks []Task) (absent, stuck, known []Task, err error) {
	if len(tasks) == 0 {
		return nil, nil, nil, nil
	}
	found, err := s.disp.Look(ctx, tasks)
	if err != nil {
		return nil, nil, nil, err
	}
	for i, t := range tasks {
		switch found[i] {
		case Absent:
			absent = append(absent, t)
		case Stuck:
			stuck = append(stuck, t)
		default:
			known = append(known, t)
		}
	}
	return absent, stuck, known, nil
}

// sendAnew makes and sends the next dispatch of the jobs that still wait for
// these.
func (s *Service) sendAnew(ctx context.Context, tasks []Task, reason string) error {
	if len(tasks) == 0 {
		return nil
	}
	dispatch := make(map[ID]int, len(tasks))
	ids := make([]ID, len(tasks))
	for i, t := range tasks {
		ids[i], dispatch[t.ID] = t.ID, t.Dispatch
	}
	changed, err := s.store.Change(ctx, ids, func(j *Job, now time.Time) ([]Event, error) {
		if j.State != Waiting || j.Dispatches != dispatch[j.ID] {
			return nil, nil // it has moved on meanwhile
		}
		j.redispatch(now)
		return []Event{j.event(EventRedispatched, now, Event{Message: reason})}, nil
	})
	if err != nil {
		return err
	}
	return s.send(ctx, tasksOf(changed), reason)
}

// tasksOf are the tasks of the jobs that wait.
func tasksOf(jobs []Job) []Task {
	var out []Task
	for i := range jobs {
		if jobs[i].State == Waiting {
			out = append(out, jobs[i].Task())
		}
	}
	return out
}

// send sends tasks and notes that they arrived; the error says that not all
// did, which the next pass sees to.
func (s *Service) send(ctx context.Context, tasks []Task, reason string) error {
	if len(tasks) == 0 {
		return nil
	}
	arrived, err := s.disp.Dispatch(ctx, tasks)
	if len(arrived) > 0 {
		s.count.redispatched.WithLabelValues(reason).Add(float64(len(arrived)))
		s.log.Info("dispatched anew", "reason", reason, "tasks", len(arrived))
	}
	return errors.Join(err, s.arrived(ctx, arrived))
}

// arrived notes that tasks are in Redis.
func (s *Service) arrived(ctx context.Context, tasks []Task) error {
	if len(tasks) == 0 {
		return nil
	}
	return s.store.MarkDispatched(ctx, tasks)
}
