package live

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/postrider/postrider/internal/socketio"
)

// Typing is told to a room when it begins, again at most every typingAgain while
// it goes on, and when it ends: because the client says so, sends a chat message,
// leaves, or has not said for typingKept that it goes on. A process that is killed
// tells no end, so that clients too let it end some time after the last.
const (
	typingAgain = 2 * time.Second
	typingKept  = 5 * time.Second
	typingEvery = time.Second // rounds that look for ends
)

// typist is a client that types in a room.
type typist struct{ socket, user, room string }

// typing is when that was last told to the room, and last said by the client.
type typing struct{ told, said time.Time }

var errTyping = errors.New("typing must be true or false")

// typingNews is the argument of "typing", as the others in the room get it.
type typingNews struct {
	Room   string `json:"room"`
	UserID string `json:"userId"`
	Typing bool   `json:"typing"`
}

// typed notes that a client types, or no longer does.
func (h *Hub) typed(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	room, err := roomInside(k, e)
	var given struct {
		Typing *bool `json:"typing"`
	}
	if err == nil && (json.Unmarshal(e.Raw(0), &given) != nil || given.Typing == nil) {
		err = errTyping
	}
	if err == nil {
		who := typist{k.ID(), memberOf(k).user.ID, room}
		switch {
		case !*given.Typing:
			h.stopTyping(ctx, who)
		case h.goesOn(who, time.Now()):
		default:
			err = h.tellRoom(ctx, room, k.ID(), "typing", typingNews{room, who.user, true})
		}
	}
	h.acknowledge(k, e, answer{Room: room}, err)
}

// goesOn notes that somebody types, and reports whether that was told just now.
func (h *Hub) goesOn(who typist, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	at, known := h.typing[who]
	recent := known && now.Sub(at.told) < typingAgain
	if at.said = now; !recent {
		at.told = now
	}
	h.typing[who] = at
	return recent
}

// stopTyping tells the room that a client no longer types, if it did.
func (h *Hub) stopTyping(ctx context.Context, who typist) {
	h.mu.Lock()
	_, known := h.typing[who]
	delete(h.typing, who)
	h.mu.Unlock()
	if known {
		_ = h.tellRoom(ctx, who.room, who.socket, "typing", typingNews{who.room, who.user, false}) // it has logged why not
	}
}

// silence ends all typing of a client that has gone.
func (h *Hub) silence(ctx context.Context, k *socketio.Socket) {
	for _, who := range h.typistsWhere(func(who typist, _ typing) bool { return who.socket == k.ID() }) {
		h.stopTyping(ctx, who)
	}
}

// endTyping is a round that ends the typing of clients that say no more of it.
func (h *Hub) endTyping(ctx context.Context) error {
	now := time.Now()
	for _, who := range h.typistsWhere(func(_ typist, at typing) bool { return now.Sub(at.said) >= typingKept }) {
		h.stopTyping(ctx, who)
	}
	return nil
}

func (h *Hub) typistsWhere(is func(typist, typing) bool) (out []typist) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for who, at := range h.typing {
		if is(who, at) {
			out = append(out, who)
		}
	}
	return out
}
