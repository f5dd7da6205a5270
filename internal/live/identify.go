package live

import (
	"context"
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
