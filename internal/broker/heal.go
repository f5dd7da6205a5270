package broker

import (
	"context"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
)

// healSize is how many tasks of a queue one Heal sees to at most.
const healSize = 1000

// leakScript makes the list of active tasks, their leases and their hashes
// agree, and finds those whose lease has run out. asynq writes the three
// together, but what a lost tail, an older asynq or a deleted key left behind
// it neither finishes nor forgets: it looks for the leases that have run out
// alone.
//
// KEYS[1] asynq:{queue}:active
// KEYS[2] asynq:{queue}:lease
// ARGV[1] Unix time in seconds, past which a lease must reach to be alive
// ARGV[2] asynq:{queue}:t:
// ARGV[3] how many to see to at most, the oldest first
// Returns the ids of the active tasks whose lease has run out.
var leakScript = newScript(`
for _, id in ipairs(redis.call("LRANGE", KEYS[1], -ARGV[3], -1)) do
	if not redis.call("ZSCORE", KEYS[2], id) then
		if redis.call("HGET", ARGV[2] .. id, "state") == "active" then
			redis.call("ZADD", KEYS[2], ARGV[1], id)
		else
			redis.call("LREM", KEYS[1], 0, id)
		end
	end
end
local out = {}
for _, id in ipairs(redis.call("ZRANGEBYSCORE", KEYS[2], "-inf", ARGV[1], "LIMIT", 0, ARGV[3])) do
	if redis.call("HGET", ARGV[2] .. id, "state") ~= "active" then
		redis.call("ZREM", KEYS[2], id)
		redis.call("LREM", KEYS[1], 0, id)
	else
		if not redis.call("LPOS", KEYS[1], id) then
			redis.call("RPUSH", KEYS[1], id)
		end
		out[#out + 1] = id
	end
end
return out
`)

// Heal implements job.Dispatcher. Durable tasks go back to the head of their
// queue: whether their job may run its claim knows. An ephemeral one is left to
// asynq, which charges it an attempt half a minute later; all it could not find
// by itself is put where it looks. What no asynq can read is dropped: it would
// keep asynq from finding any other.
func (c *Client) Heal(ctx context.Context, queue string) (int, error) {
	dead := time.Now().Add(-healPatience).Unix()
	ids, err := leakScript.Run(ctx, c.rdb, []string{queueKey(queue, stateActive), queueKey(queue, "lease")},
		dead, taskKey(queue, ""), healSize).StringSlice()
	if err != nil {
		return 0, job.Wrap(job.CodeTemporary, err, "Redis does not tell what is active in queue %s", queue)
	}
	durable, garbage := c.read(ctx, queue, ids)
	for _, id := range garbage {
		if err := c.drop(ctx, queue, id); err != nil {
			return 0, job.Wrap(job.CodeTemporary, err, "Redis does not drop a task of queue %s", queue)
		}
		c.log.Warn("a task could not be read by this version of asynq; it was dropped", "queue", queue, "task", id)
	}
	if len(durable) == 0 {
		return 0, nil
	}
	n, err := giveBack(ctx, c.rdb, queue, durable)
	if err != nil {
		return 0, job.Wrap(job.CodeTemporary, err, "Redis does not take tasks back into queue %s", queue)
	}
	return n, nil
}

// read tells the queue's durable tasks, which have no payload, and those whose
// message is none or another task's. One that Redis does not tell of now is
// neither.
func (c *Client) read(ctx context.Context, queue string, ids []string) (durable, garbage []string) {
	look := inspector(ctx, c.rdb)
	infos, errs := make([]*asynq.TaskInfo, len(ids)), make([]error, len(ids))
	each(ctx, len(ids), func(i int) bool {
		infos[i], errs[i] = look.GetTaskInfo(queue, ids[i])
		return true
	})
	for i, id := range ids {
		switch info, err := infos[i], errs[i]; {
		case err != nil && strings.Contains(err.Error(), undecodable):
			garbage = append(garbage, id)
		case info == nil:
		case info.ID != id || info.Queue != queue:
			garbage = append(garbage, id)
		case len(info.Payload) == 0:
			durable = append(durable, id)
		}
	}
	return durable, garbage
}

// undecodable is how asynq's Inspector says that a message is none; it has no
// error of its own.
const undecodable = "could not decode task message"

// drop removes an active task.
func (c *Client) drop(ctx context.Context, queue, id string) error {
	_, err := c.rdb.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.LRem(ctx, queueKey(queue, stateActive), 0, id)
		p.ZRem(ctx, queueKey(queue, "lease"), id)
		p.Del(ctx, taskKey(queue, id))
		return nil
	})
	return err
}
