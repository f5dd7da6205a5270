package live

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/socketio"
)

// Who is connected is kept in Redis as presence is: in sorted sets whose scores
// are until when a member counts, which each process puts off for its own as long
// as it lives. Every user has a set of connections; one set each has all users
// and all rooms that anybody has entered, so that none counts twice, and all
// processes, each of which leaves its own numbers beside it.
const (
	// connectedGrace is how long the connections of a killed process go on being
	// counted. It is a few rounds of presenceEvery.
	connectedGrace = 10 * time.Second
	// keptAtOnce is how many members of a set, or sets, travel together.
	keptAtOnce = 200
)

// The tag keeps these on one node of a Cluster.
const (
	onlineUsersKey     = "postrider:live:{online}:users"
	onlineRoomsKey     = "postrider:live:{online}:rooms"
	onlineProcessesKey = "postrider:live:{online}:processes"
)

func connectionsKey(user string) string { return "postrider:live:connections:" + user }
func processKey(name string) string     { return "postrider:live:{online}:process:" + name }

// keepScript takes those out of a sorted set whose time has passed, and puts
// others off or takes them in, by Redis' clock.
//
//	KEYS[1] the set
//	ARGV[1] how long they count, in milliseconds
//	ARGV[2] how many there may be; no bound when 0
//	ARGV[3…] the members
//	returns how many of them are in it
var keepScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - 1)
local most = tonumber(ARGV[2])
local there = redis.call('ZCARD', KEYS[1])
local taken = 0
for i = 3, #ARGV do
	if most == 0 or there < most or redis.call('ZSCORE', KEYS[1], ARGV[i]) then
		there = there + redis.call('ZADD', KEYS[1], now + ARGV[1], ARGV[i])
		taken = taken + 1
	end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return taken
`)

// keep runs keepScript on a client or a pipeline.
func keep(ctx context.Context, on redis.Scripter, key string, most int, members ...string) *redis.Cmd {
	args := append(make([]any, 0, len(members)+2), connectedGrace.Milliseconds(), most)
	for _, m := range members {
		args = append(args, m)
	}
	// A pipeline cannot learn that a script is not loaded; its text is short.
	return keepScript.Eval(ctx, on, []string{key}, args...)
}

// connection names a connection in its user's set: when it began, in
// milliseconds, and the socket.
func connection(k *socketio.Socket) string {
	return strconv.FormatInt(time.Now().UnixMilli(), 10) + ":" + k.ID()
}

// enter counts a connection of a user, unless the user has as many, on all
// processes, as there may be. While Redis cannot tell, those to this process
// count alone.
func (h *Hub) enter(ctx context.Context, user, connection string) bool {
	h.mu.Lock()
	if len(h.byUser[user]) >= h.o.Config.Connections {
		h.mu.Unlock()
		return false
	}
	h.byUser[user] = append(h.byUser[user], connection)
	h.mu.Unlock()
	taken, err := keep(ctx, h.o.Redis, connectionsKey(user), h.o.Config.Connections, connection).Int()
	if err != nil {
		h.log.Warn("a user's connections could not be counted; those to this process count alone", "err", err)
		return true
	}
	if taken == 0 {
		h.drop(user, connection)
	}
	return taken > 0
}

// depart undoes enter.
func (h *Hub) depart(ctx context.Context, user, connection string) {
	h.drop(user, connection)
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if err := h.o.Redis.ZRem(ctx, connectionsKey(user), connection).Err(); err != nil {
		h.log.Debug("that a connection has ended could not be noted; it falls out of the count all the same", "err", err)
	}
}

func (h *Hub) drop(user, connection string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.byUser[user] = slices.DeleteFunc(h.byUser[user], func(c string) bool { return c == connection }); len(h.byUser[user]) == 0 {
		delete(h.byUser, user)
	}
}

// keepConnections is a round over all connections of this process.
func (h *Hub) keepConnections(ctx context.Context) error {
	h.mu.Lock()
	users := make(map[string][]string, len(h.byUser))
	own := ProcessConnections{Name: h.o.Name, Users: len(h.byUser), Rooms: len(h.present)}
	for user, connections := range h.byUser {
		users[user] = slices.Clone(connections)
		own.Connections += len(connections)
	}
	rooms := slices.Collect(maps.Keys(h.present))
	h.mu.Unlock()

	err := h.pipelined(ctx, func(pipe redis.Pipeliner) error {
		text, err := json.Marshal(own)
		if err != nil {
			return fmt.Errorf("writing the numbers of this process: %w", err)
		}
		keep(ctx, pipe, onlineProcessesKey, 0, own.Name)
		pipe.Set(ctx, processKey(own.Name), text, connectedGrace)
		return nil
	})
	for _, set := range []struct {
		key     string
		members []string
	}{{onlineUsersKey, slices.Collect(maps.Keys(users))}, {onlineRoomsKey, rooms}} {
		for batch := range slices.Chunk(set.members, keptAtOnce) {
			if err == nil {
				err = h.pipelined(ctx, func(pipe redis.Pipeliner) error { keep(ctx, pipe, set.key, 0, batch...); return nil })
			}
		}
	}
	for batch := range slices.Chunk(slices.Collect(maps.Keys(users)), keptAtOnce) {
		if err == nil {
			err = h.pipelined(ctx, func(pipe redis.Pipeliner) error {
				for _, user := range batch {
					keep(ctx, pipe, connectionsKey(user), 0, users[user]...)
				}
				return nil
			})
		}
	}
	return err
}

// pipelined bounds one round trip of a round.
func (h *Hub) pipelined(ctx context.Context, fill func(redis.Pipeliner) error) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	if _, err := h.o.Redis.Pipelined(ctx, fill); err != nil {
		return fmt.Errorf("keeping the count of connections: %w", err)
	}
	return nil
}
