package broker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// find waits until the job is in the state after so many attempts.
func (r *rig) find(id job.ID, want job.State, attempts int) job.Job {
	r.t.Helper()
	var j job.Job
	testkit.WaitFor(r.t, patience, "the job is "+string(want), func() bool {
		var err error
		j, err = r.FindEphemeral(bound(r.t), id)
		return err == nil && j.State == want && j.Attempts == attempts
	})
	return j
}

func TestEphemeralLife(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	begun, verdicts := make(chan job.Task), make(chan job.Verdict)
	r.serve(func(_ context.Context, task job.Task) job.Verdict {
		begun <- task
		return <-verdicts
	})
	scheduled, live := ephemeral(), ephemeral()
	scheduled.RunAt = time.Now().Add(time.Hour)
	r.dispatch(scheduled, live)

	j := r.find(scheduled.ID, job.Waiting, 0)
	if j.RunAt.Before(scheduled.RunAt) || j.RunAt.Sub(scheduled.RunAt) > time.Millisecond || j.Status(time.Now()) != "scheduled" || time.Since(j.CreatedAt).Abs() > time.Minute {
		t.Errorf("scheduled: %+v", j)
	}
	if j.MaxAttempts != 3 || !j.Ephemeral || string(j.Payload) != "{}" || j.Type != flaky.Name || j.Queue != "default" {
		t.Errorf("scheduled: %+v", j)
	}

	// A rate limit costs no attempt, not on the last one either; the third
	// failure ends the job.
	for attempt := range 3 {
		next(t, begun)
		if j := r.find(live.ID, job.Running, attempt); j.Runs != attempt+1 {
			t.Errorf("running: %+v", j)
		}
		verdicts <- job.Verdict{Again: true, Reason: "rate_limited"}
		next(t, begun)
		verdicts <- job.Verdict{Err: errors.New("mailbox full")}
	}
	j = r.find(live.ID, job.Failed, 3)
	if j.Message != "mailbox full" || j.FinishedAt.IsZero() || j.Code != job.CodePermanent || j.Runs != 3 {
		t.Errorf("failed: %+v", j)
	}
	if got := r.state(live); got != "archived" {
		t.Errorf("the task is %q, want it kept for people to see", got)
	}
}

func TestEphemeralBacksOff(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	slow := ephemeral()
	slow.Type = tasks.NoopEphemeral.Name // comes back after 4 s or more
	begun := make(chan job.Task, 1)
	r.serve(func(_ context.Context, task job.Task) job.Verdict {
		begun <- task
		return job.Verdict{Err: errors.New("no")}
	})
	r.dispatch(slow)
	next(t, begun)
	failed := time.Now()
	j := r.find(slow.ID, job.Waiting, 1)
	if wait := j.RunAt.Sub(failed); wait < 3*time.Second || wait > 8*time.Second || j.Message != "no" || j.Code != job.CodeTemporary || j.Status(time.Now()) != "retrying" {
		t.Errorf("comes back after %v: %+v", wait, j)
	}
}

func TestCancelEphemeral(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	scheduled, pending, archived := ephemeral(), ephemeral(), ephemeral()
	scheduled.RunAt = time.Now().Add(time.Hour)
	r.dispatch(scheduled, pending, archived)
	if err := asynq.NewInspectorFromRedisClient(r.rdb).ArchiveTask("default", archived.TaskID()); err != nil {
		t.Fatal(err)
	}
	for _, task := range []job.Task{scheduled, pending, archived} {
		if err := r.CancelEphemeral(bound(t), task.ID); err != nil {
			t.Error(err)
		}
		if got := r.state(task); got != "" {
			t.Errorf("a cancelled task is %q", got)
		}
		if err := r.CancelEphemeral(bound(t), task.ID); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("cancelling what is gone: %v", err)
		}
	}
}

// TestCancelRunningEphemeral: whatever the handler makes of it, the task does
// not come again; unless it was done in time, it is not counted as done.
func TestCancelRunningEphemeral(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	for name, answer := range map[string]job.Verdict{
		"failed":         {Err: errors.New("stopped")},
		"failed for all": {Err: errors.New("stopped"), Skip: true},
		"again":          {Again: true},
		"done":           {},
	} {
		begun := make(chan int, 10)
		s := r.serve(func(ctx context.Context, _ job.Task) job.Verdict {
			begun <- 1
			<-ctx.Done()
			return answer
		})
		task := ephemeral()
		r.dispatch(task)
		next(t, begun)
		testkit.WaitFor(t, patience, name+": the task is gone", func() bool {
			// Said again until heard: a hint to a subscription that is not up yet is lost.
			if err := r.CancelEphemeral(bound(t), task.ID); err != nil && job.CodeOf(err) != job.CodeNotFound {
				t.Fatal(err)
			}
			return r.state(task) == ""
		})
		if len(begun) != 0 {
			t.Errorf("%s: it was brought again", name)
		}
		r.shutdown(s)
	}
}

// TestOnlyEphemeralJobsAreFound: a durable job's task says nothing about it.
func TestOnlyEphemeralJobsAreFound(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	task := durable()
	unknown := durable()
	unknown.Type = "from:tomorrow"
	r.dispatch(task, unknown)
	for _, id := range []job.ID{task.ID, unknown.ID, job.NewID()} {
		if j, err := r.FindEphemeral(bound(t), id); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("found %+v, %v", j, err)
		}
		if err := r.CancelEphemeral(bound(t), id); job.CodeOf(err) != job.CodeNotFound {
			t.Errorf("cancelled: %v", err)
		}
	}
	if !r.knows(task) {
		t.Error("the durable task is gone")
	}
}

// TestLeaseLost: a worker died with the tasks; asynq's recoverer brings them
// again, and an ephemeral one is charged for it.
func TestLeaseLost(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	dead := []job.Task{durable(), ephemeral()}
	r.dispatch(dead...)
	// What a worker leaves behind that was killed two minutes ago.
	for _, task := range dead {
		id := task.TaskID()
		r.rdb.LRem(bound(t), queueKey("default", "pending"), 0, id)
		r.rdb.LPush(bound(t), queueKey("default", "active"), id)
		r.rdb.HSet(bound(t), taskKey("default", id), "state", "active")
		r.rdb.Do(bound(t), "ZADD", queueKey("default", "lease"), time.Now().Add(-2*time.Minute).Unix(), id)
		if r.knows(task) {
			t.Error("a task with a dead lease is known")
		}
	}
	retried := make(chan int, 10)
	r.serve(func(ctx context.Context, task job.Task) job.Verdict {
		n, _ := asynq.GetRetryCount(ctx)
		retried <- n
		return job.Verdict{}
	})
	for range dead {
		if n := next(t, retried); n != 1 {
			t.Errorf("brought with %d retries counted, want 1", n)
		}
	}
}

func TestBornAt(t *testing.T) {
	now := time.Now()
	if got := bornAt(job.NewID()); got.Sub(now).Abs() > time.Minute {
		t.Errorf("an id made at %v is from %v", now, got)
	}
	if got := bornAt("6ba7b810-9dad-11d1-80b4-00c04fd430c8"); !got.IsZero() {
		t.Errorf("an id of another version is from %v", got)
	}
}
