package numbers

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fleet is Redis and SQL as a test has them. An event happens every 100 ms.
type fleet struct {
	began time.Time

	mu      sync.Mutex
	redis   error
	sql     error
	counts  int
	lists   int
	tallies int
}

func (f *fleet) Count(context.Context) ([]Count, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts++
	return []Count{{Queue: "email", Pending: int64(f.counts), Processed: int64(time.Since(f.began).Milliseconds())}}, f.redis
}

func (f *fleet) Workers(context.Context) ([]Worker, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lists++
	return []Worker{{Running: 2, Slots: 10}, {Running: 1, Slots: 5}}, f.redis
}

func (f *fleet) EventsEnd(context.Context) (seq, mark int64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.seq(time.Now()), 0, f.sql
}

func (f *fleet) seq(at time.Time) int64 { return max(int64(at.Sub(f.began)/(100*time.Millisecond)), 0) }

func (f *fleet) Tally(_ context.Context, after int64, from, to Second) (Tally, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tallies++
	t := Tally{Now: time.Now(), End: f.seq(time.Now()), Seconds: map[Second]*Rates{}}
	for seq := after + 1; seq <= t.End; seq++ {
		at := Second(f.began.Add(time.Duration(seq) * 100 * time.Millisecond).Unix())
		if at < from || at >= to {
			continue
		}
		if t.Seconds[at] == nil {
			t.Seconds[at] = &Rates{}
		}
		t.Seconds[at].Accepted++
		t.Runs = append(t.Runs, Run{At: at, Wait: -1, Took: time.Duration(seq%10+1) * time.Millisecond})
	}
	return t, f.sql
}

func (f *fleet) fail(redis, sql error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.redis, f.sql = redis, sql
}

// looks is how often each was asked.
func (f *fleet) looks() [3]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return [3]int{f.counts, f.lists, f.tallies}
}

// heard is a Watcher.
type heard struct {
	t         *testing.T
	mu        sync.Mutex
	samples   []Sample
	histories [][]Sample
}

func (h *heard) Sample(text json.RawMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.samples = append(h.samples, decoded[Sample](h.t, text))
}

func (h *heard) History(text json.RawMessage) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.histories = append(h.histories, decoded[[]Sample](h.t, text))
}

func decoded[T any](t *testing.T, text json.RawMessage) (v T) {
	if err := json.Unmarshal(text, &v); err != nil {
		t.Error(err)
	}
	return v
}

func (h *heard) take() []Sample {
	h.mu.Lock()
	defer h.mu.Unlock()
	defer func() { h.samples = nil }()
	return h.samples
}

// inBubble runs a Collector of a fleet in a bubble of time.
func inBubble(t *testing.T, do func(t *testing.T, c *Collector, f *fleet, h *heard)) {
	synctest.Test(t, func(t *testing.T) {
		f, h := &fleet{began: time.Now()}, &heard{t: t}
		c, err := New(Options{Engine: f, Log: f, Logger: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		c.Tell(h)
		c.Start()
		defer c.Stop()
		synctest.Wait()
		do(t, c, f, h)
	})
}

func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestOneLookASecondHoweverManyWatch(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Collector, f *fleet, h *heard) {
		looks := func(over time.Duration) (counts, lists, tallies int) {
			a := f.looks()
			after(over)
			b := f.looks()
			return b[0] - a[0], b[1] - a[1], b[2] - a[2]
		}
		if n, lists, tallies := looks(time.Minute); n != 6 || lists != 6 || tallies != 6 {
			t.Errorf("while nobody watched there were %d looks in a minute, %d lists of workers, %d tallies", n, lists, tallies)
		}
		for _, watchers := range []int{1, 49} {
			for range watchers {
				c.Join(func(json.RawMessage) {})
			}
			after(2 * time.Second) // the first brings a look at once
			if n, lists, tallies := looks(time.Minute); n != 60 || lists != 12 || tallies != 60 {
				t.Errorf("with %d more there were %d looks in a minute, %d lists of workers, %d tallies", watchers, n, lists, tallies)
			}
		}
		for range 50 {
			c.Leave()
		}
		after(Step)
		if n, _, _ := looks(time.Minute); n != 6 {
			t.Errorf("when all had gone there were %d looks in a minute", n)
		}
	})
}

func TestEverySecondIsToldOnce(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Collector, f *fleet, h *heard) {
		after(25 * time.Second)
		h.take()
		var history []Sample
		c.Join(func(text json.RawMessage) { history = decoded[[]Sample](t, text) })
		defer c.Leave()
		after(30*time.Second + 500*time.Millisecond)
		all := append(history, h.take()...)
		if len(history) < Kept-1 || len(all)-len(history) < 30 {
			t.Fatalf("%d samples at once, %d then", len(history), len(all)-len(history))
		}
		for i, s := range all {
			if i > 0 && s.At != all[i-1].At+Step.Milliseconds() {
				t.Fatalf("after %d comes %d", all[i-1].At, s.At)
			}
			old := s.At < f.began.Add(time.Second).UnixMilli() // before the fleet began
			switch {
			case s.Rates == nil || !old && s.Rates.Accepted != 10 && s.Rates.Accepted != 9:
				t.Errorf("second %d has the rates %+v", s.At, s.Rates)
			case !old && (len(s.Queues) != 1 || *s.Workers != Workers{Processes: 2, Running: 3, Slots: 15}):
				t.Errorf("second %d has %+v and %+v", s.At, s.Queues, s.Workers)
			case s.Problems != nil:
				t.Errorf("second %d has the problems %v", s.At, s.Problems)
			}
		}
		last := all[len(all)-1]
		if p := last.Queues[0].Processed; p == nil || *p != 1000 {
			t.Errorf("the rate of tasks is %v", p)
		}
		if want := (Latency{RunP50: 5, RunP99: 10}); *last.Latency != want {
			t.Errorf("the latency is %+v, want %+v", *last.Latency, want)
		}
	})
}

func TestOutages(t *testing.T) {
	inBubble(t, func(t *testing.T, c *Collector, f *fleet, h *heard) {
		c.Join(func(json.RawMessage) {})
		defer c.Leave()
		after(20 * time.Second)
		h.take()
		f.fail(errors.New("redis is away"), nil)
		after(10 * time.Second)
		for i, s := range h.take() {
			if s.Queues != nil || s.Problems["queues"] != noRedis || s.Rates == nil || i > 5 && (s.Workers != nil || s.Problems["workers"] != noRedis) {
				t.Fatalf("without Redis: %+v", s)
			}
		}
		f.fail(nil, errors.New("sql is away"))
		after(5 * time.Second)
		for _, s := range h.take()[1:] {
			if s.Queues == nil || s.Rates != nil || s.Problems["rates"] != noDatabase {
				t.Fatalf("without SQL: %+v", s)
			}
		}
		if now, workers := c.Current(); len(workers) != 2 || now.Problems["rates"] == "" {
			t.Errorf("now: %+v, %v", now, workers)
		}
		f.fail(nil, nil)
		after(2 * time.Second)
		h.mu.Lock()
		defer h.mu.Unlock()
		if len(h.histories) != 1 {
			t.Fatalf("the history is told %d times anew", len(h.histories))
		}
		for _, s := range h.histories[0][Kept-15:] {
			if s.Rates == nil || s.Rates.Accepted != 10 || s.Problems["rates"] != "" {
				t.Errorf("what happened while SQL was away: %+v, %v", s.Rates, s.Problems)
			}
		}
	})
}

func TestPercentile(t *testing.T) {
	var of []time.Duration
	for i := range 200 {
		of = append(of, time.Duration(200-i)*time.Millisecond)
	}
	for p, want := range map[int]int64{1: 2, 50: 100, 99: 198, 100: 200} {
		if got := percentile(of, p); got != want {
			t.Errorf("of 1 to 200 ms percentile %d is %d ms, want %d", p, got, want)
		}
	}
	if got := percentile([]time.Duration{time.Second}, 99); got != 1000 {
		t.Errorf("of one it is %d ms", got)
	}
}
