package tasks

import "time"

// Noop does nothing, durably; NoopEphemeral does nothing at full speed. They
// are for measuring.
var (
	Noop          = Define[Nothing](Type{Name: "noop", Deadline: 15 * time.Second, MaxAttempts: 3})
	NoopEphemeral = Define[Nothing](Type{Name: "noop:ephemeral", Deadline: 15 * time.Second, MaxAttempts: 3, Ephemeral: true})
)

// MaxSleep bounds Nothing.SleepMS.
const MaxSleep = 10 * time.Second

// Nothing is the payload of Noop and NoopEphemeral.
type Nothing struct {
	SleepMS int64  `json:"sleep_ms,omitempty"` // how long the handler takes, 0 to 10,000
	Pad     string `json:"pad,omitempty"`      // ballast, to measure with payloads of a size
}

// Validate implements Payload.
func (n *Nothing) Validate() error {
	var bad Invalid
	if n.SleepMS < 0 || n.SleepMS > MaxSleep.Milliseconds() {
		bad.Add("sleep_ms", "must be from 0 to 10000")
	}
	return bad.OrNil()
}
