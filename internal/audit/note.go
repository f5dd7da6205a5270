package audit

import (
	"context"
	"sync/atomic"

	"github.com/google/uuid"
)

// Note is an act under way, which the transactions that carry it out record.
type Note struct {
	act    Act
	id     string
	parts  atomic.Int64
	stands atomic.Bool // a transaction with a record of it is committed
}

func newNote(a Act) *Note { return &Note{act: a, id: uuid.NewString()} }

type noteKey struct{}

// NoteOf is the act that ctx is for, or nil.
func NoteOf(ctx context.Context) *Note {
	n, _ := ctx.Value(noteKey{}).(*Note)
	return n
}

// NextPart is the number of the record that a transaction writes, the same one
// however often the transaction is repeated.
func (n *Note) NextPart() int { return int(n.parts.Add(1)) }

// Record is what a transaction writes that does it to count things.
func (n *Note) Record(part, count int) Record {
	r := Record{ID: n.id, Part: part, Act: n.act, Outcome: Done}
	r.Count = count
	return r
}

// Committed says that a transaction was committed that has a record of the act.
func (n *Note) Committed() { n.stands.Store(true) }
