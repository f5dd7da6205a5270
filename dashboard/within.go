package dashboard

import (
	"context"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// within is a Redis client whose commands heed a context that asynq's
// Inspector does not take: the commands that the Inspector uses here are
// issued with ctx in place of their own.
type within struct {
	redis.UniversalClient
	ctx context.Context
}

// inspector returns asynq's Inspector bound to ctx.
func inspector(ctx context.Context, rdb redis.UniversalClient) *asynq.Inspector {
	return asynq.NewInspectorFromRedisClient(within{rdb, ctx})
}

func (w within) Eval(_ context.Context, script string, keys []string, args ...any) *redis.Cmd {
	return w.UniversalClient.Eval(w.ctx, script, keys, args...)
}

func (w within) EvalSha(_ context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return w.UniversalClient.EvalSha(w.ctx, sha, keys, args...)
}

func (w within) SIsMember(_ context.Context, key string, member any) *redis.BoolCmd {
	return w.UniversalClient.SIsMember(w.ctx, key, member)
}

func (w within) SMembers(_ context.Context, key string) *redis.StringSliceCmd {
	return w.UniversalClient.SMembers(w.ctx, key)
}

func (w within) Get(_ context.Context, key string) *redis.StringCmd {
	return w.UniversalClient.Get(w.ctx, key)
}

func (w within) HVals(_ context.Context, key string) *redis.StringSliceCmd {
	return w.UniversalClient.HVals(w.ctx, key)
}

func (w within) Publish(_ context.Context, channel string, message any) *redis.IntCmd {
	return w.UniversalClient.Publish(w.ctx, channel, message)
}

// lent hands the shared client to asynqmon. asynqmon's handlers give their
// calls no context: what bounds those is the client's own read timeout.
// asynqmon would close the client with its own Close, which is never called.
type lent struct{ redis.UniversalClient }

// MakeRedisClient implements asynq.RedisConnOpt.
func (l lent) MakeRedisClient() any { return l.UniversalClient }
