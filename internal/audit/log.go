package audit

import (
	"context"
	"log/slog"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/rounds"
)

// writeLimit bounds the writing of a record on its own: its request may be over.
const writeLimit = 5 * time.Second

// Log records acts. It is safe for concurrent use.
type Log struct {
	Store
	log    *slog.Logger
	logins *failures
	rounds *rounds.Rounds
}

// New makes a Log; Start it before use and Stop it after.
func New(s Store, log *slog.Logger) *Log {
	l := &Log{Store: s, log: log.With("component", "audit"), logins: newFailures()}
	l.rounds = &rounds.Rounds{
		Every: loginsEvery, Round: l.writeFailures, Log: l.log,
		Failing: "failed logins cannot be written to the audit", Well: "failed logins are written to the audit again",
	}
	return l
}

// Start begins to write how many logins fail.
func (l *Log) Start() { l.rounds.Start() }

// Stop writes the last of them. Without Start it does nothing more.
func (l *Log) Stop(ctx context.Context) error {
	l.rounds.Stop()
	return l.writeFailures(ctx)
}

// Do carries out an act that is done by transactions of the database, made with
// the context that do is given: each records itself. What none of them has
// recorded, since there was nothing to do or since it was refused, is recorded
// afterwards. Where that fails and something may have been done without a
// transaction, the error says so (CodeTemporary). A request that could not be
// understood (CodeInvalid) is no act.
func (l *Log) Do(ctx context.Context, a Act, do func(context.Context) error) error {
	n := newNote(a)
	err := do(context.WithValue(ctx, noteKey{}, n))
	if err == nil && n.stands.Load() || job.CodeOf(err) == job.CodeInvalid {
		return err
	}
	// With the number of the first transaction's record, which stays if it is there
	// after all: one that was committed without anybody knowing, and did nothing when
	// it was repeated. Behind records that are known to stand it is another one.
	part := 1
	if n.stands.Load() {
		part = n.NextPart()
	}
	r := n.Record(part, a.Count)
	if r.Outcome = outcome(err); err != nil {
		r.Count = 0
	}
	return l.after(ctx, r, err)
}

// Steps carries out an act that no transaction is the whole of: it is recorded as
// begun first, which must succeed, and then with how many things were done and how
// it ended. The act must be understood and allowed by then. After an error the
// count is of what was done before it.
func (l *Log) Steps(ctx context.Context, a Act, do func(context.Context) (int, error)) error {
	n := newNote(a)
	r := n.Record(n.NextPart(), a.Count)
	r.Outcome = Begun
	if err := l.Write(ctx, r); err != nil {
		return job.Wrap(job.CodeTemporary, err, "nothing was done, since it cannot be recorded in the audit now")
	}
	count, err := do(ctx)
	r = n.Record(n.NextPart(), count)
	r.Outcome = outcome(err)
	if werr := l.alone(ctx, r); werr != nil {
		l.log.Error("the audit has how an act began, and not how it ended", "action", a.Action, "outcome", r.Outcome, "request_id", a.Request, "err", werr)
	}
	return err
}

// One is what does one thing or none, for Steps.
func One(do func(context.Context) error) func(context.Context) (int, error) {
	return func(ctx context.Context) (int, error) {
		if err := do(ctx); err != nil {
			return 0, err
		}
		return 1, nil
	}
}

// after records an act that is over, and returns the error that its caller is to
// see.
func (l *Log) after(ctx context.Context, r Record, err error) error {
	werr := l.alone(ctx, r)
	switch {
	case werr == nil:
		return err
	case err != nil: // it is told that it failed, and nothing was done
		l.log.Error("an act that failed could not be recorded in the audit", "action", r.Action, "outcome", r.Outcome, "request_id", r.Request, "err", werr)
		return err
	}
	return job.Wrap(job.CodeTemporary, werr, "it was done, or there was nothing to do, but it could not be recorded in the audit")
}

// alone writes a record whether or not its request is over.
func (l *Log) alone(ctx context.Context, r Record) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeLimit)
	defer cancel()
	return l.Write(ctx, r)
}

func outcome(err error) string {
	if err == nil {
		return Done
	}
	return string(job.CodeOf(err))
}
