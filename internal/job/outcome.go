package job

import (
	"fmt"
	"time"
)

// Outcome is how a run ended.
type Outcome struct {
	Kind      OutcomeKind
	Message   string        // for people: a server's reply, an error's words
	ReplyCode int           // SMTP reply code, 0 for none
	After     time.Duration // Temporary, RateLimited and GivenBack: come back not before; 0 lets the type's backoff decide for Temporary
	Effects   []Effect      // rows that are written with the outcome, or not at all
}

// OutcomeKind is the class of an outcome.
type OutcomeKind string

// The kinds of outcome.
const (
	// OutcomeDone: the effect has happened.
	OutcomeDone OutcomeKind = "done"
	// OutcomeTemporary: it did not happen; the attempt is charged, another
	// may do better.
	OutcomeTemporary OutcomeKind = "temporary"
	// OutcomePermanent: it did not and will not happen.
	OutcomePermanent OutcomeKind = "permanent"
	// OutcomeRateLimited: it was not tried, come back later, nothing charged.
	OutcomeRateLimited OutcomeKind = "rate_limited"
	// OutcomeSuppressed: it must not happen.
	OutcomeSuppressed OutcomeKind = "suppressed"
	// OutcomeCancelled: it was stopped before it happened, as was asked.
	OutcomeCancelled OutcomeKind = "cancelled"
	// OutcomeAmbiguous: it may have happened.
	OutcomeAmbiguous OutcomeKind = "ambiguous"
	// OutcomeGivenBack: the run had not begun its effect, and leaves it to
	// another: the worker stops, or it is not the time; nothing charged.
	OutcomeGivenBack OutcomeKind = "given_back"
)

// code is the error code that an outcome leaves on the job.
func (k OutcomeKind) code() Code {
	switch k {
	case OutcomeDone, OutcomeGivenBack:
		return ""
	case OutcomeTemporary:
		return CodeTemporary
	case OutcomePermanent:
		return CodePermanent
	case OutcomeRateLimited:
		return CodeRateLimited
	case OutcomeSuppressed:
		return CodeSuppressed
	case OutcomeCancelled:
		return CodeCancelled
	case OutcomeAmbiguous:
		return CodeAmbiguous
	}
	return CodeInternal
}

// Effect is a row written in the transaction that settles the run: it exists
// exactly once when the outcome was recorded, and not otherwise. The store
// knows the effects that it can write by their Go types.
type Effect interface {
	// EffectName is for errors and logs: "notification".
	EffectName() string
}

// Succeeded is the outcome of a run that did what it should.
func Succeeded(format string, args ...any) Outcome {
	return Outcome{Kind: OutcomeDone, Message: fmt.Sprintf(format, args...)}
}

// TemporaryFailure asks for another attempt after the type's backoff.
func TemporaryFailure(format string, args ...any) Outcome {
	return Outcome{Kind: OutcomeTemporary, Message: fmt.Sprintf(format, args...)}
}

// PermanentFailure ends the job.
func PermanentFailure(format string, args ...any) Outcome {
	return Outcome{Kind: OutcomePermanent, Message: fmt.Sprintf(format, args...)}
}
