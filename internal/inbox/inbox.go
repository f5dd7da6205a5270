// Package inbox holds notifications: messages in a stream, each stream with a
// dense sequence of its own, kept in SQL for who was away. It declares the
// port by which they are pushed to who is connected.
//
// A user's inbox is their own stream, everyone's, and those of their rooms, in
// one order. What the user has seen, read and archived is kept beside it: a
// cursor for each stream, and what lies beyond the cursor one by one.
package inbox

import (
	"context"
	"encoding/json"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Notification is a message in a stream. It is a job.Effect: the row is
// written in the transaction that settles its job, so it exists exactly once.
type Notification struct {
	ID        job.ID // the job's, or its own where there is no job
	Stream    string // "user:x", "room:y" or "everyone"
	Seq       int64  // dense within the stream, from 1; given by the store
	Type      string // one of tasks.NotificationTypes
	Message   string
	Data      json.RawMessage // any JSON value, or nil
	CreatedAt time.Time       // given by the store; within a stream never falling
	Trace     string          // a telemetry.Traceparent for its push, or empty; not kept
}

// EffectName implements job.Effect.
func (Notification) EffectName() string { return "notification" }

// Reader reads streams.
type Reader interface {
	// After returns the stream's notifications behind the sequence, oldest
	// first, at most limit (1 to 1,000).
	After(ctx context.Context, stream string, seq int64, limit int) ([]Notification, error)
}

// Everyone is the stream that is in every inbox.
const Everyone = "everyone"

// Of is the stream of a user.
func Of(user string) string { return "user:" + user }

// OfRoom is the stream of a room.
func OfRoom(room string) string { return "room:" + room }

// Viewer is whose inbox is looked at, and what belongs to it.
type Viewer struct {
	User  string
	Rooms []string
}

// Streams lists the streams of the inbox, each once.
func (v Viewer) Streams() []string {
	out := []string{Of(v.User), Everyone}
	met := make(map[string]bool, len(v.Rooms))
	for _, room := range v.Rooms {
		if !met[room] {
			met[room] = true
			out = append(out, OfRoom(room))
		}
	}
	return out
}

// Entry is a notification as a user has it.
type Entry struct {
	Notification
	Read     bool
	Archived bool // which is read too
}
