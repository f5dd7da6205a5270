package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/job"
)

const (
	// shipment is how many tasks of one dispatch fly together: that many a cut
	// connection leaves in doubt.
	shipment = 256
	// lostFlights is after how many flights that failed a dispatch gives up: one
	// may have had a cut connection, two are an outage.
	lostFlights = 2
)

// ship sends tasks in flights of many, each with its own outcome.
func (c *Client) ship(ctx context.Context, ts []job.Task) ([]job.Task, error) {
	arrived := make([]job.Task, 0, len(ts))
	var first error
	failed := 0
	for chunk := range slices.Chunk(ts, shipment) {
		there, err := c.fly(ctx, chunk, arrived)
		arrived = there
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		if failed++; failed == lostFlights || ctx.Err() != nil {
			break
		}
	}
	if len(arrived) == len(ts) {
		return arrived, nil
	}
	return arrived, job.Wrap(job.CodeTemporary, first, "%d of %d tasks did not reach Redis", len(ts)-len(arrived), len(ts))
}

// fly sends the tasks in one flight and appends those that have arrived. One
// that was there already has: Redis answers 0 for it.
func (c *Client) fly(ctx context.Context, ts, arrived []job.Task) ([]job.Task, error) {
	if ctx.Err() != nil {
		return arrived, context.Cause(ctx)
	}
	var n nudges
	calls := make([]*call, len(ts))
	for i, t := range ts {
		if err := c.tell(ctx, t.Queue); err != nil {
			return arrived, err
		}
		calls[i] = c.call(t, &n)
	}
	if err := c.pipe.send(ctx, n, calls...); err != nil {
		return arrived, fmt.Errorf("enqueueing %d tasks: %w", len(ts), err)
	}
	var err error
	for i, call := range calls {
		if call.err != nil {
			err = fmt.Errorf("enqueueing a task for queue %s: %w", ts[i].Queue, call.err)
			continue
		}
		arrived = append(arrived, ts[i])
	}
	return arrived, err
}

// call is what puts a task into its queue, or to those that wait for their time
// and then with a nudge. The others wake a worker by themselves.
func (c *Client) call(t job.Task, n *nudges) *call {
	m := c.message(t)
	if !comesLater(t) {
		return &call{op: opEnqueue, queue: m.queue, args: []any{m.encode(), m.id}}
	}
	due := dueAt(t.RunAt)
	n.delays(m.queue, stateScheduled, due)
	return &call{
		op: opSchedule, sha: c.later,
		keys: []string{taskKey(m.queue, m.id), queueKey(m.queue, stateScheduled)},
		args: []any{m.encode(), due.score(), m.id},
	}
}

// tell adds a queue to those that asynq knows, before its first task, as asynq's
// client does.
func (c *Client) tell(ctx context.Context, queue string) error {
	if _, told := c.told.Load(queue); told {
		return nil
	}
	if err := c.rdb.SAdd(ctx, allQueues, queue).Err(); err != nil {
		return fmt.Errorf("telling asynq of queue %s: %w", queue, err)
	}
	c.told.Store(queue, true)
	return nil
}

// dueScore is when a delayed task is due, by Redis; false if it is not delayed
// any more.
func (c *Client) dueScore(ctx context.Context, queue, state, id string) (time.Time, bool) {
	score, err := c.rdb.ZScore(ctx, queueKey(queue, state), id).Result()
	if err != nil {
		return time.Time{}, false
	}
	return time.UnixMilli(int64(score*1000 + 0.5)), true
}
