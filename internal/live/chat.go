package live

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/socketio"
)

var _ chat.Pusher = (*Publisher)(nil)

// chatMessage is what somebody said, as clients get it.
type chatMessage struct {
	ID        string          `json:"id"`
	Room      string          `json:"room"`
	UserID    string          `json:"userId"`
	Text      string          `json:"text"`
	Data      json.RawMessage `json:"data,omitempty"`
	ClientID  string          `json:"clientId,omitempty"`
	Timestamp time.Time       `json:"timestamp"`
}

func tellMessage(m chat.Message) chatMessage {
	return chatMessage{m.ID.String(), m.Room, m.User, m.Text, m.Data, m.ClientID, m.At()}
}

// MessageSent pushes a message to those who have entered its room, as
// "chat_message".
func (p *Publisher) MessageSent(ctx context.Context, m chat.Message) error {
	return p.toRoom(ctx, m.Room, "chat_message", tellMessage(m), "chatMessage", "receiveMessage")
}

// MessageDeleted tells them that a message was taken back, as "chat_deleted".
func (p *Publisher) MessageDeleted(ctx context.Context, room string, id chat.ID) error {
	return p.toRoom(ctx, room, "chat_deleted", map[string]string{"room": room, "id": id.String()})
}

func (p *Publisher) toRoom(ctx context.Context, room, event string, arg any, aliases ...string) error {
	e, err := newEnvelope(inside(room), event, arg, aliases...)
	if err != nil {
		return err
	}
	return p.send(ctx, e)
}

// chatProblem is what a client may be told of an error of the chat.
func (h *Hub) chatProblem(err error) error {
	if invalid := (chat.InvalidError{}); err == nil || errors.As(err, &invalid) {
		return err
	}
	h.log.Warn("a live client's question about a chat could not be answered", "err", err)
	return errNow
}

// say sends a chat message, and acknowledges it with its id when it is stored.
func (h *Hub) say(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	room, err := roomInside(k, e)
	var given struct {
		Text     string          `json:"text"`
		Data     json.RawMessage `json:"data"`
		ClientID string          `json:"client_id"`
		Client   string          `json:"clientId"`
	}
	if err == nil && json.Unmarshal(e.Raw(0), &given) != nil {
		err = chat.InvalidError{Field: "text", Problem: "and client_id must be strings, in an object"}
	}
	h.send(ctx, k, e, chat.Draft{Room: room, Text: given.Text, Data: given.Data, ClientID: cmp.Or(given.ClientID, given.Client)}, err)
}

// send stores a client's message, unless there is an error already, and
// acknowledges the event.
func (h *Hub) send(ctx context.Context, k *socketio.Socket, e socketio.Event, d chat.Draft, err error) {
	var m chat.Message
	if err == nil {
		d.User = memberOf(k).user.ID
		h.stopTyping(ctx, typist{k.ID(), d.User, d.Room})
		m, _, err = h.o.Chat.Send(ctx, d)
		err = h.chatProblem(err)
	}
	if err != nil {
		h.acknowledge(k, e, answer{Room: d.Room}, err)
		return
	}
	h.acknowledge(k, e, answer{Room: d.Room, ID: m.ID.String(), Timestamp: m.At()}, nil)
}

// tellHistory is what was said in a room, oldest first, and what asks for what
// was said before; empty where that is all.
func tellHistory(p chat.Page) (messages []chatMessage, cursor string) {
	messages = make([]chatMessage, 0, len(p.Messages))
	for _, m := range slices.Backward(p.Messages) {
		messages = append(messages, tellMessage(m))
	}
	if !p.Next.IsZero() {
		cursor = p.Next.String()
	}
	return messages, cursor
}

// chatHistory is the argument of "chat_history".
type chatHistory struct {
	Room     string        `json:"room"`
	Messages []chatMessage `json:"messages"`
	Cursor   string        `json:"cursor,omitzero"`
}

// showHistory sends a client that has entered a room what was said there last.
// What is said meanwhile may come both ways.
func (h *Hub) showHistory(ctx context.Context, k *socketio.Socket, room string) {
	if h.o.Config.History == 0 {
		return
	}
	page, err := h.o.Chat.History(ctx, chat.Query{Room: room, Limit: h.o.Config.History})
	if err != nil {
		h.log.Warn("what was said in a room could not be read; clients may ask for it", "err", err)
		return
	}
	messages, cursor := tellHistory(page)
	_ = k.Emit("chat_history", chatHistory{room, messages, cursor}) // gone is as good
	if k.In(aliased) {
		h.showFlatHistory(k, room, messages, cursor)
	}
}

var errHistory = errors.New("before must be the id of a message, and limit 1 to 200")

// history answers with what was said before a message, or last.
func (h *Hub) history(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	room, err := roomInside(k, e)
	q := chat.Query{Room: room, Limit: max(h.o.Config.History, 1)}
	if err == nil {
		err = readHistory(e, &q)
	}
	var page chat.Page
	if err == nil {
		page, err = h.o.Chat.History(ctx, q)
		err = h.chatProblem(err)
	}
	if err != nil {
		h.acknowledge(k, e, answer{Room: room}, err)
		return
	}
	messages, cursor := tellHistory(page)
	h.acknowledge(k, e, answer{Room: room, Messages: messages, Cursor: cursor}, nil)
}

// readHistory reads what a client wants of a room's history, which is named by
// the room's name alone or in an object.
func readHistory(e socketio.Event, q *chat.Query) error {
	var given struct {
		Before *string `json:"before"`
		Limit  *int    `json:"limit"`
	}
	if fieldsOf(e.Raw(0)) == nil {
		return nil
	}
	if json.Unmarshal(e.Raw(0), &given) != nil {
		return errHistory
	}
	if given.Limit != nil {
		q.Limit = *given.Limit
	}
	if q.Limit < 1 || q.Limit > chat.MaxPage {
		return errHistory
	}
	if given.Before == nil {
		return nil
	}
	var err error
	if q.Before, err = chat.ParseID(*given.Before); err != nil {
		return errHistory
	}
	return nil
}
