package broker

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// TestPause: a paused queue brings nothing and costs next to nothing; resumed,
// it brings what has come meanwhile.
func TestPause(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	look := asynq.NewInspectorFromRedisClient(r.rdb)
	h, brought := collect()
	r.serve(h)
	first := durable()
	r.dispatch(first)
	next(t, brought)
	if err := look.PauseQueue("default"); err != nil {
		t.Fatal(err)
	}
	ts := []job.Task{durable(), durable(), durable()}
	soon := durable()
	soon.RunAt = time.Now().Add(600 * time.Millisecond) // beyond the skew, or it would be sent for now
	r.dispatch(append(ts, soon)...)
	calls := func() float64 {
		t.Helper()
		told := map[string]string{}
		if err := info(bound(t), r.rdb, "stats", told); err != nil {
			t.Fatal(err)
		}
		n, err := strconv.ParseFloat(told["total_commands_processed"], 64)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	before, began := calls(), time.Now()
	testkit.WaitFor(t, patience, "the delayed task is due", func() bool { return r.state(soon) == statePending })
	// A spin would be thousands; WaitFor asks some 100 times a second.
	if rate := (calls() - before) / time.Since(began).Seconds(); rate > 600 {
		t.Errorf("%.0f commands a second at a paused queue", rate)
	}
	// The other queue goes on.
	other := durable()
	other.Queue = "bulk"
	r.dispatch(other)
	if got := next(t, brought); got.ID != other.ID {
		t.Errorf("a paused queue brought %s", got.ID)
	}
	if err := look.UnpauseQueue("default"); err != nil {
		t.Fatal(err)
	}
	resumed := time.Now()
	next(t, brought)
	if took := time.Since(resumed); took > 2*time.Second {
		t.Errorf("it resumed after %v", took)
	}
	for range ts {
		next(t, brought)
	}
}

// TestInspector: asynq's own commands on ephemeral tasks, as asynqmon gives
// them.
func TestInspector(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	look := asynq.NewInspectorFromRedisClient(r.rdb)
	begun := make(chan job.ID, 10)
	r.serve(func(ctx context.Context, task job.Task) job.Verdict {
		begun <- task.ID
		if string(task.Payload) != `{"hang":true}` {
			return job.Verdict{}
		}
		<-ctx.Done()
		return job.Verdict{Err: ctx.Err()}
	})
	later := func() job.Task {
		task := ephemeral()
		task.RunAt = time.Now().Add(time.Hour)
		r.dispatch(task)
		return task
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// Fractions of seconds do not disturb it.
	kept := later()
	listed, err := look.ListScheduledTasks("default")
	if err != nil || len(listed) != 1 || listed[0].NextProcessAt.Sub(kept.RunAt).Abs() > time.Second {
		t.Errorf("listed %+v, %v", listed, err)
	}

	run := later()
	must(look.RunTask("default", run.TaskID()))
	if got := next(t, begun); got != run.ID {
		t.Errorf("%s was run", got)
	}
	r.gone(run)

	archived := later()
	must(look.ArchiveTask("default", archived.TaskID()))
	if got := r.state(archived); got != stateArchived {
		t.Errorf("the archived task is %q", got)
	}
	must(look.RunTask("default", archived.TaskID())) // it can be brought back
	if got := next(t, begun); got != archived.ID {
		t.Errorf("%s was run", got)
	}

	deleted := later()
	must(look.DeleteTask("default", deleted.TaskID()))
	if got := r.state(deleted); got != "" {
		t.Errorf("the deleted task is %q", got)
	}

	// asynq makes a retry of a task that is cancelled while it runs.
	hangs := ephemeral()
	hangs.Payload = []byte(`{"hang":true}`)
	r.dispatch(hangs)
	next(t, begun)
	testkit.WaitFor(t, patience, "the task was cancelled", func() bool {
		must(look.CancelProcessing(hangs.TaskID()))
		return len(begun) > 0 || r.state(hangs) == stateRetry
	})
	must(r.CancelEphemeral(bound(t), hangs.ID))
	if got := r.state(kept); got != stateScheduled {
		t.Errorf("the task that nobody touched is %q", got)
	}
}
