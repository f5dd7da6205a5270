package tasks

import "time"

// LogHeartbeat writes a line into the worker's log: the smallest job that
// shows that the whole way from request to worker works.
var LogHeartbeat = Define[Heartbeat](Type{
	Name:        "log:heartbeat",
	Queue:       "maintenance",
	Deadline:    5 * time.Second,
	MaxAttempts: 3,
})

// Heartbeat is the payload of LogHeartbeat.
type Heartbeat struct {
	Message string `json:"message,omitempty"` // up to 1,000 bytes
}

// Validate implements Payload.
func (h *Heartbeat) Validate() error {
	var bad Invalid
	if len(h.Message) > 1000 || hasControl(h.Message) {
		bad.Add("message", "must be at most 1000 bytes without control characters")
	}
	return bad.OrNil()
}
