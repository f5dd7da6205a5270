package broker

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// keepEvery is how often the keeper of a queue's times looks at the queue
	// when nothing calls for it: for what others than the layer put there, and
	// for tasks that nobody was woken for.
	keepEvery = time.Second
	// keepPaused is how often a paused queue is looked at.
	keepPaused = 100 * time.Millisecond
	// keepLease is after how long a keeper that fell silent may be replaced.
	keepLease = 3 * time.Second
	// standEvery is how often, at least, the others ask whether it has. One that
	// stops calls another at once.
	standEvery = 2 * time.Second
	// forwardSize is how many due tasks one call moves.
	forwardSize = 500
)

// keepScript moves due tasks to the end of their queue, as asynq's forward
// does, but by fractions of seconds, and wakes a worker. It does so for one
// server of all, the keeper; another one becomes it when the keeper's lease is
// over. (Tasks with a group, of which Postrider has none, are left to asynq.)
//
// KEYS[1] asynq:{queue}:pending
// KEYS[2] asynq:{queue}:paused
// KEYS[3] asynq:{queue}:scheduled
// KEYS[4] asynq:{queue}:retry
// KEYS[5] postrider:{queue}:keeper
// KEYS[6] postrider:{queue}:wake
// ARGV[1] who asks
// ARGV[2] length of the keeper's lease, in milliseconds
// ARGV[3] now, in seconds with fractions
// ARGV[4] now, in nanoseconds
// ARGV[5] asynq:{queue}:t:
// ARGV[6] how many to move at most from each set
// Returns {1 for the keeper or 0, how many were moved, 1 if the queue is paused
// or 0, the score of the first task that is not due or ""}.
var keepScript = newScript(`
local holder = redis.call("GET", KEYS[5])
if holder and holder ~= ARGV[1] then
	return {0, 0, 0, ""}
end
redis.call("SET", KEYS[5], ARGV[1], "PX", ARGV[2])
local moved, first = 0, nil
for i = 3, 4 do
	local ids = redis.call("ZRANGEBYSCORE", KEYS[i], "-inf", ARGV[3], "LIMIT", 0, ARGV[6])
	local due = {}
	for _, id in ipairs(ids) do
		local group = redis.call("HGET", ARGV[5] .. id, "group")
		if not group or group == "" then
			redis.call("HSET", ARGV[5] .. id, "state", "pending", "pending_since", ARGV[4])
			due[#due + 1] = id
		end
	end
	if #due > 0 then
		redis.call("LPUSH", KEYS[1], unpack(due))
		redis.call("ZREM", KEYS[i], unpack(due))
		moved = moved + #due
	end
	local next = redis.call("ZRANGEBYSCORE", KEYS[i], "(" .. ARGV[3], "+inf", "WITHSCORES", "LIMIT", 0, 1)
	if next[2] and (not first or tonumber(next[2]) < tonumber(first)) then
		first = next[2]
	end
end
local pending, paused, wake = KEYS[1], KEYS[2], KEYS[6]
` + luaWake + `
return {1, moved, redis.call("EXISTS", paused), first or ""}
`)

// leaveScript ends the keeper's lease and calls another server.
//
// KEYS[1] postrider:{queue}:keeper
// KEYS[2] postrider:{queue}:vacant
// ARGV[1] who
// Returns nil.
var leaveScript = newScript(`
if redis.call("GET", KEYS[1]) == ARGV[1] then
	redis.call("DEL", KEYS[1])
	if redis.call("LLEN", KEYS[2]) == 0 then
		redis.call("LPUSH", KEYS[2], "1")
	end
end
`)

func keeperKey(queue string) string { return "postrider:{" + queue + "}:keeper" }

// vacantKey is a list of at most one token, put there when a keeper leaves.
func vacantKey(queue string) string { return "postrider:{" + queue + "}:vacant" }

// keeper brings a queue's delayed tasks at their time, to the millisecond. Of
// all servers one does so; the others stand by. asynq's forwarder goes on
// beside it, every few seconds.
type keeper struct {
	rdb   redis.UniversalClient
	queue string
	name  string
	tick  func(context.Context) // called at each turn
	log   *slog.Logger

	news   *waiter
	told   chan struct{} // holds a token when there is a reason for a turn
	listen chan string   // holds the key of the tokens to listen for
	closed chan struct{}
	all    sync.WaitGroup
}

func newKeeper(rdb redis.UniversalClient, queue string, tick func(context.Context), log *slog.Logger) *keeper {
	return &keeper{
		rdb: rdb, queue: queue, name: rand.Text(), tick: tick, log: log,
		news: newWaiter(rdb), told: make(chan struct{}, 1), listen: make(chan string, 1),
		closed: make(chan struct{}),
	}
}

func (k *keeper) start() {
	k.all.Go(k.keep)
	k.all.Go(k.hear)
}

// stop ends the keeper and waits for it. It may follow no start, and be called
// once.
func (k *keeper) stop() {
	close(k.closed)
	k.news.close()
	k.all.Wait()
}

func (k *keeper) keep() {
	holds := false
	for {
		ctx, cancel := context.WithTimeout(context.Background(), ioTimeout)
		var pause time.Duration
		var err error
		holds, pause, err = k.turn(ctx)
		if err != nil { // the outage is told of where tasks are fetched
			k.log.Debug("due tasks were not forwarded", "queue", k.queue, "err", err)
		}
		k.tick(ctx)
		cancel()
		key := vacantKey(k.queue)
		if holds {
			key = soonKey(k.queue)
		}
		select {
		case k.listen <- key:
		default: // it listens still
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-k.told:
		case <-k.closed:
		}
		timer.Stop()
		select {
		case <-k.closed:
			if holds {
				k.leave()
			}
			return
		default:
		}
	}
}

// hear passes on, to the keeper, that an earlier task came, and to another
// server that there is no keeper any more. One that has just changed its part
// may listen for the wrong one for a while, and is late by a turn at most.
func (k *keeper) hear() {
	for {
		select {
		case key := <-k.listen:
			if k.news.wait(key, popLongest) {
				put(k.told)
			}
		case <-k.closed:
			return
		}
	}
}

// turn forwards what is due, if this server is the keeper, and returns when to
// come again.
func (k *keeper) turn(ctx context.Context) (holds bool, pause time.Duration, err error) {
	keys := []string{
		queueKey(k.queue, statePending), queueKey(k.queue, "paused"), queueKey(k.queue, stateScheduled),
		queueKey(k.queue, stateRetry), keeperKey(k.queue), wakeKey(k.queue),
	}
	for ctx.Err() == nil {
		now := time.Now()
		answer, err := keepScript.Run(ctx, k.rdb, keys, k.name, keepLease.Milliseconds(),
			dueTime(now.UnixMilli()).score(), now.UnixNano(), taskKey(k.queue, ""), forwardSize).Slice()
		if err != nil {
			return false, keepEvery, fmt.Errorf("forwarding due tasks: %w", err)
		}
		if len(answer) != 4 {
			return false, keepEvery, fmt.Errorf("forwarding due tasks: an answer of %d parts", len(answer))
		}
		if answer[0] != int64(1) {
			return false, standEvery + mathrand.N(standEvery), nil
		}
		if n, _ := answer[1].(int64); n >= forwardSize {
			continue
		}
		pause = keepEvery
		if answer[2] == int64(1) {
			pause = keepPaused
		}
		text, _ := answer[3].(string)
		if first, err := strconv.ParseFloat(text, 64); err == nil {
			at := time.UnixMilli(int64(first*1000 + 0.999))
			pause = min(pause, max(time.Until(at), 0))
		}
		return true, pause, nil
	}
	return false, keepEvery, context.Cause(ctx)
}

func (k *keeper) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), courtesy)
	defer cancel()
	if err := leaveScript.Run(ctx, k.rdb, []string{keeperKey(k.queue), vacantKey(k.queue)}, k.name).Err(); absent(err) != nil {
		k.log.Debug("another server keeps the queue's times a little later", "queue", k.queue, "err", err)
	}
}

// put leaves a token where there is none.
func put(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}
