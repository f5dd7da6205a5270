// Package job is the domain: what a job is, the states it can be in, and the
// commands that move it: Accept, Claim, Settle, Cancel, Retry, RunNow,
// Resolve, Find and Reconcile, with the ports that they need. It knows
// neither SQL nor Redis nor HTTP.
package job

import (
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/postrider/postrider/tasks"
)

// ID names a job: a UUID of version 7 (RFC 9562 section 5.7) in its usual
// text form, so that ids made later sort later.
type ID string

// NewID makes an ID from the clock and chance.
func NewID() ID { return ID(uuid.Must(uuid.NewV7()).String()) }

// ParseID reads an ID in its canonical text form; the error has CodeNotFound,
// since no job has such a name.
func ParseID(s string) (ID, error) {
	u, err := uuid.Parse(s)
	if err != nil || u.String() != strings.ToLower(s) {
		return "", Errorf(CodeNotFound, "no job has the id %q", clip(s, 64))
	}
	return ID(u.String()), nil
}

// IDFrom is the least id that can be made at t, to the millisecond, for finding
// what was made since. Ids are made by the clocks of the processes that accept.
func IDFrom(t time.Time) ID {
	var u uuid.UUID
	ms := uint64(max(t.UnixMilli(), 0))
	binary.BigEndian.PutUint64(u[:8], ms<<16) // 48 bits (RFC 9562 section 5.7)
	return ID(u.String())
}

// Plus returns the i-th id after id. The jobs of one request are numbered
// through from the id of the request, so that the request's idempotency key
// need only keep that one.
func (id ID) Plus(i int) ID {
	u := uuid.MustParse(string(id))
	// The low 62 bits are random (RFC 9562 section 5.7); the two above them
	// are the variant and stay.
	tail := binary.BigEndian.Uint64(u[8:])
	const mask = 1<<62 - 1
	tail = tail&^mask | (tail+uint64(i))&mask
	binary.BigEndian.PutUint64(u[8:], tail)
	return ID(u.String())
}

// State is a job's stored state.
type State string

// The stored states. Waiting and Running change by themselves, Held waits for
// a person, the others are final.
const (
	Waiting    State = "waiting"
	Running    State = "running"
	Held       State = "held"
	Done       State = "done"
	Failed     State = "failed"
	Cancelled  State = "cancelled"
	Expired    State = "expired"
	Suppressed State = "suppressed"
)

// States lists the stored states.
var States = []State{Waiting, Running, Held, Done, Failed, Cancelled, Expired, Suppressed}

// Final reports whether a job in this state has its outcome: it never runs
// again unless a person says so.
func (s State) Final() bool {
	switch s {
	case Done, Failed, Cancelled, Expired, Suppressed:
		return true
	}
	return false
}

// Job is one row of the truth. Times are the database's.
type Job struct {
	ID         ID
	Type       string
	Queue      string
	Recipient  string // normalised; empty when the type has none
	Batch      ID     // of the request with several recipients that made it, or empty
	AcceptedBy string // name of the API key
	Trace      string // a telemetry.Traceparent that its runs belong to; empty for none
	Payload    []byte // canonical JSON; nil where it was not asked for
	// PayloadGone says that retention took the payload.
	PayloadGone bool
	Ephemeral   bool // lives in Redis alone; never true of a stored job

	State           State
	CreatedAt       time.Time
	UpdatedAt       time.Time
	RunAt           time.Time // not before
	DueAt           time.Time // RunAt as it was at first; zero of a job from before this was kept
	ExpiresAt       time.Time // not after; zero for never
	StartedAt       time.Time // of the last run; zero before the first
	FinishedAt      time.Time // zero until final
	CancelRequested bool      // only of a running job

	Runs        int // claims so far; the number of the last one is the fence
	Attempts    int // charged at settle
	MaxAttempts int
	Deaths      int // runs that ended with a dead lease
	OnAmbiguous tasks.Ambiguity

	Worker      string    // that holds the lease; empty unless running
	Token       string    // of the claim that made the last run
	LeaseUntil  time.Time // zero unless running
	NoReturnRun int       // last run that passed its point of no return
	SettledRun  int       // last run whose outcome was recorded

	Dispatches int       // how often its task was sent to Redis, or about to be
	Dispatched bool      // the last of those is known to have arrived
	DispatchAt time.Time // when Dispatches last rose

	Code      Code   // of the last outcome that was not Done
	Message   string // what the last outcome said
	ReplyCode int    // SMTP reply code of the last outcome; 0 for none
}

// Status is the state as the API shows it: Waiting is split into scheduled
// (for later), retrying (attempts were made) and queued, as of now.
func (j *Job) Status(now time.Time) string {
	switch {
	case j.State != Waiting:
		return string(j.State)
	case j.Attempts > 0:
		return "retrying"
	case j.RunAt.After(now):
		return "scheduled"
	default:
		return "queued"
	}
}

// Task returns the job as its last dispatch brings it to a worker.
func (j *Job) Task() Task {
	return Task{ID: j.ID, Dispatch: j.Dispatches, Type: j.Type, Queue: j.Queue, RunAt: j.RunAt}
}

// Task is what brings a job to a worker through Redis.
type Task struct {
	ID       ID
	Dispatch int // 1 for the first; 0 for an ephemeral task
	Type     string
	Queue    string
	RunAt    time.Time
	Payload  []byte // of an ephemeral task only
	Trace    string // likewise: a telemetry.Traceparent, or empty
}

// TaskID is the task's name in Redis: the job's id for the first dispatch,
// "id~n" for the n-th. asynq keeps the name of an archived, completed or
// orphaned task taken; a fresh one never collides.
func (t Task) TaskID() string {
	if t.Dispatch <= 1 {
		return string(t.ID)
	}
	return string(t.ID) + "~" + strconv.Itoa(t.Dispatch)
}

// ParseTaskID is TaskID's inverse: the job's id and the dispatch number.
func ParseTaskID(s string) (ID, int, error) {
	name, n, numbered := strings.Cut(s, "~")
	id, err := ParseID(name)
	if err != nil {
		return "", 0, fmt.Errorf("reading task id: %w", err)
	}
	if !numbered {
		return id, 1, nil
	}
	dispatch, err := strconv.Atoi(n)
	if err != nil || dispatch < 2 || strconv.Itoa(dispatch) != n {
		return "", 0, fmt.Errorf("reading task id: %w", Errorf(CodeInvalid, "dispatch number %q", clip(n, 20)))
	}
	return id, dispatch, nil
}

// EventKind says what an Event tells.
type EventKind string

// The kinds of events.
const (
	EventAccepted        EventKind = "accepted"
	EventStarted         EventKind = "started"
	EventSettled         EventKind = "settled"
	EventDied            EventKind = "died"             // a run's lease ran out
	EventLate            EventKind = "late"             // an outcome that came after its run was given up; it changed nothing
	EventCancelRequested EventKind = "cancel_requested" // of a running job
	EventCancelled       EventKind = "cancelled"
	EventExpired         EventKind = "expired"
	EventRetried         EventKind = "retried" // by a person
	EventRunNow          EventKind = "run_now" // by a person
	EventResolved        EventKind = "resolved"
	EventRedispatched    EventKind = "redispatched"
	EventResent          EventKind = "resent" // as another job, or: what another said
	EventErased          EventKind = "erased" // whose it was, and what it said

	// What comes back after a mail has gone out. The job's state stays.
	EventDelivered    EventKind = "delivered"  // the recipient's server has it
	EventBounced      EventKind = "bounced"    // it came back
	EventComplained   EventKind = "complained" // its reader called it spam
	EventUnsubscribed EventKind = "unsubscribed"
)

// Event is one line of a job's history.
type Event struct {
	Seq       int64 // rises in the order of insertion
	Job       ID
	At        time.Time
	Kind      EventKind
	State     State // that the job was in afterwards
	Run       int   // 0 where no run is meant
	Worker    string
	Actor     string // the API key or user that did it; empty for Postrider itself
	Code      Code
	ReplyCode int
	Message   string
}

func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}
