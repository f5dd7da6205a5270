package broker

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// queued is the ids in the queue, the next one last.
func (r *rig) queued() []string {
	r.t.Helper()
	ids, err := r.rdb.LRange(bound(r.t), queueKey("default", statePending), 0, -1).Result()
	if err != nil {
		r.t.Fatal(err)
	}
	return ids
}

func (r *rig) fetcher() *fetcher {
	f := newFetcher(r.rdb, asynqContract().texts, "default", newSlots(10), r.Client.log)
	r.t.Cleanup(f.close)
	return f
}

// untouched checks that the queue is as it was before a fetch.
func (r *rig) untouched(before []string, ts []job.Task) {
	r.t.Helper()
	if after := r.queued(); !slices.Equal(before, after) {
		r.t.Errorf("the queue was\n%v and is\n%v", before, after)
	}
	for _, task := range ts {
		if r.state(task) != statePending || r.rdb.HGet(bound(r.t), taskKey("default", task.TaskID()), "pending_since").Val() == "" {
			r.t.Errorf("task %s is %q", task.ID, r.state(task))
		}
	}
	active, leases := r.rdb.LLen(bound(r.t), queueKey("default", stateActive)).Val(), r.rdb.ZCard(bound(r.t), queueKey("default", "lease")).Val()
	if active != 0 || leases != 0 {
		r.t.Errorf("%d active and %d leases are left", active, leases)
	}
}

func TestFetchAndGiveBack(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	ts := make([]job.Task, 12)
	for i := range ts {
		ts[i] = durable()
	}
	r.dispatch(ts...)
	before := r.queued()
	f := r.fetcher()
	if err := f.fetch(bound(t), 7); err != nil {
		t.Fatal(err)
	}
	now := float64(time.Now().Unix())
	for i, task := range ts {
		fetched := i < 7
		lease, err := r.rdb.ZScore(bound(t), queueKey("default", "lease"), task.TaskID()).Result()
		if absent(err) != nil || fetched != (lease > now+20) || fetched != (r.state(task) == stateActive) {
			t.Errorf("task %d is %q with a lease of %v s", i, r.state(task), lease-now)
		}
		if fetched && f.buffer[i].id != task.TaskID() {
			t.Errorf("task %d is not the one it was", i)
		}
	}
	f.giveBackOld(bound(t)) // it is not old
	if len(f.buffer) != 7 {
		t.Error("young tasks were given back")
	}
	f.aged = -1
	f.giveBackOld(bound(t))
	r.untouched(before, ts)
	f.giveBack(bound(t)) // nothing more
	r.untouched(before, ts)
}

// TestGiveBackAfterALostAnswer: at the end it is not known what was fetched.
func TestGiveBackAfterALostAnswer(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	direct := newRig(t, srv.URL())
	ts := []job.Task{durable(), durable(), durable()}
	direct.dispatch(ts...)
	before := direct.queued()
	if err := fetchScript.Load(bound(t), direct.rdb).Err(); err != nil {
		t.Fatal(err)
	}
	r, proxy := proxied(t, srv)
	f := r.fetcher()
	proxy.DropReplyTo(fetchScript.Hash())
	if err := f.fetch(bound(t), 2); err == nil {
		t.Fatal("the answer was not lost")
	}
	if direct.state(ts[0]) != stateActive {
		t.Fatal("nothing was fetched")
	}
	f.settle(bound(t))
	direct.untouched(before, ts)
	f.token = "of a call that never arrived"
	f.settle(bound(t))
	direct.untouched(before, ts)
}

// TestFetchedTaskIsGone: an id without a task holds nothing up.
func TestFetchedTaskIsGone(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	gone, there := durable(), durable()
	r.dispatch(gone, there)
	r.rdb.Del(bound(t), taskKey("default", gone.TaskID()))
	h, brought := collect()
	r.serve(h)
	if got := next(t, brought); got.ID != there.ID {
		t.Errorf("brought %s", got.ID)
	}
	if r.rdb.Exists(bound(t), taskKey("default", gone.TaskID())).Val() != 0 {
		t.Error("something is left of the task")
	}
}

// TestBeginning: tasks are about to begin from their fetch until their handlers
// are called or they are given up.
func TestBeginning(t *testing.T) {
	s := newSlots(3)
	if s.beginning() != nil {
		t.Error("without a task something begins")
	}
	s.buffered(2)
	begun := s.beginning()
	s.hand("a")
	s.buffered(1)
	s.begin("a")
	s.hand("b")
	s.buffered(0)
	select {
	case <-begun:
		t.Error("all have begun, though one was only handed out")
	default:
	}
	s.leave("b")
	select {
	case <-begun:
	default:
		t.Error("they have not begun")
	}
	if s.beginning() != nil {
		t.Error("something begins still")
	}
}

func TestSlots(t *testing.T) {
	s := newSlots(3)
	at := time.Now().Add(time.Hour)
	want := func(free int, acks ...string) {
		t.Helper()
		var calls []*call
		for _, id := range acks {
			calls = append(calls, &call{op: opDone, args: []any{id}})
		}
		if got := s.free(calls); got != free {
			t.Errorf("%d are free, want %d", got, free)
		}
	}
	room := func(want bool) {
		t.Helper()
		if got := s.room(); got != want {
			t.Errorf("there is room: %v, want %v", got, want)
		}
	}
	want(3)
	s.hand("a")
	s.hand("b")
	want(1)
	s.begin("a")
	s.over("a")
	s.over("b") // which has not begun
	want(2)
	s.end("a", at)
	want(2, "a", "unknown") // its acknowledgement is under way
	if due, ok := s.due("a"); !ok || due != dueAt(at) {
		t.Errorf("it comes again at %v, %v", due, ok)
	}
	s.leave("a")
	want(2)
	s.hand("c")
	s.hand("d")
	want(0)
	room(false)
	// Of these asynq made no use, but one runs.
	s.begin("d")
	for _, slot := range s.taken {
		slot.since = slot.since.Add(-2 * slotDoubt)
	}
	room(true)
	want(2)
	s.end("b", at) // it is not counted any more
	s.begin("b")
	want(2)
	// Those whose work is over are as many as the slots at most.
	s.over("d")
	for _, id := range []string{"e", "f", "g", "h"} {
		s.hand(id)
		s.begin(id)
		s.over(id)
	}
	want(1)
	s.hand("i")
	want(0)
	want(1, "d")
}

// TestSlotOfWhoseWorkIsOver: an outcome on its way to the database keeps no
// other task from beginning, and a task at work does.
func TestSlotOfWhoseWorkIsOver(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	begun, work, record := make(chan job.Task, 100), make(chan struct{}), make(chan struct{})
	var atWork, most atomic.Int64
	r.serve(func(ctx context.Context, task job.Task) job.Verdict {
		begun <- task
		n := atWork.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		<-work
		atWork.Add(-1)
		job.FreeSlot(ctx)
		job.FreeSlot(ctx) // twice is once
		<-record
		return job.Verdict{}
	})
	size := testQueues()[0].Concurrency
	ts := make([]job.Task, 3*size)
	for i := range ts {
		ts[i] = durable()
		ts[i].Queue = testQueues()[0].Name
	}
	r.dispatch(ts...)
	nextFew := func(n int) {
		t.Helper()
		for range n {
			next(t, begun)
		}
	}
	nextFew(size)
	for range size { // each makes room for one more
		work <- struct{}{}
		nextFew(1)
	}
	close(work)
	if n := len(begun); n != 0 {
		t.Errorf("%d tasks more began while %d outcomes were not recorded", n, 2*size)
	}
	close(record)
	nextFew(size)
	testkit.WaitFor(t, patience, "all are done", func() bool { return r.state(ts[0]) == "" && r.state(ts[len(ts)-1]) == "" })
	if n := most.Load(); n > int64(size) {
		t.Errorf("%d tasks were at work at once, the queue's concurrency is %d", n, size)
	}
}

// TestFetchAhead: an acknowledgement brings the next task along, as long as the
// queue has some.
func TestFetchAhead(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	s := r.server(handler(nil), nil)
	defer r.shutdown(s)
	layer := s.layers[0]
	ts := make([]job.Task, 11)
	for i := range ts {
		ts[i] = durable()
	}
	r.dispatch(ts...)
	before := r.queued()
	take := func() {
		t.Helper()
		if _, err := layer.fetcher.dequeue(bound(t)); err != nil {
			t.Fatal(err)
		}
	}
	acknowledge := func(task job.Task, ahead int) {
		t.Helper()
		id := task.TaskID()
		layer.slots.end(id, time.Time{})
		keys := []string{
			queueKey("default", stateActive), queueKey("default", "lease"), taskKey("default", id),
			queueKey("default", "processed:2020-01-01"), queueKey("default", "processed"),
		}
		args := []any{id, time.Now().Add(time.Hour).Unix(), int64(1 << 62)}
		scripts := r.scripts()
		if err := layer.acks.send(bound(t), opDone, sha(t, opDone), keys, args).Err(); err != nil {
			t.Fatal(err)
		}
		// One that Redis does not know yet is sent again.
		if n := r.scripts() - scripts; n < 1 || n > 3 {
			t.Errorf("%d scripts were sent", n)
		}
		if n := len(layer.fetcher.buffer); n != ahead {
			t.Errorf("%d tasks were fetched ahead, want %d", n, ahead)
		}
	}
	for range 10 {
		take()
	}
	acknowledge(ts[0], 1)
	take()
	acknowledge(ts[1], 0) // asked once more
	acknowledge(ts[2], 0) // and not any more
	if layer.fetcher.hungry {
		t.Error("an empty queue is asked on")
	}
	last := durable()
	r.dispatch(last)
	take()
	again := durable()
	r.dispatch(again)
	layer.fetcher.close()
	acknowledge(ts[3], 0)
	if got := r.queued(); len(got) != 1 || got[0] != again.TaskID() {
		t.Errorf("after the end the queue is %v, it was %v", got, before)
	}
}

func TestDueTime(t *testing.T) {
	for in, want := range map[int64]string{1_700_000_000_000_000_000: "1700000000.000", 1_700_000_000_000_000_001: "1700000000.001", 1_700_000_000_999_000_001: "1700000001.000", 1_700_000_000_123_000_000: "1700000000.123"} {
		if got := dueAt(time.Unix(0, in)).score(); got != want {
			t.Errorf("%d is due at %s, want %s", in, got, want)
		}
	}
	if got := dueAt(time.Time{}).score(); got[0] != '-' {
		t.Errorf("the zero time is due at %s", got)
	}
	if got := dueTime(5).score(); got != "0" {
		t.Errorf("5 ms are %s", got)
	}
}

// blocked is how many clients wait in a blocking command.
func (r *rig) blocked() int {
	told := map[string]string{}
	if err := info(bound(r.t), r.rdb, "clients", told); err != nil {
		r.t.Fatal(err)
	}
	n, err := strconv.Atoi(told["blocked_clients"])
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

// TestOneIsWoken: a task wakes one of many that wait.
func TestOneIsWoken(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	woken := make(chan bool, 20)
	var waiters []*waiter
	for range 10 {
		w := newWaiter(r.rdb)
		waiters = append(waiters, w)
		go func() { woken <- w.wait(wakeKey("default"), patience) }()
	}
	testkit.WaitFor(t, patience, "all wait", func() bool { return r.blocked() == 10 })
	r.dispatch(durable())
	if !next(t, woken) {
		t.Error("a waiter gave up")
	}
	for _, w := range waiters {
		w.close()
		w.close()
	}
	for range 9 {
		if next(t, woken) {
			t.Error("another one was woken")
		}
	}
	if waiters[0].wait(wakeKey("default"), patience) {
		t.Error("a closed waiter waited")
	}
}

// TestWakesAreCut: without the connection for wakes a waiter polls, and it
// recovers by itself.
func TestWakesAreCut(t *testing.T) {
	t.Parallel()
	srv := testkit.Redis(t)
	r, proxy := proxied(t, srv)
	w := newWaiter(r.rdb)
	defer w.close()
	proxy.Refuse(true)
	began := time.Now()
	for range 3 {
		if w.wait(wakeKey("default"), patience) {
			t.Error("woken by nobody")
		}
	}
	if took := time.Since(began); took < 3*pollEvery/2 || took > patience/2 {
		t.Errorf("three polls took %v", took)
	}
	proxy.Refuse(false)
	newRig(t, srv.URL()).dispatch(durable())
	testkit.WaitFor(t, patience, "wakes come again", func() bool { return w.wait(wakeKey("default"), time.Second) })
}

// TestEarlierTaskIsTold: whoever waits for the next due task learns of an
// earlier one.
func TestEarlierTaskIsTold(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	told := func(in time.Duration) bool {
		task := durable()
		task.RunAt = time.Now().Add(in)
		r.dispatch(task)
		return r.rdb.LPop(context.Background(), soonKey("default")).Err() == nil
	}
	if !told(time.Hour) || told(2*time.Hour) || !told(time.Minute) || told(3*time.Minute) {
		t.Error("not only earlier tasks are told of")
	}
}

// TestOneKeeper: of two servers one keeps the times; the other one follows it.
func TestOneKeeper(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	a := newKeeper(r.rdb, "default", func(context.Context) {}, r.Client.log)
	b := newKeeper(r.rdb, "default", func(context.Context) {}, r.Client.log)
	turn := func(k *keeper, want bool) time.Duration {
		t.Helper()
		holds, pause, err := k.turn(bound(t))
		if err != nil || holds != want {
			t.Fatalf("holds %v, %v; want %v", holds, err, want)
		}
		return pause
	}
	turn(a, true)
	turn(b, false)
	turn(a, true)
	task := durable()
	task.RunAt = time.Now().Add(700 * time.Millisecond)
	r.dispatch(task)
	if pause := turn(a, true); pause > 700*time.Millisecond {
		t.Errorf("it sleeps for %v", pause)
	}
	a.leave()
	turn(b, true)
	turn(a, false)
	r.rdb.Set(bound(t), queueKey("default", "paused"), 1, 0)
	if pause := turn(b, true); pause > keepPaused {
		t.Errorf("it looks at a paused queue after %v", pause)
	}
	a.stop()
	b.stop()
}

// TestKeeperIsFollowed: when the keeper stops, another server takes over at
// once.
func TestKeeperIsFollowed(t *testing.T) {
	t.Parallel()
	r := newRig(t, testkit.Redis(t).URL())
	turned := make(chan string, 1000)
	start := func(name string) *keeper {
		k := newKeeper(r.rdb, "default", func(context.Context) { turned <- name }, r.Client.log)
		k.name = name
		k.start()
		return k
	}
	a := start("a")
	next(t, turned)
	b := start("b")
	for next(t, turned) != "b" { // it stands by
	}
	testkit.WaitFor(t, patience, "both listen", func() bool { return r.blocked() == 2 })
	a.stop()
	left := time.Now()
	testkit.WaitFor(t, patience, "the other one is the keeper", func() bool {
		return r.rdb.Get(bound(t), keeperKey("default")).Val() == "b"
	})
	if took := time.Since(left); took > standEvery {
		t.Errorf("it took %v", took)
	}
	b.stop()
}
