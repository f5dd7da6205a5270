// Package audit keeps what operators and API keys have done: who, from where,
// what, to what, how many, and how it ended. What a job's history tells of that
// job is not repeated here, nor is the posting of jobs; this is the list by which
// one sees what people did.
//
// An act that the database carries out is recorded in the transaction that does
// it (Log.Do): there is no act without its record, and no record without its act.
// One that Redis carries out, or that takes several steps, is recorded before it
// is begun and once more when it has ended (Log.Steps); where the first record
// cannot be written, nothing is done.
package audit

import (
	"context"
	"fmt"
	"time"
)

// Action is what is done.
type Action string

// The actions.
const (
	JobCancel  Action = "job.cancel"
	JobRetry   Action = "job.retry"
	JobRun     Action = "job.run"
	JobResolve Action = "job.resolve"
	JobResend  Action = "job.resend"
	JobSend    Action = "job.send" // by the dashboard's form

	JobsRetry    Action = "jobs.retry"    // by a filter
	JobsCancel   Action = "jobs.cancel"   // by a filter
	JobsRehearse Action = "jobs.rehearse" // copies into the sink

	ScheduleCreate  Action = "schedule.create"
	ScheduleReplace Action = "schedule.replace"
	ScheduleDelete  Action = "schedule.delete"
	SchedulePause   Action = "schedule.pause"
	ScheduleResume  Action = "schedule.resume"
	ScheduleRun     Action = "schedule.run"

	SuppressionAdd    Action = "suppression.add"
	SuppressionRemove Action = "suppression.remove"
	SuppressionImport Action = "suppression.import"

	RecipientErase Action = "recipient.erase"
	MessageDelete  Action = "message.delete"

	QueuePause  Action = "queue.pause"
	QueueResume Action = "queue.resume"
	QueueDelete Action = "queue.delete"
	// Of tasks, in asynqmon's words.
	TaskCancel  Action = "task.cancel"
	TaskDelete  Action = "task.delete"
	TaskArchive Action = "task.archive"
	TaskRun     Action = "task.run"

	KeyCreate Action = "key.create"
	KeyRevoke Action = "key.revoke"

	Login       Action = "login"
	LoginFailed Action = "login.failed" // as many as failed in a minute at one process
	TokenRevoke Action = "token.revoke"
)

// Actions are all that there are, in the order in which a page offers them.
var Actions = []Action{
	JobCancel, JobRetry, JobRun, JobResolve, JobResend, JobSend, JobsRetry, JobsCancel, JobsRehearse,
	ScheduleCreate, ScheduleReplace, ScheduleDelete, SchedulePause, ScheduleResume, ScheduleRun,
	SuppressionAdd, SuppressionRemove, SuppressionImport, RecipientErase, MessageDelete,
	QueuePause, QueueResume, QueueDelete, TaskCancel, TaskDelete, TaskArchive, TaskRun,
	KeyCreate, KeyRevoke, Login, LoginFailed, TokenRevoke,
}

// Act is what somebody is about to do.
type Act struct {
	// Actor is the name of the API key, "dashboard:" and the user's name, or
	// "user:" and the id of a token's user. Never a secret.
	Actor string
	// Address is where the request came from.
	Address string
	// Request is the id of the request.
	Request string
	Action  Action
	// Target is what it is done to: a job's id, a schedule's or a queue's name, a
	// recipient's address, "user:" and an id. People are kept as keyed hashes.
	Target string
	// Detail says more in a few words of ours, such as the outcome that a job was
	// given. It must not name people.
	Detail string
	// Count is how many things it is about, where no transaction counts them.
	Count int
}

// The outcomes, beside the codes of package job.
const (
	Begun = "begun" // another record of the same act tells how it ended
	Done  = "done"
)

// Record is a line of the audit.
type Record struct {
	Seq int64
	At  time.Time // by the database's clock
	ID  string    // of the act: a UUID, that all of its records have
	// Part tells the records of an act apart. Of two with the same the first stays:
	// to write one again is safe.
	Part int
	Act
	Outcome string
}

// Filter chooses records; its zero value chooses all.
type Filter struct {
	Actor        string
	Action       Action
	Target       string // as in Act
	Since, Until time.Time
	Before       int64 // only those with a lower Seq
	Limit        int   // 1 to 1,000
}

// Store keeps the records.
type Store interface {
	// Write appends a record; its Seq and At are the database's to give.
	// CodeTemporary where the database does not answer.
	Write(ctx context.Context, r Record) error
	// List returns records, the newest first.
	List(ctx context.Context, f Filter) ([]Record, error)
}

// Pruner forgets records.
type Pruner interface {
	// PruneAudit deletes at most limit records that are older than keep, and says
	// how many. The schema itself keeps those of the last MinKeep.
	PruneAudit(ctx context.Context, keep time.Duration, limit int) (int, error)
}

// MinKeep is the least time that records are kept.
const MinKeep = 30 * 24 * time.Hour

// Config says how long records are kept.
type Config struct {
	Keep time.Duration `env:"POSTRIDER_KEEP_AUDIT" envDefault:"9600h" help:"how long the audit keeps what operators and API keys did; at least 720h"`
}

// Validate reports a time that is too short.
func (c Config) Validate() error {
	if c.Keep < MinKeep {
		return fmt.Errorf("POSTRIDER_KEEP_AUDIT must be 720h at least, and is %s", c.Keep)
	}
	return nil
}
