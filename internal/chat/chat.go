// Package chat keeps what people say in rooms.
//
// A message is in a Redis stream of its room as soon as it is sent, and in SQL
// when it has been archived (archive.go): read, written there, committed, and
// only then trimmed from the stream, which keeps a short tail for those who come
// in. So every message that Redis has not lost is in one of the two at any time,
// and whoever reads the stream first and SQL after it (history.go) misses none.
//
// What Redis does by itself is in script.go. The package knows nobody but its
// ports: an Archive, which SQL is, and a Pusher, which reaches who is connected.
package chat

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// Message is what somebody said in a room.
type Message struct {
	Room string
	ID   ID
	User string
	Text string
	Data json.RawMessage // any JSON value, or nil
	// ClientID is how the sender names it, so that a retry is known; may be empty.
	ClientID string
	// Deleted is true of what is left of a message that was taken back: no text,
	// no data.
	Deleted bool
}

// At is when it was sent, by Redis' clock.
func (m Message) At() time.Time { return time.UnixMilli(m.ID.MS).UTC() }

// ErrNotFound is returned for a message that the room does not have.
var ErrNotFound = errors.New("the room has no such message")

// ErrNotYours is returned to who wants to take back what another has said.
var ErrNotYours = errors.New("it is another's message")

// Archive is SQL's side of the rooms. It is safe for concurrent use.
type Archive interface {
	// Keep writes messages, all or none. One that is there is left as it is, so
	// that it may be called again with the same; and what was taken back stays so.
	// Doubles are those that it has under another ID, by sender and ClientID: they
	// are not written.
	Keep(ctx context.Context, messages []Message) (doubles []Message, err error)
	// Newest returns the highest ID of each room that has any.
	Newest(ctx context.Context, rooms []string) (map[string]ID, error)
	// Sent returns the message of a sender's ClientID, which is not empty. It may
	// have been taken back. ErrNotFound where there is none.
	Sent(ctx context.Context, room, user, clientID string) (Message, error)
	// Find returns a message, also one that was taken back. ErrNotFound where there
	// is none.
	Find(ctx context.Context, room string, id ID) (Message, error)
	// Page returns a room's messages newest first, without those taken back.
	Page(ctx context.Context, q Query) ([]Message, error)
	// Bury takes a message back, whether it is here already or not: it stays as
	// who sent it and when, without what was said.
	Bury(ctx context.Context, m Message) error
	// WrittenBy returns at most limit messages of a user, in any order, with those
	// taken back.
	WrittenBy(ctx context.Context, user string, limit int) ([]Message, error)
	// Blank takes messages back, and forgets who sent them.
	Blank(ctx context.Context, messages []Message) error
}

// Pruner deletes what has had its time.
type Pruner interface {
	// PruneMessages deletes at most limit archived messages that are older than
	// keep, the oldest first, and says how many.
	PruneMessages(ctx context.Context, keep time.Duration, limit int) (int, error)
}

// Pusher reaches the clients that have entered a room, on all processes. What it
// fails at they find when they read the room's history.
type Pusher interface {
	MessageSent(ctx context.Context, m Message) error
	MessageDeleted(ctx context.Context, room string, id ID) error
}
