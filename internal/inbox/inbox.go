// Package inbox holds notifications: messages in a stream, each stream with a
// dense sequence of its own, kept in SQL for who was away. It declares the
// port by which they are pushed to who is connected.
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
	ID        job.ID // the job's
	Stream    string // "user:x", "room:y" or "everyone"
	Seq       int64  // dense within the stream, from 1; given by the store
	Type      string // one of tasks.NotificationTypes
	Message   string
	Data      json.RawMessage // any JSON value, or nil
	CreatedAt time.Time       // given by the store
}

// EffectName implements job.Effect.
func (Notification) EffectName() string { return "notification" }

// Publisher pushes to who is connected. A push is a hint: who misses it
// fetches what follows the last sequence it knows.
type Publisher interface {
	Publish(ctx context.Context, n Notification) error
}

// Reader reads streams.
type Reader interface {
	// After returns the stream's notifications behind the sequence, oldest
	// first, at most limit (1 to 1,000).
	After(ctx context.Context, stream string, seq int64, limit int) ([]Notification, error)
}
