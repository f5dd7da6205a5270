package job

import (
	"time"

	"github.com/postrider/postrider/tasks"
)

// minRateWait keeps a rate-limited job from coming back in a tight loop.
const minRateWait = 100 * time.Millisecond

// Plan makes of a run's outcome what is written: the state that follows and
// what it costs. j is the job as it was claimed; backoff is its type's.
func Plan(j *Job, backoff tasks.Backoff, o Outcome) Settlement {
	s := Settlement{
		RunRef: RunRef{ID: j.ID, Run: j.Runs}, Worker: j.Worker,
		Outcome: o.Kind, Code: o.Kind.code(),
		Message: o.Message, ReplyCode: o.ReplyCode, Effects: o.Effects,
	}
	switch o.Kind {
	case OutcomeDone:
		s.State, s.Charge = Done, 1
	case OutcomeSuppressed:
		s.State = Suppressed
	case OutcomeCancelled:
		s.State = Cancelled
	case OutcomeGivenBack:
		s.State, s.After = Waiting, max(o.After, 0)
	case OutcomeRateLimited:
		s.State, s.After = Waiting, max(o.After, minRateWait)
	case OutcomePermanent:
		s.State, s.Charge = Failed, 1
	case OutcomeTemporary, OutcomeAmbiguous:
		s.Charge = 1
		switch {
		case o.Kind == OutcomeAmbiguous && j.OnAmbiguous == tasks.Hold:
			s.State = Held
		case j.Attempts+1 >= j.MaxAttempts:
			s.State = Failed
		default:
			s.State, s.After = Waiting, o.After
			if s.After <= 0 {
				s.After = backoff.After(j.Attempts + 1)
			}
		}
	default:
		s.State, s.Charge, s.Code = Failed, 1, CodeInternal
	}
	return s
}

// Apply writes the settlement onto the job and returns its event, or says
// that the run is not the job's any more. It is the rule that Store.Settle
// keeps; a store may do the same in one statement.
func (s Settlement) Apply(j *Job, now time.Time) (Event, bool) {
	if j.State != Running || j.Runs != s.Run {
		return Event{}, false
	}
	j.State = s.State
	if s.State == Waiting && j.CancelRequested {
		j.State = Cancelled
	}
	j.Attempts += s.Charge
	j.Code, j.Message, j.ReplyCode = s.Code, s.Message, s.ReplyCode
	j.CancelRequested = false
	j.SettledRun = s.Run
	if j.State == Waiting {
		j.RunAt = now.Add(s.After)
	}
	j.release(now)
	j.finish(now)
	return s.Event(j.State, now), true
}

// Event is the settlement's line in the job's history.
func (s Settlement) Event(state State, now time.Time) Event {
	return Event{
		Job: s.ID, At: now, Kind: EventSettled, State: state, Run: s.Run, Worker: s.Worker,
		Code: s.Code, ReplyCode: s.ReplyCode, Message: s.Message,
	}
}

// LateEvent is the line of a settlement that came too late to change anything.
func (s Settlement) LateEvent(state State, now time.Time) Event {
	e := s.Event(state, now)
	e.Kind, e.Message = EventLate, string(s.Outcome)+", after its lease was given up: "+s.Message
	return e
}
