package chat

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ID is a message's place in its room: that of a Redis stream, the time in
// milliseconds and a number within it. Those of a room rise in the order in which
// they were sent. The zero ID is no message's.
type ID struct{ MS, Seq int64 }

// maxMS bounds the times of IDs: they are numbers of 53 bits in Redis' scripts.
const maxMS = 1 << 52

var errID = errors.New("not the id of a message")

// ParseID reads what String wrote.
func ParseID(s string) (ID, error) {
	ms, seq, ok := strings.Cut(s, "-")
	var id ID
	var err error
	if id.MS, err = parseNumber(ms); err == nil && ok {
		id.Seq, err = parseNumber(seq)
	}
	if err != nil || !ok {
		return ID{}, errID
	}
	return id, nil
}

func parseNumber(s string) (int64, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil || n > maxMS || len(s) > 1 && s[0] == '0' {
		return 0, errID
	}
	return int64(n), nil
}

// String is the ID as Redis and clients have it: "1764000000000-17".
func (id ID) String() string { return fmt.Sprintf("%d-%d", id.MS, id.Seq) }

// IsZero reports whether it is no message's.
func (id ID) IsZero() bool { return id == ID{} }

// Compare is below 0 where id comes before other, and above where it comes after.
func (id ID) Compare(other ID) int {
	return cmp.Or(cmp.Compare(id.MS, other.MS), cmp.Compare(id.Seq, other.Seq))
}
