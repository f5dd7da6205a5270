package live

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/socketio"
)

var errWhichRoom = errors.New("which room? You are not in just one")

// spoken is what a tutorial's client says in a room: the text, and what else its
// object has. The room may be left out by a client that is in one only.
type spoken struct {
	room, text, clientID string
	data                 json.RawMessage
}

func spokenOf(k *socketio.Socket, e socketio.Event) (s spoken, err error) {
	var said fields
	if e.Len() > 0 {
		if said = fieldsOf(e.Raw(0)); said == nil {
			s.text = textOf(e.Raw(0))
		}
	}
	if said != nil {
		s.room, s.text = said.take("room", "roomId"), said.take("message", "text", "msg", "content")
		s.clientID = said.take("client_id", "clientId")
	}
	if len(said) > 0 {
		if s.data, err = json.Marshal(said); err != nil {
			return s, fmt.Errorf("encoding what else was said: %w", err)
		}
	}
	if s.room == "" {
		s.room, err = memberOf(k).onlyRoom()
	}
	if err == nil && !k.In(inside(s.room)) {
		err = errOutside
	}
	return s, err
}

// onlyRoom is the one room that the client has entered.
func (m *member) onlyRoom() (string, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.joined) == 1 {
		for room := range m.joined {
			return room, nil
		}
	}
	return "", errWhichRoom
}

// sendRoomMessage is room_message.
func (h *Hub) sendRoomMessage(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	s, err := spokenOf(k, e)
	var text []byte
	if err == nil {
		text, err = json.Marshal(s.text)
	}
	if err == nil && (s.text == "" || len(text) > maxRelayed || len(s.data) > maxRelayed) {
		err = errRelayed
	}
	if err == nil {
		err = h.relayTo(ctx, s.room, "", roomMessage{s.room, memberOf(k).user.ID, text, s.data, time.Now().UTC()})
	}
	h.acknowledge(k, e, answer{Room: s.room}, err)
}

// chatMessage is chat_message.
func (h *Hub) chatMessage(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	s, err := spokenOf(k, e)
	h.send(ctx, k, e, chat.Draft{Room: s.room, Text: s.text, Data: s.data, ClientID: s.clientID}, err)
}

// sendMessage is chat_message, or with a receiver a notification to them.
func (h *Hub) sendMessage(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	if e.Len() == 0 || fieldsOf(e.Raw(0)).text("receiverId", "receiver_id", "recipientId", "to") == "" {
		h.chatMessage(ctx, k, e)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	n, err := notificationOf(e, memberOf(k))
	n.Type = "message"
	h.post(ctx, k, e, n, err)
}

// chatHistory is chat_history; a client that waits for no acknowledgement is
// answered by the event.
func (h *Hub) chatHistory(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	if e.WantsAck() {
		h.history(ctx, k, e)
		return
	}
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	room, err := roomInside(k, e)
	if errors.Is(err, errRoomName) {
		room, err = memberOf(k).onlyRoom()
	}
	if err != nil {
		h.acknowledge(k, e, answer{}, err)
		return
	}
	h.showHistory(ctx, k, room)
}

// showFlatHistory is how the tutorials' pages want it: the messages, and then
// what they are of.
func (h *Hub) showFlatHistory(k *socketio.Socket, room string, messages []chatMessage, cursor string) {
	list := make([]json.RawMessage, len(messages))
	for i, m := range messages {
		text, err := json.Marshal(m)
		if err != nil {
			h.log.Warn("a message of a room could not be encoded", "err", err)
			return
		}
		list[i] = flat(text)
	}
	_ = k.Emit("chatHistory", list, map[string]string{"room": room, "cursor": cursor}) // gone is as good
}
