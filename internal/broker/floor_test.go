package broker

import (
	"fmt"
	"log/slog"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
)

// BenchmarkFloor is a drain without asynq, handlers and slots: flights that fetch
// so many tasks and acknowledge those before, one after the other. It tells what
// of a drain's cost is Redis' and its client's. Give it a number of tasks, such as
// -benchtime 20000x.
func BenchmarkFloor(b *testing.B) {
	for _, size := range []int{10, 100} {
		b.Run(strconv.Itoa(size), func(b *testing.B) { drainBare(b, size) })
	}
}

func drainBare(b *testing.B, size int) {
	r := newRig(b, testkit.Redis(b).URL())
	ts := make([]job.Task, b.N)
	for i := range ts {
		ts[i] = job.Task{ID: job.NewID(), Type: flaky.Name, Queue: "default", Payload: make([]byte, 120)}
	}
	r.dispatch(ts...)
	f := newFetcher(r.rdb, r.pipe.texts, "default", newSlots(size), slog.New(slog.DiscardHandler))
	own, redis := r.processorTimes()
	b.ResetTimer()
	for done := 0; done < b.N; {
		calls := []*call{f.request(size)}
		for _, t := range f.buffer {
			calls = append(calls, &call{op: opDone, args: []any{t.id, time.Now().Add(time.Hour).Unix(), int64(1) << 62}, keys: []string{
				queueKey("default", stateActive), queueKey("default", "lease"), "", queueKey("default", "processed:today"), queueKey("default", "processed"),
			}})
		}
		done += len(f.buffer)
		f.buffer = nil
		if err := r.pipe.send(b.Context(), nudges{}, calls...); err != nil {
			b.Fatal(err)
		}
		f.landed(calls[0])
		if f.failed != nil {
			b.Fatal(f.failed)
		}
	}
	b.StopTimer()
	ownAfter, redisAfter := r.processorTimes()
	b.ReportMetric(float64((ownAfter-own).Microseconds())/float64(b.N), "own-µs/job")
	b.ReportMetric(float64((redisAfter-redis).Microseconds())/float64(b.N), "redis-µs/job")
}

// processorTimes are this process' and Redis' so far.
func (r *rig) processorTimes() (own, redis time.Duration) {
	r.t.Helper()
	var used syscall.Rusage
	told := map[string]string{}
	err := syscall.Getrusage(syscall.RUSAGE_SELF, &used)
	if err == nil {
		err = info(bound(r.t), r.rdb, "cpu", told)
	}
	if err != nil {
		r.t.Fatal(err)
	}
	for _, name := range []string{"used_cpu_sys", "used_cpu_user"} {
		d, err := time.ParseDuration(fmt.Sprint(told[name], "s"))
		if err != nil {
			r.t.Fatal(err)
		}
		redis += d
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()), redis
}
