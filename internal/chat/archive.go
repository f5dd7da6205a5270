package chat

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	tailLength = 100            // messages that stay in a stream
	tailAge    = 24 * time.Hour // for so long
	batchRooms = 20             // archived together
	batchSize  = 1000           // messages of a batch, all rooms together
	// indexRooms bounds the rooms that one run looks at, those first in which
	// nothing was said for longest.
	indexRooms = 10_000
	// indexPause is how long a room stays in the index without news: whoever puts
	// a room there and then adds to it takes less.
	indexPause = time.Minute
)

// Run moves messages into SQL until it has moved all that are old enough, or the
// time has come. more says that there are some left. To stop it anywhere is
// safe, and so are two at once: each step can be done again. A room that fails
// does not keep the others from being archived; the error is of one of them.
func (s *Service) Run(ctx context.Context, until time.Time) (n int, more bool, err error) {
	return s.run(ctx, until, s.settle)
}

func (s *Service) run(ctx context.Context, until time.Time, settle time.Duration) (n int, more bool, err error) {
	rooms, err := s.redis.ZRange(ctx, indexKey, 0, indexRooms-1).Result()
	if err != nil {
		return 0, false, fmt.Errorf("listing rooms to archive: %w", err)
	}
	for len(rooms) > 0 {
		var left []string // that had as many as were asked for
		for batch := range slices.Chunk(rooms, batchRooms) {
			kept, full, failed := s.archiveRooms(ctx, batch, until, settle)
			n, left = n+kept, append(left, full...)
			if failed != nil {
				err = failed
			}
			if unkept := (*keepError)(nil); ctx.Err() != nil || failed != nil && !errors.As(failed, &unkept) || !time.Now().Before(until) {
				return n, true, err
			}
		}
		rooms = left
	}
	return n, false, err
}

// keepError is SQL's refusal of a batch, which may lie with one of its rooms.
type keepError struct{ error }

func (e *keepError) Unwrap() error { return e.error }

// archiveRooms archives a batch, and where SQL refuses it, room by room.
func (s *Service) archiveRooms(ctx context.Context, rooms []string, until time.Time, settle time.Duration) (n int, full []string, err error) {
	n, full, err = s.archiveBatch(ctx, rooms, settle)
	if unkept := (*keepError)(nil); !errors.As(err, &unkept) || len(rooms) == 1 {
		return n, full, err
	}
	err = nil
	for _, room := range rooms {
		kept, more, failed := s.archiveBatch(ctx, []string{room}, settle)
		if n, full = n+kept, append(full, more...); failed != nil {
			err = failed
		}
		if ctx.Err() != nil || !time.Now().Before(until) {
			break
		}
	}
	return n, full, err
}

// archiveBatch moves some messages of rooms: reads them, has SQL keep them, and
// then has the streams trimmed. full are the rooms that may have more.
func (s *Service) archiveBatch(ctx context.Context, rooms []string, settle time.Duration) (n int, full []string, err error) {
	count := batchSize / len(rooms)
	byRoom, err := s.unarchived(ctx, rooms, settle, count)
	if err != nil {
		return 0, nil, err
	}
	var all []Message
	for i, messages := range byRoom {
		all = append(all, messages...)
		if len(messages) == count {
			full = append(full, rooms[i])
		}
	}
	newest := map[string]ID{}
	if len(all) > 0 {
		doubles, err := s.archive.Keep(ctx, all)
		if err != nil {
			return 0, nil, &keepError{fmt.Errorf("archiving messages: %w", err)}
		}
		if err := s.drop(ctx, doubles...); err != nil {
			return 0, nil, err
		}
		if newest, err = s.archive.Newest(ctx, rooms); err != nil {
			return 0, nil, fmt.Errorf("asking how far rooms are archived: %w", err)
		}
	}
	return len(all), full, s.archived(ctx, rooms, byRoom, newest)
}

// unarchived reads what the rooms' streams have that is not in SQL, at most count
// messages of each, oldest first.
func (s *Service) unarchived(ctx context.Context, rooms []string, settle time.Duration, count int) ([][]Message, error) {
	answers := make([]*redis.Cmd, len(rooms))
	_, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, room := range rooms {
			answers[i] = pipe.Eval(ctx, unarchivedScript, keysOf(room), settle.Milliseconds(), count)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading what is to be archived: %w", err)
	}
	out := make([][]Message, len(rooms))
	for i, answer := range answers {
		entries, err := answer.Slice()
		if err != nil {
			return nil, fmt.Errorf("reading what is to be archived: %w", err)
		}
		for _, e := range entries {
			m, err := scriptEntry(rooms[i], e)
			if err != nil {
				return nil, err
			}
			out[i] = append(out[i], m)
		}
	}
	return out, nil
}

var errEntry = errors.New("a room's stream has an entry that is none")

// scriptEntry reads an entry as a script returns it: {id, {name, value, …}}.
func scriptEntry(room string, answer any) (Message, error) {
	pair, _ := answer.([]any)
	if len(pair) != 2 {
		return Message{}, errEntry
	}
	id, _ := pair[0].(string)
	fields, _ := pair[1].([]any)
	x := redis.XMessage{ID: id, Values: map[string]any{}}
	for i := 0; i+1 < len(fields); i += 2 {
		x.Values[fmt.Sprint(fields[i])] = fields[i+1]
	}
	return entry(room, x)
}

// archived notes how far the rooms are archived, trims their streams, and takes
// those out of the index that have no news.
func (s *Service) archived(ctx context.Context, rooms []string, byRoom [][]Message, newest map[string]ID) error {
	text := func(id ID) string {
		if id.IsZero() {
			return ""
		}
		return id.String()
	}
	answers := make([]*redis.Cmd, len(rooms))
	_, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for i, room := range rooms {
			var last ID
			if n := len(byRoom[i]); n > 0 {
				last = byRoom[i][n-1].ID
			}
			answers[i] = pipe.Eval(ctx, archivedScript, keysOf(room), text(last), text(newest[room]), tailLength, tailAge.Milliseconds(), batchSize)
		}
		return nil
	})
	if err == nil {
		_, err = s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
			for i, room := range rooms {
				if answers[i].Val() == int64(1) {
					pipe.Eval(ctx, unindexScript, []string{indexKey}, room, strconv.FormatInt(indexPause.Milliseconds(), 10))
				}
			}
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("trimming rooms' streams: %w", err)
	}
	return nil
}
