package socketio

import (
	"fmt"
	"runtime/debug"
)

// inbox is what came in for a socket and is not handled yet. Guarded by the
// conn's lock.
type inbox struct {
	tasks   []task
	size    int
	working bool
	drained chan struct{} // tells the reader, who waits, that there is room again
}

// task is one step of a socket's life: its CONNECT, an event, its end.
type task struct {
	run   func()
	event bool
	size  int // bytes
}

// dropLocked forgets the events that were not begun.
func (b *inbox) dropLocked() {
	kept := b.tasks[:0:0]
	for _, t := range b.tasks {
		if !t.event {
			kept = append(kept, t)
		}
	}
	b.tasks, b.size = kept, 0
}

// pushLocked adds a task, and begins with it when there is nothing else to do.
func (k *Socket) pushLocked(t task) {
	k.inbox.tasks = append(k.inbox.tasks, t)
	k.inbox.size += t.size
	if !k.inbox.working {
		k.inbox.working = k.conn.session.spawn(k.work)
	}
}

// receive has an event handled. While as much is to be handled as one message
// may hold, it waits: reading stops, and the client's writes with it.
func (k *Socket) receive(e Event, size int) {
	c, limit := k.conn, k.conn.session.server.cfg.MaxPayload
	size += frameOverhead
	t := task{event: true, size: size, run: func() { k.handle(e) }}
	for {
		c.mu.Lock()
		if k.state == left {
			c.mu.Unlock()
			return
		}
		if len(k.inbox.tasks) == 0 || k.inbox.size+size <= limit {
			k.pushLocked(t)
			c.mu.Unlock()
			return
		}
		if k.inbox.drained == nil {
			k.inbox.drained = make(chan struct{}, 1)
		}
		drained := k.inbox.drained
		c.mu.Unlock()
		select {
		case <-drained:
		case <-c.session.ctx.Done():
			return
		}
	}
}

// work carries tasks out, one after the other, until there are none.
func (k *Socket) work() {
	for {
		t, ok := k.nextTask()
		if !ok {
			return
		}
		k.survive(t.run)
	}
}

func (k *Socket) nextTask() (task, bool) {
	k.conn.mu.Lock()
	defer k.conn.mu.Unlock()
	b := &k.inbox
	if len(b.tasks) == 0 {
		b.tasks, b.working = nil, false
		if k.state == left { // for good: nothing is pushed any more
			k.conn.alive--
			tell(k.conn.done)
		}
		return task{}, false
	}
	t := b.tasks[0]
	b.tasks[0] = task{}
	b.tasks, b.size = b.tasks[1:], b.size-t.size
	tell(b.drained)
	return t, true
}

// tell wakes the reader, if it waits.
func tell(waiting chan struct{}) {
	select {
	case waiting <- struct{}{}:
	default:
	}
}

// survive keeps a handler that panics from taking the process with it, as
// net/http does; its client is cut off.
func (k *Socket) survive(run func()) {
	defer func() {
		if p := recover(); p != nil {
			k.conn.session.server.cfg.Logger.Error("a Socket.IO handler panicked", "namespace", k.namespace.name,
				"err", fmt.Errorf("panic: %v", p), "stack", string(debug.Stack()))
			k.conn.session.end(ServerClosed)
		}
	}()
	run()
}

// handle has the namespace's handler see an event.
func (k *Socket) handle(e Event) {
	k.conn.session.server.metrics.events.Add(1)
	k.namespace.handle(k.conn.session.ctx, k, e)
}
