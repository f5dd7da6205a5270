package limit

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/outage"
	"github.com/postrider/postrider/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patient returns a limiter for tests of the counting: it waits for Redis
// however busy the machine is.
func patient(t *testing.T, rdb redis.UniversalClient) *Limiter {
	l := New(rdb, testkit.Logger(t))
	l.answerLimit = 20 * time.Second
	return l
}

func allow(t *testing.T, l *Limiter, key string, rate Rate, n int) Decision {
	t.Helper()
	d, err := l.Allow(t.Context(), key, rate, n)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// counted returns the limiter's metric by outcome.
func counted(t *testing.T, l *Limiter) map[string]float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(l)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]float64{}
	for _, family := range families {
		for _, m := range family.Metric {
			counts[m.Label[0].GetValue()] = m.Counter.GetValue()
		}
	}
	return counts
}

func TestAllow(t *testing.T) {
	for name, dial := range map[string]func(t *testing.T) redis.UniversalClient{
		"redis":   func(t *testing.T) redis.UniversalClient { return testkit.Redis(t).Client() },
		"cluster": func(t *testing.T) redis.UniversalClient { return testkit.Cluster(t, 3).Client() },
		"miniredis": func(t *testing.T) redis.UniversalClient {
			c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr()})
			t.Cleanup(func() { _ = c.Close() })
			return c
		},
	} {
		t.Run(name, func(t *testing.T) {
			rdb := dial(t)
			// Two limiters stand for two processes of the fleet.
			a, b := patient(t, rdb), patient(t, rdb)
			hourly := Rate{5, time.Hour} // fills too slowly to matter

			if d := allow(t, a, "shop", hourly, 1); !d.Allowed || d.Remaining != 4 || d.RetryAfter != 0 || d.Limit != hourly {
				t.Errorf("the first: %+v", d)
			}
			if d := allow(t, b, "shop", hourly, 3); !d.Allowed || d.Remaining != 1 {
				t.Errorf("three by another process: %+v", d)
			}
			if d := allow(t, a, "shop", hourly, 2); d.Allowed || d.RetryAfter <= 0 || d.RetryAfter > time.Hour/5 {
				t.Errorf("two where one is left: %+v, want refused until the next fifth of an hour", d)
			}
			if d := allow(t, b, "shop", hourly, 1); !d.Allowed || d.Remaining != 0 {
				t.Errorf("the last, which the refusal must not have taken: %+v", d)
			}
			if d := allow(t, a, "other", hourly, 1); !d.Allowed {
				t.Errorf("another key: %+v", d)
			}
			if d := allow(t, a, "batch", hourly, 1000); !d.Allowed || d.Remaining != 0 {
				t.Errorf("more than the budget holds: %+v, want it to count for the whole", d)
			}
			quick := Rate{20, time.Second}
			allow(t, a, "quick", quick, 20)
			testkit.WaitFor(t, 20*time.Second, "the budget fills again", func() bool { return allow(t, a, "quick", quick, 1).Allowed })

			for key, ttl := range ttls(t, rdb) {
				if ttl <= 0 || ttl > time.Hour+time.Second {
					t.Errorf("key %s stays for %v", key, ttl)
				}
			}
		})
	}
}

// ttls returns for how long each of the test's keys stays.
func ttls(t *testing.T, rdb redis.UniversalClient) map[string]time.Duration {
	t.Helper()
	found := map[string]time.Duration{}
	for _, key := range []string{"shop", "other", "batch"} {
		ttl, err := rdb.PTTL(t.Context(), "rate:postrider:"+key).Result()
		if err != nil {
			t.Fatal(err)
		}
		found[key] = ttl
	}
	return found
}

func TestManyAtOnceGetNoMoreThanTheBudget(t *testing.T) {
	rdb := testkit.Redis(t).Client()
	l := patient(t, rdb)
	var allowed atomic.Int64
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for range 20 {
				if d, err := l.Allow(t.Context(), "k", Rate{100, time.Hour}, 1); err != nil {
					t.Error(err)
				} else if d.Allowed {
					allowed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if n := allowed.Load(); n != 100 {
		t.Errorf("allowed %d of 400, want 100", n)
	}
	if got := counted(t, l)["limited"]; got != 300 {
		t.Errorf("counted %v limited, want 300", got)
	}
}

func TestWithoutRedis(t *testing.T) {
	server := testkit.Redis(t)
	opts := server.Options()
	opts.ContextTimeoutEnabled = true
	rdb := redis.NewClient(opts)
	t.Cleanup(func() { _ = rdb.Close() })
	log, lines := testkit.CaptureLog(t)
	l := New(rdb, log)
	l.gate = outage.NewGate(50 * time.Millisecond)
	one := Rate{1, time.Hour}

	for i, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"slow", server.Pause, server.Resume},
		{"gone", server.Kill, server.Restart},
	} {
		key := fmt.Sprint("k", i)
		testkit.WaitFor(t, 20*time.Second, "the limit is kept", func() bool { return !allow(t, l, key, one, 1).Allowed })
		outage.begin()
		var slow int
		for range 50 {
			start := time.Now()
			if d := allow(t, l, key, one, 1); !d.Allowed {
				t.Errorf("%s: refused", outage.name)
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("%s: took %v, want about %v", outage.name, took, l.answerLimit)
			} else if took > l.answerLimit/2 {
				slow++
			}
		}
		if slow > 25 {
			t.Errorf("%s: %d of 50 questions waited for Redis, want few", outage.name, slow)
		}
		outage.end()
		testkit.WaitFor(t, 20*time.Second, "the limit is kept again", func() bool { return !allow(t, l, key, one, 1).Allowed })
	}
	if lost, back := lines.Count("not kept"), lines.Count("kept again"); lost < 2 || lost != back || lost > 10 {
		t.Errorf("logged %d outages and %d ends, want one each an outage", lost, back)
	}
	if n := counted(t, l)["unchecked"]; n < 100 {
		t.Errorf("counted %v unchecked, want all 100 of the outages", n)
	}
}

func TestOffAndBadQuestions(t *testing.T) {
	// Nothing listens: off must not ask, and a caller's own end is no outage.
	rdb := redis.NewClient(&redis.Options{Addr: "127.0.0.1:1", ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	log, lines := testkit.CaptureLog(t)
	l := New(rdb, log)
	if d := allow(t, l, "k", Rate{}, 1); !d.Allowed {
		t.Errorf("off: %+v", d)
	}
	if _, err := l.Allow(t.Context(), "k", Rate{1, time.Second}, 0); err == nil {
		t.Error("n of 0 was taken")
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if d, err := l.Allow(gone, "k", Rate{1, time.Second}, 1); !errors.Is(err, context.Canceled) || d.Allowed {
		t.Errorf("a caller that went away: %+v, %v", d, err)
	}
	if lines.String() != "" {
		t.Errorf("logged:\n%s", lines)
	}
	if got := counted(t, l); len(got) != 0 {
		t.Errorf("counted %v, want nothing", got)
	}
}
