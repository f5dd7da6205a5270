package broker

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
)

// TrimArchived deletes at most limit tasks that were archived longer than keep
// ago and says how many; fewer than limit mean that none is left. asynq trims
// its archive itself, but all at once, which fails at some 8,000 tasks.
func (c *Client) TrimArchived(ctx context.Context, keep time.Duration, limit int) (int, error) {
	until := strconv.FormatInt(time.Now().Add(-keep).Unix(), 10) // the scores are in seconds
	trimmed := 0
	for _, queue := range c.queues {
		archive := queueKey(queue, stateArchived)
		ids, err := c.rdb.ZRangeByScore(ctx, archive, &redis.ZRangeBy{Min: "-inf", Max: until, Count: int64(limit - trimmed)}).Result()
		if err != nil {
			return trimmed, job.Wrap(job.CodeTemporary, err, "the archive of queue %s cannot be read", queue)
		}
		var deleted atomic.Int64
		var failed atomic.Pointer[error]
		each(ctx, len(ids), func(i int) bool {
			err := inspector(ctx, c.rdb).DeleteTask(queue, ids[i])
			if gone(err) { // an id whose task is not there
				err = c.rdb.ZRem(ctx, archive, ids[i]).Err()
			}
			if err != nil {
				failed.CompareAndSwap(nil, &err)
				return false
			}
			deleted.Add(1)
			return true
		})
		trimmed += int(deleted.Load())
		if err := failed.Load(); err != nil {
			return trimmed, job.Wrap(job.CodeTemporary, *err, "the archive of queue %s cannot be trimmed", queue)
		}
		if err := ctx.Err(); err != nil {
			return trimmed, job.Wrap(job.CodeTemporary, err, "the archive of queue %s was not trimmed in time", queue)
		}
		if trimmed >= limit {
			break
		}
	}
	return trimmed, nil
}
