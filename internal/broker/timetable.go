package broker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/tasks"
)

const (
	// timetableSync is how often asynq is told of changes.
	timetableSync = 5 * time.Second
	// timetableRead bounds one reading of the timetable.
	timetableRead = 3 * time.Second
	// tickUnique keeps ticks of one schedule from piling up while no worker
	// takes them, and those of several schedulers from doubling.
	tickUnique = time.Hour
)

// Periodic is a schedule as asynq shows it.
type Periodic struct {
	Name     string
	Cron     string // five fields, a descriptor such as @daily, or @every 90s
	TimeZone string // an IANA name
}

// TimetableOptions are what a Timetable is made of; all are needed.
type TimetableOptions struct {
	Redis redis.UniversalClient
	// Entries lists the schedules that are not paused.
	Entries func(ctx context.Context) ([]Periodic, error)
	Queues  Queues // that workers serve; ticks go to their type's own, or to the first
	Log     *slog.Logger
}

// Timetable registers the schedules with asynq's periodic manager, so that
// asynqmon shows them. What asynq enqueues at their times is a schedule:tick, a
// hint: whether it comes, late, twice or never, decides nothing, since the
// schedulers go by SQL. asynq has an idea of its own of the next time where a
// clock is put forward or back, and of what @every counts from.
type Timetable struct {
	entries func(ctx context.Context) ([]Periodic, error)
	queue   string
	log     *slog.Logger
	manager *asynq.PeriodicTaskManager

	mu   sync.Mutex
	last []*asynq.PeriodicTaskConfig // while the timetable cannot be read

	ctx     context.Context // ends what asks Redis and SQL
	cancel  context.CancelFunc
	stop    sync.Once
	stopped chan struct{}
}

// NewTimetable makes a Timetable; Start and Stop it.
func NewTimetable(o TimetableOptions) (*Timetable, error) { return newTimetable(o, timetableSync) }

func newTimetable(o TimetableOptions, sync time.Duration) (*Timetable, error) {
	t := &Timetable{entries: o.Entries, queue: tasks.ScheduleTick.Queue, log: component(o.Log), stopped: make(chan struct{})}
	if names := o.Queues.Names(); len(names) > 0 && !slices.Contains(names, t.queue) {
		t.queue = names[0]
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	manager, err := asynq.NewPeriodicTaskManager(asynq.PeriodicTaskManagerOpts{
		PeriodicTaskConfigProvider: t,
		RedisUniversalClient:       ending{o.Redis, t.ctx},
		SyncInterval:               sync,
		SchedulerOpts: &asynq.SchedulerOpts{
			HeartbeatInterval: sync,
			Logger:            quietLog{t.log},
			PostEnqueueFunc:   t.enqueued,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making asynq's periodic manager: %w", err)
	}
	t.manager = manager
	return t, nil
}

// Start registers the schedules, as far as they can be read, and keeps at it.
// Whether Redis answers does not matter.
func (t *Timetable) Start() error {
	if err := t.manager.Start(); err != nil {
		return fmt.Errorf("starting asynq's periodic manager: %w", err)
	}
	return nil
}

// Stop takes the schedules back from asynq as long as ctx lasts, and waits for
// all to end: that may take as long as one command to Redis may. It may follow a
// Start that failed, and be called again.
func (t *Timetable) Stop(ctx context.Context) error {
	t.stop.Do(func() {
		go func() {
			defer close(t.stopped)
			t.manager.Shutdown()
		}()
	})
	defer t.cancel()
	select {
	case <-t.stopped:
		return nil
	case <-ctx.Done():
	}
	// Now each further command fails at once; the one that is under way ends
	// with the client's own timeouts.
	t.cancel()
	<-t.stopped
	return fmt.Errorf("taking the schedules back from asynq: %w", context.Cause(ctx))
}

// GetConfigs implements asynq.PeriodicTaskConfigProvider. While the timetable
// cannot be read it is the one before.
func (t *Timetable) GetConfigs() ([]*asynq.PeriodicTaskConfig, error) {
	ctx, cancel := context.WithTimeout(t.ctx, timetableRead)
	defer cancel()
	entries, err := t.entries(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.log.Debug("the timetable cannot be read to show it in asynq", "err", err)
		return t.last, nil
	}
	configs := make([]*asynq.PeriodicTaskConfig, 0, len(entries))
	for _, e := range entries {
		payload, err := json.Marshal(tasks.Tick{Schedule: e.Name})
		if err != nil {
			return nil, fmt.Errorf("writing the tick of the schedule %s: %w", e.Name, err)
		}
		configs = append(configs, &asynq.PeriodicTaskConfig{
			Cronspec: cronspec(e),
			Task:     asynq.NewTask(tasks.ScheduleTick.Name, payload),
			Opts: []asynq.Option{
				asynq.Queue(t.queue), asynq.Unique(tickUnique), asynq.Timeout(tasks.ScheduleTick.Deadline),
				asynq.MaxRetry(tasks.ScheduleTick.MaxAttempts),
			},
		})
	}
	t.last = configs
	return configs, nil
}

// cronspec is the form that asynq's cron reads.
func cronspec(e Periodic) string {
	if strings.HasPrefix(e.Cron, "@every") || e.TimeZone == "" {
		return e.Cron
	}
	return "CRON_TZ=" + e.TimeZone + " " + e.Cron
}

func (t *Timetable) enqueued(_ *asynq.TaskInfo, err error) {
	switch {
	case errors.Is(err, asynq.ErrDuplicateTask):
		t.log.Debug("a schedule's tick is still waiting")
	case err != nil:
		t.log.Debug("a schedule's tick was not enqueued; the schedulers do without", "err", err)
	}
}

// ending is the client that asynq's scheduler gets: its commands, which asynq
// binds to no context, end with this one.
type ending struct {
	redis.UniversalClient
	ctx context.Context
}

func (e ending) EvalSha(_ context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return e.UniversalClient.EvalSha(e.ctx, sha, keys, args...)
}

func (e ending) Eval(_ context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return e.UniversalClient.Eval(e.ctx, script, keys, args...)
}

func (e ending) SAdd(_ context.Context, key string, members ...any) *redis.IntCmd {
	return e.UniversalClient.SAdd(e.ctx, key, members...)
}

func (e ending) ZAdd(_ context.Context, key string, members ...redis.Z) *redis.IntCmd {
	return e.UniversalClient.ZAdd(e.ctx, key, members...)
}

func (e ending) ZRem(_ context.Context, key string, members ...any) *redis.IntCmd {
	return e.UniversalClient.ZRem(e.ctx, key, members...)
}

func (e ending) Del(_ context.Context, keys ...string) *redis.IntCmd {
	return e.UniversalClient.Del(e.ctx, keys...)
}

// quietLog is asynq's Logger where all that it says is for debugging: the
// timetable does not depend on it.
type quietLog struct{ log *slog.Logger }

func (l quietLog) say(args []any) { l.log.Debug("asynq: " + fmt.Sprint(args...)) }

// Debug is never called: asynq's default level is above it.
func (l quietLog) Debug(args ...any) { l.say(args) }

// Info takes starts, stops and registrations.
func (l quietLog) Info(args ...any) { l.say(args) }

// Warn takes failed heartbeats.
func (l quietLog) Warn(args ...any) { l.say(args) }

// Error takes failed commands.
func (l quietLog) Error(args ...any) { l.say(args) }

// Fatal would end the process in asynq's own logger; asynq does not call it.
func (l quietLog) Fatal(args ...any) { l.say(args) }
