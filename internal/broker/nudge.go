package broker

import "maps"

// The layer's own keys of a queue, in the hash slot of asynq's.
//
// wakeKey is a list of at most one token. Workers that found nothing to do
// wait for it, Redis gives it to one of them, and one that leaves tasks behind
// puts another one there. (Waiting on the pending list itself, by BLMOVE onto
// itself, would wake all of them on each push: the task stays on the list, so
// Redis serves the next waiter too.)
func wakeKey(queue string) string { return "postrider:{" + queue + "}:wake" }

// soonKey is a list of at most one token, put there when a delayed task
// becomes the first that will be due.
func soonKey(queue string) string { return "postrider:{" + queue + "}:soon" }

// luaWake is the end of each script that may leave tasks pending.
//
// Wants the local variables pending, paused and wake, keys all three.
const luaWake = `
if redis.call("EXISTS", paused) == 0 and redis.call("LLEN", wake) == 0 and redis.call("LLEN", pending) > 0 then
	redis.call("LPUSH", wake, "1")
end
`

// wakeScript wakes one worker if there is something to do.
//
// KEYS[1] asynq:{queue}:pending
// KEYS[2] asynq:{queue}:paused
// KEYS[3] postrider:{queue}:wake
// Returns nil.
var wakeScript = newScript("local pending, paused, wake = KEYS[1], KEYS[2], KEYS[3]" + luaWake)

// soonScript tells the keeper of the queue's times that there is an earlier
// one.
//
// KEYS[1] asynq:{queue}:scheduled or asynq:{queue}:retry
// KEYS[2] postrider:{queue}:soon
// ARGV[1] a score that was added to the set
// Returns nil.
var soonScript = newScript(`
local first = redis.call("ZRANGE", KEYS[1], 0, 0, "WITHSCORES")
if first[2] and tonumber(first[2]) >= tonumber(ARGV[1]) and redis.call("LLEN", KEYS[2]) == 0 then
	redis.call("LPUSH", KEYS[2], "1")
end
`)

// nudges are what a flight says after its commands.
type nudges struct {
	wake map[string]bool        // queues that got a task
	soon map[delayedSet]dueTime // sets that got one for later, with the earliest
}

// delayedSet is one of asynq's two sorted sets of a queue's delayed tasks.
type delayedSet struct{ queue, state string }

func (n *nudges) wakes(queue string) {
	if n.wake == nil {
		n.wake = map[string]bool{}
	}
	n.wake[queue] = true
}

func (n *nudges) delays(queue, state string, due dueTime) {
	if n.soon == nil {
		n.soon = map[delayedSet]dueTime{}
	}
	set := delayedSet{queue, state}
	if first, ok := n.soon[set]; !ok || due < first {
		n.soon[set] = due
	}
}

func (n *nudges) merge(other nudges) {
	switch {
	case n.wake == nil:
		n.wake = maps.Clone(other.wake)
	default:
		maps.Copy(n.wake, other.wake)
	}
	for set, due := range other.soon {
		n.delays(set.queue, set.state, due)
	}
}

func (n *nudges) calls() []*call {
	var out []*call
	for queue := range n.wake {
		out = append(out, &call{sha: wakeScript.Hash(), keys: wakeKeys(queue)})
	}
	for set, due := range n.soon {
		out = append(out, &call{
			sha: soonScript.Hash(), keys: []string{queueKey(set.queue, set.state), soonKey(set.queue)}, args: []any{due.score()},
		})
	}
	return out
}

func wakeKeys(queue string) []string {
	return []string{queueKey(queue, statePending), queueKey(queue, "paused"), wakeKey(queue)}
}
