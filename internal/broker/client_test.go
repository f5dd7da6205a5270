package broker

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func TestDispatchedTask(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	look := asynq.NewInspectorFromRedisClient(r.rdb)
	for name, test := range map[string]struct {
		task     job.Task
		state    asynq.TaskState
		maxRetry int
		timeout  time.Duration
		payload  string
		in       time.Duration // from the dispatch until it is due
	}{
		"durable": {durable(), asynq.TaskStatePending, math.MaxInt32, 30 * time.Second, "", 0},
		"payload of a durable one is left out": {
			job.Task{ID: job.NewID(), Dispatch: 3, Type: "noop", Queue: "bulk", Payload: []byte("{}")},
			asynq.TaskStatePending, math.MaxInt32, 30 * time.Second, "", 0,
		},
		"later": {
			job.Task{ID: job.NewID(), Dispatch: 1, Type: "noop", Queue: "bulk"},
			asynq.TaskStateScheduled, math.MaxInt32, 30 * time.Second, "", time.Hour + time.Nanosecond,
		},
		"due by another clock": {
			job.Task{ID: job.NewID(), Dispatch: 1, Type: "noop", Queue: "bulk"},
			asynq.TaskStatePending, math.MaxInt32, 30 * time.Second, "", 100 * time.Millisecond,
		},
		"unknown type": {
			job.Task{ID: job.NewID(), Dispatch: 1, Type: "from:tomorrow", Queue: "bulk"},
			asynq.TaskStatePending, math.MaxInt32, longestDeadline + 15*time.Second, "", 0,
		},
		"ephemeral": {ephemeral(), asynq.TaskStatePending, 3, 45 * time.Second, "{}", 0},
		"ephemeral, soon": {
			job.Task{ID: job.NewID(), Type: flaky.Name, Queue: "bulk", Payload: []byte("{}")},
			asynq.TaskStateScheduled, 3, 45 * time.Second, "{}", skew - time.Millisecond,
		},
	} {
		if test.in > 0 {
			test.task.RunAt = time.Now().Add(test.in)
		}
		r.dispatch(test.task)
		info, err := look.GetTaskInfo(test.task.Queue, test.task.TaskID())
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if info.Type != test.task.Type || info.State != test.state || info.MaxRetry != test.maxRetry || info.Timeout != test.timeout || string(info.Payload) != test.payload || info.Retention != 0 {
			t.Errorf("%s: %+v, want %+v", name, info, test)
		}
		if test.state != asynq.TaskStateScheduled {
			continue
		}
		at, _ := r.dueScore(bound(t), test.task.Queue, stateScheduled, test.task.TaskID())
		if at.Before(test.task.RunAt) || at.Sub(test.task.RunAt) > time.Millisecond {
			t.Errorf("%s: for %v, wanted %v rounded up to a millisecond", name, at, test.task.RunAt)
		}
	}
}

func TestWholeSecond(t *testing.T) {
	whole := time.Unix(1_700_000_000, 0)
	for in, want := range map[time.Duration]time.Duration{0: 0, 1: time.Second, time.Second - 1: time.Second, time.Second: time.Second} {
		if got := wholeSecond(whole.Add(in)); !got.Equal(whole.Add(want)) {
			t.Errorf("%v becomes %v, want %v", in, got.Sub(whole), want)
		}
	}
}

func TestDispatchTenThousand(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	ts := make([]job.Task, 10_000)
	for i := range ts {
		ts[i] = durable()
	}
	r.dispatch(ts...)
	if n := r.rdb.LLen(bound(t), queueKey("default", "pending")).Val(); n != int64(len(ts)) {
		t.Errorf("%d pending, want %d", n, len(ts))
	}
	if slices.Contains(r.look(ts...), job.Absent) {
		t.Error("not all of 10,000 are known")
	}
	r.Withdraw(bound(t), ts[:50])
	if found := r.look(ts...); slices.Contains(found[:50], job.Known) || slices.Contains(found[50:], job.Absent) {
		t.Error("50 were withdrawn, and others are absent")
	}
	if arrived, err := r.Dispatch(bound(t), nil); err != nil || len(arrived) != 0 {
		t.Errorf("dispatching none: %v, %v", arrived, err)
	}
}

func TestDispatchPartly(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	proxy := testkit.TCPProxy(t, srv.Addr)
	r := newRig(t, "redis://"+proxy.Addr)
	ts := make([]job.Task, 1000)
	for i := range ts {
		ts[i] = durable()
	}
	r.dispatch(durable()) // the script is known from here on
	proxy.DropReplyTo(ts[100].TaskID())
	arrived, err := r.Dispatch(bound(t), ts)
	if job.CodeOf(err) != job.CodeTemporary {
		t.Errorf("error %v, want a temporary one", err)
	}
	if len(arrived) >= len(ts) || len(arrived) < len(ts)-shipment {
		t.Errorf("%d of %d arrived; only what one connection carried may be missing", len(arrived), len(ts))
	}
	for _, task := range arrived {
		if task.ID == ts[100].ID {
			t.Error("a task without an answer counts as arrived")
		}
	}
	if slices.Contains(r.look(arrived...), job.Absent) {
		t.Error("some that arrived are not known")
	}
	r.dispatch(ts...) // all again: those that are there count
}

func TestRedisAway(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	r := newRig(t, srv.URL())
	task := ephemeral()
	srv.Kill()
	ts := make([]job.Task, 1000)
	for i := range ts {
		ts[i] = durable()
	}
	calls := map[string]func(ctx context.Context) error{
		"Dispatch": func(ctx context.Context) error {
			arrived, err := r.Dispatch(ctx, ts)
			if len(arrived) > 0 {
				t.Errorf("%d tasks arrived nowhere", len(arrived))
			}
			return err
		},
		"Look":            func(ctx context.Context) error { _, err := r.Look(ctx, ts[:1]); return err },
		"Heal":            func(ctx context.Context) error { _, err := r.Heal(ctx, "default"); return err },
		"Lost":            func(ctx context.Context) error { _, _, err := r.Lost(ctx, "default", ""); return err },
		"Restored":        func(ctx context.Context) error { return r.Restored(ctx, "default", "x") },
		"FindEphemeral":   func(ctx context.Context) error { _, err := r.FindEphemeral(ctx, task.ID); return err },
		"CancelEphemeral": func(ctx context.Context) error { return r.CancelEphemeral(ctx, task.ID) },
	}
	for name, call := range calls {
		if err := call(bound(t)); job.CodeOf(err) != job.CodeTemporary {
			t.Errorf("%s: %v, want a temporary error", name, err)
		}
	}
	r.Withdraw(bound(t), ts[:100])
	r.HintCancel(bound(t), task.ID)

	ended, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the caller left"))
	if arrived, err := r.Dispatch(ended, ts); len(arrived) > 0 || job.CodeOf(err) != job.CodeTemporary || !strings.Contains(err.Error(), "the caller left") {
		t.Errorf("with an ended context: %d, %v", len(arrived), err)
	}
}

func TestWithdrawLeavesWhatRuns(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	begun, finish := make(chan job.Task), make(chan struct{})
	r.serve(func(_ context.Context, task job.Task) job.Verdict {
		begun <- task
		<-finish
		return job.Verdict{}
	})
	defer close(finish)
	task := durable()
	r.dispatch(task)
	next(t, begun)
	r.Withdraw(bound(t), []job.Task{task, {ID: task.ID, Dispatch: 2, Type: tasks.Noop.Name, Queue: "never-used"}})
	if !r.knows(task) || r.state(task) != "active" {
		t.Error("a running task was withdrawn")
	}
}
