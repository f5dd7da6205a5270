package live

import (
	"context"
	"net/http"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/socketio"
)

// admit bounds how many sessions an address may begin, and notes who begins it.
func (h *Hub) admit(r *http.Request) (any, error) {
	d, err := h.o.Limiter.Allow(r.Context(), "live:"+limit.ClientAddr(r), h.o.Config.Handshakes, 1)
	if err == nil && !d.Allowed {
		h.limits.Inc()
		return nil, &socketio.HandshakeError{Status: http.StatusTooManyRequests, Message: "Too many connections"}
	}
	if err != nil || h.o.Recognise == nil {
		return nil, err
	}
	return h.o.Recognise(r), nil
}

// mayEmit bounds the events of a connection: one that sends more is told so, and
// cut off.
func (h *Hub) mayEmit(_ context.Context, k *socketio.Socket, _ socketio.Event) bool {
	m := memberOf(k)
	if m.events == nil || m.events.Allow() {
		return true
	}
	h.limits.Inc()
	_ = k.Emit("error", trouble{Code: job.CodeRateLimited, Message: "Rate limit exceeded"}) // gone is as good
	k.Close()
	return false
}
