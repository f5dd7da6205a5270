package chat

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds, in bytes.
const (
	MaxName = 128 // of a room, a user, a ClientID
	MaxText = 10_000
	MaxData = 16_000
)

// Draft is a message that is to be sent.
type Draft struct {
	Room, User string
	Text       string
	Data       json.RawMessage // any JSON value, or nil
	// ClientID names it among the sender's messages in the room: sent again under
	// the same, it is the same message. May be empty.
	ClientID string
}

// InvalidError names a field that cannot be accepted.
type InvalidError struct{ Field, Problem string }

func (e InvalidError) Error() string { return e.Field + " " + e.Problem }

// ValidName reports whether a room, a user or a ClientID may be called so.
func ValidName(s string) bool {
	return s != "" && len(s) <= MaxName && utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// valid checks the draft, and makes what it says storable everywhere: PostgreSQL
// takes neither NUL nor broken UTF-8.
func (d *Draft) valid() error {
	name := fmt.Sprintf("must have 1 to %d bytes and no control characters", MaxName)
	d.Text = strings.ToValidUTF8(strings.ReplaceAll(d.Text, "\x00", "\uFFFD"), "\uFFFD")
	switch {
	case !ValidName(d.Room):
		return InvalidError{"room", name}
	case !ValidName(d.User):
		return InvalidError{"user", name}
	case d.ClientID != "" && !ValidName(d.ClientID):
		return InvalidError{"client_id", name}
	case strings.TrimSpace(d.Text) == "" || len(d.Text) > MaxText:
		return InvalidError{"text", fmt.Sprintf("must have 1 to %d bytes and say something", MaxText)}
	case len(d.Data) > MaxData || len(d.Data) > 0 && (!json.Valid(d.Data) || !utf8.Valid(d.Data)):
		return InvalidError{"data", fmt.Sprintf("must be a JSON value of at most %d bytes", MaxData)}
	}
	if string(d.Data) == "null" {
		d.Data = nil
	}
	return nil
}
