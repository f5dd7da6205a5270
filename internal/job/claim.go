package job

import (
	"time"

	"github.com/postrider/postrider/tasks"
)

// Claim asks for a run of a job.
type Claim struct {
	ID     ID
	Token  string // made before the call: finding it on the row is success
	Worker string
	Lease  time.Duration
}

// Claimed answers a Claim.
type Claimed struct {
	Verdict ClaimVerdict
	Job     Job           // as claimed, with its payload; of Granted only
	State   State         // that the job is in; empty of Unknown
	After   time.Duration // of Busy and NotDue: how long until it is worth asking again, by the database's clock
}

// ClaimVerdict is the class of the answer.
type ClaimVerdict string

// The verdicts.
const (
	Granted ClaimVerdict = "granted"
	Over    ClaimVerdict = "over" // it has its outcome, or waits for a person
	Busy    ClaimVerdict = "busy" // a living worker has it
	NotDue  ClaimVerdict = "not_due"
	Dropped ClaimVerdict = "dropped" // the claim found it expired, cancelled or dead too often, and wrote that
	Unknown ClaimVerdict = "unknown" // there is no such job
)

// maxDeaths is the number of dead leases that makes a job held: it may well
// be what kills the workers.
const maxDeaths = 3

// Decide is the claim's decision about a job at the time now: it alters j and
// returns the answer, whose Job and State the caller fills in from j, and the
// events to write.
func (c Claim) Decide(j *Job, now time.Time) (Claimed, []Event) {
	if j.State == Running && j.Token == c.Token {
		return Claimed{Verdict: Granted}, nil
	}
	var events []Event
	if j.State == Running {
		if j.LeaseUntil.After(now) {
			return Claimed{Verdict: Busy, After: j.LeaseUntil.Sub(now)}, nil
		}
		events = Bury(j, now)
	}
	if e, expired := expire(j, now); expired {
		events = append(events, e)
	}
	switch {
	case j.State != Waiting && len(events) > 0:
		return Claimed{Verdict: Dropped}, events
	case j.State != Waiting:
		return Claimed{Verdict: Over}, nil
	case j.RunAt.After(now):
		return Claimed{Verdict: NotDue, After: j.RunAt.Sub(now)}, events
	}
	j.State = Running
	j.Runs++
	j.Token, j.Worker = c.Token, c.Worker
	j.LeaseUntil = now.Add(c.Lease)
	j.StartedAt, j.UpdatedAt = now, now
	j.Dispatched = true
	return Claimed{Verdict: Granted}, append(events, Started(j, now))
}

// Started is the event of a claim that was granted.
func Started(j *Job, now time.Time) Event {
	return j.event(EventStarted, now, Event{Run: j.Runs, Worker: j.Worker})
}

// Bury does the bookkeeping of a run whose lease has run out: the job becomes
// waiting at once, or held, cancelled or failed. A run that had passed its
// point of no return is ambiguous and charged; any other is free.
func Bury(j *Job, now time.Time) []Event {
	ambiguous := j.NoReturnRun == j.Runs
	died := Event{Run: j.Runs, Worker: j.Worker, Message: "the worker stopped extending its lease"}
	j.Deaths++
	j.release(now)
	j.State, j.RunAt = Waiting, now
	if ambiguous {
		died.Code = CodeAmbiguous
		died.Message += "; it had passed its point of no return"
		j.Code, j.Message, j.ReplyCode = CodeAmbiguous, died.Message, 0
		j.Attempts++
	}
	switch {
	case ambiguous && j.OnAmbiguous == tasks.Hold:
		j.State = Held
	case j.CancelRequested:
		j.State = Cancelled
	case j.Deaths >= maxDeaths:
		j.State = Held
		if !ambiguous {
			j.Code, j.Message, j.ReplyCode = CodeInternal, "its run died for the third time", 0
		}
	case ambiguous && j.Attempts >= j.MaxAttempts:
		j.State = Failed
	}
	j.CancelRequested = false
	j.finish(now)
	return []Event{j.event(EventDied, now, died)}
}

// expire ends a waiting job past its expiry.
func expire(j *Job, now time.Time) (Event, bool) {
	if j.State != Waiting || j.ExpiresAt.IsZero() || j.ExpiresAt.After(now) {
		return Event{}, false
	}
	j.State, j.UpdatedAt = Expired, now
	j.Code, j.Message, j.ReplyCode = CodeExpired, "it was not run before its expiry", 0
	j.finish(now)
	return j.event(EventExpired, now, Event{Code: CodeExpired}), true
}

// release takes the run's worker off the job.
func (j *Job) release(now time.Time) {
	j.Worker, j.LeaseUntil, j.UpdatedAt = "", time.Time{}, now
}

// finish sets FinishedAt by the state.
func (j *Job) finish(now time.Time) {
	j.FinishedAt = time.Time{}
	if j.State.Final() {
		j.FinishedAt = now
	}
}

func (j *Job) event(kind EventKind, now time.Time, e Event) Event {
	e.Job, e.Kind, e.At, e.State = j.ID, kind, now, j.State
	return e
}

// redispatch makes the job's next dispatch, which the caller sends after the
// transaction.
func (j *Job) redispatch(now time.Time) {
	j.Dispatches++
	j.Dispatched, j.DispatchAt = false, now
}
