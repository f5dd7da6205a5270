package limit

import (
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// brief is how long a job whose time has come keeps its place although there
	// is no room yet: others were late. After longer it queues up again.
	brief = 100 * time.Millisecond
	// lapse is how long the time of a job is remembered that did not come.
	lapse = 10 * time.Minute
)

// takeScript allows a start, or gives the job a time of its own. All times are
// Redis' own, in microseconds since 1970.
//
// The last starts are kept: there is room if the n-th last is a window ago, so
// that no window ever has more than n. Whoever finds no room, or others waiting
// ahead, gets the next free time behind them. A time that nobody came for, as
// its job was cancelled or its worker killed, is simply over: it is no token
// that could get lost.
//
// KEYS[1] list of the last starts, the newest first
// KEYS[2] sorted set of the times of those who wait
// ARGV[1] n, starts in a window
// ARGV[2] length of the window
// ARGV[3] distance of two times, with fractions
// ARGV[4] id of the job
// ARGV[5] for how little room is waited for in place
// ARGV[6] after how long a time is forgotten
// ARGV[7] 1 to keep the job's time for it, 0 to tell it only
// Returns how long to wait until its time; if it may start, the time of the
// start, negative.
var takeScript = redis.NewScript(`
local t = redis.call("TIME")
local now = tonumber(t[1]) * 1000000 + tonumber(t[2])
local n, window, gap, id = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
redis.call("ZREMRANGEBYSCORE", KEYS[2], "-inf", string.format("%.0f", now - tonumber(ARGV[6])))

local slot = redis.call("ZSCORE", KEYS[2], id)
if slot and tonumber(slot) > now then
	return math.ceil(tonumber(slot) - now)
end
local at = now
local nth = redis.call("LINDEX", KEYS[1], n - 1)
if nth then
	at = math.max(now, tonumber(nth) + window)
end
if not slot or at - now > tonumber(ARGV[5]) then
	local last = redis.call("ZRANGE", KEYS[2], -1, -1, "WITHSCORES")[2]
	if last then
		at = math.max(at, tonumber(last) + gap)
	end
end
if at <= now then
	redis.call("ZREM", KEYS[2], id)
	redis.call("LPUSH", KEYS[1], string.format("%.0f", now))
	redis.call("LTRIM", KEYS[1], 0, n - 1)
	redis.call("PEXPIRE", KEYS[1], math.ceil(window / 1000))
	return -now
end
if ARGV[7] == "1" then
	redis.call("ZADD", KEYS[2], string.format("%.0f", math.ceil(at)), id)
	redis.call("PEXPIRE", KEYS[2], math.ceil((at - now + tonumber(ARGV[6])) / 1000))
end
return math.ceil(at - now)
`)

// undoScript takes a start back. The job's time is that of the start, so that it
// has come already.
//
// KEYS[1], KEYS[2] as for takeScript
// ARGV[1] time of the start
// ARGV[2] id of the job
// ARGV[3] after how long a time is forgotten, in milliseconds
// Returns how many starts were taken back.
var undoScript = redis.NewScript(`
redis.call("ZADD", KEYS[2], ARGV[1], ARGV[2])
if redis.call("PTTL", KEYS[2]) < tonumber(ARGV[3]) then
	redis.call("PEXPIRE", KEYS[2], ARGV[3])
end
return redis.call("LREM", KEYS[1], 1, ARGV[1])
`)

// enterScript takes a place unless all are taken. Those whose lease is over are
// free.
//
// KEYS[1] sorted set of the places taken, by the ends of their leases
// ARGV[1] how many there are
// ARGV[2] length of a lease, in milliseconds
// ARGV[3] token
// Returns 1 or 0.
var enterScript = redis.NewScript(`
local t = redis.call("TIME")
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
redis.call("ZREMRANGEBYSCORE", KEYS[1], "-inf", string.format("%.0f", now))
if redis.call("ZCARD", KEYS[1]) >= tonumber(ARGV[1]) then
	return 0
end
redis.call("ZADD", KEYS[1], string.format("%.0f", now + tonumber(ARGV[2])), ARGV[3])
redis.call("PEXPIRE", KEYS[1], ARGV[2])
return 1
`)

// extendScript renews the leases of places that are taken still.
//
// KEYS[1] as for enterScript
// ARGV[1] length of a lease, in milliseconds
// ARGV[2…] tokens
// Returns how many were named.
var extendScript = redis.NewScript(`
local t = redis.call("TIME")
local now = tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
for i = 2, #ARGV do
	redis.call("ZADD", KEYS[1], "XX", string.format("%.0f", now + tonumber(ARGV[1])), ARGV[i])
end
redis.call("PEXPIRE", KEYS[1], ARGV[1])
return #ARGV - 1
`)
