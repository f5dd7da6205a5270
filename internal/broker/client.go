package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/tasks"
)

const (
	// senders work side by side on one call. More of them gain nothing against
	// one Redis.
	senders = 16
	// courtesy bounds what is done as well as it can be: withdrawals and hints.
	courtesy = 2 * time.Second
	// skew is by how much the database's clock may be ahead of ours without an
	// immediate job having to wait for asynq's next whole second. A durable
	// task that so comes early is refused at its claim.
	skew = 500 * time.Millisecond
)

// Options are what a Client is made of; all are needed but Plain.
type Options struct {
	Redis  redis.UniversalClient
	Queues Queues
	Types  *tasks.Catalogue
	// Margin lies between the deadline of a type and the Timeout after which
	// asynq would decide about the task: the worker's stop grace and the
	// budget of its settle.
	Margin time.Duration
	Log    *slog.Logger
	// Plain leaves the broker layer out, see [Config].
	Plain bool
}

// Client is the job.Dispatcher over asynq. It keeps nothing running; the Redis
// client is its owner's to close.
type Client struct {
	rdb    redis.UniversalClient
	asynq  *asynq.Client // of plain mode
	pipe   *coalescer    // nil in plain mode
	later  string        // the SHA-1 of asynq's script for delayed tasks
	told   sync.Map      // queues that asynq was told of, by name
	queues []string
	types  *tasks.Catalogue
	margin time.Duration
	log    *slog.Logger
}

var _ job.Dispatcher = (*Client)(nil)

// NewClient makes a Client.
func NewClient(o Options) *Client {
	c := &Client{rdb: o.Redis, queues: o.Queues.Names(), types: o.Types, margin: o.Margin, log: component(o.Log)}
	if contract := asynqContract(); !o.Plain && contract.kept(c.log) {
		c.pipe, c.later = newCoalescer(o.Redis, contract.texts), contract.schedule
	} else {
		c.asynq = asynq.NewClientFromRedisClient(o.Redis)
	}
	return c
}

// Ping reports whether Redis answers, for readiness.
func (c *Client) Ping(ctx context.Context) error {
	if err := c.rdb.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("pinging Redis: %w", err)
	}
	return nil
}

// Dispatch implements job.Dispatcher, in one round trip for some hundred tasks.
//
// In plain mode each task is a round trip, some side by side: a sender whose
// call fails stops and the others go on, so that a cut connection costs one
// task its arrival and an outage one attempt a sender.
func (c *Client) Dispatch(ctx context.Context, ts []job.Task) ([]job.Task, error) {
	ctx, span := telemetry.Child(ctx, "enqueue")
	defer span.End()
	if c.pipe != nil {
		return c.ship(ctx, ts)
	}
	there := make([]bool, len(ts))
	var failed atomic.Pointer[error]
	each(ctx, len(ts), func(i int) bool {
		if err := c.enqueue(ctx, ts[i]); err != nil {
			failed.CompareAndSwap(nil, &err)
			return false
		}
		there[i] = true
		return true
	})
	arrived := make([]job.Task, 0, len(ts))
	for i, t := range ts {
		if there[i] {
			arrived = append(arrived, t)
		}
	}
	if len(arrived) == len(ts) {
		return arrived, nil
	}
	cause := context.Cause(ctx)
	if err := failed.Load(); err != nil {
		cause = *err
	}
	return arrived, job.Wrap(job.CodeTemporary, cause, "%d of %d tasks did not reach Redis", len(ts)-len(arrived), len(ts))
}

// enqueue sends one task in plain mode; one that is there already is as good as
// sent.
func (c *Client) enqueue(ctx context.Context, t job.Task) error {
	task, opts := c.message(t).forAsynq()
	if comesLater(t) {
		opts = append(opts, asynq.ProcessAt(wholeSecond(t.RunAt)))
	}
	_, err := c.asynq.EnqueueContext(ctx, task, opts...)
	if err != nil && !errors.Is(err, asynq.ErrTaskIDConflict) {
		return fmt.Errorf("enqueueing a task for queue %s: %w", t.Queue, err)
	}
	return nil
}

// comesLater reports whether a task is to wait for its time.
func comesLater(t job.Task) bool {
	now := time.Now()
	if t.Dispatch != 0 {
		now = now.Add(skew)
	}
	return t.RunAt.After(now)
}

// Withdraw implements job.Dispatcher.
func (c *Client) Withdraw(ctx context.Context, ts []job.Task) {
	ctx, cancel := context.WithTimeout(ctx, courtesy)
	defer cancel()
	look := inspector(ctx, c.rdb)
	each(ctx, len(ts), func(i int) bool {
		err := look.DeleteTask(ts[i].Queue, ts[i].TaskID())
		if err != nil && !gone(err) {
			c.log.Debug("a task could not be withdrawn; its claim will be refused", "job", ts[i].ID, "err", err)
		}
		return true
	})
}

// HintCancel implements job.Dispatcher.
func (c *Client) HintCancel(ctx context.Context, id job.ID) {
	ctx, cancel := context.WithTimeout(ctx, courtesy)
	defer cancel()
	if err := c.rdb.Publish(ctx, cancelChannel, string(id)).Err(); err != nil {
		c.log.Debug("a cancellation could not be announced; workers will find it", "job", id, "err", err)
	}
}

// absent takes redis.Nil, the answer for what is not there, for no error.
func absent(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// gone reports whether the Inspector's error says that there is no such task.
func gone(err error) bool {
	return errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound)
}

// each calls do for 0 to n-1, at most senders of them side by side, until ctx
// ends. One of them that returns false makes no more calls.
func each(ctx context.Context, n int, do func(i int) bool) {
	var next atomic.Int64
	work := func() {
		for ctx.Err() == nil {
			i := int(next.Add(1)) - 1
			if i >= n || !do(i) {
				return
			}
		}
	}
	if n == 1 {
		work()
		return
	}
	var wg sync.WaitGroup
	for range min(n, senders) {
		wg.Go(work)
	}
	wg.Wait()
}
