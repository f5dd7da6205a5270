package peers

import (
	"bufio"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/bench/stage"
	"github.com/postrider/postrider/internal/app"
)

// BenchmarkCost tells what a job costs in processor time, this process' and
// Redis', which says more than jobs a second on a machine that does other things
// too. Give it a number of jobs: go test -run - -bench Cost -benchtime 30000x.
func BenchmarkCost(b *testing.B) {
	for _, kind := range []string{"postrider", "asynq"} {
		b.Run(kind+"/callers-50", func(b *testing.B) { costOfAdding(b, kind, command{Callers: 50}) })
		if kind != "asynq" { // which has no bulk call
			b.Run(kind+"/bulk", func(b *testing.B) { costOfAdding(b, kind, command{Bulk: 1000}) })
		}
		for _, concurrency := range []int{10, 100} {
			b.Run(fmt.Sprintf("%s/drain-%d", kind, concurrency), func(b *testing.B) { costOfDraining(b, kind, concurrency) })
		}
	}
}

func costOfAdding(b *testing.B, kind string, how command) {
	r := newCostRig(b, kind)
	a := &actor{queue: r.queue}
	how.Jobs = 2000
	r.must(a.add(b.Context(), how)) // warms up
	how.Jobs = b.N
	r.measure(func() { r.must(a.add(b.Context(), how)) })
}

// costOfDraining lets the gate's jobs hold all slots until the others are there.
func costOfDraining(b *testing.B, kind string, concurrency int) {
	r := newCostRig(b, kind)
	a := &actor{queue: r.queue}
	a.shut()
	var all sync.WaitGroup
	all.Add(b.N)
	r.must(r.queue.Work(b.Context(), concurrency, func(m Mail) {
		a.handle(m)
		if m.Subject != Gate {
			all.Done()
		}
	}))
	defer a.open()
	r.must(a.add(b.Context(), command{Jobs: concurrency, Bulk: 1000, Subject: Gate}))
	for deadline := time.Now().Add(time.Minute); a.gated.Load() < int64(concurrency); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			b.Fatal("not all slots are held")
		}
	}
	r.must(a.add(b.Context(), command{Jobs: b.N, Bulk: 1000}))
	r.measure(func() { a.open(); all.Wait() })
}

// costRig is a contestant in this process, with a Redis of its own.
type costRig struct {
	b     *testing.B
	redis *redis.Client
	queue Queue
}

func newCostRig(b *testing.B, kind string) *costRig {
	b.Helper()
	b.Cleanup(app.FloorHeap())
	server, err := stage.StartRedis(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = server.Close() })
	r := &costRig{b: b, redis: redis.NewClient(&redis.Options{Addr: server.Addr})}
	b.Cleanup(func() { _ = r.redis.Close() })
	if r.queue, err = Open(b.Context(), kind, Spec{Redis: server.Addr}); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.must(r.queue.Close(context.Background())) })
	return r
}

func (r *costRig) must(err error) {
	r.b.Helper()
	if err != nil {
		r.b.Fatal(err)
	}
}

// measure reports what b.N jobs cost that do does.
func (r *costRig) measure(do func()) {
	own, redis := r.ownTime(), r.redisTime()
	r.b.ResetTimer()
	do()
	r.b.StopTimer()
	jobs := float64(r.b.N)
	r.b.ReportMetric(float64((r.ownTime()-own).Microseconds())/jobs, "own-µs/job")
	r.b.ReportMetric(float64((r.redisTime()-redis).Microseconds())/jobs, "redis-µs/job")
}

// ownTime is the processor time of this process.
func (r *costRig) ownTime() time.Duration {
	var used syscall.Rusage
	r.must(syscall.Getrusage(syscall.RUSAGE_SELF, &used))
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// redisTime is the processor time of Redis.
func (r *costRig) redisTime() (sum time.Duration) {
	told, err := r.redis.Info(context.Background(), "cpu").Result()
	r.must(err)
	for lines := bufio.NewScanner(strings.NewReader(told)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		if name == "used_cpu_sys" || name == "used_cpu_user" {
			seconds, err := strconv.ParseFloat(value, 64)
			r.must(err)
			sum += time.Duration(seconds * float64(time.Second))
		}
	}
	return sum
}
