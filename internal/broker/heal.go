package broker

import (
	"context"
	"sync/atomic"
	"time"

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
// by itself is put where it looks.
func (c *Client) Heal(ctx context.Context, queue string) (int, error) {
	dead := time.Now().Add(-healPatience).Unix()
	ids, err := leakScript.Run(ctx, c.rdb, []string{queueKey(queue, stateActive), queueKey(queue, "lease")},
		dead, taskKey(queue, ""), healSize).StringSlice()
	if err != nil {
		return 0, job.Wrap(job.CodeTemporary, err, "Redis does not tell what is active in queue %s", queue)
	}
	durable := c.durable(ctx, queue, ids)
	if len(durable) == 0 {
		return 0, nil
	}
	n, err := giveBack(ctx, c.rdb, queue, durable)
	if err != nil {
		return 0, job.Wrap(job.CodeTemporary, err, "Redis does not take tasks back into queue %s", queue)
	}
	return n, nil
}

// durable picks those of a queue's tasks that have no payload. One that cannot
// be read is left out.
func (c *Client) durable(ctx context.Context, queue string, ids []string) []string {
	look := inspector(ctx, c.rdb)
	is := make([]bool, len(ids))
	var unread atomic.Int64
	each(ctx, len(ids), func(i int) bool {
		info, err := look.GetTaskInfo(queue, ids[i])
		if err != nil {
			unread.Add(1)
			return true
		}
		is[i] = len(info.Payload) == 0
		return true
	})
	if n := unread.Load(); n > 0 {
		c.log.Debug("tasks whose lease has run out cannot be read; they are left to asynq", "queue", queue, "tasks", n)
	}
	var out []string
	for i, id := range ids {
		if is[i] {
			out = append(out, id)
		}
	}
	return out
}
