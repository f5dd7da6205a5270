package inbox

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"math"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Cursor is a place in an inbox: its entries are in the order of CreatedAt, Seq
// and ID, newest first, which within a stream is that of Seq.
type Cursor struct {
	At  time.Time // to the millisecond
	Seq int64
	ID  job.ID
}

// Newest is the place before the newest entry.
var Newest = Cursor{At: time.UnixMilli(math.MaxInt64), Seq: math.MaxInt64, ID: "ffffffff-ffff-ffff-ffff-ffffffffffff"}

// place is where an entry stands.
func (e Entry) place() Cursor { return Cursor{e.CreatedAt, e.Seq, e.ID} }

// Compare orders places from the oldest to the newest.
func (c Cursor) Compare(other Cursor) int {
	return cmp.Or(c.At.Compare(other.At), cmp.Compare(c.Seq, other.Seq), cmp.Compare(c.ID, other.ID))
}

// String writes the place for ParseCursor; it is fit for a URL.
func (c Cursor) String() string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %d %s", c.At.UnixMilli(), c.Seq, c.ID))
}

// ParseCursor reads what String has written; anything else is a CodeInvalid.
func ParseCursor(s string) (Cursor, error) {
	text, err := base64.RawURLEncoding.DecodeString(s)
	var at int64
	var c Cursor
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%d %d %s", &at, &c.Seq, &c.ID)
	}
	if err == nil {
		c.ID, err = job.ParseID(string(c.ID))
	}
	c.At = time.UnixMilli(at)
	if err != nil || c.String() != s {
		return Cursor{}, job.Errorf(job.CodeInvalid, "the cursor is not one that a page before gave")
	}
	return c, nil
}
