package work

import (
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
)

// TurnPatience is the longest that a task holds its slot while it waits for
// its turn under its queue's limits. All of the queue's tasks wait with it, so
// that nobody else needs the slot; a longer wait is spent in the engine.
const TurnPatience = 5 * time.Second

// earlyPatience is the same of a run under a limit that is not its queue's:
// others could use the slot.
const earlyPatience = 200 * time.Millisecond

// turn lets a task through its queue's limits, before its claim, so that one
// that has to come back costs no run. The pass must be left, unless it is not
// granted and the task has to come back, as the verdict says.
func (w *Worker) turn(t job.Task) (pass limit.Pass, v job.Verdict) {
	pass, err := w.limits.Pass(w.open, limit.OfQueue(t.Queue), string(t.ID), TurnPatience)
	switch {
	case w.open.Err() != nil && !pass.Granted():
		return pass, again(minPause, "stopping")
	case err != nil:
		return pass, again(jittered(awayPause), "limit")
	case !pass.Granted():
		w.log.Debug("a task waits for its turn", "job", t.ID, "queue", t.Queue, "after", pass.After)
		return pass, again(max(pass.After, minPause), "limit")
	}
	return pass, job.Verdict{}
}

// early asks whether the run comes too early for a rate that its queue does not
// tell, such as that of its recipient's domain. It then ends with the outcome,
// which charges nothing. Otherwise the pass can be undone.
func (r *Run) early(key limit.Key) (limit.Pass, job.Outcome, bool) {
	pass, err := r.limits.Pass(r.ctx, key, string(r.Job.ID), earlyPatience)
	switch {
	case r.ctx.Err() != nil:
		return pass, Interrupted(r.ctx.Err()), true
	case err != nil:
		return pass, job.Outcome{Kind: job.OutcomeRateLimited, After: jittered(awayPause), Message: "its limit could not be asked for"}, true
	case !pass.Granted():
		return pass, job.Outcome{Kind: job.OutcomeRateLimited, After: pass.After, Message: "waits for its turn under the limit " + key.String()}, true
	}
	pass.Leave()
	return pass, job.Outcome{}, false
}
