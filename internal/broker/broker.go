// Package broker is the engine's side of the domain: it connects to Redis in
// every form that Redis is run in, sends tasks to their queues and brings them
// to the worker, over asynq.
//
// SQL is the truth and asynq only the carrier: a durable task holds its job's
// type and id and nothing else, and asynq never decides about it. Of an
// ephemeral job the task is all there is; it is told from a durable one by its
// having a payload.
//
// asynq is used as it is. Between it and Redis lies a layer, the client that
// asynq is given: it knows asynq's scripts (contract.go), answers dequeues from
// batches (fetcher.go), sends what is issued together together (coalesce.go,
// call.go), sees acknowledgements through (acks.go), waits where asynq would
// poll (wake.go, nudge.go) and brings delayed tasks at their time (keeper.go).
// Without it, in plain mode, all is slower and nothing else is different for
// durable jobs.
package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/tasks"
)

// cancelChannel carries the ids of jobs whose cancellation was asked for. It
// is a hint: nobody need hear it.
const cancelChannel = "postrider:cancel"

// The keys of asynq v0.26.0 that are read here (its internal/base). All of a
// queue's are in one hash slot of a Cluster, for the braces' sake.
func taskKey(queue, taskID string) string { return "asynq:{" + queue + "}:t:" + taskID }
func queueKey(queue, set string) string   { return "asynq:{" + queue + "}:" + set }

// allQueues is the set of queue names that asynq's Inspector believes in.
const allQueues = "asynq:queues"

// allServers is the sorted set of asynq's servers, by when each is given up.
const allServers = "asynq:servers"

// The states that asynq writes into a task's hash, and the names of the lists
// and sets that it keeps the ids of such tasks in.
const (
	statePending   = "pending"
	stateActive    = "active"
	stateScheduled = "scheduled"
	stateRetry     = "retry"
	stateArchived  = "archived"
)

// longestDeadline is the most that the catalogue allows. A task of a type that
// this process does not know, which a newer release accepted, may have it.
const longestDeadline = 24 * time.Hour

// wholeSecond rounds up to whole seconds: asynq keeps no fractions and cuts
// them off, which would bring a task early.
func wholeSecond(t time.Time) time.Time {
	whole := t.Truncate(time.Second)
	if whole.Before(t) {
		whole = whole.Add(time.Second)
	}
	return whole
}

// inspector returns asynq's Inspector bound to ctx, which it lacks itself.
func inspector(ctx context.Context, rdb redis.UniversalClient) *asynq.Inspector {
	return asynq.NewInspectorFromRedisClient(bounded{rdb, ctx})
}

// bounded puts its context in place of the one it is called with, in the
// commands that the Inspector uses here.
type bounded struct {
	redis.UniversalClient
	ctx context.Context
}

func (b bounded) SIsMember(_ context.Context, key string, member any) *redis.BoolCmd {
	return b.UniversalClient.SIsMember(b.ctx, key, member)
}

func (b bounded) EvalSha(_ context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return b.UniversalClient.EvalSha(b.ctx, sha, keys, args...)
}

func (b bounded) Eval(_ context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return b.UniversalClient.Eval(b.ctx, script, keys, args...)
}

func (b bounded) Get(_ context.Context, key string) *redis.StringCmd {
	return b.UniversalClient.Get(b.ctx, key)
}

func (b bounded) HVals(_ context.Context, key string) *redis.StringSliceCmd {
	return b.UniversalClient.HVals(b.ctx, key)
}

// component names this package in the log.
func component(log *slog.Logger) *slog.Logger { return log.With("component", "broker") }

// typeOf looks a job type up; one that is not known is durable and may take as
// long as any.
func typeOf(types *tasks.Catalogue, name string) tasks.Type {
	if t, ok := types.Lookup(name); ok {
		return t
	}
	return tasks.Type{Name: name, Deadline: longestDeadline, MaxAttempts: 1, Backoff: tasks.DefaultBackoff}
}
