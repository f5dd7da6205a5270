package jobtest

import (
	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/job"
)

// check holds the promises against every job, after each step.
func (w *world) check(t *rapid.T) {
	notified := w.notifications(t)
	for _, id := range w.ids {
		k := w.known[id]
		j := w.find(t, id)
		checkShape(t, j)
		w.checkHistory(t, j)
		if k.last.ID != "" {
			checkStep(t, k.last, j, k.alive)
		}
		if notified != nil && notified[id] != k.notified {
			t.Fatalf("job %s has %d notifications, its settled runs made %d", id, notified[id], k.notified)
		}
		k.last, k.alive = j, false
	}
}

// checkShape checks what is true of a job at any time.
func checkShape(t *rapid.T, j job.Job) {
	running := j.State == job.Running
	for what, wrong := range map[string]bool{
		"it has a time of finishing without being over, or the reverse": j.FinishedAt.IsZero() == j.State.Final(),
		"it has a worker without running, or the reverse":               (j.Worker != "") != running,
		"it has a lease without running, or the reverse":                j.LeaseUntil.IsZero() == running,
		"its cancellation is asked for though it does not run":          j.CancelRequested && !running,
		"it runs without a run":                                         running && j.Runs < 1,
		"it has more attempts than it may":                              j.Attempts > j.MaxAttempts,
		"it has used up its attempts and goes on":                       j.Attempts == j.MaxAttempts && (running || j.State == job.Waiting),
		"it died too often and goes on":                                 j.Deaths >= 3 && (running || j.State == job.Waiting),
		"a run that it never had was settled":                           j.SettledRun > j.Runs,
		"the run that it is in was settled":                             running && j.SettledRun == j.Runs,
		"a run that it never had passed its point of no return":         j.NoReturnRun > j.Runs,
		"its payload is gone":                                           len(j.Payload) == 0,
	} {
		if wrong {
			t.Fatalf("job %+v: %s", j, what)
		}
	}
}

// checkStep checks what a step may make of a job. alive says that a person
// gave it a new life, or ended its being held.
func checkStep(t *rapid.T, before, after job.Job, alive bool) {
	stopped := before.State.Final() || before.State == job.Held
	for what, wrong := range map[string]bool{
		"its runs fell":       after.Runs < before.Runs,
		"its dispatches fell": after.Dispatches < before.Dispatches,
		"its attempts fell":   after.Attempts < before.Attempts && !alive,
		"its deaths fell":     after.Deaths < before.Deaths && !alive,
		"it ran again after its end, though nobody asked": stopped && !alive && after.Runs != before.Runs,
		"its outcome changed, though nobody asked":        before.State.Final() && !alive && after.State != before.State,
		"it stopped being held, though nobody asked":      before.State == job.Held && !alive && after.State != job.Held && after.State != job.Cancelled,
		"it is not the job that was accepted":             string(after.Payload) != string(before.Payload) || !after.CreatedAt.Equal(before.CreatedAt) || after.Type != before.Type,
	} {
		if wrong {
			t.Fatalf("%s\nbefore: %+v\nafter:  %+v", what, before, after)
		}
	}
}

// checkHistory checks that the job's events explain what it is.
func (w *world) checkHistory(t *rapid.T, j job.Job) {
	events, err := w.store.Events(w.ctx, j.ID)
	if err != nil || len(events) == 0 {
		t.Fatalf("job %s has no history: %v", j.ID, err)
	}
	if events[0].Kind != job.EventAccepted {
		t.Fatalf("the history of job %s begins with %s", j.ID, events[0].Kind)
	}
	runs, deaths, cancel := 0, 0, false
	for i, e := range events {
		if i > 0 && (e.Seq <= events[i-1].Seq || e.At.Before(events[i-1].At)) {
			t.Fatalf("event %+v comes after %+v", e, events[i-1])
		}
		switch e.Kind {
		case job.EventStarted:
			if runs++; e.Run != runs {
				t.Fatalf("start %d of job %s is of run %d", runs, j.ID, e.Run)
			}
			cancel = false
		case job.EventDied:
			deaths++
		case job.EventCancelRequested:
			cancel = true
		case job.EventRetried, job.EventResolved:
			if e.State == job.Waiting {
				deaths = 0
			}
		}
	}
	last := events[len(events)-1]
	if last.State != j.State || runs != j.Runs || deaths != j.Deaths || (j.State == job.Running && cancel != j.CancelRequested) {
		t.Fatalf("the history %+v does not explain job %+v", events, j)
	}
}

// drain lets time pass with Redis up, reconcile at work and one worker that
// succeeds at everything: each job then ends, or waits for a person.
func (w *world) drain(t *rapid.T) {
	if w.down {
		w.toggle(t)
	}
	for range 5 {
		w.store.clock.Advance(propAdvances[len(propAdvances)-1])
		w.reconcile(t)
		for _, task := range w.redis.Tasks() {
			w.finish(t, task)
		}
		w.check(t)
	}
	for _, id := range w.ids {
		if j := w.find(t, id); !j.State.Final() && j.State != job.Held {
			t.Fatalf("job %s was forgotten: %+v", id, j)
		}
	}
}

func (w *world) finish(t *rapid.T, task job.Task) {
	c := job.Claim{ID: task.ID, Token: w.name + "-drain-" + task.TaskID(), Worker: propWorkers[0], Lease: propLease}
	switch got := w.tryClaim(t, c); got.Verdict {
	case job.Granted:
		r := w.runs[len(w.runs)-1]
		s := w.planned(r, job.OutcomeDone, w.streams[0])
		r.settlement = &s
		w.settleRun(t, r)
		w.redis.Forget(task)
	case job.Over, job.Dropped, job.Unknown:
		w.redis.Forget(task)
	}
}
