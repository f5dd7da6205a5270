package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
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

// fetched is a task that was taken from the queue.
type fetched struct{ id, msg string }

// fetcher answers asynq's dequeues of one queue from batches: one script call
// takes as many tasks as the server has free slots.
type fetcher struct {
	rdb    redis.UniversalClient
	queue  string
	batch  string // the key of what was taken last
	slots  *slots
	wake   *waiter
	log    *slog.Logger
	aged   time.Duration
	closed chan struct{} // when no more are to be fetched
	once   sync.Once

	token string // of a fetch whose answer is owed; used by dequeue alone, and by giveBack after it

	mu     sync.Mutex
	buffer []fetched
	since  time.Time // when the buffer was filled
}

func newFetcher(rdb redis.UniversalClient, queue string, s *slots, wake *waiter, log *slog.Logger) *fetcher {
	return &fetcher{
		rdb: rdb, queue: queue, slots: s, wake: wake, log: log, aged: bufferAge,
		batch:  "postrider:{" + queue + "}:batch:" + rand.Text(),
		closed: make(chan struct{}),
	}
}

// close ends the fetching, also where it waits for a task. giveBack may follow
// when asynq asks no more.
func (f *fetcher) close() {
	f.once.Do(func() { close(f.closed) })
	f.wake.close()
}

func (f *fetcher) over() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

// dequeue returns the next task's message. It waits for one up to
// fetchPatience; redis.Nil means that none came, or that no more are wanted.
func (f *fetcher) dequeue(ctx context.Context) (string, error) {
	until := time.Now().Add(fetchPatience)
	for !f.over() {
		if msg, ok := f.take(); ok {
			return msg, nil
		}
		f.slots.gather()
		if err := f.fetch(ctx, f.slots.free()); err != nil {
			return "", err
		}
		if f.filled() {
			continue
		}
		patience := time.Until(until)
		if patience <= 0 {
			break
		}
		f.wake.wait(wakeKey(f.queue), patience)
	}
	return "", redis.Nil
}

// take hands the first task of the buffer out.
func (f *fetcher) take() (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.buffer) == 0 {
		return "", false
	}
	t := f.buffer[0]
	f.buffer = f.buffer[1:]
	f.slots.hand(t.id)
	return t.msg, true
}

func (f *fetcher) filled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.buffer) > 0
}

// fetch fills the buffer with at most n tasks. After an error nobody knows
// whether tasks were taken; the next call has the same token.
func (f *fetcher) fetch(ctx context.Context, n int) error {
	if f.token == "" {
		f.token = rand.Text()
	}
	keys := []string{
		queueKey(f.queue, statePending), queueKey(f.queue, "paused"), queueKey(f.queue, stateActive),
		queueKey(f.queue, "lease"), f.batch, wakeKey(f.queue),
	}
	now := time.Now()
	answer, err := fetchScript.Run(ctx, f.rdb, keys,
		now.Add(leaseLength).Unix(), taskKey(f.queue, ""), min(n, fetchSize), f.token, int(batchLife.Seconds())).StringSlice()
	if err != nil {
		return fmt.Errorf("fetching tasks: %w", err)
	}
	f.token = ""
	f.mu.Lock()
	defer f.mu.Unlock()
	f.since = now
	f.buffer = f.buffer[:0:0]
	for pair := range slices.Chunk(answer, 2) {
		f.buffer = append(f.buffer, fetched{pair[0], pair[1]})
	}
	return nil
}

// giveBackOld returns tasks that asynq has left in the buffer for too long.
func (f *fetcher) giveBackOld(ctx context.Context) {
	f.mu.Lock()
	old := len(f.buffer) > 0 && time.Since(f.since) > f.aged
	f.mu.Unlock()
	if old {
		f.giveBack(ctx)
	}
}

// settle gives back all that was fetched and not begun, what a lost answer
// spoke of too. To be called when asynq asks no more.
func (f *fetcher) settle(ctx context.Context) {
	if f.token != "" {
		if err := f.fetch(ctx, 0); err != nil {
			f.log.Warn("tasks that were fetched at the end are left to their leases", "queue", f.queue, "err", err)
		}
	}
	f.giveBack(ctx)
}

func (f *fetcher) giveBack(ctx context.Context) {
	f.mu.Lock()
	tasks := f.buffer
	f.buffer = nil
	f.mu.Unlock()
	if len(tasks) == 0 {
		return
	}
	ids := make([]string, len(tasks))
	for i, t := range tasks {
		ids[i] = t.id
	}
	var err error
	for range 2 { // once more is safe: what was put back is not ours any more
		if _, err = giveBack(ctx, f.rdb, f.queue, ids); err == nil || errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	if err != nil {
		f.log.Warn("fetched tasks are left to their leases", "queue", f.queue, "tasks", len(tasks), "err", err)
	}
}

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
