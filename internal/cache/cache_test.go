package cache_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/cache"
	"github.com/postrider/postrider/internal/testkit"
)

func TestTiers(t *testing.T) {
	for name, rdb := range map[string]redis.UniversalClient{
		"redis": testkit.Redis(t).Client(), "cluster": testkit.Cluster(t, 3).Client(),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := newProcess(t, rdb), newProcess(t, rdb)
			value, of := number(1), []string{"user:ann@example.com", "room:a"}
			a.want("ann@example.com", of, value, 1, cache.Miss)
			a.want("ann@example.com", of, value, 1, cache.Hit)
			testkit.WaitFor(t, patience, "Redis to keep it", func() bool { _, status := b.get("ann@example.com", of, value); return status == cache.Hit })
			fills := b.fills.Load()
			value.Store(2)
			for range 3 {
				b.want("ann@example.com", of, value, 1, cache.Hit)
			}
			a.store.Drop(t.Context(), "room:b")
			b.want("ann@example.com", of, value, 1, cache.Hit)
			if b.fills.Load() != fills {
				t.Error("an answer that is kept was made again")
			}

			a.store.Drop(t.Context(), "room:a")
			b.want("ann@example.com", of, value, 2, cache.Miss)
			a.want("bob", of, value, 2, cache.Miss)
			if c, is := rdb.(*redis.Client); is {
				keys, err := c.Keys(t.Context(), "*").Result()
				if err != nil || len(keys) < 3 {
					t.Fatalf("Redis has the keys %v, %v", keys, err)
				}
				for _, k := range keys {
					if ttl := c.PTTL(t.Context(), k).Val(); ttl <= 0 || strings.Contains(k, "ann") {
						t.Errorf("the key %s stays for %v", k, ttl)
					}
				}
			}
			samples := testkit.Samples(t, a.metrics)
			if samples["postrider_cache_lookups_total numbers near"] != 1 || samples["postrider_cache_bytes numbers"] == 0 {
				t.Errorf("the metrics are %v", samples)
			}
		})
	}
}

// An answer whose making began before a write is not given to who asks after it,
// in whichever process: nor is who asks then made to wait for the old one.
func TestOldAnswerComesLate(t *testing.T) {
	rdb := testkit.Redis(t).Client()
	a, b := newProcess(t, rdb), newProcess(t, rdb)
	value, of := number(1), []string{"thing"}
	began, goOn := make(chan struct{}), make(chan struct{})
	old := make(chan int64)
	go func() {
		v, _, err := a.Get(t.Context(), "k", of, func(context.Context) (int64, error) {
			v := value.Load()
			close(began)
			<-goOn
			return v, nil
		})
		if err != nil {
			t.Error(err)
		}
		old <- v
	}()
	<-began
	value.Store(2)
	b.store.Drop(t.Context(), "thing")
	a.want("k", of, value, 2, cache.Miss)
	b.want("k", of, value, 2, cache.Miss)
	close(goOn)
	if v := <-old; v != 1 {
		t.Errorf("who asked before the write got %d", v)
	}
	// The old answer is kept by now, or is about to be.
	for range 20 {
		for _, p := range []*process{a, b} {
			if v, _ := p.get("k", of, value); v != 2 {
				t.Fatalf("the old answer is back: %d", v)
			}
		}
	}
}

// Whoever has written reads what was written, and so do all others once that
// has been dropped, while many write and read in two processes. Before, one
// process may tell of it already and the other not yet.
func TestWritersReadTheirWrites(t *testing.T) {
	rdb := testkit.Redis(t).Client()
	fleet := []*process{newProcess(t, rdb), newProcess(t, rdb)}
	things := []string{"a", "b", "c"}
	values := map[string]*atomic.Int64{}
	for _, thing := range things {
		values[thing] = number(0)
	}
	sum := func() (n int64) {
		for _, v := range values {
			n += v.Load()
		}
		return n
	}
	var dropped atomic.Int64 // how many of the writes
	var all sync.WaitGroup
	for w := range 8 {
		all.Go(func() {
			chance := rand.New(rand.NewPCG(1, uint64(w)))
			for range 150 {
				p, other := fleet[w%2], fleet[(w+1)%2]
				thing := things[chance.IntN(len(things))]
				least := dropped.Load()
				if chance.IntN(3) == 0 {
					values[thing].Add(1) // no old sum is that large
					least = sum()
					p.store.Drop(t.Context(), thing)
					dropped.Add(1)
				}
				if got, _, err := other.Get(t.Context(), "sum", things, func(context.Context) (int64, error) { return sum(), nil }); err != nil || got < least {
					t.Errorf("read %d after %d was written: %v", got, least, err)
				}
			}
		})
	}
	all.Wait()
	hits := 0.0
	for _, p := range fleet {
		samples := testkit.Samples(t, p.metrics)
		hits += samples["postrider_cache_lookups_total numbers near"] + samples["postrider_cache_lookups_total numbers far"]
	}
	if hits == 0 {
		t.Error("nothing was kept")
	}
}

func TestOneMakesIt(t *testing.T) {
	p := newProcess(t, testkit.Redis(t).Client())
	p.want("warm", []string{"thing"}, number(0), 0, cache.Miss) // the version is there
	var fills atomic.Int64
	goOn := make(chan struct{})
	release := sync.OnceFunc(func() { close(goOn) })
	defer release() // or Stop would wait
	var all sync.WaitGroup
	for range 30 {
		all.Go(func() {
			v, _, err := p.Get(t.Context(), "k", []string{"thing"}, func(context.Context) (int64, error) {
				fills.Add(1)
				<-goOn
				return 7, nil
			})
			if err != nil || v != 7 {
				t.Errorf("got %d, %v", v, err)
			}
		})
	}
	testkit.WaitFor(t, patience, "all to ask", func() bool {
		return testkit.Samples(t, p.metrics)["postrider_cache_lookups_total numbers miss"] == 31
	})
	left, leave := context.WithCancel(t.Context())
	leave()
	if _, _, err := p.Get(left, "k", nil, func(context.Context) (int64, error) { <-goOn; return 0, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("who has left got %v", err)
	}
	release()
	all.Wait()
	if n := fills.Load(); n != 1 {
		t.Errorf("it was made %d times", n)
	}
}

func TestStale(t *testing.T) {
	server, now := miniredis.RunT(t), newClock()
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	timed := func(so *cache.StoreOptions, _ *cache.Options) { so.Now = now.Now }
	a, b := newProcess(t, rdb, timed), newProcess(t, rdb, timed)
	value := number(1)
	a.want("k", nil, value, 1, cache.Miss)
	// kept waits until Redis has that answer, whose time would begin too late.
	kept := func(text string) {
		t.Helper()
		testkit.WaitFor(t, patience, "Redis to keep it", func() bool {
			got, err := server.Get(server.Keys()[0])
			return err == nil && got == "\n"+text
		})
	}
	testkit.WaitFor(t, patience, "Redis to keep something", func() bool { return len(server.Keys()) == 1 })
	kept("1")
	pass := func(d time.Duration) { now.pass(d); server.FastForward(d) }

	pass(19 * time.Second)
	value.Store(2)
	b.want("k", nil, value, 1, cache.Hit)
	pass(2 * time.Second)
	a.want("k", nil, value, 1, cache.Stale)
	testkit.WaitFor(t, patience, "the new one", func() bool { v, status := a.get("k", nil, value); return v == 2 && status == cache.Hit })
	kept("2")

	value.Store(3)
	pass(40 * time.Second)
	a.want("k", nil, value, 3, cache.Miss)

	wrong := errors.New("wrong")
	for range 2 { // an error is not kept
		if _, status, err := a.Get(t.Context(), "other", nil, func(context.Context) (int64, error) { return 0, wrong }); status != cache.Miss || !errors.Is(err, wrong) {
			t.Errorf("a %s, %v", status, err)
		}
	}
	if _, _, err := a.Get(t.Context(), "other", nil, func(context.Context) (int64, error) { panic("oops") }); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("a panic is %v", err)
	}
	a.want("other", nil, value, 3, cache.Miss)
}

func TestBounds(t *testing.T) {
	rdb := testkit.Redis(t).Client()
	store := cache.NewStore(cache.StoreOptions{Redis: rdb, Log: testkit.Logger(t), Wait: patience})
	defer store.Stop()
	c, err := cache.New[string](store, cache.Options{Name: "texts", Fresh: time.Hour, Stale: time.Hour, Bytes: 100 << 10})
	if err != nil {
		t.Fatal(err)
	}
	if c.Fresh+c.Stale > cache.Longest {
		t.Errorf("it keeps for %v and %v", c.Fresh, c.Stale)
	}
	get := func(key string, size int) cache.Status {
		_, status, err := c.Get(t.Context(), key, nil, func(context.Context) (string, error) { return strings.Repeat("x", size), nil })
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	for range 2 {
		if status := get("large", 300<<10); status != cache.Miss {
			t.Errorf("what is too large is a %s", status)
		}
	}
	for i := range 100 {
		get(strings.Repeat("k", i), 10<<10)
	}
	if keys, err := rdb.Keys(t.Context(), "*").Result(); err != nil || len(keys) < 90 {
		t.Errorf("Redis keeps %d, %v", len(keys), err)
	}
	reg := testkit.Samples(t, gatherer(t, store))
	if size := reg["postrider_cache_bytes texts"]; size == 0 || size > 100<<10 {
		t.Errorf("the process keeps %v bytes", size)
	}
}
