package live

import (
	"context"
	"encoding/json"
	"errors"
	"time"
)

// deliver hands an envelope on to the clients of this process.
func (h *Hub) deliver(text string) {
	var e envelope
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		h.log.Warn("an envelope could not be read", "err", err)
		return
	}
	if e.Revoked != nil {
		h.revoked(*e.Revoked)
		return
	}
	if e.Ended != "" {
		if h.o.SessionEnded != nil {
			h.o.SessionEnded(e.Ended)
		}
		return
	}
	_, span := h.o.Tracer.Resume(context.Background(), e.Trace, "push", time.Now())
	defer span.End()
	span.Set("postrider.event", e.Event)
	to := h.sockets.To()
	if e.Room != "" {
		to = h.sockets.To(e.Room)
	}
	if e.Except != "" {
		to = to.Except(e.Except)
	}
	err := to.Emit(e.Event, e.Arg)
	if to = to.Within(aliased); len(e.Aliases) > 0 && len(to.Sockets()) > 0 {
		arg := flat(e.Arg)
		for _, name := range e.Aliases {
			err = errors.Join(err, to.Emit(name, arg))
		}
	}
	if err != nil {
		h.log.Warn("an envelope could not be handed on", "event", e.Event, "err", err)
	}
}

// resyncWithin is the time over which clients are to spread their questions.
const resyncWithin = 2 * time.Second

// resync tells all clients of this process that they may have missed something.
func (h *Hub) resync() {
	if h.sockets.Len() == 0 {
		return
	}
	h.resyncs.Inc()
	if err := h.sockets.To().Emit("resync", map[string]int64{"within_ms": resyncWithin.Milliseconds()}); err != nil {
		h.log.Warn("clients could not be told to fetch what they missed", "err", err)
	}
}
