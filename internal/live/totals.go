package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Connections is who is connected. All numbers are a few seconds old at most; a
// process that was killed is counted for ten seconds more.
type Connections struct {
	Connections int // of users; one page of one user is one
	Users       int // with any number of connections
	Rooms       int // that somebody has entered by join_room
	Processes   []ProcessConnections
}

// ProcessConnections is what one api process has of these.
type ProcessConnections struct {
	Name        string `json:"name" doc:"host-pid-chance"`
	Connections int    `json:"connections"`
	Users       int    `json:"users"`
	Rooms       int    `json:"rooms"`
}

// Connections tells who is connected to any process, sorted by the processes'
// names, in two round trips.
func (p *Publisher) Connections(ctx context.Context) (Connections, error) {
	pipe := p.redis.Pipeline()
	for _, key := range []string{onlineUsersKey, onlineRoomsKey, onlineProcessesKey} {
		keep(ctx, pipe, key, 0)
	}
	users, rooms := pipe.ZCard(ctx, onlineUsersKey), pipe.ZCard(ctx, onlineRoomsKey)
	names := pipe.ZRange(ctx, onlineProcessesKey, 0, -1)
	if _, err := pipe.Exec(ctx); err != nil {
		return Connections{}, fmt.Errorf("counting who is connected: %w", err)
	}
	out := Connections{Users: int(users.Val()), Rooms: int(rooms.Val()), Processes: []ProcessConnections{}}
	pipe = p.redis.Pipeline()
	texts := make([]*redis.StringCmd, len(names.Val()))
	for i, name := range names.Val() {
		texts[i] = pipe.Get(ctx, processKey(name))
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return Connections{}, fmt.Errorf("reading what the processes count: %w", err)
	}
	for _, text := range texts {
		var own ProcessConnections
		switch err := text.Err(); {
		case errors.Is(err, redis.Nil): // it has just gone
			continue
		case err != nil:
			return Connections{}, fmt.Errorf("reading what a process counts: %w", err)
		}
		if err := json.Unmarshal([]byte(text.Val()), &own); err != nil {
			return Connections{}, fmt.Errorf("reading what a process counts: %w", err)
		}
		out.Processes = append(out.Processes, own)
		out.Connections += own.Connections
	}
	slices.SortFunc(out.Processes, func(a, b ProcessConnections) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// UserConnections tells how many connections a user has to all processes, and
// since when there is one that is open still; zero without any.
func (p *Publisher) UserConnections(ctx context.Context, user string) (n int, since time.Time, err error) {
	pipe := p.redis.Pipeline()
	keep(ctx, pipe, connectionsKey(user), 0)
	members := pipe.ZRange(ctx, connectionsKey(user), 0, -1)
	if _, err := pipe.Exec(ctx); err != nil {
		return 0, time.Time{}, fmt.Errorf("counting a user's connections: %w", err)
	}
	for _, m := range members.Val() {
		began, _, _ := strings.Cut(m, ":")
		ms, err := strconv.ParseInt(began, 10, 64)
		if err != nil {
			return 0, time.Time{}, fmt.Errorf("reading when a connection began: %w", err)
		}
		if at := time.UnixMilli(ms); since.IsZero() || at.Before(since) {
			since = at
		}
	}
	return len(members.Val()), since, nil
}
