package tasks

import "time"

// MaintenanceCleanup deletes what has had its time, in small batches: jobs past
// their retention, notifications and chat messages that are old, tasks that asynq has archived. It
// runs by the timetable; a run that is not done within its share of a worker's
// time comes back.
var MaintenanceCleanup = Define[Cleanup](Type{
	Name:        "maintenance:cleanup",
	Queue:       "maintenance",
	Deadline:    30 * time.Second,
	MaxAttempts: 5,
	Backoff:     Backoff{Base: time.Minute, Max: time.Hour, Jitter: 0.2},
})

// Cleanup is the payload of MaintenanceCleanup.
type Cleanup struct {
	// InboxDays is how many days a notification is kept, 1 to 3,650; 180 when 0.
	InboxDays int `json:"inbox_days,omitempty"`
	// ArchiveDays is how many days an archived task is kept, 1 to 89, since
	// asynq itself deletes them after 90; 7 when 0.
	ArchiveDays int `json:"archive_days,omitempty"`
	// ChatDays is how many days a chat message is kept, 3 to 3,650, since Redis
	// may have one for two; 365 when 0.
	ChatDays int `json:"chat_days,omitempty"`
}

// Validate implements Payload.
func (c *Cleanup) Validate() error {
	var bad Invalid
	if c.InboxDays == 0 {
		c.InboxDays = 180
	}
	if c.ArchiveDays == 0 {
		c.ArchiveDays = 7
	}
	if c.ChatDays == 0 {
		c.ChatDays = 365
	}
	if c.ChatDays < 3 || c.ChatDays > 3650 {
		bad.Add("chat_days", "must be from 3 to 3650")
	}
	if c.InboxDays < 1 || c.InboxDays > 3650 {
		bad.Add("inbox_days", "must be from 1 to 3650")
	}
	if c.ArchiveDays < 1 || c.ArchiveDays > 89 {
		bad.Add("archive_days", "must be from 1 to 89")
	}
	return bad.OrNil()
}

// InboxKeep is InboxDays as a duration.
func (c *Cleanup) InboxKeep() time.Duration { return days(c.InboxDays) }

// ChatKeep is ChatDays as a duration.
func (c *Cleanup) ChatKeep() time.Duration { return days(c.ChatDays) }

// ArchiveKeep is ArchiveDays as a duration.
func (c *Cleanup) ArchiveKeep() time.Duration { return days(c.ArchiveDays) }

func days(n int) time.Duration { return time.Duration(n) * 24 * time.Hour }
