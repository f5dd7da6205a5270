package jobtest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/postrider/postrider/internal/job"
)

// pick draws one of them, or skips the step where there is none.
func pick[T any](t *rapid.T, label string, all []T) T {
	if len(all) == 0 {
		t.Skip()
	}
	return rapid.SampledFrom(all).Draw(t, label)
}

func (w *world) anyJob(t *rapid.T) (job.ID, job.Job) {
	id := pick(t, "job", w.ids)
	return id, w.find(t, id)
}

// jobs lists those that are as is says.
func (w *world) jobs(t *rapid.T, is func(job.Job) bool) []job.ID {
	var out []job.ID
	for _, id := range w.ids {
		if is(w.find(t, id)) {
			out = append(out, id)
		}
	}
	return out
}

func (w *world) accepted(ids ...job.ID) {
	for _, id := range ids {
		w.ids = append(w.ids, id)
		w.known[id] = &knowledge{}
	}
}

func (w *world) accept(t *rapid.T) {
	if len(w.ids) >= maxJobs {
		t.Skip()
	}
	sub := job.Submission{
		Type:  rapid.SampledFrom(propTypes).Draw(t, "type"),
		Queue: rapid.SampledFrom(propQueues).Draw(t, "queue"),
	}
	if rapid.Bool().Draw(t, "delayed") {
		sub.Delay = propLater
	}
	if rapid.Bool().Draw(t, "expires") {
		sub.ExpiresAt = w.now().Add(propExpiry)
	}
	p := post{who: job.Caller{Name: "tester"}, subs: []job.Submission{sub, sub, sub}}
	p.subs = p.subs[:rapid.IntRange(1, 3).Draw(t, "jobs")]
	if rapid.Bool().Draw(t, "keyed") {
		p.who.IdempotencyKey = fmt.Sprintf("%s-%d", w.name, len(w.posts))
		p.who.BodyHash = []byte("body")
	}
	var err error
	if p.got, err = w.service.AcceptAll(w.ctx, p.who, p.subs); err != nil {
		t.Fatalf("accepting: %v", err)
	}
	if p.got.Replayed {
		t.Fatalf("a new request was answered with the receipt of another")
	}
	for _, a := range p.got.Jobs {
		w.accepted(a.ID)
	}
	if p.who.IdempotencyKey != "" {
		w.posts = append(w.posts, p)
	}
}

func (w *world) acceptReplayed(t *rapid.T) {
	p := pick(t, "request", w.posts)
	if rapid.Bool().Draw(t, "with another body") {
		p.who.BodyHash = []byte("another body")
		if _, err := w.service.AcceptAll(w.ctx, p.who, p.subs); job.CodeOf(err) != job.CodeConflict {
			t.Fatalf("an idempotency key with another body: %v, want a conflict", err)
		}
		return
	}
	again, err := w.service.AcceptAll(w.ctx, p.who, p.subs)
	if err != nil || !again.Replayed || again.Base != p.got.Base {
		t.Fatalf("replaying was answered %+v, %v; the first time %+v", again, err, p.got)
	}
	for i := range again.Jobs {
		if again.Jobs[i].ID != p.got.Jobs[i].ID {
			t.Fatalf("replaying answered job %d as %s, the first time %s", i, again.Jobs[i].ID, p.got.Jobs[i].ID)
		}
	}
}

func (w *world) acceptDirectly(t *rapid.T) {
	if len(w.ids) >= maxJobs {
		t.Skip()
	}
	r := batch(rapid.IntRange(1, 3).Draw(t, "jobs"))
	if _, err := w.store.Accept(w.ctx, r); err != nil {
		t.Fatalf("accepting: %v", err)
	}
	for _, n := range r.Jobs {
		w.accepted(n.ID)
	}
	w.requests = append(w.requests, r)
}

func (w *world) acceptRepeated(t *rapid.T) {
	r := pick(t, "request", w.requests)
	if got, err := w.store.Accept(w.ctx, r); err != nil || got.Base != r.Base || got.Replayed {
		t.Fatalf("repeating a request was answered %+v, %v", got, err)
	}
}

// dispatch sends a job's task to Redis, and notes that or does not.
func (w *world) dispatch(t *rapid.T) {
	id := pick(t, "job", w.jobs(t, func(j job.Job) bool { return j.State == job.Waiting && !j.Dispatched }))
	j := w.find(t, id)
	arrived, err := w.redis.Dispatch(w.ctx, []job.Task{j.Task()})
	if w.down != (err != nil) {
		t.Fatalf("dispatching while redis is down=%t: %v", w.down, err)
	}
	if err == nil && rapid.Bool().Draw(t, "noted") {
		if err := w.store.MarkDispatched(w.ctx, arrived); err != nil {
			t.Fatalf("noting a dispatch: %v", err)
		}
	}
}

// command gives one as a person does, and checks that the job's state decides
// whether it is taken. One that makes the job run makes a new dispatch.
func (w *world) command(t *rapid.T, name string, from []job.State, give func(context.Context, job.ID) (job.Job, error)) (job.ID, bool) {
	id, before := w.anyJob(t)
	allowed := false
	for _, s := range from {
		allowed = allowed || before.State == s
	}
	got, err := give(w.ctx, id)
	switch {
	case allowed && err != nil:
		t.Fatalf("%s of a job that is %s: %v", name, before.State, err)
	case !allowed && job.CodeOf(err) != job.CodeConflict:
		t.Fatalf("%s of a job that is %s: %v, want a conflict", name, before.State, err)
	case !allowed:
		return id, false
	}
	after := w.find(t, id)
	if got.State != after.State {
		t.Fatalf("%s answered that the job is %s, it is %s", name, got.State, after.State)
	}
	if after.State == job.Waiting && (after.Dispatched || after.Dispatches != before.Dispatches+1 || after.RunAt.After(w.now())) {
		t.Fatalf("%s did not send the job out: %+v", name, after)
	}
	return id, true
}

func (w *world) cancel(t *rapid.T) {
	w.command(t, "cancelling", []job.State{job.Waiting, job.Held, job.Running, job.Cancelled},
		func(ctx context.Context, id job.ID) (job.Job, error) { return w.service.Cancel(ctx, id, "ann") })
}

func (w *world) retry(t *rapid.T) {
	id, taken := w.command(t, "retrying", []job.State{job.Failed, job.Cancelled, job.Expired, job.Suppressed},
		func(ctx context.Context, id job.ID) (job.Job, error) { return w.service.Retry(ctx, id, "ann") })
	w.known[id].alive = taken
}

func (w *world) runNow(t *rapid.T) {
	w.command(t, "running now", []job.State{job.Waiting},
		func(ctx context.Context, id job.ID) (job.Job, error) { return w.service.RunNow(ctx, id, "ann") })
}

func (w *world) resolve(t *rapid.T) {
	r := rapid.SampledFrom([]job.Resolution{job.ResolveDone, job.ResolveFailed, job.ResolveRetry}).Draw(t, "resolution")
	id, taken := w.command(t, "resolving", []job.State{job.Held},
		func(ctx context.Context, id job.ID) (job.Job, error) { return w.service.Resolve(ctx, id, "ann", r) })
	w.known[id].alive = taken
}

func (w *world) advance(t *rapid.T) {
	w.store.clock.Advance(rapid.SampledFrom(propAdvances).Draw(t, "by"))
}

// reconcile mends, and leaves nothing undone that it could see.
func (w *world) reconcile(t *rapid.T) {
	dead := w.jobs(t, func(j job.Job) bool { return j.State == job.Running && !j.LeaseUntil.After(w.now()) })
	if err := w.mender.Turn(w.ctx); (err != nil) != w.down {
		t.Fatalf("reconciling while redis is down=%t: %v", w.down, err)
	}
	died := map[job.ID]bool{}
	for _, id := range dead {
		died[id] = true
	}
	held := map[string]bool{}
	for _, task := range w.redis.Tasks() {
		held[task.TaskID()] = true
	}
	for _, id := range w.ids {
		j := w.find(t, id)
		due, sent := w.now().Sub(j.RunAt), w.now().Sub(j.DispatchAt)
		switch missing := j.State == job.Waiting && !held[j.Task().TaskID()]; {
		case j.State == job.Running && !j.LeaseUntil.After(w.now()):
			t.Fatalf("after reconciling a run is dead: %+v", j)
		case j.State == job.Waiting && !j.ExpiresAt.IsZero() && !j.ExpiresAt.After(w.now()):
			t.Fatalf("after reconciling a job is overdue: %+v", j)
		case missing && !w.down && (died[id] || j.Dispatched && due > time.Minute/2 || !j.Dispatched && sent > time.Minute/2):
			t.Fatalf("after reconciling redis does not know the task of job %+v", j)
		}
	}
}

func (w *world) flush(*rapid.T) { w.redis.Flush() }

func (w *world) toggle(*rapid.T) {
	if w.down = !w.down; w.down {
		w.redis.Fail(errors.New("it is away"))
	} else {
		w.redis.Fail(nil)
	}
}
