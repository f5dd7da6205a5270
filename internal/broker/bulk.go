package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

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

// parcel is a task on its way from asynq's client to a flight.
type parcel struct {
	due   dueTime // 0 for at once
	calls []*call
}

// parcelKey is the context's key of a *parcel.
type parcelKey struct{}

// collecting is the client that asynq's client gets: what asynq would send one
// by one is put into the parcel of the call's context, as if it had been
// carried out.
type collecting struct {
	redis.UniversalClient
	ops map[string]op
}

func (c collecting) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	p, ok := ctx.Value(parcelKey{}).(*parcel)
	op := c.ops[sha]
	if !ok || op != opEnqueue && op != opSchedule {
		return c.UniversalClient.EvalSha(ctx, sha, keys, args...)
	}
	if op == opSchedule {
		args[1] = p.due.score() // asynq has cut the fraction off
	} else {
		p.due = 0 // it was due by the time that asynq looked
	}
	p.calls = append(p.calls, &call{op: op, sha: sha, keys: keys, args: args})
	return answer(ctx, int64(1), nil)
}

// ship sends tasks in flights of many, each with its own outcome.
func (c *Client) ship(ctx context.Context, ts []job.Task) ([]job.Task, error) {
	arrived := make([]job.Task, 0, len(ts))
	var first error
	failed := 0
	for chunk := range slices.Chunk(ts, shipment) {
		there, err := c.fly(ctx, chunk)
		arrived = append(arrived, there...)
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

// fly sends the tasks in one flight and returns those that have arrived. One
// that was there already has: Redis answers 0 for it.
func (c *Client) fly(ctx context.Context, ts []job.Task) (arrived []job.Task, err error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var n nudges
	calls := make([]*call, 0, len(ts))
	for _, t := range ts {
		p := &parcel{due: dueAt(t.RunAt)}
		if err := c.enqueue(context.WithValue(ctx, parcelKey{}, p), t); err != nil {
			return nil, err
		}
		if len(p.calls) != 1 {
			return nil, fmt.Errorf("enqueueing a task for queue %s: asynq sent %d commands", t.Queue, len(p.calls))
		}
		calls = append(calls, p.calls[0])
		if p.due != 0 { // the others wake a worker by themselves
			n.delays(t.Queue, stateScheduled, p.due)
		}
	}
	if err := c.pipe.send(ctx, n, calls...); err != nil {
		return nil, fmt.Errorf("enqueueing %d tasks: %w", len(ts), err)
	}
	arrived = make([]job.Task, 0, len(ts))
	for i, call := range calls {
		if call.err != nil {
			err = fmt.Errorf("enqueueing a task for queue %s: %w", ts[i].Queue, call.err)
			continue
		}
		arrived = append(arrived, ts[i])
	}
	return arrived, err
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
