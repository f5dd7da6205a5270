package broker

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// must fails the test if Redis refuses a command.
func (r *rig) must(cmds ...redis.Cmder) {
	r.t.Helper()
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil {
			r.t.Fatalf("%s: %v", cmd.Name(), err)
		}
	}
}

// activate takes a pending task as a worker does whose lease ends after d.
func (r *rig) activate(task job.Task, d time.Duration) {
	r.t.Helper()
	ctx, id := bound(r.t), task.TaskID()
	r.must(
		r.rdb.LRem(ctx, queueKey(task.Queue, statePending), 0, id),
		r.rdb.LPush(ctx, queueKey(task.Queue, stateActive), id),
		r.rdb.ZAdd(ctx, queueKey(task.Queue, "lease"), redis.Z{Score: float64(time.Now().Add(d).Unix()), Member: id}),
		r.rdb.HSet(ctx, taskKey(task.Queue, id), "state", stateActive),
		r.rdb.HDel(ctx, taskKey(task.Queue, id), "pending_since"),
	)
}

// leak takes a task as a worker does that died long ago.
func (r *rig) leak(task job.Task) {
	r.t.Helper()
	r.activate(task, -time.Minute)
}

// TestLook asks of a task in each of asynq's states, in its place and out of it.
func TestLook(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	ctx := bound(t)
	pending := func() job.Task {
		task := durable()
		r.dispatch(task)
		return task
	}
	delayed := func() job.Task {
		task := durable()
		task.RunAt = time.Now().Add(time.Hour)
		r.dispatch(task)
		return task
	}
	active := func(d time.Duration) job.Task {
		task := pending()
		r.activate(task, d)
		return task
	}
	as := func(task job.Task, state string) job.Task {
		r.must(r.rdb.HSet(ctx, taskKey(task.Queue, task.TaskID()), "state", state))
		return task
	}
	without := func(task job.Task, sets ...string) job.Task {
		for _, set := range sets {
			key := queueKey(task.Queue, set)
			if set == statePending || set == stateActive {
				r.must(r.rdb.LRem(ctx, key, 0, task.TaskID()))
			} else {
				r.must(r.rdb.ZRem(ctx, key, task.TaskID()))
			}
		}
		return task
	}
	retried := as(delayed(), stateRetry)
	r.must(r.rdb.ZAdd(ctx, queueKey(retried.Queue, stateRetry), redis.Z{Score: 1e10, Member: retried.TaskID()}))
	second := pending()
	second.Dispatch = 2

	for name, test := range map[string]struct {
		task job.Task
		want job.Presence
	}{
		"absent":                    {durable(), job.Absent},
		"another dispatch":          {second, job.Absent},
		"pending":                   {pending(), job.Known},
		"pending, lost its place":   {without(pending(), statePending), job.Absent},
		"scheduled":                 {delayed(), job.Known},
		"scheduled, lost its place": {without(delayed(), stateScheduled), job.Absent},
		"retry":                     {retried, job.Known},
		"retry, lost its place":     {as(delayed(), stateRetry), job.Absent},
		"archived":                  {as(delayed(), stateArchived), job.Stuck},
		"completed":                 {as(delayed(), "completed"), job.Stuck},
		"active":                    {active(20 * time.Second), job.Known},
		"active with a dead lease":  {active(-20 * time.Second), job.Stuck},
		"active without a lease":    {without(active(20*time.Second), "lease"), job.Stuck},
		"active, lost its place":    {without(active(20*time.Second), "lease", stateActive), job.Absent},
		"garbage":                   {as(active(20*time.Second), "xyz"), job.Stuck},
	} {
		if got := r.look(test.task)[0]; got != test.want {
			t.Errorf("%s: found %v, want %v", name, got, test.want)
		}
		if taken := r.rdb.Exists(ctx, taskKey(test.task.Queue, test.task.TaskID())).Val() == 1; taken != (test.want != job.Absent) {
			t.Errorf("%s: its name is taken: %v", name, taken)
		}
	}
	// A key of another kind, as no asynq makes it, is an error and not "absent".
	strange := durable()
	r.rdb.Set(ctx, taskKey(strange.Queue, strange.TaskID()), "x", 0)
	if _, err := r.Look(ctx, []job.Task{strange}); err == nil {
		t.Error("a key of another kind was taken for an answer")
	}
}

// TestLookInALongQueue: where not all that waits is read, what came before all
// that comes next, and is not among it, has lost its place.
func TestLookInALongQueue(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	ts := make([]job.Task, 3*lookAhead)
	for i := range ts {
		ts[i] = durable()
	}
	r.dispatch(ts...)
	lost := durable()
	r.dispatch(lost)
	r.must(
		r.rdb.LRem(bound(t), queueKey(lost.Queue, statePending), 0, lost.TaskID()),
		r.rdb.HSet(bound(t), taskKey(lost.Queue, lost.TaskID()), "pending_since", time.Now().Add(-time.Hour).UnixNano()),
	)
	found := r.look(append(ts, lost)...)
	if i := slices.IndexFunc(found[:len(ts)], func(p job.Presence) bool { return p != job.Known }); i >= 0 {
		t.Errorf("task %d of %d is found to be %v", i, len(ts), found[i])
	}
	if got := found[len(ts)]; got != job.Stuck {
		t.Errorf("the task without a place is found to be %v", got)
	}
}

// TestHeal leaks tasks in every way that asynq does not mend by itself. The
// durable ones run, an ephemeral one is left where asynq will charge it, and
// nothing is left of what has no task.
func TestHeal(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	ctx, active, lease := bound(t), queueKey("default", stateActive), queueKey("default", "lease")
	var ts []job.Task
	leaked := func(without ...string) job.Task {
		task := durable()
		r.dispatch(task)
		r.leak(task)
		for _, key := range without {
			if key == active {
				r.must(r.rdb.LRem(ctx, key, 0, task.TaskID()))
			} else {
				r.must(r.rdb.ZRem(ctx, key, task.TaskID()))
			}
		}
		ts = append(ts, task)
		return task
	}
	leaked()
	leaked(lease)  // active without a lease
	leaked(active) // a lease of what is not active
	living := durable()
	r.dispatch(living)
	r.activate(living, 20*time.Second)
	once := ephemeral()
	r.dispatch(once)
	r.leak(once)
	r.must(
		r.rdb.ZRem(ctx, lease, once.TaskID()),
		r.rdb.LPush(ctx, active, "nobody"), // without a hash, as asynq's dequeue leaves them
		r.rdb.ZAdd(ctx, lease, redis.Z{Score: 1, Member: "nothing"}),
	)
	pending := durable()
	r.dispatch(pending)
	r.must(r.rdb.ZAdd(ctx, lease, redis.Z{Score: 1, Member: pending.TaskID()})) // stale

	n, err := r.Heal(ctx, "default")
	if err != nil || n != len(ts) {
		t.Fatalf("healed %d tasks, %v; want %d", n, err, len(ts))
	}
	if got := r.rdb.LRange(ctx, active, 0, -1).Val(); len(got) != 2 || !slices.Contains(got, living.TaskID()) || !slices.Contains(got, once.TaskID()) {
		t.Errorf("active are %v, want the living and the ephemeral task", got)
	}
	if got := r.rdb.ZRange(ctx, lease, 0, -1).Val(); len(got) != 2 || !slices.Contains(got, living.TaskID()) || !slices.Contains(got, once.TaskID()) {
		t.Errorf("leases have %v, want the living and the ephemeral task", got)
	}
	if n, err := r.Heal(ctx, "default"); err != nil || n != 0 {
		t.Errorf("healing again: %d tasks, %v", n, err)
	}

	h, brought := collect()
	r.serve(h)
	want := map[job.ID]bool{pending.ID: true}
	for _, task := range ts {
		want[task.ID] = true
	}
	for len(want) > 0 {
		delete(want, next(t, brought).ID)
	}
}

// TestHealManyAtOnce: what a killed worker had is given back in one go.
func TestHealManyAtOnce(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	ts := make([]job.Task, healSize+100)
	for i := range ts {
		ts[i] = durable()
	}
	r.dispatch(ts...)
	for _, task := range ts {
		r.leak(task)
	}
	for _, want := range []int{healSize, 100, 0} {
		if n, err := r.Heal(bound(t), "default"); err != nil || n != want {
			t.Errorf("healed %d tasks, %v; want %d", n, err, want)
		}
	}
	if found := r.look(ts...); slices.Contains(found, job.Stuck) || slices.Contains(found, job.Absent) {
		t.Error("not all tasks wait again")
	}
}
