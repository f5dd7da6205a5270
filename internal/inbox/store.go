package inbox

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Mark is what a user has done about a notification; each takes in those before
// it.
type Mark int

// The marks.
const (
	Seen Mark = iota + 1
	Read
	Archived
)

// Store keeps streams and what users have marked in them. Errors have the codes
// of package job.
type Store interface {
	Reader
	// Post writes a notification without a job under the next sequence of its
	// stream, together with others that come at the same moment. Where there is
	// one of that ID already it is returned, with again: nothing is written
	// twice. One of that ID that reads otherwise is a CodeConflict.
	Post(ctx context.Context, n Notification) (written Notification, again bool, err error)
	// State tells how the viewer stands. Streams without a notification since
	// their beginning are left out.
	State(ctx context.Context, v Viewer) (State, error)
	// Page lists a user's entries of one stream.
	Page(ctx context.Context, q PageQuery) ([]Entry, error)
	// Mark marks one notification as Read or Archived, and tells how the viewer
	// stands then. It is a CodeNotFound unless it is in the viewer's inbox.
	Mark(ctx context.Context, v Viewer, id job.ID, as Mark) (Entry, State, error)
	// MarkAll marks all that there is in the viewer's inbox, and tells how the
	// viewer stands then.
	MarkAll(ctx context.Context, v Viewer, as Mark) (State, error)
}

// State is how a user stands to the streams of their inbox.
type State struct {
	// Version rises with each change of the user's marks, in the order of the
	// changes.
	Version int64
	Streams map[string]StreamState
}

// StreamState is how a user stands to one stream.
type StreamState struct {
	Last   int64     // the sequence of its newest notification
	LastAt time.Time // when that was made
	Gone   int64     // up to here nothing is kept any more
	// Up to here all are seen, read and archived.
	Seen, Read, Archived int64
	Unread, Unseen       int64 // how many there are; what is read is seen
}

// Which chooses entries of an inbox.
type Which string

// What can be chosen.
const (
	Current      Which = ""         // all that is not archived
	OnlyUnread   Which = "unread"   // of these, what is not read
	OnlyArchived Which = "archived" // what is archived
)

// PageQuery chooses entries of one stream.
type PageQuery struct {
	User   string
	Stream string
	Marks  StreamState // of the user and the stream
	Which  Which
	Before Cursor // Newest for the first page
	Limit  int    // at most so many, the newest first
}
