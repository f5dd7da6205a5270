package tasks

import "time"

// ScheduleTick is a hint that a schedule's slot has come. asynq's own scheduler
// enqueues it, which is how asynqmon comes to show the timetable; whoever gets
// it looks into SQL, where the truth about the timetable is. Losing one costs
// nothing.
var ScheduleTick = Define[Tick](Type{
	Name:        "schedule:tick",
	Queue:       "maintenance",
	Ephemeral:   true,
	Deadline:    15 * time.Second,
	MaxAttempts: 1,
})

// Tick is the payload of ScheduleTick.
type Tick struct {
	Schedule string `json:"schedule"` // its name, for those who look at the queue
}

// Validate implements Payload.
func (t *Tick) Validate() error {
	var bad Invalid
	if len(t.Schedule) > 200 || hasControl(t.Schedule) {
		bad.Add("schedule", "must be at most 200 bytes without control characters")
	}
	return bad.OrNil()
}
