package jobtest

import (
	"fmt"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/job"
)

// going lists the runs whose worker still has them, settled or not.
func (w *world) going(is func(*run) bool) []*run {
	var out []*run
	for _, r := range w.runs {
		if !r.over && is(r) {
			out = append(out, r)
		}
	}
	return out
}

func unsettled(r *run) bool { return r.settlement == nil }

func (w *world) newClaim(t *rapid.T, id job.ID) job.Claim {
	w.tokens++
	return job.Claim{
		ID: id, Token: fmt.Sprintf("%s-%d", w.name, w.tokens), Lease: propLease,
		Worker: rapid.SampledFrom(propWorkers).Draw(t, "worker"),
	}
}

func (w *world) claim(t *rapid.T) {
	id, _ := w.anyJob(t)
	w.tryClaim(t, w.newClaim(t, id))
}

func (w *world) claimAsTwins(t *rapid.T) {
	id, _ := w.anyJob(t)
	first, second := w.tryClaim(t, w.newClaim(t, id)), w.tryClaim(t, w.newClaim(t, id))
	if first.Verdict == job.Granted && second.Verdict != job.Busy {
		t.Fatalf("one claim was granted and its twin answered %s", second.Verdict)
	}
}

func (w *world) claimRepeated(t *rapid.T) {
	w.tryClaim(t, pick(t, "run", w.runs).claim)
}

// tryClaim claims and checks that the answer is allowed.
func (w *world) tryClaim(t *rapid.T, c job.Claim) job.Claimed {
	before := w.find(t, c.ID)
	got, err := w.store.Claim(w.ctx, c)
	if err != nil {
		t.Fatalf("claiming: %v", err)
	}
	if got.Verdict != job.Granted {
		return got
	}
	dead := before.State == job.Running && !before.LeaseUntil.After(w.now())
	switch {
	case before.State == job.Running && before.Token == c.Token && got.Job.Runs == before.Runs:
		return got // the answer once more
	case before.State != job.Waiting && !dead:
		t.Fatalf("a run was granted of a job that is %s", before.State)
	case got.Job.Runs != before.Runs+1:
		t.Fatalf("run %d follows run %d", got.Job.Runs, before.Runs)
	}
	for _, r := range w.runs {
		if r.job.ID == c.ID && r.settlement == nil && r.leaseUntil.After(w.now()) {
			t.Fatalf("run %d was granted while run %d has its lease until %v", got.Job.Runs, r.job.Runs, r.leaseUntil)
		}
	}
	w.runs = append(w.runs, &run{claim: c, job: got.Job, leaseUntil: got.Job.LeaseUntil})
	return got
}

// work is what mostly happens: a task is taken from Redis, its job claimed,
// carried out, settled and the task acknowledged.
func (w *world) work(t *rapid.T) {
	if w.down {
		t.Skip()
	}
	task := pick(t, "task", w.redis.Tasks())
	got := w.tryClaim(t, w.newClaim(t, task.ID))
	switch got.Verdict {
	case job.Over, job.Dropped:
		w.redis.Forget(task)
	case job.Granted:
		r := w.runs[len(w.runs)-1]
		if w.settleRun(t, r).State != job.Waiting {
			w.redis.Forget(task)
		}
	}
}

func (w *world) noReturn(t *rapid.T) {
	r := pick(t, "run", w.going(unsettled))
	before := w.find(t, r.job.ID)
	err := w.store.PassNoReturn(w.ctx, ref(r.job))
	want := job.Code("")
	switch {
	case before.State != job.Running || before.Runs != r.job.Runs:
		want = job.CodeConflict
	case before.CancelRequested && before.NoReturnRun != before.Runs:
		want = job.CodeCancelled
	}
	if job.CodeOf(err) != want {
		t.Fatalf("passing the point of no return of run %d of a job that is %s in run %d: %v", r.job.Runs, before.State, before.Runs, err)
	}
}

func (w *world) settle(t *rapid.T) { w.settleRun(t, pick(t, "run", w.going(unsettled))) }

func (w *world) settleRepeated(t *rapid.T) {
	w.settleRun(t, pick(t, "run", w.going(func(r *run) bool { return r.settlement != nil })))
}

// settleRun records a run's outcome, the same when it is done again, and
// checks that an old run never changes the row.
func (w *world) settleRun(t *rapid.T, r *run) job.Settled {
	if r.settlement == nil {
		s := w.settlement(t, r)
		r.settlement = &s
	}
	before := w.find(t, r.job.ID)
	got, err := w.store.Settle(w.ctx, *r.settlement)
	if err != nil {
		t.Fatalf("settling: %v", err)
	}
	after := w.find(t, r.job.ID)
	switch {
	case before.SettledRun == r.job.Runs:
		if d := diff(after, before, 0); d != "" || got.Late {
			t.Fatalf("settling run %d once more was answered %+v and changed the job: %s", r.job.Runs, got, d)
		}
	case before.State != job.Running || before.Runs != r.job.Runs:
		if d := diff(after, before, 0); d != "" || !got.Late {
			t.Fatalf("settling run %d of a job that is %s in run %d was answered %+v and changed it: %s", r.job.Runs, before.State, before.Runs, got, d)
		}
	default:
		if got.Late || after.SettledRun != r.job.Runs || after.State != got.State {
			t.Fatalf("settling run %d was answered %+v and left the job %s with settled run %d", r.job.Runs, got, after.State, after.SettledRun)
		}
		want := r.settlement.State
		if want == job.Waiting && before.CancelRequested {
			want = job.Cancelled
		}
		if got.State != want {
			t.Fatalf("settling with %s (cancel requested=%t) made the job %s", r.settlement.Outcome, before.CancelRequested, got.State)
		}
		if k := w.known[r.job.ID]; k != nil { // drain meets jobs of a history that failed before
			k.notified += len(r.settlement.Effects)
		}
	}
	return got
}

// extend renews the leases of all of a worker's runs and drops those that
// were lost.
func (w *world) extend(t *rapid.T) {
	worker := rapid.SampledFrom(propWorkers).Draw(t, "worker")
	runs := w.going(func(r *run) bool { return unsettled(r) && r.claim.Worker == worker })
	refs := make([]job.RunRef, len(runs))
	for i, r := range runs {
		refs[i] = ref(r.job)
	}
	got, err := w.store.Extend(w.ctx, propLease, refs)
	if err != nil {
		t.Fatalf("extending: %v", err)
	}
	for _, r := range runs {
		j := w.find(t, r.job.ID)
		_, mine := got[ref(r.job)]
		if mine != (j.State == job.Running && j.Runs == r.job.Runs) {
			t.Fatalf("extending run %d of a job that is %s in run %d was answered %t", r.job.Runs, j.State, j.Runs, mine)
		}
		// A worker that learns that a run was lost may settle it all the
		// same: its handler may have been too far. So it stays.
		if mine {
			r.leaseUntil = j.LeaseUntil
		}
	}
}

// die lets a run's lease end, maybe behind its point of no return, and the
// others' with it. Its worker may come back to settle it.
func (w *world) die(t *rapid.T) {
	id, _ := w.anyJob(t)
	w.tryClaim(t, w.newClaim(t, id))
	if j := w.find(t, id); j.State == job.Running && rapid.Bool().Draw(t, "past the point of no return") {
		if err := w.store.PassNoReturn(w.ctx, ref(j)); err != nil && job.CodeOf(err) != job.CodeCancelled {
			t.Fatalf("passing the point of no return: %v", err)
		}
	}
	w.store.clock.Advance(propAdvances[len(propAdvances)-1])
}

// crash lets a worker forget its runs, and Redis the tasks that it had: their
// leases there end too.
func (w *world) crash(t *rapid.T) {
	worker := rapid.SampledFrom(propWorkers).Draw(t, "worker")
	for _, r := range w.runs {
		if r.claim.Worker != worker || r.over {
			continue
		}
		r.over = true
		if j := w.find(t, r.job.ID); j.State == job.Running && j.Runs == r.job.Runs {
			w.redis.Forget(j.Task())
		}
	}
}
