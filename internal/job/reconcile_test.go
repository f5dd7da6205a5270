package job_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
)

var keep = job.Retention{Done: 30 * 24 * time.Hour, Bodies: 7 * 24 * time.Hour, Failed: 90 * 24 * time.Hour}

func (r *rig) turn(t *testing.T, mender *job.Reconciler) {
	t.Helper()
	if err := mender.Turn(t.Context()); err != nil {
		t.Fatalf("reconciling: %v", err)
	}
}

// dispatched sends a job's task and notes that it arrived.
func (r *rig) dispatched(t *testing.T, id job.ID) {
	t.Helper()
	j := r.find(t, id)
	arrived, err := r.redis.Dispatch(t.Context(), []job.Task{j.Task()})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.MarkDispatched(t.Context(), arrived); err != nil {
		t.Fatal(err)
	}
}

func (r *rig) wantSent(t *testing.T, want ...string) {
	t.Helper()
	sent := r.redis.Sent()
	got := map[string]int{}
	for _, task := range sent {
		got[task.TaskID()]++
	}
	wanted := map[string]int{}
	for _, id := range want {
		wanted[id]++
	}
	for id, n := range wanted {
		if got[id] != n {
			t.Errorf("task %s was sent %d times, want %d", id, got[id], n)
		}
	}
	if len(sent) != len(want) {
		t.Errorf("%d tasks were sent, want %d: %+v", len(sent), len(want), sent)
	}
}

func again(id job.ID, n int) string { return job.Task{ID: id, Dispatch: n}.TaskID() }

func TestReconcileSendsTheUndispatched(t *testing.T) {
	r := newRig(t)
	mender := job.NewReconciler(r.Service, "a", keep)
	r.turn(t, mender) // Redis is new
	id := r.accept(t, noop())
	delayed := r.accept(t, job.Submission{Type: "noop", Delay: time.Hour})
	r.turn(t, mender)
	r.wantSent(t) // they are on their way still
	r.store.Clock.Advance(6 * time.Second)
	r.turn(t, mender)
	r.wantSent(t, string(id), string(delayed))
	if j := r.find(t, id); !j.Dispatched || j.Dispatches != 1 {
		t.Errorf("the job is %+v", j)
	}
	r.store.Clock.Advance(6 * time.Second)
	r.turn(t, mender)
	r.wantSent(t, string(id), string(delayed))
}

// TestReconcileOfTheUndispatchedLooksFirst: what did arrive is only noted, and
// a name that is taken is not used again.
func TestReconcileOfTheUndispatchedLooksFirst(t *testing.T) {
	r := newRig(t)
	mender := job.NewReconciler(r.Service, "a", keep)
	there, stuck := r.accept(t, noop()), r.accept(t, noop())
	for _, id := range []job.ID{there, stuck} {
		j := r.find(t, id)
		if _, err := r.redis.Dispatch(t.Context(), []job.Task{j.Task()}); err != nil {
			t.Fatal(err)
		}
	}
	j := r.find(t, stuck)
	r.redis.Forget(j.Task())
	r.store.Clock.Advance(6 * time.Second)
	r.turn(t, mender)
	r.wantSent(t, string(there), string(stuck), again(stuck, 2))
	for id, want := range map[job.ID]int{there: 1, stuck: 2} {
		if j := r.find(t, id); !j.Dispatched || j.Dispatches != want {
			t.Errorf("the job is %+v, want dispatch %d known to have arrived", j, want)
		}
	}
	if events, _ := r.Events(t.Context(), stuck); events[len(events)-1].Kind != job.EventRedispatched || events[len(events)-1].Message != "undispatched" {
		t.Errorf("the events are %+v", events)
	}
}

func TestReconcileSendsMoreThanAPage(t *testing.T) {
	r := newRig(t)
	subs := make([]job.Submission, 1200)
	for i := range subs {
		subs[i] = noop()
	}
	if _, err := r.AcceptAll(t.Context(), caller, subs); err != nil {
		t.Fatal(err)
	}
	r.store.Clock.Advance(6 * time.Second)
	r.turn(t, job.NewReconciler(r.Service, "a", keep))
	if n := len(r.redis.Sent()); n != 1200 {
		t.Errorf("%d tasks were sent, want 1200", n)
	}
}

func TestReconcileBuriesDeadRuns(t *testing.T) {
	r := newRig(t)
	mender := job.NewReconciler(r.Service, "a", keep)
	dead, held := r.inState(t, job.Running), r.accept(t, job.Submission{Type: holdType.Name})
	if err := r.store.PassNoReturn(t.Context(), job.RunRef{ID: held, Run: r.claim(t, held).Runs}); err != nil {
		t.Fatal(err)
	}
	r.turn(t, mender)
	if s := r.find(t, dead).State; s != job.Running {
		t.Fatalf("a living run is %s", s)
	}
	r.store.Clock.Advance(31 * time.Second)
	living := r.inState(t, job.Running)
	r.turn(t, mender)
	for id, want := range map[job.ID]job.State{dead: job.Waiting, held: job.Held, living: job.Running} {
		if s := r.find(t, id).State; s != want {
			t.Errorf("it is %s, want %s", s, want)
		}
	}
	r.wantSent(t, again(dead, 2))
	r.claim(t, dead)
}

func TestReconcileEndsTheOverdue(t *testing.T) {
	r := newRig(t)
	id := r.accept(t, job.Submission{Type: "noop", ExpiresAt: time.Now().Add(time.Minute)})
	r.dispatched(t, id)
	r.store.Clock.Advance(2 * time.Minute)
	r.turn(t, job.NewReconciler(r.Service, "a", keep))
	if j := r.find(t, id); j.State != job.Expired || j.FinishedAt.IsZero() {
		t.Errorf("it is %+v", j)
	}
	if w := r.redis.Withdrawn(); len(w) != 1 || w[0].ID != id {
		t.Errorf("withdrawn are %+v", w)
	}
}

func TestReconcileAfterRedisLostItsTasks(t *testing.T) {
	r := newRig(t)
	mender := job.NewReconciler(r.Service, "a", keep)
	lost, delayed, kept := r.accept(t, noop()), r.accept(t, job.Submission{Type: "noop", Delay: time.Hour}), r.accept(t, noop())
	r.dispatched(t, lost)
	r.dispatched(t, delayed)
	r.redis.Flush()
	r.dispatched(t, kept)
	sent := []string{string(lost), string(delayed), string(kept), string(lost), string(delayed)}
	for range 2 {
		r.turn(t, mender)
		r.wantSent(t, sent...)
	}
	if j := r.find(t, lost); j.Dispatches != 1 {
		t.Errorf("the job has %d dispatches: of a lost task nothing need be written", j.Dispatches)
	}
	if _, lost, _ := r.redis.Lost(t.Context(), "default", ""); lost {
		t.Error("the queue was restored and is lost still")
	}
}

// TestReconcileFindsWhatWasLostUnnoted: a task that had arrived, of which that
// was noted only after Redis was flushed and restored, would otherwise be
// missed until its job is long due.
func TestReconcileFindsWhatWasLostUnnoted(t *testing.T) {
	r := newRig(t)
	mender := job.NewReconciler(r.Service, "a", keep)
	r.turn(t, mender)
	id := r.accept(t, job.Submission{Type: "noop", Delay: time.Hour})
	j := r.find(t, id)
	arrived, err := r.redis.Dispatch(t.Context(), []job.Task{j.Task()})
	if err != nil {
		t.Fatal(err)
	}
	r.redis.Flush()
	r.turn(t, mender)
	if err := r.store.MarkDispatched(t.Context(), arrived); err != nil {
		t.Fatal(err)
	}
	r.turn(t, mender)
	r.wantSent(t, string(id), string(id))
	if n := len(r.redis.Tasks()); n != 1 {
		t.Errorf("Redis knows %d tasks, want the one", n)
	}
}

// TestReconcileFindsWhatEndedAfterALoss: a run that was under way when Redis
// was flushed has no task any more that could come again.
func TestReconcileFindsWhatEndedAfterALoss(t *testing.T) {
	r := newRig(t)
	mender := job.NewReconciler(r.Service, "a", keep)
	id := r.accept(t, noop())
	r.dispatched(t, id)
	running := r.claim(t, id)
	r.redis.Flush()
	r.turn(t, mender)
	r.settle(t, running, job.Outcome{Kind: job.OutcomeRateLimited, After: time.Second})
	r.turn(t, mender)
	r.wantSent(t, string(id)) // it is not due
	r.store.Clock.Advance(4 * time.Second)
	r.turn(t, mender)
	r.wantSent(t, string(id), again(id, 2))
}

// hiccup is a Dispatcher whose next call takes only the first tasks.
type hiccup struct {
	job.Dispatcher
	takes int // negative: all
}

func (h *hiccup) Dispatch(ctx context.Context, tasks []job.Task) ([]job.Task, error) {
	n := h.takes
	if n < 0 {
		return h.Dispatcher.Dispatch(ctx, tasks)
	}
	h.takes = -1
	arrived, err := h.Dispatcher.Dispatch(ctx, tasks[:n])
	return arrived, errors.Join(err, job.Errorf(job.CodeTemporary, "the line was cut"))
}

// TestReconcileKeepsAQueueLost proves that a pass that stuck is not taken for
// a whole one: what the pages behind it hold would wait until it is due.
func TestReconcileKeepsAQueueLost(t *testing.T) {
	h := &hiccup{takes: -1}
	r := newRig(t, func(o *job.Options) { h.Dispatcher, o.Dispatcher = o.Dispatcher, h })
	mender := job.NewReconciler(r.Service, "a", keep)
	subs := make([]job.Submission, 600) // more than a page
	for i := range subs {
		subs[i] = job.Submission{Type: "noop", Delay: time.Hour}
	}
	got, err := r.AcceptAll(t.Context(), caller, subs)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range got.Jobs {
		r.dispatched(t, a.ID)
	}
	r.redis.Flush()
	h.takes = 2
	if err := mender.Turn(t.Context()); job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("the turn that stuck answers %v", err)
	}
	if _, lost, _ := r.redis.Lost(t.Context(), "default", ""); !lost {
		t.Error("the queue counts as restored though most of its tasks are missing")
	}
	r.store.Clock.Advance(6 * time.Second)
	r.turn(t, mender)
	if n := len(r.redis.Tasks()); n != len(subs) {
		t.Errorf("redis knows %d tasks, want %d", n, len(subs))
	}
}

// TestRestoreTakesTurns proves that a queue with many lost tasks keeps no other
// waiting, and that a Redis that loses all once more meanwhile is noticed
// before the first loss is mended to its end.
func TestRestoreTakesTurns(t *testing.T) {
	h := &meddler{}
	r := newRig(t, func(o *job.Options) { h.Dispatcher, o.Dispatcher = o.Dispatcher, h })
	mender := job.NewReconciler(r.Service, "a", keep)
	subs := make([]job.Submission, 6000) // more than one turn of the queue
	for i := range subs {
		subs[i] = job.Submission{Type: "noop", Delay: time.Hour}
	}
	got, err := r.AcceptAll(t.Context(), caller, subs)
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]job.Task, 0, len(subs)+1)
	for _, a := range got.Jobs {
		sent = append(sent, job.Task{ID: a.ID, Dispatch: 1, Type: "noop", Queue: "default"})
	}
	due := r.accept(t, job.Submission{Type: "noop", Queue: "maintenance"})
	if err := r.store.MarkDispatched(t.Context(), append(sent, job.Task{ID: due, Dispatch: 1})); err != nil {
		t.Fatal(err)
	}
	r.redis.Flush()

	h.on = map[int]func(){2: r.redis.Flush}
	r.turn(t, mender)
	if n := len(r.redis.Tasks()); n != len(subs)+1 {
		t.Errorf("redis knows %d tasks, want %d", n, len(subs)+1)
	}
	all := r.redis.Sent()
	first := slices.IndexFunc(all, func(task job.Task) bool { return task.ID == due })
	if first < 0 || first >= len(subs) {
		t.Errorf("what is due in another queue was sent as number %d of %d", first, len(all))
	}
	if most := 2*len(subs) + 2; len(all) > most {
		t.Errorf("%d tasks were sent, want at most all of them twice", len(all))
	}
}

// meddler is a Dispatcher that does something before some of its dispatches.
type meddler struct {
	job.Dispatcher
	calls int
	on    map[int]func()
}

func (m *meddler) Dispatch(ctx context.Context, tasks []job.Task) ([]job.Task, error) {
	m.calls++
	if f := m.on[m.calls]; f != nil {
		f()
	}
	return m.Dispatcher.Dispatch(ctx, tasks)
}

func TestReconcileFindsMissingTasks(t *testing.T) {
	r := newRig(t)
	mender := job.NewReconciler(r.Service, "a", keep)
	missing, kept := r.accept(t, noop()), r.accept(t, noop())
	r.dispatched(t, missing)
	r.dispatched(t, kept)
	task := r.find(t, missing)
	r.redis.Forget(task.Task())
	r.turn(t, mender)
	r.wantSent(t, string(missing), string(kept)) // young: a worker may have it just now
	r.store.Clock.Advance(16 * time.Second)
	r.turn(t, mender)
	r.wantSent(t, string(missing), string(kept), again(missing, 2))
}

func TestReconcileWhileRedisIsAway(t *testing.T) {
	r := newRig(t)
	mender := job.NewReconciler(r.Service, "a", keep)
	dead := r.inState(t, job.Running)
	overdue := r.accept(t, job.Submission{Type: "noop", ExpiresAt: time.Now().Add(time.Second)})
	r.store.Clock.Advance(time.Minute)
	r.redis.Fail(errors.New("away"))
	if err := mender.Turn(t.Context()); job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("the turn answers %v", err)
	}
	for id, want := range map[job.ID]job.State{dead: job.Waiting, overdue: job.Expired} {
		if s := r.find(t, id).State; s != want {
			t.Errorf("it is %s, want %s: SQL can be mended without redis", s, want)
		}
	}
	r.redis.Fail(nil)
	r.store.Clock.Advance(6 * time.Second)
	r.turn(t, mender)
	r.wantSent(t, again(dead, 2))
}

func TestReconcileGoesOnAfterAStepFailed(t *testing.T) {
	r := newRig(t)
	mender := job.NewReconciler(r.Service, "a", keep)
	id := r.accept(t, noop())
	r.store.Clock.Advance(6 * time.Second)
	broken := errors.New("broken")
	r.store.Fail("DeadLeases", broken)
	r.store.Fail("Overdue", broken)
	r.store.Fail("Purge", broken)
	if err := mender.Turn(t.Context()); !errors.Is(err, broken) {
		t.Errorf("the turn answers %v", err)
	}
	r.wantSent(t, string(id))
}

func TestOneReconcilerWorks(t *testing.T) {
	r := newRig(t)
	a, b := job.NewReconciler(r.Service, "a", keep), job.NewReconciler(r.Service, "b", keep)
	r.turn(t, a)
	id := r.accept(t, noop())
	r.store.Clock.Advance(6 * time.Second)
	r.turn(t, b)
	r.wantSent(t)
	r.turn(t, a)
	r.wantSent(t, string(id))
	r.store.Clock.Advance(30 * time.Second) // a is gone
	other := r.accept(t, noop())
	r.store.Clock.Advance(6 * time.Second)
	r.turn(t, b)
	r.wantSent(t, string(id), string(other))
}

func TestReconcilerStartsAndStops(t *testing.T) {
	r := newRig(t)
	id := r.accept(t, noop())
	r.store.Clock.Advance(6 * time.Second)
	mender := job.NewReconciler(r.Service, "a", keep)
	if err := mender.Stop(t.Context()); err != nil {
		t.Errorf("stopping before the start: %v", err)
	}
	mender.Start()
	if _, err := r.redis.WaitSent(within(t), 1); err != nil {
		t.Fatal(err)
	}
	if err := mender.Stop(t.Context()); err != nil {
		t.Errorf("stopping: %v", err)
	}
	r.wantSent(t, string(id))
	r.store.Clock.Advance(time.Second)
	if led, err := r.store.Lead(t.Context(), "reconcile", "b", time.Second); !led || err != nil {
		t.Errorf("the lease was not given up: %t, %v", led, err)
	}
}

func TestReconcilePurges(t *testing.T) {
	r := newRig(t)
	id := r.inState(t, job.Done)
	r.store.Clock.Advance(31 * 24 * time.Hour)
	r.turn(t, job.NewReconciler(r.Service, "a", keep))
	if _, err := r.Find(t.Context(), id); job.CodeOf(err) != job.CodeNotFound {
		t.Errorf("a job past its retention: %v", err)
	}
}
