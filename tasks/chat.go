package tasks

import "time"

// ChatArchive moves what was said in rooms from Redis into SQL. It runs by the
// timetable; a run that is not done within its share of a worker's time comes
// back.
var ChatArchive = Define[Archiving](Type{
	Name:        "chat:archive",
	Queue:       "maintenance",
	Deadline:    30 * time.Second,
	MaxAttempts: 3,
	Backoff:     Backoff{Base: 10 * time.Second, Max: time.Minute, Jitter: 0.2},
})

// Archiving is the payload of ChatArchive, which needs to be told nothing.
type Archiving struct{}

// Validate implements Payload.
func (*Archiving) Validate() error { return nil }
