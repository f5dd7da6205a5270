package live

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/socketio"
)

// maxRelayed bounds a message that is relayed and its data, in bytes each.
const maxRelayed = 64_000

var errRelayed = errors.New("message must be a JSON value, it and data of at most 64000 bytes each")

// roomMessage is the argument of "room_message", as those in the room get it.
type roomMessage struct {
	Room      string          `json:"room"`
	UserID    string          `json:"userId"`
	Message   json.RawMessage `json:"message"`
	Data      json.RawMessage `json:"data,omitempty"`
	Timestamp time.Time       `json:"timestamp"`
}

// relay hands a message to all who have entered the room, or all but the client
// that says it. It is kept nowhere.
func (h *Hub) relay(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	room, err := roomInside(k, e)
	var given struct {
		Message  json.RawMessage `json:"message"`
		Data     json.RawMessage `json:"data"`
		ExceptMe bool            `json:"except_me"`
	}
	if err == nil {
		if json.Unmarshal(e.Raw(0), &given) != nil || len(given.Message) == 0 || len(given.Message) > maxRelayed || len(given.Data) > maxRelayed {
			err = errRelayed
		}
	}
	if err == nil {
		except := ""
		if given.ExceptMe {
			except = k.ID()
		}
		err = h.relayTo(ctx, room, except, roomMessage{room, memberOf(k).user.ID, given.Message, given.Data, time.Now().UTC()})
	}
	h.acknowledge(k, e, answer{Room: room}, err)
}

func (h *Hub) relayTo(ctx context.Context, room, except string, m roomMessage) error {
	return h.tellRoom(ctx, room, except, "room_message", m, "receiveRoomMessage", "room_notification")
}

// tellRoom sends an event to who has entered a room, on all processes, but for
// one socket.
func (h *Hub) tellRoom(ctx context.Context, room, except, event string, arg any, aliases ...string) error {
	env, err := newEnvelope(inside(room), event, arg, aliases...)
	if err == nil {
		env.Except = except
		ctx, cancel := context.WithTimeout(ctx, askLimit)
		defer cancel()
		err = h.o.Publisher.send(ctx, env)
	}
	if err != nil {
		h.log.Warn("an event could not be told to a room", "event", event, "err", err)
		return errNow
	}
	return nil
}
