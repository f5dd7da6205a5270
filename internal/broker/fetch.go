package broker

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// fetchSize is how many tasks one fetch brings at most.
	fetchSize = 256
	// fetchPatience is how long an empty queue is waited for in one call of
	// asynq. asynq begins a task's lease with the call, so that of the 30 s there
	// must be left enough for the first heartbeat.
	fetchPatience = 10 * time.Second
	// bufferAge is how long a fetched task may wait for asynq to take it; asynq
	// does so at once unless its own loops hang.
	bufferAge = 5 * time.Second
	// leaseLength is asynq's; what is waiting in the buffer may begin it later.
	leaseLength = 30*time.Second + bufferAge
	// batchLife is how long a lost answer can be asked for again, longer than
	// the leases of the tasks that it had.
	batchLife = 60 * time.Second
)

// fetchScript takes tasks from the head of the queue, as asynq's dequeue does
// one, and remembers which. The same token again returns the same tasks: the
// answer was lost. Ids without a task, which asynq would stumble on, are
// dropped.
//
// KEYS[1] asynq:{queue}:pending
// KEYS[2] asynq:{queue}:paused
// KEYS[3] asynq:{queue}:active
// KEYS[4] asynq:{queue}:lease
// KEYS[5] postrider:{queue}:batch:<server>, what was taken last
// KEYS[6] postrider:{queue}:wake
// ARGV[1] end of the leases, Unix seconds
// ARGV[2] asynq:{queue}:t:
// ARGV[3] how many at most; 0 to only repeat
// ARGV[4] token
// ARGV[5] how long to remember, in seconds
// Returns id, message, id, message, … in the order of the queue.
var fetchScript = newScript(`
local out, leases = {}, {}
local function add(id, msg)
	leases[#leases + 1] = ARGV[1]
	leases[#leases + 1] = id
	out[#out + 1] = id
	out[#out + 1] = msg
end
if redis.call("LINDEX", KEYS[5], 0) == ARGV[4] then
	for _, id in ipairs(redis.call("LRANGE", KEYS[5], 1, -1)) do
		local msg = redis.call("HGET", ARGV[2] .. id, "msg")
		if msg and redis.call("ZSCORE", KEYS[4], id) then
			add(id, msg)
		end
	end
	if #leases > 0 then
		redis.call("ZADD", KEYS[4], unpack(leases))
	end
	return out
end
local pending, paused, wake = KEYS[1], KEYS[2], KEYS[6]
if tonumber(ARGV[3]) < 1 or redis.call("EXISTS", paused) == 1 then
	return out
end
local ids = redis.call("RPOP", pending, ARGV[3])
if not ids or #ids == 0 then
	return out
end
local taken = {}
for _, id in ipairs(ids) do
	local key = ARGV[2] .. id
	local msg = redis.call("HGET", key, "msg")
	if msg then
		redis.call("HSET", key, "state", "active")
		redis.call("HDEL", key, "pending_since")
		taken[#taken + 1] = id
		add(id, msg)
	else
		redis.call("DEL", key)
	end
end
if #taken > 0 then
	redis.call("LPUSH", KEYS[3], unpack(taken))
	redis.call("ZADD", KEYS[4], unpack(leases))
	redis.call("DEL", KEYS[5])
	redis.call("RPUSH", KEYS[5], ARGV[4], unpack(taken))
	redis.call("EXPIRE", KEYS[5], ARGV[5])
end
` + luaWake + `
return out
`)

// returnScript puts tasks back to the head of the queue, the first of them
// foremost. Those that are no longer ours stay where they are.
//
// KEYS[1] asynq:{queue}:pending
// KEYS[2] asynq:{queue}:paused
// KEYS[3] asynq:{queue}:active
// KEYS[4] asynq:{queue}:lease
// KEYS[5] postrider:{queue}:wake
// ARGV[1] asynq:{queue}:t:
// ARGV[2] Unix time in nanoseconds
// ARGV[3…] task ids, in the order in which they were taken
// Returns how many were put back.
var returnScript = newScript(`
local n = 0
for i = #ARGV, 3, -1 do
	local id = ARGV[i]
	if redis.call("LREM", KEYS[3], 0, id) > 0 and redis.call("ZREM", KEYS[4], id) > 0 then
		redis.call("RPUSH", KEYS[1], id)
		redis.call("HSET", ARGV[1] .. id, "state", "pending", "pending_since", ARGV[2])
		n = n + 1
	end
end
local pending, paused, wake = KEYS[1], KEYS[2], KEYS[5]
` + luaWake + `
return n
`)

// giveBack puts active tasks back to the head of their queue and returns how
// many it found.
func giveBack(ctx context.Context, rdb redis.UniversalClient, queue string, ids []string) (int, error) {
	keys := []string{
		queueKey(queue, statePending), queueKey(queue, "paused"), queueKey(queue, stateActive),
		queueKey(queue, "lease"), wakeKey(queue),
	}
	args := []any{taskKey(queue, ""), time.Now().UnixNano()}
	for _, id := range ids {
		args = append(args, id)
	}
	return returnScript.Run(ctx, rdb, keys, args...).Int()
}
