package broker

import (
	"context"
	"crypto/rand"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
)

// markKey is the key of a queue's marker, in the hash slot of the queue's own
// keys, so that it is lost when they are. Its value is "ok:<run id>", or
// "pending:<run id>:<mark>" while the queue is being refilled; the run id is
// that of the server that held it then, "-" where the server tells none.
func markKey(queue string) string { return "postrider:{" + queue + "}:mark" }

// runID is the beginning of both scripts: the run id of the server that
// carries them out (INFO server). miniredis has none, and others may refuse
// INFO; there the marker's absence alone tells.
const runID = `
local info = redis.pcall("INFO", "server")
local run = type(info) == "string" and string.match(info, "run_id:(%w+)") or "-"
`

// lostScript looks at the marker, and replaces one that does not hold.
//
// KEYS[1] the marker
// ARGV[1] a fresh mark
// ARGV[2] the caller's mark of a loss that it is mending, or empty
// Returns "" when the marker is "ok" by this very server; else the mark that
// it is "pending" with: the caller's if it was, or else the fresh one, now.
var lostScript = redis.NewScript(runID + `
local is = redis.call("GET", KEYS[1])
if is == "ok:" .. run then
	return ""
end
if is == "pending:" .. run .. ":" .. ARGV[2] then
	return ARGV[2]
end
redis.call("SET", KEYS[1], "pending:" .. run .. ":" .. ARGV[1])
return ARGV[1]
`)

// restoredScript confirms the marker if it is as lostScript left it, on the
// same server: neither a flush nor a restart in between is missed.
//
// KEYS[1] the marker
// ARGV[1] the mark
// Returns 1 when confirmed, 0 when the queue was lost again meanwhile.
var restoredScript = redis.NewScript(runID + `
if redis.call("GET", KEYS[1]) ~= "pending:" .. run .. ":" .. ARGV[1] then
	return 0
end
redis.call("SET", KEYS[1], "ok:" .. run)
return 1
`)

// Lost implements job.Dispatcher. A Redis that never held the queue counts as
// one that lost it.
func (c *Client) Lost(ctx context.Context, queue, mark string) (now string, lost bool, err error) {
	now, err = lostScript.Run(ctx, c.rdb, []string{markKey(queue)}, rand.Text(), mark).Text()
	if err != nil {
		return "", false, job.Wrap(job.CodeTemporary, err, "Redis does not tell whether it lost queue %s", queue)
	}
	return now, now != "", nil
}

// Restored implements job.Dispatcher.
func (c *Client) Restored(ctx context.Context, queue, mark string) error {
	// asynq names a queue in this set once a process, so that after a flush its
	// Inspector, and asynqmon, would take the queue for none.
	if err := c.rdb.SAdd(ctx, allQueues, queue).Err(); err != nil {
		return job.Wrap(job.CodeTemporary, err, "Redis does not take note of queue %s", queue)
	}
	n, err := restoredScript.Run(ctx, c.rdb, []string{markKey(queue)}, mark).Int()
	if err != nil {
		return job.Wrap(job.CodeTemporary, err, "Redis does not take note that queue %s was restored", queue)
	}
	if n == 0 {
		c.log.Warn("a queue was lost again while it was restored", "queue", queue)
	}
	return nil
}
