package live

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/postrider/postrider/internal/socketio"
)

var errIdentity = errors.New("the token is another user's: who you are comes from the token that you connected with")

// identify answers a client that says who its user is, by an id, by a token or
// by an object with either: with who the token says it is. Nobody becomes
// anybody else by it.
func (h *Hub) identify(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	m := memberOf(k)
	err := h.isUser(ctx, m, e)
	if err == nil && e.Name == "authenticate" {
		_ = k.Emit("authenticated", answer{OK: true, User: m.user.ID}) // gone is as good
	}
	h.acknowledge(k, e, answer{User: m.user.ID}, err)
}

// isUser errs when what the client says is not true of it.
func (h *Hub) isUser(ctx context.Context, m *member, e socketio.Event) error {
	if e.Len() == 0 {
		return nil
	}
	said := fieldsOf(e.Raw(0))
	id, token := said.text("userId", "user_id", "id"), said.text("token")
	if said == nil {
		id = textOf(e.Raw(0))
	}
	if id == m.user.ID || id == "" && token == "" {
		return nil
	}
	if token == "" {
		token = id
	}
	user, err := h.o.Tokens.Verify(ctx, token)
	if err != nil || user.ID != m.user.ID {
		return errIdentity
	}
	return nil
}

// fields are those of an object that a client sent.
type fields map[string]json.RawMessage

// fieldsOf reads an object; nil when it is something else.
func fieldsOf(raw json.RawMessage) fields {
	var f fields
	if json.Unmarshal(raw, &f) != nil {
		return nil
	}
	return f
}

// take removes the first of the fields that there is, and returns its text: of
// a string or a number.
func (f fields) take(names ...string) (text string) {
	for _, name := range names {
		if text == "" {
			text = textOf(f[name])
		}
		delete(f, name)
	}
	return text
}

// text is that of the first of the fields that has any.
func (f fields) text(names ...string) string {
	for _, name := range names {
		if text := textOf(f[name]); text != "" {
			return text
		}
	}
	return ""
}

// textOf reads a string, or a number as it stands; empty when it is neither.
func textOf(raw json.RawMessage) string {
	var text string
	var number json.Number
	switch {
	case len(raw) == 0:
		return ""
	case json.Unmarshal(raw, &text) == nil:
		return text
	case json.Unmarshal(raw, &number) == nil:
		return number.String()
	default:
		return ""
	}
}
