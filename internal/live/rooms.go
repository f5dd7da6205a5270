package live

import (
	"context"
	"errors"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/socketio"
)

// Bounds of rooms.
const (
	maxRoomName = 128 // bytes
	maxJoined   = 100 // rooms that one connection may be in
)

// What a client may be told of a room.
var (
	errRoomName  = errors.New("a room's name has 1 to 128 bytes and no control characters")
	errForbidden = errors.New("you may not enter this room")
	errManyRooms = errors.New("you are in too many rooms")
	errOutside   = errors.New("you have not entered this room")
	errNow       = errors.New("not possible now, try again")
)

// inside is the sockets' room of those who have entered a room of users, beside
// those who get its notifications.
func inside(room string) string { return "in:" + room }

// roomOf reads the room that an event is about: its name, which may be a number,
// or an object with it.
func roomOf(e socketio.Event) (string, error) {
	if e.Len() == 0 {
		return "", errRoomName
	}
	name := textOf(e.Raw(0))
	if object := fieldsOf(e.Raw(0)); object != nil {
		name = object.text("room", "roomId")
	}
	if name == "" || len(name) > maxRoomName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", errRoomName
	}
	return name, nil
}

// join lets a client into a room that its token lists, or that MayEnter allows.
// The answer has who is there.
func (h *Hub) join(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	room, err := roomOf(e)
	if err == nil {
		err = h.enterRoom(ctx, k, room)
	}
	if err != nil {
		h.acknowledge(k, e, answer{}, err)
		return
	}
	users, err := h.presentIn(ctx, room)
	if err != nil {
		h.log.Warn("who is in a room could not be told", "err", err)
	}
	h.acknowledge(k, e, answer{Room: room, Users: users}, nil)
	h.showHistory(ctx, k, room)
}

// roomInside is roomOf for what only those may do who have entered the room.
func roomInside(k *socketio.Socket, e socketio.Event) (string, error) {
	room, err := roomOf(e)
	if err == nil && !k.In(inside(room)) {
		err = errOutside
	}
	return room, err
}

func (h *Hub) enterRoom(ctx context.Context, k *socketio.Socket, room string) error {
	m := memberOf(k)
	if err := h.mayEnter(ctx, m, room); err != nil {
		return err
	}
	m.mu.Lock()
	if len(m.joined) >= maxJoined && !m.joined[room] {
		m.mu.Unlock()
		return errManyRooms
	}
	again := m.joined[room]
	m.joined[room] = true
	m.mu.Unlock()
	k.Join(inside(room), inbox.OfRoom(room))
	if !again {
		h.arrive(ctx, m, room)
	}
	return nil
}

func (h *Hub) mayEnter(ctx context.Context, m *member, room string) error {
	if slices.Contains(m.user.Rooms, room) {
		return nil
	}
	if h.o.MayEnter == nil {
		return errForbidden
	}
	ok, err := h.o.MayEnter(ctx, m.user, room)
	if err != nil {
		h.log.Warn("it could not be told whether a user may enter a room", "err", err)
		return errNow
	}
	if !ok {
		return errForbidden
	}
	return nil
}

// leave takes a client out of a room. Its notifications it goes on getting where
// its token lists the room: they are in its inbox.
func (h *Hub) leave(ctx context.Context, k *socketio.Socket, e socketio.Event) {
	room, err := roomOf(e)
	if err == nil {
		m := memberOf(k)
		m.mu.Lock()
		was := m.joined[room]
		delete(m.joined, room)
		m.mu.Unlock()
		k.Leave(inside(room))
		if !slices.Contains(m.user.Rooms, room) {
			k.Leave(inbox.OfRoom(room))
		}
		if was {
			h.goneFrom(m, room)
			h.stopTyping(ctx, typist{k.ID(), m.user.ID, room})
		}
	}
	h.acknowledge(k, e, answer{Room: room}, err)
}
