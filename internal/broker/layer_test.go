package broker

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// proxied is a rig whose connections pass a proxy.
func proxied(t *testing.T, srv *testkit.RedisServer) (*rig, *testkit.FaultProxy) {
	t.Helper()
	proxy := testkit.TCPProxy(t, srv.Addr)
	return newRig(t, "redis://"+proxy.Addr), proxy
}

// sha is the SHA-1 of the script by which the operation reaches Redis.
func sha(t *testing.T, want op) string {
	t.Helper()
	if want == opDone {
		return doneManyScript.Hash()
	}
	for sum, op := range asynqContract().ops {
		if op == want {
			return sum
		}
	}
	t.Fatalf("no script for %q", want)
	return ""
}

// TestLostFetch: the answer with a batch is lost; the batch is not.
func TestLostFetch(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	direct := newRig(t, srv.URL())
	ts := []job.Task{durable(), durable(), durable(), durable(), durable()}
	direct.dispatch(ts...)
	// The script is loaded, so that the first call is the one that counts.
	if err := fetchScript.Load(bound(t), direct.rdb).Err(); err != nil {
		t.Fatal(err)
	}
	r, proxy := proxied(t, srv)
	proxy.DropReplyTo(fetchScript.Hash())
	h, brought := collect()
	r.serve(h)
	got := map[job.ID]bool{}
	for range ts {
		got[next(t, brought).ID] = true
	}
	for _, task := range ts {
		if !got[task.ID] {
			t.Errorf("task %s is lost", task.ID)
		}
		direct.gone(task)
	}
	if len(brought) > 0 {
		t.Error("a task was brought twice")
	}
}

// TestLostAnswersOfAcks: the answer to each kind of acknowledgement is lost
// once; what it did is not done twice.
func TestLostAnswersOfAcks(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	look := newRig(t, srv.URL())
	afterwards := map[op]string{opDone: "", opRetry: "retry", opArchive: "archived"}
	for op, verdict := range map[op]job.Verdict{
		opDone:    {},
		opRetry:   {Again: true, After: time.Hour, Reason: "busy"},
		opArchive: {Err: context.Canceled, Skip: true},
	} {
		r, proxy := proxied(t, srv)
		begun, finish := make(chan job.Task, 10), make(chan struct{})
		s := r.serve(func(_ context.Context, task job.Task) job.Verdict {
			begun <- task
			<-finish
			return verdict
		})
		task := ephemeral()
		r.dispatch(task)
		next(t, begun)
		// Known to Redis, so that the call is by its name.
		if err := look.rdb.ScriptLoad(bound(t), asynqContract().texts[sha(t, op)]).Err(); err != nil {
			t.Fatal(err)
		}
		proxy.DropReplyTo(sha(t, op))
		close(finish)
		r.shutdown(s)
		want := afterwards[op]
		if got := look.state(task); got != want {
			t.Errorf("%s: the task is %q, want %q", op, got, want)
		}
		if len(begun) > 0 || r.log.Count("did not reach Redis") > 0 || r.log.Count("level=ERROR") > 0 {
			t.Errorf("%s: brought again or given up:\n%s", op, r.log)
		}
	}
	info, err := asynq.NewInspectorFromRedisClient(look.rdb).GetQueueInfo("default")
	if err != nil || info.Processed != 2 || info.Failed != 1 { // a retry is not counted
		t.Errorf("counted %+v, %v", info, err)
	}
}

// TestAckOverABlip: Redis is away when a task ends, and back before its lease
// ends.
func TestAckOverABlip(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	look := newRig(t, srv.URL())
	r, proxy := proxied(t, srv)
	begun, finish := make(chan job.Task, 10), make(chan struct{})
	r.serve(func(_ context.Context, task job.Task) job.Verdict {
		begun <- task
		<-finish
		return job.Verdict{}
	})
	task := durable()
	r.dispatch(task)
	next(t, begun)
	proxy.Refuse(true)
	proxy.Cut()
	close(finish)
	testkit.WaitFor(t, patience, "the outage is noticed", func() bool { return r.log.Count("does not serve the queues") > 0 })
	if look.state(task) != "active" {
		t.Error("the acknowledgement came through")
	}
	proxy.Refuse(false)
	look.gone(task)
	if len(begun) > 0 {
		t.Error("the task was brought again")
	}
}

// TestRedisRestartsBeforeTheAck: killed between the fetch and the
// acknowledgement, and back with what it had on disk.
func TestRedisRestartsBeforeTheAck(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t, "appendonly yes", "appendfsync always")
	r := newRig(t, srv.URL())
	begun, finish := make(chan job.Task, 10), make(chan struct{})
	r.serve(func(_ context.Context, task job.Task) job.Verdict {
		begun <- task
		<-finish
		return job.Verdict{}
	})
	ts := []job.Task{durable(), durable(), durable()}
	r.dispatch(ts...)
	for range ts {
		next(t, begun)
	}
	srv.Kill()
	close(finish)
	testkit.WaitFor(t, patience, "the outage is noticed", func() bool { return r.log.Count("does not serve the queues") > 0 })
	srv.Restart()
	for _, task := range ts {
		r.gone(task)
	}
	if len(begun) > 0 {
		t.Error("a task was brought again")
	}
}

// TestAckGivenUp: Redis stays away until the lease is over.
func TestAckGivenUp(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	r := newRig(t, srv.URL())
	s := r.server(handler(nil), nil)
	defer r.shutdown(s)
	srv.Kill()
	lease, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	keys := []string{"a", "b", "c", "d", "e"}
	if err := s.layers[0].acks.send(lease, opDone, sha(t, opDone), keys, []any{"id", 1, 2}).Err(); err == nil {
		t.Error("an acknowledgement reached a Redis that is away")
	}
	// asynq tries again by then.
	if err := s.layers[0].acks.send(lease, opDone, sha(t, opDone), keys, []any{"id", 1, 2}).Err(); err == nil {
		t.Error("an acknowledgement went out after its lease")
	}
	if r.log.Count("level=ERROR") != 1 {
		t.Errorf("logged:\n%s", r.log)
	}
	families, err := r.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var counted float64
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "postrider_lost_acks_total" {
				counted += m.GetCounter().GetValue()
			}
		}
	}
	if counted != 1 {
		t.Errorf("counted %v times", counted)
	}
}

// TestSlowHandlersKeepNothing: a server with one slot left takes one task and
// leaves the others to another server.
func TestSlowHandlersKeepNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	slow, finish := make(chan job.Task, 100), make(chan struct{})
	r.serve(func(_ context.Context, task job.Task) job.Verdict {
		slow <- task
		<-finish
		return job.Verdict{}
	})
	defer close(finish)
	for range 9 {
		r.dispatch(durable())
		next(t, slow)
	}
	ts := make([]job.Task, 40)
	for i := range ts {
		ts[i] = durable()
	}
	r.dispatch(ts...)
	next(t, slow)
	h, brought := collect()
	r.serve(h)
	for range len(ts) - 1 {
		next(t, brought)
	}
	if len(slow) > 0 {
		t.Errorf("%d more tasks came to the full server", len(slow))
	}
}

// TestNothingLostOrDoubled drains a queue by two servers whose connections are
// cut again and again.
func TestNothingLostOrDoubled(t *testing.T) {
	t.Parallel()
	const n = 20_000
	srv := testkit.Redis(t)
	direct := newRig(t, srv.URL())
	ts := make([]job.Task, n)
	index := make(map[job.ID]int, n)
	for i := range ts {
		ts[i] = durable()
		index[ts[i].ID] = i
	}
	direct.dispatch(ts...)

	visits := make([]atomic.Int32, n)
	var left atomic.Int64
	left.Store(n)
	done := make(chan struct{})
	h := func(_ context.Context, task job.Task) job.Verdict {
		if visits[index[task.ID]].Add(1) == 1 && left.Add(-1) == 0 {
			close(done)
		}
		return job.Verdict{}
	}
	var cutting sync.WaitGroup
	enough := make(chan struct{})
	var cuts atomic.Int64
	for range 2 {
		r, proxy := proxied(t, srv)
		r.serve(h)
		cutting.Go(func() {
			for {
				select {
				case <-time.After(100*time.Millisecond + rand.N(300*time.Millisecond)):
					proxy.Cut()
					cuts.Add(1)
				case <-enough:
					return
				}
			}
		})
	}
	select {
	case <-done:
	case <-time.After(2 * patience):
		t.Errorf("%d tasks are lost", left.Load())
	}
	close(enough)
	cutting.Wait()
	testkit.WaitFor(t, patience, "all are acknowledged", func() bool {
		return direct.rdb.LLen(bound(t), queueKey("default", stateActive)).Val() == 0
	})
	doubled := 0
	for i := range visits {
		if visits[i].Load() > 1 {
			doubled++
		}
	}
	if doubled > 0 {
		t.Errorf("%d tasks were brought more than once", doubled)
	}
	t.Logf("%d cuts", cuts.Load())
}
