package chat

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// askLimit bounds the question to SQL whether a message was sent before. While
	// SQL is away messages are taken all the same, and the archive finds doubles.
	askLimit = time.Second
	// chances are so many, below which a message's number within its millisecond
	// begins.
	chances = 1_000_000
)

// Options are what a Service is made of; all but Settle are needed.
type Options struct {
	Redis   redis.UniversalClient
	Archive Archive
	Push    Pusher
	Log     *slog.Logger
	// Settle is how old a message is before it is archived: a copy of Redis that
	// takes over has lost what was written just before, and nothing with a later id
	// is in SQL by then. 5 s when zero.
	Settle time.Duration
}

// Service takes and gives messages. It is safe for concurrent use, and holds
// nothing that must be closed.
type Service struct {
	redis   redis.UniversalClient
	archive Archive
	push    Pusher
	log     *slog.Logger
	settle  time.Duration
}

// New makes a Service.
func New(o Options) *Service {
	if o.Settle == 0 {
		o.Settle = 5 * time.Second
	}
	return &Service{o.Redis, o.Archive, o.Push, o.Log.With("component", "chat"), o.Settle}
}

// Send puts a message into its room and pushes it. again says that it was sent
// before under the same ClientID: it is that message's ID then, and nothing is
// stored or pushed. Errors: InvalidError, or those of Redis; after one of these it
// may have been stored.
func (s *Service) Send(ctx context.Context, d Draft) (m Message, again bool, err error) {
	if err := d.valid(); err != nil {
		return Message{}, false, err
	}
	m = Message{Room: d.Room, User: d.User, Text: d.Text, Data: d.Data, ClientID: d.ClientID}
	if m.ID, again, err = s.add(ctx, d); err != nil {
		return Message{}, false, fmt.Errorf("sending a message: %w", err)
	}
	if first, ok := s.sentBefore(ctx, m); ok {
		// It was archived, and is no longer in the stream, which took it for new.
		if err := s.drop(ctx, m); err != nil {
			s.log.Warn("a message that was sent twice is shown twice until it is archived", "err", err)
		}
		return first, true, nil
	}
	if again {
		return m, true, nil
	}
	if err := s.push.MessageSent(ctx, m); err != nil {
		s.log.Warn("a chat message could not be pushed; clients find it in the room's history", "err", err)
	}
	return m, false, nil
}

// add adds a message to the stream, or finds it there.
func (s *Service) add(ctx context.Context, d Draft) (id ID, again bool, err error) {
	kind, id, err := s.tryAdd(ctx, d, "")
	if err == nil && kind == "lost" {
		var newest map[string]ID
		if newest, err = s.archive.Newest(ctx, []string{d.Room}); err == nil {
			kind, id, err = s.tryAdd(ctx, d, newest[d.Room].String())
		}
	}
	return id, kind == "again", err
}

func (s *Service) tryAdd(ctx context.Context, d Draft, newest string) (kind string, id ID, err error) {
	pipe := s.redis.Pipeline()
	indexed := pipe.Eval(ctx, indexScript, []string{indexKey}, d.Room)
	added := pipe.Eval(ctx, addScript, keysOf(d.Room), d.User, d.Text, string(d.Data), d.ClientID, rand.IntN(chances), newest)
	_, err = pipe.Exec(ctx)
	if err = errors.Join(err, indexed.Err()); err != nil {
		return "", ID{}, err
	}
	answer, err := added.StringSlice()
	if err != nil || len(answer) != 2 {
		return "", ID{}, fmt.Errorf("reading what was added: %w", err)
	}
	if answer[0] == "lost" {
		return "lost", ID{}, nil
	}
	id, err = ParseID(answer[1])
	return answer[0], id, err
}

// sentBefore looks into SQL for a message of the same ClientID and another ID.
func (s *Service) sentBefore(ctx context.Context, m Message) (Message, bool) {
	if m.ClientID == "" {
		return Message{}, false
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	first, err := s.archive.Sent(ctx, m.Room, m.User, m.ClientID)
	if err != nil && !errors.Is(err, ErrNotFound) {
		s.log.Debug("whether a message was sent before could not be told", "err", err)
	}
	return first, err == nil && first.ID != m.ID
}

func (s *Service) drop(ctx context.Context, messages ...Message) error {
	if len(messages) == 0 {
		return nil
	}
	_, err := s.redis.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, m := range messages {
			pipe.Eval(ctx, dropScript, keysOf(m.Room), m.ID.String(), m.User, m.ClientID)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("taking messages out of a room's stream: %w", err)
	}
	return nil
}

// Find returns a message, also one that was taken back. ErrNotFound where there
// is none.
func (s *Service) Find(ctx context.Context, room string, id ID) (Message, error) {
	entries, err := s.redis.XRangeN(ctx, keysOf(room)[0], id.String(), id.String(), 1).Result()
	if err != nil {
		return Message{}, fmt.Errorf("looking for a message: %w", err)
	}
	if len(entries) > 0 {
		return entry(room, entries[0])
	}
	return s.archive.Find(ctx, room, id)
}

// Delete takes a message back, in Redis and in SQL, and says so to those in the
// room. by is the user whose own it must be, or empty. To do it again is safe.
// Errors: ErrNotFound, ErrNotYours, those of Redis and of SQL.
func (s *Service) Delete(ctx context.Context, room string, id ID, by string) error {
	m, err := s.Find(ctx, room, id)
	if err != nil {
		return err
	}
	if by != "" && m.User != by {
		return ErrNotYours
	}
	// First in SQL, whether it is there or not: an archive that is under way finds
	// it buried.
	if err := s.archive.Bury(ctx, m); err != nil {
		return fmt.Errorf("deleting a message: %w", err)
	}
	if err := s.drop(ctx, m); err != nil {
		return err
	}
	if err := s.push.MessageDeleted(ctx, room, id); err != nil {
		s.log.Warn("that a chat message was deleted could not be pushed", "err", err)
	}
	return nil
}
