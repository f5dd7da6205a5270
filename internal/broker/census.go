package broker

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/numbers"
)

// Census counts what Redis holds. It keeps nothing, and is safe for concurrent
// use.
type Census struct {
	rdb    redis.UniversalClient
	queues []string
}

var _ numbers.Engine = (*Census)(nil)

// NewCensus makes a Census of the queues.
func NewCensus(rdb redis.UniversalClient, queues []string) *Census { return &Census{rdb, queues} }

// Count implements numbers.Engine, in two round trips; asynq's GetQueueInfo would
// also estimate the memory that each queue takes, which is costly.
func (c *Census) Count(ctx context.Context) ([]numbers.Count, error) {
	type answers struct {
		pending, active, scheduled, retry, archived, paused *redis.IntCmd
		last, processed, since                              *redis.StringCmd
	}
	got := make([]answers, len(c.queues))
	_, err := c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, q := range c.queues {
			got[i] = answers{
				pending:   p.LLen(ctx, queueKey(q, statePending)),
				active:    p.LLen(ctx, queueKey(q, stateActive)),
				scheduled: p.ZCard(ctx, queueKey(q, stateScheduled)),
				retry:     p.ZCard(ctx, queueKey(q, stateRetry)),
				archived:  p.ZCard(ctx, queueKey(q, stateArchived)),
				paused:    p.Exists(ctx, queueKey(q, "paused")),
				processed: p.Get(ctx, queueKey(q, "processed")),
				// asynq pushes on the left and takes from the right.
				last: p.LIndex(ctx, queueKey(q, statePending), -1),
			}
		}
		return nil
	})
	if absent(err) != nil {
		return nil, fmt.Errorf("counting the queues: %w", err)
	}
	_, err = c.rdb.Pipelined(ctx, func(p redis.Pipeliner) error {
		for i, q := range c.queues {
			if id := got[i].last.Val(); id != "" {
				got[i].since = p.HGet(ctx, taskKey(q, id), "pending_since")
			}
		}
		return nil
	})
	if absent(err) != nil {
		return nil, fmt.Errorf("asking how long the oldest tasks wait: %w", err)
	}
	counts := make([]numbers.Count, len(c.queues))
	for i, q := range c.queues {
		g := got[i]
		for _, n := range []*redis.IntCmd{g.pending, g.active, g.scheduled, g.retry, g.archived, g.paused} {
			if n.Err() != nil {
				return nil, fmt.Errorf("counting queue %s: %w", q, n.Err())
			}
		}
		counts[i] = numbers.Count{
			Queue: q, Pending: g.pending.Val(), Active: g.active.Val(), Scheduled: g.scheduled.Val(), Retry: g.retry.Val(),
			Archived: g.archived.Val(), Paused: g.paused.Val() == 1,
		}
		counts[i].Processed, _ = strconv.ParseInt(g.processed.Val(), 10, 64) // none is 0
		if g.since == nil {
			continue
		}
		if nanos, err := strconv.ParseInt(g.since.Val(), 10, 64); err == nil {
			counts[i].Oldest = max(time.Since(time.Unix(0, nanos)), 0)
		}
	}
	return counts, nil
}

// Workers implements numbers.Engine. It groups asynq's servers by process: a
// worker has one a queue.
func (c *Census) Workers(ctx context.Context) ([]numbers.Worker, error) {
	servers, err := inspector(ctx, c.rdb).Servers()
	if err != nil {
		return nil, fmt.Errorf("listing the workers: %w", err)
	}
	type process struct {
		host string
		pid  int
	}
	views := map[process]*numbers.Worker{}
	queues := map[process][]string{}
	for _, s := range servers {
		p := process{s.Host, s.PID}
		v := views[p]
		if v == nil {
			v = &numbers.Worker{Host: s.Host, PID: s.PID, Started: s.Started}
			views[p] = v
		}
		v.Running += len(s.ActiveWorkers)
		if s.Started.Before(v.Started) {
			v.Started = s.Started
		}
		// A server of ours has one queue, and tells that queue's concurrency as
		// its priority: asynq's own count includes tasks whose work is over.
		for q, concurrency := range s.Queues {
			v.Slots += concurrency
			queues[p] = append(queues[p], q+" "+strconv.Itoa(concurrency))
		}
	}
	out := make([]numbers.Worker, 0, len(views))
	for p, v := range views {
		slices.Sort(queues[p])
		v.Queues = strings.Join(queues[p], ", ")
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b numbers.Worker) int {
		return cmp.Or(cmp.Compare(a.Host, b.Host), cmp.Compare(a.PID, b.PID))
	})
	return out, nil
}
