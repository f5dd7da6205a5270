package socketio

import (
	"maps"
	"slices"
)

// Join puts the socket into rooms, which are groups of sockets of its namespace
// that can be emitted to; clients know nothing of them. False when the client
// has left.
func (k *Socket) Join(rooms ...string) bool {
	n := k.namespace
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sockets[k.id] != k {
		return false
	}
	if k.rooms == nil {
		k.rooms = make(map[string]struct{}, len(rooms))
	}
	for _, room := range rooms {
		k.rooms[room] = struct{}{}
		members := n.rooms[room]
		if members == nil {
			members = map[*Socket]struct{}{}
			n.rooms[room] = members
		}
		members[k] = struct{}{}
	}
	return true
}

// Leave takes the socket out of rooms.
func (k *Socket) Leave(rooms ...string) {
	n := k.namespace
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sockets[k.id] != k {
		return
	}
	for _, room := range rooms {
		delete(k.rooms, room)
		n.vacateLocked(room, k)
	}
}

// Rooms lists the socket's rooms in order; of one that has left, those that it
// was in then.
func (k *Socket) Rooms() []string {
	n := k.namespace
	n.mu.RLock()
	defer n.mu.RUnlock()
	return slices.Sorted(maps.Keys(k.rooms))
}

// In tells whether the socket is in the room.
func (k *Socket) In(room string) bool {
	n := k.namespace
	n.mu.RLock()
	defer n.mu.RUnlock()
	_, ok := n.rooms[room][k]
	return ok
}

// vacateLocked takes a socket out of a room, and the room away with its last.
func (n *Namespace) vacateLocked(room string, k *Socket) {
	members, ok := n.rooms[room]
	if !ok {
		return
	}
	if delete(members, k); len(members) == 0 {
		delete(n.rooms, room)
	}
}
