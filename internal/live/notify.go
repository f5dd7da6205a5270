package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/socketio"
	"github.com/postrider/postrider/tasks"
)

// What a token's claim "scope" must have for notifications to others: a user may
// by default reach who shares a room with them, and nobody else.
const (
	scopeNotify    = "notify"    // any user
	scopeBroadcast = "broadcast" // everyone
)

// What a client may be told of a notification.
var (
	errScope    = errors.New("your token does not allow that: its scope lacks notify, or broadcast for everyone")
	errNoObject = errors.New("the argument must be an object, or the message")
)

// sendNotification sends one to a user or a room, which is stored before it is
// acknowledged.
func (h *Hub) sendNotification(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	h.notify(ctx, k, e, false)
}

// broadcastNotification sends one to everyone, unless it names a room.
func (h *Hub) broadcastNotification(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	h.notify(ctx, k, e, true)
}

func (h *Hub) notify(ctx context.Context, k *socketio.Socket, e socketio.Event, everyone bool) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	m := memberOf(k)
	n, err := notificationOf(e, m)
	if err == nil {
		n.Everyone = everyone && n.Room == "" && n.ReceiverID == ""
	}
	h.post(ctx, k, e, n, err)
}

// post stores a client's notification, unless there is an error already, and
// acknowledges the event.
func (h *Hub) post(ctx context.Context, k *socketio.Socket, e socketio.Event, n tasks.Notification, err error) {
	if err == nil {
		err = n.Validate()
	}
	if err == nil {
		err = memberOf(k).mayNotify(n)
	}
	if err != nil {
		h.acknowledge(k, e, answer{}, err)
		return
	}
	written, _, err := h.o.Inbox.Post(ctx, inbox.Notification{ID: job.NewID(), Stream: n.Stream(), Type: n.Type, Message: n.Message, Data: n.Data})
	if err != nil {
		h.log.Warn("a notification of a live client could not be written", "err", err)
		err = errNow
	}
	h.acknowledge(k, e, answer{ID: string(written.ID)}, err)
}

// mayNotify decides whom a user may reach: themselves, those in their rooms, and
// others as the token's scope allows.
func (m *member) mayNotify(n tasks.Notification) error {
	switch {
	case n.Everyone:
		return m.needs(scopeBroadcast)
	case n.Room != "":
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.joined[n.Room] || slices.Contains(m.user.Rooms, n.Room) {
			return nil
		}
		return errForbidden
	case n.ReceiverID == m.user.ID:
		return nil
	default:
		return m.needs(scopeNotify)
	}
}

func (m *member) needs(scope string) error {
	if !slices.Contains(m.user.Scopes, scope) {
		return errScope
	}
	return nil
}

// notificationOf reads what the tutorials' clients send: an object with the
// receiver or the room, and the message; or the message alone. What else the
// object has becomes the notification's data, and who sent it comes from the
// token.
func notificationOf(e socketio.Event, m *member) (n tasks.Notification, err error) {
	if e.Len() == 0 {
		return n, errNoObject
	}
	said := fieldsOf(e.Raw(0))
	if said == nil {
		if n.Message = textOf(e.Raw(0)); n.Message == "" {
			return n, errNoObject
		}
		said = fields{}
	}
	if n.Message == "" {
		n.Message = said.take("message", "text", "content", "body")
	}
	n.ReceiverID = said.take("receiverId", "receiver_id", "recipientId", "to", "userId")
	n.Room = said.take("room", "roomId")
	if kind := said.text("type"); slices.Contains(tasks.NotificationTypes, kind) {
		n.Type = said.take("type") // one of its own stays in the data
	}
	data := said
	if inner := fieldsOf(said["data"]); inner != nil {
		delete(data, "data")
		maps.Copy(data, inner)
	}
	data.take(whoNames...) // which is not the client's to say
	if err := data.set("senderId", m.user.ID); err != nil {
		return n, err
	}
	if m.user.Name != "" {
		if err := data.set("senderName", m.user.Name); err != nil {
			return n, err
		}
	}
	if n.Data, err = json.Marshal(data); err != nil {
		return n, fmt.Errorf("encoding a notification's data: %w", err)
	}
	return n, nil
}

func (f fields) set(name, text string) error {
	raw, err := json.Marshal(text)
	if err != nil {
		return fmt.Errorf("encoding %s: %w", name, err)
	}
	f[name] = raw
	return nil
}
