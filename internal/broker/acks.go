package broker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// ackLimit bounds an acknowledgement for which asynq names no end of a lease.
const ackLimit = leaseLength

// acks sends what becomes of tasks (done, again, archived) until Redis has
// taken it or the task's lease is over. asynq itself tries a second time on a
// context that has ended by then, and the task would run twice.
type acks struct {
	pipe  *coalescer
	link  *link
	slots *slots
	queue string
	log   *slog.Logger
	lost  prometheus.Counter
}

// send carries an acknowledgement out; its first argument is the task's id.
// The context ends with the lease. One that has ended by now is asynq's second
// try of what was refused or given up before.
func (a *acks) send(ctx context.Context, op op, sha string, keys []string, args []any) *redis.Cmd {
	if _, ends := ctx.Deadline(); !ends {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, ackLimit)
		defer cancel()
	}
	if ctx.Err() != nil {
		return answer(ctx, nil, context.Cause(ctx))
	}
	id, _ := args[0].(string)
	defer a.slots.leave(id)
	var n nudges
	if op == opRetry {
		due, ok := a.slots.due(id)
		if ok {
			args[2] = due.score()
		} else if seconds, isInt := args[2].(int64); isInt {
			due = dueTime(seconds * 1000)
		}
		n.delays(a.queue, stateRetry, due)
	}
	for again := false; ; again = true {
		if again && a.taken(ctx, op, keys, args) {
			return answer(ctx, "OK", nil)
		}
		c := &call{op: op, sha: sha, keys: keys, args: args}
		err := a.pipe.send(ctx, n, c)
		if err == nil {
			err = c.err
		}
		if again && notFound(err) {
			err = nil // the try before was carried out and its answer lost
		}
		if a.link.mark(err) {
			return answer(ctx, "OK", err)
		}
		if !pause(ctx, restPause) || errors.Is(err, redis.ErrClosed) {
			a.lost.Inc()
			a.log.Error("a task's outcome did not reach Redis before its lease ended; it will be brought again",
				"queue", a.queue, "task", id, "outcome", string(op), "err", err)
			return answer(ctx, nil, err)
		}
	}
}

// pause waits for d and reports whether ctx has lasted.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// taken reports whether a try whose answer was lost was carried out. A task
// that waits to be brought again may already have been: trying again would take
// it from who has it now.
func (a *acks) taken(ctx context.Context, op op, keys []string, args []any) bool {
	if op != opRetry && op != opArchive {
		return false // the task is gone, and the next try will say so
	}
	sent, ok := args[1].([]byte)
	if !ok {
		return false
	}
	kept, err := a.pipe.rdb.HGet(ctx, keys[0], "msg").Result()
	return err == nil && kept == string(sent)
}
