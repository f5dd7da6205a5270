package job_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// inState makes a job that is in that state.
func (r *rig) inState(t *testing.T, s job.State) job.ID {
	t.Helper()
	sub := noop()
	switch s {
	case job.Waiting:
		sub.Delay = time.Hour
		return r.accept(t, sub)
	case job.Held:
		sub.Type = holdType.Name
	case job.Expired:
		id := r.accept(t, noop())
		r.alter(t, id, func(j *job.Job) { j.State, j.ExpiresAt, j.FinishedAt = job.Expired, j.CreatedAt, j.CreatedAt })
		return id
	}
	id := r.accept(t, sub)
	j := r.claim(t, id)
	switch s {
	case job.Held:
		r.settle(t, j, job.Outcome{Kind: job.OutcomeAmbiguous})
	case job.Done:
		r.settle(t, j, job.Succeeded("250"))
	case job.Failed:
		r.settle(t, j, job.PermanentFailure("550"))
	case job.Cancelled:
		r.settle(t, j, job.Outcome{Kind: job.OutcomeCancelled})
	case job.Suppressed:
		r.settle(t, j, job.Outcome{Kind: job.OutcomeSuppressed})
	}
	if got := r.find(t, id).State; got != s {
		t.Fatalf("the job is %s, want %s", got, s)
	}
	return id
}

func (r *rig) alter(t *testing.T, id job.ID, f func(*job.Job)) {
	t.Helper()
	_, err := r.store.Change(t.Context(), []job.ID{id}, func(j *job.Job, now time.Time) ([]job.Event, error) {
		f(j)
		return []job.Event{{Job: id, At: now, Kind: job.EventRedispatched, State: j.State}}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestCommandsInEveryState(t *testing.T) {
	type give func(*rig, job.ID) (job.Job, error)
	resolve := func(o job.Resolution) give {
		return func(r *rig, id job.ID) (job.Job, error) { return r.Resolve(context.Background(), id, "ann", o) }
	}
	for _, c := range []struct {
		name string
		give give
		// becomes holds the states in which it is taken; any other is a
		// conflict.
		becomes map[job.State]job.State
		event   job.EventKind
		sends   bool // the job goes to its queue anew
	}{
		{"cancel", func(r *rig, id job.ID) (job.Job, error) { return r.Cancel(context.Background(), id, "ann") }, map[job.State]job.State{
			job.Waiting: job.Cancelled, job.Held: job.Cancelled, job.Running: job.Running, job.Cancelled: job.Cancelled,
		}, "", false},
		{"retry", func(r *rig, id job.ID) (job.Job, error) { return r.Retry(context.Background(), id, "ann") }, map[job.State]job.State{
			job.Failed: job.Waiting, job.Cancelled: job.Waiting, job.Expired: job.Waiting, job.Suppressed: job.Waiting,
		}, job.EventRetried, true},
		{"run now", func(r *rig, id job.ID) (job.Job, error) { return r.RunNow(context.Background(), id, "ann") }, map[job.State]job.State{
			job.Waiting: job.Waiting,
		}, job.EventRunNow, true},
		{"resolve as done", resolve(job.ResolveDone), map[job.State]job.State{job.Held: job.Done}, job.EventResolved, false},
		{"resolve as failed", resolve(job.ResolveFailed), map[job.State]job.State{job.Held: job.Failed}, job.EventResolved, false},
		{"resolve as retry", resolve(job.ResolveRetry), map[job.State]job.State{job.Held: job.Waiting}, job.EventResolved, true},
	} {
		for _, s := range job.States {
			t.Run(c.name+" of "+string(s), func(t *testing.T) {
				r := newRig(t)
				id := r.inState(t, s)
				before := r.find(t, id)
				history, _ := r.Events(t.Context(), id)
				got, err := c.give(r, id)
				after := r.find(t, id)
				want, taken := c.becomes[s]
				if !taken {
					if job.CodeOf(err) != job.CodeConflict || after.State != s {
						t.Errorf("it answers %v and the job is %s", err, after.State)
					}
					return
				}
				if err != nil || got.State != want || after.State != want {
					t.Fatalf("it answers %s, %v and the job is %s, want %s", got.State, err, after.State, want)
				}
				if after.FinishedAt.IsZero() == want.Final() {
					t.Errorf("it is %s and finished at %v", want, after.FinishedAt)
				}
				events, _ := r.Events(t.Context(), id)
				if e := events[len(events)-1]; len(events) > len(history) && (e.Actor != "ann" || e.State != want || c.event != "" && e.Kind != c.event) {
					t.Errorf("the event is %+v", e)
				}
				if sent := after.Dispatches == before.Dispatches+1 && !after.Dispatched && !after.RunAt.After(r.store.Clock.Now()); sent != c.sends {
					t.Errorf("sent anew is %t: %+v", sent, after)
				}
			})
		}
		t.Run(c.name+" of no job", func(t *testing.T) {
			if _, err := c.give(newRig(t), job.NewID()); job.CodeOf(err) != job.CodeNotFound {
				t.Errorf("it answers %v", err)
			}
		})
	}
}

func TestCancelReachesTheQueue(t *testing.T) {
	r := newRig(t)
	waiting, running := r.inState(t, job.Waiting), r.inState(t, job.Running)
	for range 2 { // twice is no error, and writes once
		for _, id := range []job.ID{waiting, running} {
			if _, err := r.Cancel(t.Context(), id, "ann"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if w := r.redis.Withdrawn(); len(w) == 0 || w[0].ID != waiting || w[0].Dispatch != 1 {
		t.Errorf("withdrawn are %+v, want the task of %s", w, waiting)
	}
	if h := r.redis.Hints(); len(h) == 0 || slices.ContainsFunc(h, func(id job.ID) bool { return id != running }) {
		t.Errorf("hints are %v, want %s", h, running)
	}
	if j := r.find(t, running); !j.CancelRequested || j.State != job.Running {
		t.Errorf("the running job is %+v", j)
	}
	for _, id := range []job.ID{waiting, running} {
		events, _ := r.Events(t.Context(), id)
		if last := events[len(events)-2]; last.Kind == job.EventCancelled || last.Kind == job.EventCancelRequested {
			t.Errorf("the second cancel wrote again: %+v", events)
		}
	}
}

func TestRetryGivesAllAttemptsAgain(t *testing.T) {
	r := newRig(t)
	id := r.inState(t, job.Failed)
	r.alter(t, id, func(j *job.Job) { j.Attempts, j.Deaths, j.ExpiresAt = 3, 2, j.CreatedAt })
	j, err := r.Retry(t.Context(), id, "ann")
	if err != nil || j.Attempts != 0 || j.Deaths != 0 || !j.ExpiresAt.IsZero() || j.Runs != 1 {
		t.Errorf("it is %+v, %v", j, err)
	}
	r.claim(t, id)
}

func TestRetryNeedsThePayload(t *testing.T) {
	for _, s := range []job.State{job.Failed, job.Held} {
		r := newRig(t)
		id := r.inState(t, s)
		r.alter(t, id, func(j *job.Job) { j.PayloadGone = true })
		_, err := r.Retry(t.Context(), id, "ann")
		if s == job.Held {
			_, err = r.Resolve(t.Context(), id, "ann", job.ResolveRetry)
		}
		if job.CodeOf(err) != job.CodeConflict {
			t.Errorf("retrying a %s job without its payload: %v", s, err)
		}
	}
}

func TestResolveRefusesOtherWords(t *testing.T) {
	r := newRig(t)
	id := r.inState(t, job.Held)
	if _, err := r.Resolve(t.Context(), id, "ann", "maybe"); !slices.Equal(fields(err), []string{"outcome"}) {
		t.Errorf("the error is %v", err)
	}
	if s := r.find(t, id).State; s != job.Held {
		t.Errorf("the job is %s", s)
	}
}

func TestCommandsSendAtOnce(t *testing.T) {
	r := newRig(t)
	id := r.inState(t, job.Failed)
	r.Start()
	if _, err := r.Retry(t.Context(), id, "ann"); err != nil {
		t.Fatal(err)
	}
	ctx := within(t)
	sent, err := r.redis.WaitSent(ctx, 2) // the first is that of its acceptance
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(sent, func(task job.Task) bool { return task.TaskID() == string(id)+"~2" }) {
		t.Errorf("sent are %+v, want the second dispatch", sent)
	}
	if err := r.Stop(ctx); err != nil {
		t.Fatal(err)
	}
}
