package broker

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

// timetable is a list of schedules that a test changes.
type timetable struct {
	mu      sync.Mutex
	entries []Periodic
	err     error
}

func (t *timetable) set(err error, entries ...Periodic) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.entries, t.err = entries, err
}

func (t *timetable) list(context.Context) ([]Periodic, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.entries), t.err
}

func maintenance() Queues { return Queues{{"default", 10}, {"maintenance", 2}} }

func (r *rig) timetable(times *timetable, queues Queues) *Timetable {
	r.t.Helper()
	// asynq counts the life of what it shows in whole seconds.
	tt, err := newTimetable(TimetableOptions{Redis: r.rdb, Entries: times.list, Queues: queues, Log: r.Client.log}, time.Second)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := tt.Start(); err != nil {
		r.t.Fatal(err)
	}
	return tt
}

func (r *rig) stop(tt *Timetable) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for range 2 {
		if err := tt.Stop(ctx); err != nil {
			r.t.Error(err)
		}
	}
}

// shown lists what asynqmon would show: the specs with their ticks.
func (r *rig) shown() []string {
	r.t.Helper()
	entries, err := asynq.NewInspectorFromRedisClient(r.rdb).SchedulerEntries()
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, fmt.Sprintf("%s %s %s", e.Spec, e.Task.Type(), e.Task.Payload()))
	}
	slices.Sort(out)
	return out
}

func (r *rig) wantShown(want ...string) {
	r.t.Helper()
	slices.Sort(want)
	testkit.WaitFor(r.t, patience, fmt.Sprintf("asynq shows %q", want), func() bool { return slices.Equal(r.shown(), want) })
}

// TestTimetable shows the schedules, follows their changes within seconds, and
// takes them back at the end. Its ticks come to the handler as ephemeral tasks.
func TestTimetable(t *testing.T) {
	r := newRig(t, testkit.Redis(t).URL())
	r.queues = maintenance().Names()
	times := &timetable{}
	daily := Periodic{Name: "daily", Cron: "0 8 * * *", TimeZone: "Europe/Berlin"}
	often := Periodic{Name: "often", Cron: "@every 1s", TimeZone: "Europe/Berlin"}
	times.set(nil, daily, often)
	tt := r.timetable(times, maintenance())
	const first = `CRON_TZ=Europe/Berlin 0 8 * * * schedule:tick {"schedule":"daily"}`
	r.wantShown(first, `@every 1s schedule:tick {"schedule":"often"}`)

	ticks := make(chan job.Task, 100)
	s := NewServer(ServerOptions{
		Redis: r.rdb, Queues: maintenance(), Types: r.types, Log: r.Client.log,
		Handler: handler(func(_ context.Context, t job.Task) job.Verdict { ticks <- t; return job.Verdict{} }),
	})
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	defer r.shutdown(s)
	for range 2 { // the first does not keep the second away
		got := next(t, ticks)
		if got.Type != tasks.ScheduleTick.Name || string(got.Payload) != `{"schedule":"often"}` || got.Dispatch != 0 || got.Queue != "maintenance" {
			t.Errorf("the tick is %+v", got)
		}
	}

	times.set(nil, daily, Periodic{Name: "new", Cron: "@daily"})
	r.wantShown(first, `@daily schedule:tick {"schedule":"new"}`)
	times.set(errors.New("the database is away"))
	if configs, err := tt.GetConfigs(); err != nil || len(configs) != 2 {
		t.Errorf("while the timetable cannot be read, it has %d entries (%v)", len(configs), err)
	}
	r.stop(tt)
	r.wantShown()
}

// TestTimetableTicksDoNotPileUp has no worker, and two schedulers.
func TestTimetableTicksDoNotPileUp(t *testing.T) {
	r := newRig(t, testkit.Redis(t).URL())
	times := &timetable{}
	times.set(nil, Periodic{Name: "often", Cron: "@every 1s"})
	queues := Queues{{"default", 10}} // no worker serves the tick's own
	one, other := r.timetable(times, queues), r.timetable(times, queues)
	testkit.WaitFor(t, patience, "three ticks are not enqueued", func() bool { return r.log.Count("still waiting") >= 3 })
	if n := r.rdb.LLen(bound(t), queueKey("default", "pending")).Val(); n != 1 {
		t.Errorf("there are %d ticks", n)
	}
	r.stop(one)
	r.stop(other)
}

// TestTimetableWithoutRedis starts, goes on and stops, and says nothing above
// debug level.
func TestTimetableWithoutRedis(t *testing.T) {
	server := testkit.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, DialTimeout: time.Second})
	r := rigOn(t, rdb, false)
	server.Stop()
	times := &timetable{}
	times.set(nil, Periodic{Name: "often", Cron: "@every 1s"})
	tt := r.timetable(times, maintenance())
	testkit.WaitFor(t, patience, "asynq tries to enqueue a tick", func() bool { return r.log.Count("tick was not enqueued") > 0 })
	server.Restart()
	r.wantShown(`@every 1s schedule:tick {"schedule":"often"}`)
	server.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	_ = tt.Stop(ctx) // whether it could tell Redis is not asked
	if n := r.log.Count("level=WARN") + r.log.Count("level=ERROR"); n > 0 {
		t.Errorf("%d lines above debug:\n%s", n, r.log)
	}
}

// TestTimetableStopIsBounded has a Redis that takes commands and never answers.
func TestTimetableStopIsBounded(t *testing.T) {
	server := testkit.Redis(t)
	rdb := redis.NewClient(&redis.Options{Addr: server.Addr, MaxRetries: -1, ReadTimeout: time.Second})
	r := rigOn(t, rdb, false)
	times := &timetable{}
	times.set(nil, Periodic{Name: "often", Cron: "@every 1s"})
	tt := r.timetable(times, maintenance())
	r.wantShown(`@every 1s schedule:tick {"schedule":"often"}`)
	server.Pause()
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	if err := tt.Stop(ctx); err == nil {
		t.Error("it stopped as if Redis had answered")
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("it took %s", took)
	}
	server.Resume()
	// And one that was never started.
	idle, err := NewTimetable(TimetableOptions{Redis: rdb, Entries: times.list, Queues: maintenance(), Log: r.Client.log})
	if err != nil {
		t.Fatal(err)
	}
	r.stop(idle)
}
