package broker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// call is one script that somebody wants carried out, and its outcome.
type call struct {
	op   op // asynq's, or empty
	sha  string
	keys []string
	args []any

	queue string // of opEnqueue, whose args are the message and the task's id

	val any
	err error
}

// task is the id of the task that an acknowledgement is of.
func (c *call) task() string {
	id, _ := c.args[0].(string)
	return id
}

// sending is a command and the calls that it carries out: one, or many of a
// kind folded into one script call, which saves Redis more than half of its
// time.
type sending struct {
	cmd   *redis.Cmd
	calls []*call
}

// foldSize is how many calls one script carries out at most, in about a
// millisecond of Redis' time.
const foldSize = 256

// enqueueManyScript does what asynq's enqueue does for many tasks of a queue,
// and wakes a worker.
//
// KEYS[1] asynq:{queue}:pending
// KEYS[2] asynq:{queue}:paused
// KEYS[3] postrider:{queue}:wake
// ARGV[1] asynq:{queue}:t:
// ARGV[2] Unix time in nanoseconds
// ARGV[3…] message, task id; of each task
// Returns for each task 1, or 0 if there is one by that id.
var enqueueManyScript = newScript(`
local out, ids = {}, {}
for i = 3, #ARGV, 2 do
	local key = ARGV[1] .. ARGV[i + 1]
	if redis.call("EXISTS", key) == 1 then
		out[#out + 1] = 0
	else
		redis.call("HSET", key, "msg", ARGV[i], "state", "pending", "pending_since", ARGV[2])
		ids[#ids + 1] = ARGV[i + 1]
		out[#out + 1] = 1
	end
end
if #ids > 0 then
	redis.call("LPUSH", KEYS[1], unpack(ids))
end
local pending, paused, wake = KEYS[1], KEYS[2], KEYS[3]
` + luaWake + `
return out
`)

// doneManyScript does what asynq's done does for many tasks of a queue. It looks
// for them from the end of the active list, where the oldest are.
//
// KEYS[1] asynq:{queue}:active
// KEYS[2] asynq:{queue}:lease
// KEYS[3] asynq:{queue}:processed:<yyyy-mm-dd>
// KEYS[4] asynq:{queue}:processed
// ARGV[1] when the day's statistics expire, Unix seconds
// ARGV[2] the greatest int64
// ARGV[3] asynq:{queue}:t:
// ARGV[4…] task ids
// Returns for each task 1, or 0 if it is not active.
var doneManyScript = newScript(`
local out, ids, keys = {}, {}, {}
for i = 4, #ARGV do
	if redis.call("LREM", KEYS[1], -1, ARGV[i]) == 0 then
		out[#out + 1] = 0
	else
		ids[#ids + 1] = ARGV[i]
		keys[#keys + 1] = ARGV[3] .. ARGV[i]
		out[#out + 1] = 1
	end
end
if #ids == 0 then
	return out
end
redis.call("ZREM", KEYS[2], unpack(ids))
redis.call("DEL", unpack(keys))
if redis.call("INCRBY", KEYS[3], #ids) == #ids then
	redis.call("EXPIREAT", KEYS[3], ARGV[1])
end
if tonumber(redis.call("GET", KEYS[4]) or 0) > tonumber(ARGV[2]) - #ids then
	redis.call("SET", KEYS[4], #ids)
else
	redis.call("INCRBY", KEYS[4], #ids)
end
return out
`)

// fold makes commands of calls. The order among those that are folded and
// those that are not is lost, which is no loss: they were issued at the same
// time.
func fold(ctx context.Context, calls []*call) []sending {
	out := make([]sending, 0, len(calls))
	open := map[string][]*call{} // by what they have in common
	flush := func(kind string) {
		out = append(out, sending{foldedCmd(ctx, open[kind]), open[kind]})
		delete(open, kind)
	}
	for _, c := range calls {
		kind := ""
		switch c.op {
		case opEnqueue:
			kind = c.queue
		case opDone:
			kind = c.keys[3]
		default:
			out = append(out, sending{plainCmd(ctx, c), []*call{c}})
			continue
		}
		open[kind] = append(open[kind], c)
		if len(open[kind]) == foldSize {
			flush(kind)
		}
	}
	for kind := range open {
		flush(kind)
	}
	return out
}

func plainCmd(ctx context.Context, c *call) *redis.Cmd {
	return scriptCmd(ctx, c.sha, c.keys, c.args...)
}

func foldedCmd(ctx context.Context, calls []*call) *redis.Cmd {
	first := calls[0]
	if first.op == opEnqueue {
		args := make([]any, 0, 2+2*len(calls))
		args = append(args, taskKey(first.queue, ""), time.Now().UnixNano())
		for _, c := range calls {
			args = append(args, c.args...)
		}
		return scriptCmd(ctx, enqueueManyScript.Hash(), wakeKeys(first.queue), args...)
	}
	args := make([]any, 0, 3+len(calls))
	args = append(args, first.args[1], first.args[2], taskKey(queueOf(first.keys[0]), ""))
	for _, c := range calls {
		args = append(args, c.args[0])
	}
	return scriptCmd(ctx, doneManyScript.Hash(), []string{first.keys[0], first.keys[1], first.keys[3], first.keys[4]}, args...)
}

// queueOf is the queue of one of asynq's keys.
func queueOf(key string) string {
	_, rest, _ := strings.Cut(key, "{")
	queue, _, _ := strings.Cut(rest, "}")
	return queue
}

// scriptCmd makes the command that carries out a script.
func scriptCmd(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	all := make([]any, 0, 3+len(keys)+len(args))
	all = append(all, "evalsha", sha, len(keys))
	for _, k := range keys {
		all = append(all, k)
	}
	cmd := redis.NewCmd(ctx, append(all, args...)...)
	cmd.SetFirstKeyPos(3)
	return cmd
}

// settle gives each call its outcome.
func (s sending) settle() {
	val, err := s.cmd.Result()
	first := s.calls[0]
	if first.op != opEnqueue && first.op != opDone {
		first.val, first.err = val, err
		return
	}
	each, ok := val.([]any)
	if err == nil && (!ok || len(each) != len(s.calls)) {
		err = fmt.Errorf("carrying out %d times %q: a strange answer", len(s.calls), first.op)
	}
	for i, c := range s.calls {
		switch {
		case err != nil:
			c.err = err
		case c.op == opDone && each[i] != int64(1):
			c.err = refusal("NOT FOUND")
		case c.op == opDone:
			c.val = "OK"
		default:
			c.val = each[i]
		}
	}
}

// refusal is an answer of asynq's scripts that the folded ones give in a
// number.
type refusal string

func (r refusal) Error() string { return string(r) }

// RedisError implements redis.Error.
func (refusal) RedisError() {}

// notFound is asynq's refusal to acknowledge what is not being worked on.
func notFound(err error) bool {
	var refused redis.Error
	return errors.As(err, &refused) && strings.Contains(err.Error(), "NOT FOUND")
}
