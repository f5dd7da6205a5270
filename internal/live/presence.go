package live

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// Presence is kept in Redis, a sorted set for each room: a user's score is until
// when they are present. Each process puts it off for the users that it has in
// the room, every presenceEvery; so it makes no difference whether a client
// leaves, its line breaks or its process is killed: presenceGrace later, unless
// the user is back by then, one of the processes that have anybody in the room
// finds the score past, takes it away and says so.
const (
	presenceGrace = 10 * time.Second
	presenceEvery = 2 * time.Second
	// presenceKept is how long a room's set outlives its last user.
	presenceKept = time.Hour
	// presenceBatch is how many rooms are asked about in one round trip.
	presenceBatch = 200
	maxPresent    = 1000 // users of a room that are named to a client
)

// presenceNews is the argument of "user_online" and "user_offline".
type presenceNews struct {
	UserID string `json:"userId"`
	Room   string `json:"room"`
}

// presenceScript puts users' presence off and takes those away whose time has
// passed, both by Redis' clock.
//
//	KEYS[1] the room's sorted set
//	ARGV[1] the grace, ARGV[2] how long the set is kept, in milliseconds
//	ARGV[3…] the users who are present
//	returns {who was not before, who is no longer}
var presenceScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000 + math.floor(t[2] / 1000)
local come = {}
for i = 3, #ARGV do
	if redis.call('ZADD', KEYS[1], 'GT', now + ARGV[1], ARGV[i]) == 1 then
		come[#come + 1] = ARGV[i]
	end
end
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - 1, 'LIMIT', 0, 1000)
if #gone > 0 then
	redis.call('ZREM', KEYS[1], unpack(gone))
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {come, gone}
`)

func presenceKey(room string) string { return "postrider:live:present:" + room }

// arrive notes that a connection of the user has entered the room, and says so
// when it is the first anywhere.
func (h *Hub) arrive(ctx context.Context, m *member, room string) {
	h.mu.Lock()
	users := h.present[room]
	if users == nil {
		users = map[string]int{}
		h.present[room] = users
	}
	users[m.user.ID]++
	first := users[m.user.ID] == 1
	h.mu.Unlock()
	if !first {
		return
	}
	if err := h.touch(ctx, room, m.user.ID); err != nil {
		h.log.Warn("a user's presence could not be told; the next round will", "err", err)
	}
}

// goneFrom notes that a connection of the user has left the room.
func (h *Hub) goneFrom(m *member, room string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	users := h.present[room]
	if users[m.user.ID]--; users[m.user.ID] > 0 {
		return
	}
	if delete(users, m.user.ID); len(users) == 0 {
		delete(h.present, room)
	}
}

// absent notes that a connection has left all its rooms, from which time on the
// user has the grace.
func (h *Hub) absent(ctx context.Context, m *member) {
	m.mu.Lock()
	rooms := slices.Collect(maps.Keys(m.joined))
	clear(m.joined)
	m.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	for _, room := range rooms {
		h.goneFrom(m, room)
	}
	if err := h.touchAll(ctx, rooms, func(string) []string { return []string{m.user.ID} }); err != nil {
		h.log.Debug("a user's leave could not be noted; they are missed all the same", "err", err)
	}
}

// keep is a round over all that others are to know of this process.
func (h *Hub) keep(ctx context.Context) error {
	return errors.Join(h.keepPresence(ctx), h.keepConnections(ctx))
}

// keepPresence is a round over all rooms that anybody of this process is in.
func (h *Hub) keepPresence(ctx context.Context) error {
	h.mu.Lock()
	users := make(map[string][]string, len(h.present))
	for room, present := range h.present {
		users[room] = slices.Collect(maps.Keys(present))
	}
	h.mu.Unlock()
	return h.touchAll(ctx, slices.Collect(maps.Keys(users)), func(room string) []string { return users[room] })
}

func (h *Hub) touch(ctx context.Context, room, user string) error {
	return h.touchAll(ctx, []string{room}, func(string) []string { return []string{user} })
}

// touchAll puts off the presence of users in rooms, and says who has come and
// who has gone.
func (h *Hub) touchAll(ctx context.Context, rooms []string, users func(room string) []string) error {
	for batch := range slices.Chunk(rooms, presenceBatch) {
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		err := h.touchBatch(ctx, batch, users)
		cancel()
		if err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) touchBatch(ctx context.Context, rooms []string, users func(room string) []string) error {
	pipe := h.o.Redis.Pipeline()
	answers := make([]*redis.Cmd, len(rooms))
	for i, room := range rooms {
		args := []any{presenceGrace.Milliseconds(), presenceKept.Milliseconds()}
		for _, user := range users(room) {
			args = append(args, user)
		}
		// A pipeline cannot learn that a script is not loaded; its text is short.
		answers[i] = presenceScript.Eval(ctx, pipe, []string{presenceKey(room)}, args...)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return fmt.Errorf("keeping presence: %w", err)
	}
	var news []envelope
	for i, answer := range answers {
		lists, err := answer.Slice()
		if err != nil || len(lists) != 2 {
			return fmt.Errorf("reading presence: %w", err)
		}
		for j, event := range [][2]string{{"user_online", "userJoined"}, {"user_offline", "userLeft"}} {
			for _, user := range lists[j].([]any) {
				e, err := newEnvelope(inside(rooms[i]), event[0], presenceNews{fmt.Sprint(user), rooms[i]}, event[1])
				if err != nil {
					return err
				}
				news = append(news, e)
			}
		}
	}
	if len(news) == 0 {
		return nil
	}
	return h.o.Publisher.send(ctx, news...)
}

// presentIn lists who is in a room, at most maxPresent.
func (h *Hub) presentIn(ctx context.Context, room string) ([]string, error) {
	users, err := h.o.Redis.ZRange(ctx, presenceKey(room), 0, maxPresent-1).Result()
	if err != nil {
		return []string{}, fmt.Errorf("listing who is in a room: %w", err)
	}
	slices.Sort(users)
	return users, nil
}
