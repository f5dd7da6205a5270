package socketio

import "slices"

// Broadcast is a choice of a namespace's clients. It is a value: its methods
// make others of it.
type Broadcast struct {
	namespace *Namespace
	rooms     []string // none is all of the namespace
	within    string   // a room that all of them are in, too; any when empty
	except    []string
}

// To chooses the clients that are in any of the rooms, each once; with no room
// named, all of the namespace.
func (n *Namespace) To(rooms ...string) Broadcast { return Broadcast{namespace: n, rooms: rooms} }

// Within leaves out the clients that are not in the room as well.
func (b Broadcast) Within(room string) Broadcast {
	b.within = room
	return b
}

// Except leaves out the sockets of these ids.
func (b Broadcast) Except(ids ...string) Broadcast {
	b.except = append(slices.Clip(b.except), ids...)
	return b
}

// Emit sends an event to all of the choice. It is encoded once, and not at all
// for nobody; nobody waits for anybody. It errs when the arguments cannot be made
// JSON or the name is reserved, if there is anybody.
func (b Broadcast) Emit(event string, args ...any) error {
	sockets := b.Sockets()
	if len(sockets) == 0 {
		return nil // as with most of what other processes send to one user
	}
	frames, err := encodeEvent(b.namespace.name, event, 0, false, args)
	if err != nil {
		return err
	}
	for _, k := range sockets {
		k.write(frames) // who has left meanwhile misses it
	}
	return nil
}

// Sockets lists the choice, in no order.
func (b Broadcast) Sockets() []*Socket {
	n := b.namespace
	n.mu.RLock()
	defer n.mu.RUnlock()
	var out []*Socket
	switch len(b.rooms) {
	case 0:
		out = make([]*Socket, 0, len(n.sockets))
		for _, k := range n.sockets {
			out = b.append(out, k)
		}
	case 1:
		out = make([]*Socket, 0, len(n.rooms[b.rooms[0]]))
		for k := range n.rooms[b.rooms[0]] {
			out = b.append(out, k)
		}
	default:
		seen := map[*Socket]struct{}{}
		for _, room := range b.rooms {
			for k := range n.rooms[room] {
				if _, twice := seen[k]; !twice {
					seen[k] = struct{}{}
					out = b.append(out, k)
				}
			}
		}
	}
	return out
}

func (b Broadcast) append(out []*Socket, k *Socket) []*Socket {
	if slices.Contains(b.except, k.id) {
		return out
	}
	if b.within != "" {
		if _, in := k.rooms[b.within]; !in {
			return out
		}
	}
	return append(out, k)
}
