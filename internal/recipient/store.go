package recipient

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Store is the port to the truth about recipients. Its clock is the database's
// and every call may be repeated after an answer that was lost. Errors carry
// codes as job.Store's do.
//
// Digest items are written by job.Store.Settle, as effects.
type Store interface {
	Reader

	// Change lets decide see the recipient's preferences, locked, or nil where
	// there are none, and writes what it returns; nil deletes them. An address
	// that another recipient has is a CodeConflict. It returns what was
	// written. decide's error undoes all and is returned. decide may be called
	// more than once.
	Change(ctx context.Context, id string, decide Change) (Preferences, error)

	// Due lists digests whose window has ended and that were not closed, the
	// longest due first.
	Due(ctx context.Context, limit int) ([]Gathered, error)
	// Items lists what a digest has gathered in the order of time: at most
	// limit, and not what is of the categories that are left out.
	Items(ctx context.Context, d Gathered, without []string, limit int) (Contents, error)
	// Close ends a digest that is due, has as many items as d and was not
	// closed, and accepts its mail in the same transaction; a nil mail closes
	// it without one. It returns when that was; not ok is a digest that is
	// another's, or has grown. A call that is repeated with the same mail is ok.
	Close(ctx context.Context, d Gathered, mail *job.New) (at time.Time, ok bool, err error)
}

// Reader finds preferences; who has none is missing in the answer.
type Reader interface {
	// OfIDs finds them by id, OfAddresses by address, which must be normalised.
	OfIDs(ctx context.Context, ids []string) (map[string]Preferences, error)
	OfAddresses(ctx context.Context, addresses []string) (map[string]Preferences, error)
}

// Change makes of preferences, or of none, what they shall be at the time now.
type Change func(old *Preferences, now time.Time) (*Preferences, error)

// Gathered is a digest that gathers, or is due: one for a recipient and window.
type Gathered struct {
	Recipient string // Preferences.ID
	EndsAt    time.Time
	Address   string // that the last item was for
	Items     int
}

// Item is a message that is gathered instead of being delivered. It is a
// job.Effect: it is written in the transaction that settles its job, into the
// digest whose window that time is in, or into the first after it that is not
// closed. So it is in exactly one digest.
type Item struct {
	Job      job.ID
	For      *Preferences // of whom it is for
	Category string
	Title    string
	Text     string    // an excerpt
	At       time.Time // given by the store
}

// EffectName implements job.Effect.
func (Item) EffectName() string { return "digest item" }

// Contents are what a digest shows.
type Contents struct {
	Items []Item // without For
	Total int    // how many there are, of which Items may be the first only
}
