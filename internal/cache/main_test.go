package cache_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/cache"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 30 * time.Second

// clock is set by hand.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Unix(1_700_000_000, 0)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// process is one of a fleet: a store of its own with a cache of numbers.
type process struct {
	*cache.Cache[int64]
	t       testing.TB
	store   *cache.Store
	metrics *prometheus.Registry
	fills   atomic.Int64
}

// newProcess makes one that waits for Redis however busy the machine is.
func newProcess(t testing.TB, rdb redis.UniversalClient, change ...func(*cache.StoreOptions, *cache.Options)) *process {
	t.Helper()
	so := cache.StoreOptions{Redis: rdb, Log: testkit.Logger(t), Wait: patience}
	o := cache.Options{Name: "numbers", Fresh: 20 * time.Second, Stale: 10 * time.Second, Bytes: 1 << 20}
	for _, f := range change {
		f(&so, &o)
	}
	p := &process{t: t, store: cache.NewStore(so), metrics: prometheus.NewPedanticRegistry()}
	p.metrics.MustRegister(p.store)
	c, err := cache.New[int64](p.store, o)
	if err != nil {
		t.Fatal(err)
	}
	p.Cache = c
	p.store.Start()
	t.Cleanup(p.store.Stop)
	return p
}

// get asks for the answer of a key, which is what value holds.
func (p *process) get(key string, of []string, value *atomic.Int64) (int64, cache.Status) {
	p.t.Helper()
	v, status, err := p.Get(p.t.Context(), key, of, func(context.Context) (int64, error) {
		p.fills.Add(1)
		return value.Load(), nil
	})
	if err != nil {
		p.t.Error(err)
	}
	return v, status
}

// want asks and checks the answer.
func (p *process) want(key string, of []string, value *atomic.Int64, want int64, from cache.Status) {
	p.t.Helper()
	if v, status := p.get(key, of, value); v != want || status != from {
		p.t.Errorf("%s is %d, a %s; want %d, a %s", key, v, status, want, from)
	}
}

func number(n int64) *atomic.Int64 {
	v := new(atomic.Int64)
	v.Store(n)
	return v
}
