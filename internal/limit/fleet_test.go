package limit

import (
	"container/heap"
	"context"
	"fmt"
	"math/rand"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/testkit"
)

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 30 * time.Second

func rules(t *testing.T, text string) Rules {
	t.Helper()
	var r Rules
	if err := r.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return r
}

// visit is a job's coming to the limit.
type visit struct {
	at  time.Time
	job int
}

type visits []visit

func (v visits) Len() int           { return len(v) }
func (v visits) Less(i, j int) bool { return v[i].at.Before(v[j].at) }
func (v visits) Swap(i, j int)      { v[i], v[j] = v[j], v[i] }
func (v *visits) Push(x any)        { *v = append(*v, x.(visit)) }
func (v *visits) Pop() any {
	last := (*v)[len(*v)-1]
	*v = (*v)[:len(*v)-1]
	return last
}

// TestTake plays jobs that come to a limit, each when it was told to and a
// little later, under a clock of its own: no second has more starts than
// allowed, nearly all that are allowed happen, and no job asks much.
func TestTake(t *testing.T) {
	for name, test := range map[string]struct {
		rate     Rate
		jobs     int
		arrive   time.Duration // over which they come first
		late     time.Duration // up to which they come late
		outage   time.Duration // from 2 s on nobody comes for so long
		mostAsks float64       // a job on average
	}{
		"all at once":         {Rate{50, time.Second}, 400, 0, 0, 0, 2.1},
		"with a tardy fleet":  {Rate{50, time.Second}, 400, 0, 30 * time.Millisecond, 0, 2.6},
		"more than is served": {Rate{50, time.Second}, 400, 5 * time.Second, 10 * time.Millisecond, 0, 2.3},
		"one at a time":       {Rate{300, time.Minute}, 100, 0, 10 * time.Millisecond, 0, 3.5},
		"workers were away":   {Rate{50, time.Second}, 400, 0, 10 * time.Millisecond, 5 * time.Second, 3.5},
		"fast":                {Rate{400, time.Second}, 800, 0, 5 * time.Millisecond, 0, 2.6},
	} {
		t.Run(name, func(t *testing.T) {
			server := miniredis.RunT(t)
			rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
			defer rdb.Close()
			f := NewFleet(rdb, Rules{OfQueue("bulk"): {Rate: test.rate}}, testkit.Logger(t))
			d := f.doors[OfQueue("bulk")]
			chance := rand.New(rand.NewSource(1))
			began := time.Unix(1_700_000_000, 0)
			var queue visits
			for i := range test.jobs {
				queue = append(queue, visit{began.Add(test.arrive * time.Duration(i) / time.Duration(test.jobs)), i})
			}
			heap.Init(&queue)
			var starts []time.Time
			asked := 0
			for len(queue) > 0 {
				v := heap.Pop(&queue).(visit)
				if since := v.at.Sub(began); test.outage > 0 && since > 2*time.Second && since < 2*time.Second+test.outage {
					v.at = began.Add(2*time.Second + test.outage + time.Duration(chance.Int63n(int64(10*time.Millisecond))))
					heap.Push(&queue, v)
					continue
				}
				server.SetTime(v.at)
				p, err := f.take(t.Context(), d, fmt.Sprint("job-", v.job), true)
				if err != nil {
					t.Fatal(err)
				}
				wait := p.After
				if asked++; p.Granted() {
					starts = append(starts, v.at)
					continue
				}
				if test.late > 0 {
					wait += time.Duration(chance.Int63n(int64(test.late)))
				}
				heap.Push(&queue, visit{v.at.Add(wait), v.job})
			}
			per, most := test.rate.pace().window, test.rate.pace().starts
			for i := most; i < len(starts); i++ {
				if in := starts[i].Sub(starts[i-most]); in < per {
					t.Fatalf("%d starts in %v, the rate is %s", most+1, in, test.rate)
				}
			}
			took := starts[len(starts)-1].Sub(starts[0]) - test.outage
			ideal := time.Duration(len(starts)) * test.rate.Per / time.Duration(test.rate.N)
			if used := ideal.Seconds() / took.Seconds(); used < 0.9 {
				t.Errorf("%.0f %% of the rate was used: %d starts took %v", 100*used, len(starts), took)
			}
			if mean := float64(asked) / float64(test.jobs); mean > test.mostAsks {
				t.Errorf("a job asked %.2f times, want %.1f at most", mean, test.mostAsks)
			}
			t.Logf("%d starts in %v, %d questions", len(starts), took, asked)
		})
	}
}

// TestForgottenTimes: times that nobody came for hold nobody up.
func TestForgottenTimes(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	f := NewFleet(rdb, rules(t, "domain:example.com=10/s"), testkit.Logger(t))
	d := f.doors[OfRecipient("ann@example.com")]
	now := time.Unix(1_700_000_000, 0)
	ask := func(id string) time.Duration {
		server.SetTime(now)
		p, err := f.take(t.Context(), d, id, true)
		if err != nil {
			t.Fatal(err)
		}
		return p.After
	}
	for i := range 100 {
		ask(fmt.Sprint("cancelled-", i))
	}
	now = now.Add(20 * time.Second)
	for i := range 10 {
		if wait := ask(fmt.Sprint("new-", i)); wait != 0 {
			t.Errorf("job %d of a full second has to wait %v for jobs that never came", i, wait)
		}
	}
	if ask("one more") == 0 {
		t.Error("an eleventh started in one second")
	}
}

// TestPassKeepsPlaces: two processes never run more than the limit together,
// use it up, and leave nothing behind.
func TestPassKeepsPlaces(t *testing.T) {
	for name, rdb := range map[string]redis.UniversalClient{
		"redis": testkit.Redis(t).Client(), "cluster": testkit.Cluster(t, 3).Client(),
	} {
		t.Run(name, func(t *testing.T) {
			const limit, jobs = 5, 60
			var running, most, passed atomic.Int64
			var all sync.WaitGroup
			for range 2 {
				f := NewFleet(rdb, rules(t, "queue:bulk.concurrency=5,queue:bulk=10000/s"), testkit.Logger(t))
				f.Start()
				defer f.Stop()
				for i := range jobs {
					all.Go(func() {
						p, err := f.Pass(t.Context(), OfQueue("bulk"), fmt.Sprint(i), patience)
						if err != nil || !p.Granted() {
							t.Errorf("not let through: %+v, %v", p, err)
							return
						}
						n := running.Add(1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						passed.Add(1)
						<-time.After(5 * time.Millisecond) // a job's work
						running.Add(-1)
						p.Leave()
						p.Leave() // is one
					})
				}
			}
			all.Wait()
			if most.Load() > limit || most.Load() < 2 {
				t.Errorf("%d ran at a time, the limit is %d", most.Load(), limit)
			}
			if n := rdb.ZCard(t.Context(), "postrider:limit:{queue:bulk}:places").Val(); n != 0 || passed.Load() != 2*jobs {
				t.Errorf("%d of %d passed, %d places are taken after all", passed.Load(), 2*jobs, n)
			}
		})
	}
}

// TestPlacesOfTheDead: the places of a killed process are free after their
// lease, those of a living one are kept.
func TestPlacesOfTheDead(t *testing.T) {
	server := miniredis.RunT(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr()})
	defer rdb.Close()
	now := time.Unix(1_700_000_000, 0)
	server.SetTime(now)
	killed, living := NewFleet(rdb, rules(t, "queue:bulk.concurrency=2"), testkit.Logger(t)), NewFleet(rdb, rules(t, "queue:bulk.concurrency=2"), testkit.Logger(t))
	pass := func(f *Fleet) bool {
		p, err := f.Pass(t.Context(), OfQueue("bulk"), "job", 50*time.Millisecond)
		if err != nil || !p.Granted() && p.After <= 0 {
			t.Fatalf("%+v, %v", p, err)
		}
		return p.Granted()
	}
	if !pass(killed) || !pass(living) || pass(living) {
		t.Fatal("two places are not two")
	}
	for range 2 { // 20 s each
		server.SetTime(now.Add(20 * time.Second))
		living.extend(t.Context(), living.doors[OfQueue("bulk")])
		now = now.Add(20 * time.Second)
	}
	if !pass(living) {
		t.Error("the killed process' place is taken still")
	}
	if pass(living) {
		t.Error("the living process' place was lost")
	}
}

// TestPassWaitsOrPostpones: a turn that comes soon is waited for, a later one
// is told; a key without limits is open even without Redis.
func TestPassWaitsOrPostpones(t *testing.T) {
	server := testkit.Redis(t)
	f := NewFleet(server.Client(), rules(t, "queue:bulk=5/s,queue:slow=1/h"), testkit.Logger(t))
	pass := func(queue, id string) Pass {
		t.Helper()
		p, err := f.Pass(t.Context(), OfQueue(queue), id, patience)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	began := time.Now()
	for i := range 8 {
		if !pass("bulk", fmt.Sprint(i)).Granted() {
			t.Error("a turn that comes in time was not waited for")
		}
	}
	if took := time.Since(began); took < 900*time.Millisecond {
		t.Errorf("8 jobs at 5/s took %v", took)
	}
	pass("slow", "first")
	second := pass("slow", "second")
	if second.Granted() || second.After != longestPause {
		t.Errorf("%+v, want it postponed, to be asked for again after %v", second, longestPause)
	}

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if p, err := f.Pass(ended, OfQueue("bulk"), "x", patience); err == nil || p.Granted() {
		t.Errorf("with an ended context: %+v, %v", p, err)
	}
	server.Kill()
	if p, err := f.Pass(t.Context(), OfQueue("bulk"), "x", patience); err == nil || p.Granted() {
		t.Errorf("without Redis: %+v, %v; a limit that cannot be asked lets nobody through", p, err)
	}
	if p, err := f.Pass(t.Context(), OfQueue("other"), "x", 0); err != nil || !p.Granted() {
		t.Errorf("without a limit: %+v, %v", p, err)
	}
}
