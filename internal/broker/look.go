package broker

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/job"
)

const (
	// lookSize is how many tasks one call of lookScript looks for: about a
	// millisecond of Redis' time.
	lookSize = 256
	// lookAhead is how many of the tasks that a queue brings next are read to
	// see whether one is there. A list cannot be searched for less.
	lookAhead = 1000
	// lookPatience is by how much longer a task must have been pending than
	// all that the queue brings next, to be taken for one that it does not
	// have: they were stamped by clocks that differ.
	lookPatience = time.Minute
	// healPatience is how far a lease must have run out, by our clock, which
	// may differ from that of the worker that set it.
	healPatience = 2 * time.Second
)

// lookScript says of tasks whether asynq will bring them. asynq keeps a task's
// state in its hash and its place in a list or a sorted set, and believes the
// hash; who believes it, too, waits for ever for a task whose place was lost.
// Such a hash is removed, so that its name is free again.
//
// KEYS[1] asynq:{queue}:pending
// KEYS[2] asynq:{queue}:active
// KEYS[3] asynq:{queue}:lease
// KEYS[4] asynq:{queue}:scheduled
// KEYS[5] asynq:{queue}:retry
// ARGV[1] Unix time in seconds, past which a lease must reach to be alive
// ARGV[2] asynq:{queue}:t:
// ARGV[3] how many of the tasks that come next to read
// ARGV[4] by how many nanoseconds one that is not among them must be older
// ARGV[5…] task ids
// Returns of each 0 if there is nothing, 1 if it will come or is worked on, 2
// if there is something by its name that will not come.
var lookScript = newScript(`
local next, last, whole
local function waits(id, since)
	if not next then
		next = {}
		local ids = redis.call("LRANGE", KEYS[1], -ARGV[3], -1)
		for _, i in ipairs(ids) do
			next[i] = true
		end
		whole = #ids < tonumber(ARGV[3])
		if not whole then
			last = redis.call("HGET", ARGV[2] .. ids[1], "pending_since")
		end
	end
	if next[id] then
		return 1
	elseif whole then
		return 0
	elseif since and last and tonumber(since) < tonumber(last) - tonumber(ARGV[4]) then
		return 2
	end
	return 1
end
local function place(id, state, since)
	if state == "pending" then
		return waits(id, since)
	elseif state == "scheduled" then
		return redis.call("ZSCORE", KEYS[4], id) and 1 or 0
	elseif state == "retry" then
		return redis.call("ZSCORE", KEYS[5], id) and 1 or 0
	elseif state == "active" then
		local lease = redis.call("ZSCORE", KEYS[3], id)
		if lease and tonumber(lease) > tonumber(ARGV[1]) then
			return 1
		elseif not lease and not redis.call("LPOS", KEYS[2], id) then
			return 0
		end
	end
	return 2
end
local out = {}
for i = 5, #ARGV do
	local key = ARGV[2] .. ARGV[i]
	local found = redis.call("HMGET", key, "state", "pending_since")
	if redis.call("EXISTS", key) == 0 then
		out[#out + 1] = 0
	else
		local is = place(ARGV[i], found[1], found[2])
		if is == 0 then
			redis.call("DEL", key)
		end
		out[#out + 1] = is
	end
end
return out
`)

// Look implements job.Dispatcher, in one round trip for some hundred tasks of a
// queue.
func (c *Client) Look(ctx context.Context, ts []job.Task) ([]job.Presence, error) {
	byQueue := map[string][]int{}
	for i, t := range ts {
		byQueue[t.Queue] = append(byQueue[t.Queue], i)
	}
	found := make([]job.Presence, len(ts))
	for queue, places := range byQueue {
		for chunk := range slices.Chunk(places, lookSize) {
			if err := c.lookIn(ctx, queue, ts, chunk, found); err != nil {
				return nil, job.Wrap(job.CodeTemporary, err, "Redis does not tell which tasks it knows")
			}
		}
	}
	return found, nil
}

func (c *Client) lookIn(ctx context.Context, queue string, ts []job.Task, places []int, found []job.Presence) error {
	keys := []string{
		queueKey(queue, statePending), queueKey(queue, stateActive), queueKey(queue, "lease"),
		queueKey(queue, stateScheduled), queueKey(queue, stateRetry),
	}
	args := []any{time.Now().Add(-healPatience).Unix(), taskKey(queue, ""), lookAhead, lookPatience.Nanoseconds()}
	for _, i := range places {
		args = append(args, ts[i].TaskID())
	}
	answer, err := lookScript.Run(ctx, c.rdb, keys, args...).Int64Slice()
	if err != nil {
		return fmt.Errorf("looking for tasks in queue %s: %w", queue, err)
	}
	if len(answer) != len(places) {
		return fmt.Errorf("looking for %d tasks in queue %s: %d answers", len(places), queue, len(answer))
	}
	for n, i := range places {
		found[i] = [...]job.Presence{job.Absent, job.Known, job.Stuck}[answer[n]]
	}
	return nil
}
