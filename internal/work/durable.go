package work

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/telemetry"
)

const (
	// claimLimit bounds a claim, which the store repeats until then.
	claimLimit = 10 * time.Second
	// minPause keeps a task that was refused from spinning.
	minPause = 100 * time.Millisecond
	// awayPause is how long a task waits while the database is away, before
	// chance adds up to as much again.
	awayPause = 2 * time.Second
	// strangerPause is how long a job of an unknown type waits for a worker of
	// another release, times its runs, up to strangerLongest. The first
	// strangerRuns of them, a few hours, charge nothing: an upgrade is to fail no
	// job, and a type that nobody has any more is to end all the same.
	strangerPause   = 10 * time.Second
	strangerLongest = 5 * time.Minute
	strangerRuns    = 50
	// settlePause is the wait before an outcome is recorded anew, likewise.
	settlePause = 200 * time.Millisecond
)

func again(after time.Duration, reason string) job.Verdict {
	return job.Verdict{Again: true, After: after, Reason: reason}
}

// jittered is from d up to twice that.
func jittered(d time.Duration) time.Duration { return d + rand.N(d) }

// handleDurable claims the task's job, carries it out and records the outcome.
func (w *Worker) handleDurable(ctx context.Context, t job.Task) job.Verdict {
	called := time.Now()
	claimed, err := w.claim(t.ID)
	w.claims.note(err, "job", t.ID)
	if err != nil {
		w.metrics.refused.WithLabelValues("unavailable").Inc()
		return again(jittered(awayPause), "database")
	}
	if claimed.Verdict != job.Granted {
		return w.refused(t, claimed)
	}

	j := claimed.Job
	w.metrics.wait.WithLabelValues(w.typeLabel(j.Type)).Observe(max(j.StartedAt.Sub(j.RunAt), 0).Seconds())
	b, known := w.handlers[j.Type]
	ctx, span := w.trace(ctx, j, called)
	defer span.End()
	_, claim := telemetry.ChildSince(ctx, "claim", called)
	claim.End()
	run, closeRun := w.newRun(ctx, j, b.Deadline)
	defer closeRun()
	run.span = span
	run.fence = w.runner.PassNoReturn
	w.leases.add(run, called)
	var outcome job.Outcome
	if known {
		outcome = w.carryOut(run, b)
	} else {
		outcome = w.noHandler(j.Type, j.ID)
		outcome.After = min(time.Duration(j.Runs)*strangerPause, strangerLongest)
		if j.Runs <= strangerRuns {
			outcome.Kind = job.OutcomeGivenBack
		}
	}
	traceOutcome(span, outcome)
	leaseEnd := w.leases.remove(run)
	job.FreeSlot(ctx)

	if outcome.Kind == left {
		run.Log.Warn("a run lost its lease and was stopped: nothing is recorded")
		return again(max(time.Until(leaseEnd), minPause), string(left))
	}
	return w.settle(run, job.Plan(&j, b.Backoff, outcome), leaseEnd)
}

// claim does not end with the engine's context: a claim that succeeded unseen
// would cost the job a death.
func (w *Worker) claim(id job.ID) (job.Claimed, error) {
	ctx, cancel := context.WithTimeout(w.life, claimLimit)
	defer cancel()
	return w.runner.Claim(ctx, job.Claim{ID: id, Token: uuid.NewString(), Worker: w.name, Lease: leaseTime})
}

// refused is what becomes of a task whose claim was not granted.
func (w *Worker) refused(t job.Task, c job.Claimed) job.Verdict {
	w.metrics.refused.WithLabelValues(string(c.Verdict)).Inc()
	attrs := []any{"job", t.ID, "task", t.TaskID(), "reason", c.Verdict, "state", c.State, "after", c.After}
	switch c.Verdict {
	case job.Busy, job.NotDue:
		w.log.Debug("a task came too early", attrs...)
		return again(max(c.After, minPause), string(c.Verdict))
	case job.Unknown:
		w.log.Warn("a task names a job that does not exist", attrs...)
	default:
		if c.Verdict == job.Dropped && c.State == job.Expired {
			w.metrics.expired.WithLabelValues(t.Type, t.Queue).Inc()
		}
		w.log.Debug("a task's job needs no run", attrs...)
	}
	return job.Verdict{}
}

// settle records the outcome. While the database is away it tries until the
// run's lease has ended: after that the run is nobody's.
func (w *Worker) settle(run *Run, s job.Settlement, leaseEnd time.Time) job.Verdict {
	for {
		settled, err := w.settleOnce(run.span, s)
		w.settlings.note(err, "job", s.ID, "run", s.Run)
		switch {
		case err == nil:
			return w.settled(run, s, settled)
		case job.CodeOf(err) == job.CodeInternal && len(s.Effects) > 0:
			// The database refuses the rows that belong to this outcome, and
			// would each time. They were the job's whole effect.
			backoff := w.handlers[run.Job.Type].Backoff
			s = job.Plan(&run.Job, backoff, job.PermanentFailure("the database refuses its %s", s.Effects[0].EffectName()))
			continue
		}
		pause := jittered(settlePause)
		if job.CodeOf(err) != job.CodeTemporary || time.Until(leaseEnd) < pause || !w.sleep(pause) {
			run.Log.Error("an outcome could not be recorded: the run is left to its lease",
				"outcome", s.Outcome, "reply_code", s.ReplyCode, "err", err)
			return again(max(time.Until(leaseEnd), jittered(awayPause)), "database")
		}
	}
}

func (w *Worker) settleOnce(span telemetry.Span, s job.Settlement) (job.Settled, error) {
	ctx, cancel := context.WithTimeout(span.In(w.life), SettleBudget)
	defer cancel()
	return w.runner.Settle(ctx, s)
}

// sleep reports whether the time has passed before the worker's end.
func (w *Worker) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-w.life.Done():
		return false
	}
}

// settled is what becomes of a task whose outcome is recorded.
func (w *Worker) settled(run *Run, s job.Settlement, is job.Settled) job.Verdict {
	if typ := w.typeLabel(run.Job.Type); !is.Late {
		w.metrics.settled.WithLabelValues(typ, string(is.State)).Inc()
		if is.State == job.Waiting && s.Charge > 0 {
			w.metrics.retried.WithLabelValues(typ).Inc()
		}
	}
	attrs := []any{"outcome", s.Outcome, "state", is.State, "reply_code", s.ReplyCode, "after", is.After}
	switch {
	case is.Late:
		run.Log.Warn("an outcome came after its run was given up: it is only in the job's history", attrs...)
	case is.State == job.Waiting:
		run.Log.Info("a job will run again", attrs...)
		return again(is.After, string(s.Outcome))
	case is.State == job.Done:
		run.Log.Debug("a job is done", attrs...)
	default:
		run.Log.Info("a job ended", attrs...)
	}
	return job.Verdict{}
}
