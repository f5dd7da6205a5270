package broker

import (
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
)

// hands carry handlers out on goroutines that are kept. asynq begins each task
// on a new one, whose small stack is copied two or three times until the handler
// has room on it, which cost a small job a fifth of its time.
type hands struct {
	log *slog.Logger

	mu     sync.Mutex
	idle   []*hand // the one used last at the end, its stack still in the cache
	closed bool
	all    sync.WaitGroup
}

// hand is one such goroutine.
type hand struct {
	work chan func() error // closed to end it
	done chan outcome
}

// outcome is how a piece of work ended.
type outcome struct {
	err      error
	panicked any  // what it panicked with
	exited   bool // it ended its goroutine, as a test's FailNow does
}

var errExited = errors.New("the handler ended its goroutine")

// do carries work out and returns what it does. It panics as work does.
func (h *hands) do(work func() error) error {
	one := h.take()
	one.work <- work
	o := <-one.done
	if o.exited {
		return errExited
	}
	h.put(one)
	if o.panicked != nil {
		panic(o.panicked)
	}
	return o.err
}

func (h *hands) take() *hand {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.idle); n > 0 {
		one := h.idle[n-1]
		h.idle = h.idle[:n-1]
		return one
	}
	one := &hand{work: make(chan func() error), done: make(chan outcome, 1)}
	h.all.Go(func() {
		for work := range one.work {
			h.carry(one, work)
		}
	})
	return one
}

// put takes a hand back.
func (h *hands) put(one *hand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		close(one.work)
		return
	}
	h.idle = append(h.idle, one)
}

// carry does a piece of work. A panic's stack is of no use to asynq, which
// tells of its own.
func (h *hands) carry(one *hand, work func() error) {
	o := outcome{exited: true}
	defer func() {
		if o.panicked = recover(); o.panicked != nil {
			o.exited = false
			h.log.Error("a handler panicked", "panic", o.panicked, "stack", string(debug.Stack()))
		}
		one.done <- o
	}()
	o.err = work()
	o.exited = false
}

// close ends the idle goroutines, and the others when they have done their work,
// and waits for the former.
func (h *hands) close() {
	h.mu.Lock()
	h.closed = true
	for _, one := range h.idle {
		close(one.work)
	}
	h.idle = nil
	h.mu.Unlock()
	h.all.Wait()
}
