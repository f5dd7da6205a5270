package socketio

import (
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"sync/atomic"

	"crypto/rand"

	"github.com/go-json-experiment/json"
)

// Socket is one client in one namespace. Its methods never wait, but for
// EmitWithAck, and may be called from everywhere.
type Socket struct {
	id        string
	namespace *Namespace
	conn      *conn
	data      atomic.Value // a boxed

	// Guarded by conn.mu.
	state   socketState
	reason  Reason   // once it has left
	early   []*frame // what was emitted before the client was let in
	waiting int      // their size
	inbox   inbox
	acks    acks

	// Guarded by namespace.mu.
	rooms map[string]struct{}

	accepted bool // by OnConnect; of the goroutine that handles tasks
}

type socketState byte

const (
	connecting socketState = iota
	connected
	left
)

// boxed lets an atomic.Value hold values of changing types.
type boxed struct{ any }

func newSocket(c *conn, n *Namespace) *Socket {
	return &Socket{id: rand.Text(), namespace: n, conn: c}
}

// ID is the socket's id, which the client knows as socket.id. It is no secret:
// it may be told to others.
func (k *Socket) ID() string { return k.id }

// Namespace is where the socket is.
func (k *Socket) Namespace() *Namespace { return k.namespace }

// Handshake is what Config.Admit made of the session's first request.
func (k *Socket) Handshake() any { return k.conn.session.handshake }

// SetData keeps a value of the application's with the socket, such as whose it
// is.
func (k *Socket) SetData(v any) { k.data.Store(boxed{v}) }

// Data is what SetData was last given, or nil.
func (k *Socket) Data() any {
	b, _ := k.data.Load().(boxed)
	return b.any
}

// Emit sends an event. It errs when the arguments cannot be made JSON, when the
// name is reserved, and with ErrDisconnected. That it returns nil does not say
// that the event has arrived. What is emitted before OnConnect has returned
// follows the answer to CONNECT.
func (k *Socket) Emit(event string, args ...any) error {
	frames, err := encodeEvent(k.namespace.name, event, 0, false, args)
	if err != nil {
		return err
	}
	if !k.write(frames) {
		return fmt.Errorf("emitting %q: %w", event, ErrDisconnected)
	}
	return nil
}

// Disconnect takes the client out of the namespace, after what was emitted
// before. Clients do not come back from it by themselves.
func (k *Socket) Disconnect() { k.leave(ServerLeft) }

// Close ends the client's whole connection, after what was emitted before.
// Clients come back from it by themselves.
func (k *Socket) Close() { k.conn.session.finish(ServerClosed) }

// write queues frames for the client; false when it has left.
func (k *Socket) write(frames []*frame) bool {
	c := k.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	switch k.state {
	case connected:
		return c.session.send(frames...)
	case connecting:
		if k.waiting += sizeOf(frames); k.waiting > c.session.server.cfg.MaxQueued {
			c.session.end(SlowClient)
			return false
		}
		k.early = append(k.early, frames...)
		return true
	default:
		return false
	}
}

// ConnectError is how OnConnect refuses a client, with what it may know of the
// reason: its connect_error gets Message and Data.
type ConnectError struct {
	Message string
	Data    any // of an error's data property; none when nil
}

func (e *ConnectError) Error() string { return e.Message }

// connect lets the namespace decide, and tells the client.
func (k *Socket) connect(auth stdjson.RawMessage) {
	session := k.conn.session
	err := k.namespace.connected(session.ctx, k, auth)
	k.accepted = err == nil
	if err != nil {
		refused := new(ConnectError)
		if !errors.As(err, &refused) {
			session.server.cfg.Logger.Warn("a Socket.IO client could not be let in", "namespace", k.namespace.name, "err", err)
			refused = &ConnectError{Message: "internal error"}
		}
		k.refuse(refused)
		return
	}
	welcome := textFrame(packet{kind: sioConnect, namespace: k.namespace.name, payload: []byte(`{"sid":"` + k.id + `"}`)}.append(nil))
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	if k.state != connecting {
		return
	}
	k.state = connected
	session.send(append([]*frame{welcome}, k.early...)...)
	k.early = nil
}

// refuse answers CONNECT with an error. The client may try again with another
// one.
func (k *Socket) refuse(e *ConnectError) {
	k.namespace.remove(k)
	c := k.conn
	c.mu.Lock()
	defer c.mu.Unlock()
	if k.state == left {
		return
	}
	k.state, k.early = left, nil
	k.acks.failLocked()
	c.session.send(connectErrorFrame(k.namespace.name, e))
	c.dropLocked(k)
}

func connectErrorFrame(namespace string, e *ConnectError) *frame {
	payload, err := json.Marshal(struct {
		Message string `json:"message"`
		Data    any    `json:"data,omitzero"`
	}{e.Message, e.Data})
	if err != nil {
		payload = []byte(`{"message":"internal error"}`)
	}
	return textFrame(packet{kind: sioConnectError, namespace: namespace, payload: payload}.append(nil))
}

// leave ends the socket; the client is told when it is this side's doing and
// the connection stays.
func (k *Socket) leave(reason Reason) {
	c := k.conn
	c.mu.Lock()
	if k.state == left {
		c.mu.Unlock()
		return
	}
	k.state, k.reason, k.early = left, reason, nil
	if reason == ServerLeft {
		c.session.send(textFrame(packet{kind: sioDisconnect, namespace: k.namespace.name}.append(nil)))
		k.inbox.dropLocked()
	}
	k.acks.failLocked()
	k.namespace.remove(k) // who is told by OnDisconnect does not find it any more
	k.pushLocked(task{run: k.disconnected})
	c.dropLocked(k)
	c.mu.Unlock()
}

// disconnected tells the namespace, if it ever had the socket.
func (k *Socket) disconnected() {
	if k.accepted {
		k.namespace.disconnected(context.WithoutCancel(k.conn.session.ctx), k, k.reason)
	}
}
