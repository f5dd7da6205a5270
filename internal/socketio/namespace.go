package socketio

import (
	"context"
	stdjson "encoding/json"
	"sync"

	"github.com/go-json-experiment/json"
)

// Namespace is a part of the server that clients connect to by its name, each
// with a socket of its own over the one connection that they have. What decides
// and handles is to be set before the first client comes.
type Namespace struct {
	name         string
	onConnect    func(context.Context, *Socket, stdjson.RawMessage) error
	onDisconnect func(context.Context, *Socket, Reason)
	before       func(context.Context, *Socket, Event) bool
	handlers     map[string]func(context.Context, *Socket, Event)

	mu      sync.RWMutex
	sockets map[string]*Socket              // by id
	rooms   map[string]map[*Socket]struct{} // none is empty
}

func newNamespace(name string) *Namespace {
	return &Namespace{
		name: name, handlers: map[string]func(context.Context, *Socket, Event){},
		sockets: map[string]*Socket{}, rooms: map[string]map[*Socket]struct{}{},
	}
}

// Name is the namespace's name; it begins with "/".
func (n *Namespace) Name() string { return n.name }

// OnConnect sets who decides about a client that wants to connect. auth is the
// object that the client gave as auth, or nil. With nil returned the client is
// let in; a *ConnectError refuses and is told to the client; any other error is
// logged, and the client learns of an internal one. The socket may already join
// rooms and be emitted to. Without it everyone is let in.
func (n *Namespace) OnConnect(decide func(ctx context.Context, k *Socket, auth stdjson.RawMessage) error) {
	n.onConnect = decide
}

// OnDisconnect sets who is told that a client that was let in has gone, after
// all its events were handled. The socket is out of its rooms; Rooms still lists
// them. ctx does not end with the session.
func (n *Namespace) OnDisconnect(told func(ctx context.Context, k *Socket, reason Reason)) {
	n.onDisconnect = told
}

// Before sets who sees every event of a client before its handler, and those
// that have none; with false returned the event is not handled.
func (n *Namespace) Before(see func(ctx context.Context, k *Socket, e Event) bool) { n.before = see }

// Handle sets what handles an event. The events of one socket are handled one
// after the other, those of different sockets at the same time. ctx ends with
// the client's connection. Events without a handler are ignored.
func (n *Namespace) Handle(event string, handle func(ctx context.Context, k *Socket, e Event)) {
	n.handlers[event] = handle
}

func (n *Namespace) connected(ctx context.Context, k *Socket, auth stdjson.RawMessage) error {
	if n.onConnect == nil {
		return nil
	}
	return n.onConnect(ctx, k, auth)
}

func (n *Namespace) disconnected(ctx context.Context, k *Socket, reason Reason) {
	if n.onDisconnect != nil {
		n.onDisconnect(ctx, k, reason)
	}
}

func (n *Namespace) handle(ctx context.Context, k *Socket, e Event) {
	if n.before != nil && !n.before(ctx, k, e) {
		return
	}
	if handler := n.handlers[e.Name]; handler != nil {
		handler(ctx, k, e)
	}
}

// parseAuth reads the payload of CONNECT: an object, or nothing.
func parseAuth(payload []byte) (stdjson.RawMessage, error) {
	if len(payload) == 0 {
		return nil, nil
	}
	var auth stdjson.RawMessage
	if err := json.Unmarshal(payload, &auth); err != nil {
		return nil, err
	}
	return auth, nil
}

// Socket returns the client of that id, if it is here.
func (n *Namespace) Socket(id string) (*Socket, bool) {
	n.mu.RLock()
	defer n.mu.RUnlock()
	k, ok := n.sockets[id]
	return k, ok
}

// Len is how many clients are here, with those about which OnConnect has not
// decided.
func (n *Namespace) Len() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.sockets)
}

func (n *Namespace) add(k *Socket) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.sockets[k.id] = k
}

// remove takes a socket out of the namespace and its rooms. The socket's own
// list of them stays, for OnDisconnect.
func (n *Namespace) remove(k *Socket) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.sockets, k.id)
	for room := range k.rooms {
		n.vacateLocked(room, k)
	}
}
