package broker

import (
	"context"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// TestForms runs what the domain asks of the engine on every form of Redis.
func TestForms(t *testing.T) {
	forms := map[string]func(t *testing.T) *rig{
		"tcp":   func(t *testing.T) *rig { return newRig(t, testkit.Redis(t, "requirepass p@ss/word").URL()) },
		"plain": func(t *testing.T) *rig { return rigOn(t, connect(t, testkit.Redis(t).URL()), true) },
		"unix": func(t *testing.T) *rig {
			return newRig(t, testkit.RedisUnix(t).URL())
		},
		"tls": func(t *testing.T) *rig {
			srv := testkit.RedisTLS(t)
			return newRig(t, srv.URL()+"?ca="+srv.CAFile)
		},
		"cluster":  func(t *testing.T) *rig { return newRig(t, testkit.Cluster(t, 3).URL()) },
		"sentinel": func(t *testing.T) *rig { return newRig(t, testkit.Sentinel(t).URL()) },
		"embedded": func(t *testing.T) *rig {
			redisURL, stop, err := Embedded(testkit.Logger(t))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(stop)
			return newRig(t, redisURL)
		},
	}
	for name, open := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			conform(t, open(t))
		})
	}
}

// conform walks through one life of tasks.
func conform(t *testing.T, r *rig) {
	if err := r.Ping(bound(t)); err != nil {
		t.Fatal(err)
	}

	// Wakes can be waited for, lest all of this be found by polling.
	if w := newWaiter(r.rdb); !r.plain {
		if _, err := w.pop(wakeKey("default"), 10*time.Millisecond); err != nil {
			t.Error(err)
		}
		w.close()
	}

	// Nothing is served yet: what is sent is known, and can be withdrawn.
	pending, scheduled, withdrawn, unsent := durable(), durable(), durable(), durable()
	scheduled.RunAt = time.Now().Add(time.Hour)
	withdrawn.Queue = "bulk"
	r.dispatch(pending, scheduled, withdrawn)
	r.dispatch(pending) // once more
	if found := r.look(pending, unsent, scheduled, withdrawn); !slices.Equal(found, []job.Presence{job.Known, job.Absent, job.Known, job.Known}) {
		t.Fatalf("found %v, want all but the second", found)
	}
	// A task that was taken, and whose lease nobody keeps, comes again.
	leaked := durable()
	r.dispatch(leaked)
	r.leak(leaked)
	if n, err := r.Heal(bound(t), leaked.Queue); err != nil || n != 1 || r.state(leaked) != statePending {
		t.Fatalf("healed %d tasks, %v; the task is %q", n, err, r.state(leaked))
	}
	r.Withdraw(bound(t), []job.Task{leaked})
	r.Withdraw(bound(t), []job.Task{withdrawn, scheduled, unsent})
	if r.knows(withdrawn) || r.knows(scheduled) || !r.knows(pending) {
		t.Error("the wrong tasks were withdrawn")
	}

	// A queue that Redis never held is lost until it is restored.
	for _, q := range r.queues {
		mark, lost, err := r.Lost(bound(t), q, "")
		if err != nil || !lost {
			t.Fatalf("queue %s at first: lost %v, %v", q, lost, err)
		}
		if err := r.Restored(bound(t), q, mark); err != nil {
			t.Fatal(err)
		}
		if _, lost, err := r.Lost(bound(t), q, ""); err != nil || lost {
			t.Errorf("queue %s after it was restored: lost %v, %v", q, lost, err)
		}
	}

	// Serve. The handler asks for the durable task a second time.
	begun := make(chan job.Task, 10)
	var asked atomic.Bool
	h := func(ctx context.Context, task job.Task) job.Verdict {
		begun <- task
		switch {
		case task.Dispatch > 0 && asked.CompareAndSwap(false, true):
			return job.Verdict{Again: true, Reason: "once more"}
		case task.Dispatch == 0 && string(task.Payload) != `{}`:
			<-ctx.Done()
			return job.Verdict{Err: ctx.Err(), Skip: true}
		}
		return job.Verdict{}
	}
	hinted := make(chan job.ID, 10)
	s := r.serveWith(h, func(id job.ID) { hinted <- id })
	for range 2 {
		if got := next(t, begun); got.ID != pending.ID || got.Dispatch != 1 || got.Type != pending.Type || got.Queue != "default" || got.Payload != nil {
			t.Errorf("brought %+v, want %+v", got, pending)
		}
	}
	r.gone(pending)

	// The second dispatch of a job has a name of its own.
	second := pending
	second.Dispatch = 2
	r.dispatch(second)
	if got := next(t, begun); got.ID != pending.ID || got.Dispatch != 2 {
		t.Errorf("brought %+v, want the second dispatch", got)
	}

	// An ephemeral job that runs is found and told to stop.
	live := ephemeral()
	live.Payload, live.Queue = []byte(`{"sleep_ms":1}`), "bulk"
	r.dispatch(live)
	if got := next(t, begun); got.ID != live.ID || got.Dispatch != 0 || string(got.Payload) != string(live.Payload) {
		t.Errorf("brought %+v, want %+v", got, live)
	}
	if j, err := r.FindEphemeral(bound(t), live.ID); err != nil || j.State != job.Running || j.Queue != "bulk" {
		t.Errorf("found %+v, %v", j, err)
	}
	testkit.WaitFor(t, patience, "the hint is heard", func() bool {
		if err := r.CancelEphemeral(bound(t), live.ID); err != nil && job.CodeOf(err) != job.CodeNotFound {
			t.Fatal(err)
		}
		return len(hinted) > 0
	})
	if id := next(t, hinted); id != live.ID {
		t.Errorf("hinted %s, want %s", id, live.ID)
	}
	r.gone(live)

	s.Quiet()
	r.shutdown(s)
	if s := r.state(second); s != "" {
		t.Errorf("a finished task is %s after Shutdown", s)
	}
	if n := r.rdb.LLen(bound(t), queueKey("default", "active")).Val(); n != 0 {
		t.Errorf("%d tasks are left active", n)
	}
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	cluster := testkit.Sentinel(t)
	r := newRig(t, cluster.URL())
	h, brought := collect()
	r.serve(h)
	mark, _, err := r.Lost(bound(t), "default", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Restored(bound(t), "default", mark); err != nil {
		t.Fatal(err)
	}
	cluster.Failover()

	// The new master has the old one's keys, the marker too, and another run id.
	testkit.WaitFor(t, patience, "the new master is seen to be another server", func() bool {
		_, lost, err := r.Lost(bound(t), "default", "")
		return err == nil && lost
	})
	task := durable()
	testkit.WaitFor(t, patience, "a task reaches the new master", func() bool {
		arrived, _ := r.Dispatch(bound(t), []job.Task{task})
		return len(arrived) == 1
	})
	if got := next(t, brought); got.ID != task.ID {
		t.Errorf("brought %s, want %s", got.ID, task.ID)
	}
}
