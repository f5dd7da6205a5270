package cache_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/cache"
	"github.com/postrider/postrider/internal/testkit"
)

func gatherer(t *testing.T, c prometheus.Collector) prometheus.Gatherer {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(c)
	return reg
}

// Without Redis answers are right, and no error comes of it; what changed
// meanwhile is told to the others when it is back.
func TestRedisAway(t *testing.T) {
	server := testkit.Redis(t)
	open := func() redis.UniversalClient {
		o := server.Options()
		o.ContextTimeoutEnabled = true
		rdb := redis.NewClient(o)
		t.Cleanup(func() { _ = rdb.Close() })
		return rdb
	}
	proxy := testkit.TCPProxy(t, server.Options().Addr)
	// The writer's way to Redis can be cut.
	o := server.Options()
	o.Addr, o.ContextTimeoutEnabled = proxy.Addr, true
	cut := redis.NewClient(o)
	t.Cleanup(func() { _ = cut.Close() })
	quick := func(so *cache.StoreOptions, _ *cache.Options) { so.Wait = 3 * time.Second }
	writer, reader := newProcess(t, cut, quick), newProcess(t, open(), quick)
	value, of := number(1), []string{"thing"}
	writer.want("k", of, value, 1, cache.Miss)
	writer.want("k", of, value, 1, cache.Hit)
	writer.want("free", nil, value, 1, cache.Miss)
	testkit.WaitFor(t, patience, "Redis to keep it", func() bool { _, status := reader.get("k", of, value); return status == cache.Hit })

	proxy.Refuse(true)
	proxy.Cut()
	value.Store(2)
	writer.store.Drop(t.Context(), "thing")
	writer.want("k", of, value, 2, cache.Miss)
	value.Store(3)
	writer.store.Changed("thing")
	writer.want("k", of, value, 3, cache.Miss)
	writer.want("free", nil, value, 1, cache.Hit)
	writer.want("free too", nil, value, 3, cache.Miss)
	writer.want("free too", nil, value, 3, cache.Hit)

	proxy.Refuse(false)
	testkit.WaitFor(t, patience, "the change to be told", func() bool { v, _ := reader.get("k", of, value); return v == 3 })
	testkit.WaitFor(t, patience, "answers to be kept again", func() bool { v, status := writer.get("k", of, value); return v == 3 && status == cache.Hit })

	server.Kill()
	value.Store(4)
	reader.want("k", of, value, 4, cache.Miss)
	server.Restart()
	testkit.WaitFor(t, patience, "answers to be kept again", func() bool { _, status := reader.get("k", of, value); return status == cache.Hit })
	server.FlushAll()
	value.Store(5)
	reader.want("k", of, value, 5, cache.Miss) // its versions are gone
}

// Stop ends what is being made and waits for it.
func TestStop(t *testing.T) {
	p := newProcess(t, testkit.Redis(t).Client())
	began := make(chan struct{})
	failed := make(chan error)
	go func() {
		_, _, err := p.Get(t.Context(), "k", nil, func(ctx context.Context) (int64, error) {
			close(began)
			<-ctx.Done()
			return 0, ctx.Err()
		})
		failed <- err
	}()
	<-began
	p.store.Changed("thing")
	go p.store.Stop()
	if err := <-failed; err == nil {
		t.Error("what was stopped has an answer")
	}
	p.store.Stop()
	p.want("k", nil, number(1), 1, cache.Miss)
}
