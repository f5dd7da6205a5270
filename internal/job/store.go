package job

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/tasks"
)

// Store is the port to the truth. Its clock is the database's; every call may
// be repeated after an answer that was lost. Errors carry a Code:
// CodeTemporary when the database cannot be reached or does not answer (what
// was asked may or may not have happened), CodeNotFound, CodeConflict, and
// CodeInternal for a row that the database refuses.
//
// Implementations pass job/jobtest.
type Store interface {
	// Accept writes the request's jobs, its idempotency key and each job's
	// first event, or nothing. A request whose key was used before with the
	// same body is answered with the first receipt, Replayed; with another
	// body it is a CodeConflict.
	Accept(ctx context.Context, r Request) (Receipt, error)

	// Replay returns what the key was used for, and false where it is free. A
	// Hash other than then is a CodeConflict.
	Replay(ctx context.Context, key IdempotencyKey) (first Replay, met bool, err error)

	// Change loads the jobs, locked, lets decide alter each and writes back
	// those for which it returned events, with the events, in one
	// transaction; it returns them as written. decide's error undoes all and
	// is returned. Ids of which there is no job are passed over. decide may
	// be called more than once and sees no payload.
	Change(ctx context.Context, ids []ID, decide Decision) ([]Job, error)

	// MarkDispatched notes that tasks have arrived in Redis. A task that is
	// not its job's last dispatch is passed over.
	MarkDispatched(ctx context.Context, sent []Task) error

	Runner
	Reader
	EventLog
	Mender
}

// Runner is the side of Store that carries jobs out.
type Runner interface {
	// Claim begins a run of the job, or tells why not. It decides as the
	// function Decide of Claim does.
	Claim(ctx context.Context, c Claim) (Claimed, error)

	// Extend renews the leases of runs that are still theirs and returns
	// those; a run that is missing in the answer was lost.
	Extend(ctx context.Context, lease time.Duration, runs []RunRef) (map[RunRef]Extended, error)

	// PassNoReturn notes that the run is about to do what cannot be undone.
	// An error of CodeConflict says that the run is not the job's any more,
	// of CodeCancelled that the job's cancellation was asked for: abort.
	PassNoReturn(ctx context.Context, run RunRef) error

	// Settle records a run's outcome and its effects. A run that was already
	// settled so is a success again; one that was given up in the meantime
	// leaves an event and has Late set.
	Settle(ctx context.Context, s Settlement) (Settled, error)
}

// Decision alters j at the time now and returns the events to write with it;
// none means that j stays as it was.
type Decision func(j *Job, now time.Time) ([]Event, error)

// Reader is the reading side of Store.
type Reader interface {
	// Find returns a job with its payload; CodeNotFound where there is none.
	Find(ctx context.Context, id ID) (Job, error)
	// Events returns a job's history, oldest first, at most 1,000 events.
	Events(ctx context.Context, id ID) ([]Event, error)
	// List returns jobs without their payloads, newest first.
	List(ctx context.Context, f Filter) ([]Job, error)
	// Count says how many jobs List would return if it had no limit.
	Count(ctx context.Context, f Filter) (int, error)
	// Now is the database's time.
	Now(ctx context.Context) (time.Time, error)
}

// Mender is what Reconcile and housekeeping need of the store. Lists are
// bounded by limit.
type Mender interface {
	// Undispatched lists the tasks of waiting jobs whose last dispatch is not
	// known to have arrived though it is older than age.
	Undispatched(ctx context.Context, age time.Duration, limit int) ([]Task, error)
	// DeadLeases lists running jobs whose lease has run out.
	DeadLeases(ctx context.Context, limit int) ([]ID, error)
	// Overdue lists waiting jobs past their expiry.
	Overdue(ctx context.Context, limit int) ([]ID, error)
	// Unclaimed pages through the waiting jobs of a queue, by run_at and id,
	// from behind the cursor; those that came due less than age ago are left
	// out, those that are not due yet, and those whose last dispatch is not
	// known to have arrived. If age is negative it is all that wait.
	Unclaimed(ctx context.Context, queue string, age time.Duration, after Cursor, limit int) ([]Task, Cursor, error)
	// Lead takes or keeps the named lease for holder; false while another
	// holds it.
	Lead(ctx context.Context, name, holder string, ttl time.Duration) (bool, error)
	// Yield gives the named lease up, if holder has it.
	Yield(ctx context.Context, name, holder string) error
	// Purge deletes at most limit rows of each kind that have had their
	// time, and says how many of the fullest kind it took: less than limit
	// means that nothing is left.
	Purge(ctx context.Context, r Retention, limit int) (int, error)
}

// Request is what is accepted together: one job, or the jobs of a batch.
type Request struct {
	Base ID // names the request; its jobs have ids counted from it
	Key  IdempotencyKey
	Jobs []New
}

// IdempotencyKey is the caller's name for a request; the zero value is none.
type IdempotencyKey struct {
	Owner string // the API key that it belongs to
	Key   string // 1 to 255 bytes
	Hash  []byte // of the request's body
	Keep  time.Duration
}

// New is a job to be.
type New struct {
	ID          ID
	Type        string
	Queue       string
	Recipient   string
	Batch       ID
	AcceptedBy  string
	Trace       string // see Job
	Payload     []byte
	About       tasks.Description
	Delay       time.Duration // from the moment of acceptance
	RunAt       time.Time     // or from then on, whichever is later
	ExpiresAt   time.Time
	MaxAttempts int
	OnAmbiguous tasks.Ambiguity
	// State is Waiting when empty; Suppressed is the only other one.
	State State
	// Message is told with the first event: why the job is suppressed or put
	// off.
	Message string
}

// Due is when a job accepted at that time is to run.
func (n New) Due(accepted time.Time) time.Time {
	due := accepted.Add(n.Delay)
	if n.RunAt.After(due) {
		return n.RunAt
	}
	return due
}

// Receipt says what became of a Request.
type Receipt struct {
	Base     ID        // of the request that was written: the first one's when replayed
	At       time.Time // when it was
	Replayed bool
}

// Replay is a request that was accepted before.
type Replay struct {
	Base ID
	At   time.Time
	// Jobs are those that it made and that are still kept, as they were told of
	// then: ID, Type, Queue, RunAt (zero: at once), State and Message.
	Jobs []New
}

// RunRef names a run: the fence of all that is written about it.
type RunRef struct {
	ID  ID
	Run int
}

// Extended is what Extend tells of a run that goes on.
type Extended struct{ CancelRequested bool }

// Settlement is a run's outcome as it is written; Plan makes it.
type Settlement struct {
	RunRef
	Worker    string
	State     State         // that follows; Waiting becomes Cancelled where that was asked for
	Charge    int           // attempts to charge, 0 or 1
	After     time.Duration // from now until the next run, when Waiting
	Outcome   OutcomeKind
	Code      Code
	Message   string
	ReplyCode int
	Effects   []Effect
}

// Settled is what Settle made of it.
type Settled struct {
	State State
	RunAt time.Time     // when Waiting
	After time.Duration // until RunAt, by the database's clock
	Late  bool          // the run was no longer the job's: nothing changed
}

// Filter chooses jobs; zero fields do not.
type Filter struct {
	Status    string // a stored state, or scheduled, queued, retrying
	Type      string
	Queue     string
	Recipient string
	Batch     ID
	Template  string    // that its mail is rendered from
	Category  string    // of its mail
	Schedule  string    // that made it
	Worker    string    // that runs it
	Since     time.Time // accepted then or later
	Until     time.Time // accepted before that
	Code      Code      // of the last outcome
	Unchanged time.Time // has been as it is since before then, and had the Status then
	Before    ID        // cursor: ids below this one
	Limit     int       // 1 to 1,000
}

// Cursor is a place in the order of run_at and id.
type Cursor struct {
	RunAt time.Time
	ID    ID
}

// Retention says how long what is over is kept.
type Retention struct {
	Done   time.Duration `env:"POSTRIDER_KEEP_DONE" envDefault:"720h" help:"how long done jobs are kept"`
	Bodies time.Duration `env:"POSTRIDER_KEEP_BODIES" envDefault:"168h" help:"how long what done jobs carried (addresses, texts) is kept"`
	Failed time.Duration `env:"POSTRIDER_KEEP_FAILED" envDefault:"2160h" help:"how long jobs are kept that failed or ended otherwise"`
}

// Validate reports every setting that cannot work, by its variable's name.
func (r Retention) Validate() error {
	var errs []error
	for _, keep := range []struct {
		name string
		time.Duration
	}{
		{"POSTRIDER_KEEP_DONE", r.Done}, {"POSTRIDER_KEEP_BODIES", r.Bodies}, {"POSTRIDER_KEEP_FAILED", r.Failed},
	} {
		if keep.Duration < time.Minute {
			errs = append(errs, fmt.Errorf("%s must be a minute at least, and is %s", keep.name, keep.Duration))
		}
	}
	return errors.Join(errs...)
}
