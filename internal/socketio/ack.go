package socketio

import (
	"context"
	"fmt"
	"sync/atomic"
)

// Event is what a client has emitted.
type Event struct {
	Name string
	Args
	answer *answerer // nil when the client wants no acknowledgement
}

// WantsAck tells whether the client waits for an acknowledgement.
func (e Event) WantsAck() bool { return e.answer != nil }

// Ack answers the event; the arguments are those of the client's callback. It
// does nothing when the client wants no answer or has one. It errs when the
// arguments cannot be made JSON, and with ErrDisconnected.
func (e Event) Ack(args ...any) error {
	if e.answer == nil || e.answer.done.Swap(true) {
		return nil
	}
	k := e.answer.socket
	if args == nil {
		args = []any{}
	}
	frames, err := encodePacket(packet{kind: sioAck, namespace: k.namespace.name, id: e.answer.id, hasID: true}, args)
	if err != nil {
		return fmt.Errorf("encoding the acknowledgement of %q: %w", e.Name, err)
	}
	if !k.write(frames) {
		return fmt.Errorf("acknowledging %q: %w", e.Name, ErrDisconnected)
	}
	return nil
}

// answerer is the way back to a client's callback.
type answerer struct {
	socket *Socket
	id     uint64
	done   atomic.Bool
}

func (k *Socket) answerTo(p packet) *answerer {
	if !p.hasID {
		return nil
	}
	return &answerer{socket: k, id: p.id}
}

// acks is who waits for a client's acknowledgements. Guarded by the conn's lock.
type acks struct {
	last    uint64
	waiting map[uint64]chan Args
}

// failLocked wakes all who wait: there will be no answer.
func (a *acks) failLocked() {
	for _, waiting := range a.waiting {
		close(waiting)
	}
	a.waiting = nil
}

// EmitWithAck sends an event and waits for the client's answer, whose arguments
// it returns. It errs as Emit does, with ErrDisconnected when the client leaves
// before it answers, and with ctx's error when that ends first; an answer that
// comes later is thrown away. A handler may wait so; OnConnect may not, since
// the client answers only once it is let in.
func (k *Socket) EmitWithAck(ctx context.Context, event string, args ...any) (Args, error) {
	id, reply, err := k.expectAck()
	if err == nil {
		defer k.forgetAck(id)
		var frames []*frame
		if frames, err = encodeEvent(k.namespace.name, event, id, true, args); err != nil {
			return Args{}, err
		}
		if !k.write(frames) {
			err = ErrDisconnected
		}
	}
	if err == nil {
		select {
		case got, ok := <-reply:
			if ok {
				return got, nil
			}
			err = ErrDisconnected
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return Args{}, fmt.Errorf("emitting %q and awaiting its acknowledgement: %w", event, err)
}

func (k *Socket) expectAck() (uint64, <-chan Args, error) {
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	if k.state == left {
		return 0, nil, ErrDisconnected
	}
	a := &k.acks
	if a.waiting == nil {
		a.waiting = map[uint64]chan Args{}
	}
	a.last++
	reply := make(chan Args, 1)
	a.waiting[a.last] = reply
	return a.last, reply, nil
}

func (k *Socket) forgetAck(id uint64) {
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	delete(k.acks.waiting, id)
}

// acknowledged passes an answer on to who waits for it, if anybody does.
func (k *Socket) acknowledged(id uint64, args Args) {
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	if reply, ok := k.acks.waiting[id]; ok {
		delete(k.acks.waiting, id)
		reply <- args
	}
}
