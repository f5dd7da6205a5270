package broker

import (
	"testing"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// settle restores the queue and checks that it is no more lost.
func (r *rig) settle(queue string) {
	r.t.Helper()
	if err := r.Restored(bound(r.t), queue, r.lost(queue)); err != nil {
		r.t.Fatal(err)
	}
	r.held(queue)
}

// lost checks that the queue is lost and returns the mark.
func (r *rig) lost(queue string) string {
	r.t.Helper()
	mark, lost, err := r.Lost(bound(r.t), queue, "")
	if err != nil || !lost || mark == "" {
		r.t.Fatalf("queue %s: lost %v, mark %q, %v; want it lost", queue, lost, mark, err)
	}
	return mark
}

// held checks that the queue is not lost.
func (r *rig) held(queue string) {
	r.t.Helper()
	if _, lost, err := r.Lost(bound(r.t), queue, ""); err != nil || lost {
		r.t.Fatalf("queue %s: lost %v, %v; want it held", queue, lost, err)
	}
}

func TestLost(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t, "appendonly yes", "appendfsync always")
	r := newRig(t, srv.URL())
	r.settle("default")
	r.settle("bulk")

	srv.FlushAll()
	r.settle("default")
	r.lost("bulk")
	r.lost("bulk") // and stays so until it is restored
	r.settle("bulk")

	// A restart that forgets nothing may have forgotten the last second.
	srv.Restart()
	r.settle("default")
	srv.Kill()
	srv.Restart()
	testkit.WaitFor(t, patience, "Redis answers", func() bool { return r.Ping(bound(t)) == nil })
	r.settle("default")

	// Lost again while it is restored.
	for name, again := range map[string]func(){
		"flush":   srv.FlushAll,
		"restart": srv.Restart,
		"other":   func() { r.lost("default") },
	} {
		srv.FlushAll()
		mark := r.lost("default")
		again()
		testkit.WaitFor(t, patience, "Redis answers", func() bool { return r.Ping(bound(t)) == nil })
		if err := r.Restored(bound(t), "default", mark); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, lost, err := r.Lost(bound(t), "default", ""); err != nil || !lost {
			t.Errorf("%s between Lost and Restored was missed: %v", name, err)
		}
	}
	r.settle("default")
	if err := r.Restored(bound(t), "default", "stale"); err != nil {
		t.Fatal(err)
	}
	r.held("default") // a stale mark changes nothing
}

// TestQueueIsNamedAfterFlush: asynq names a queue to its Inspector once a
// process; a flush makes it forget the name.
func TestQueueIsNamedAfterFlush(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	r := newRig(t, srv.URL())
	r.dispatch(ephemeral())
	srv.FlushAll()
	r.settle("default")
	task := ephemeral()
	r.dispatch(task)
	if _, err := r.FindEphemeral(bound(t), task.ID); err != nil {
		t.Errorf("after a flush: %v", err)
	}
	r.Withdraw(bound(t), []job.Task{task})
	if r.knows(task) {
		t.Error("after a flush nothing can be withdrawn")
	}
}
