package schedule

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Store is the port to the timetable's truth. Its clock is the database's and
// every call may be repeated after an answer that was lost. Errors carry codes
// as job.Store's do.
//
// Implementations pass schedule/scheduletest.
type Store interface {
	// Change lets decide see the named entry, locked, or nil where there is
	// none, and writes what it returns; nil deletes the entry. It returns what
	// was written. decide's error undoes all and is returned. decide may be
	// called more than once.
	Change(ctx context.Context, name string, decide Decision) (Entry, error)
	// Get returns an entry; CodeNotFound where there is none.
	Get(ctx context.Context, name string) (Entry, error)
	// List returns all entries by name, MaxListed at most.
	List(ctx context.Context) ([]Entry, error)

	// Due lists the names of entries whose next slot has come, the longest due
	// first.
	Due(ctx context.Context, limit int) ([]string, error)
	// Fire lets plan see the named entry, locked, if its next slot has come,
	// and writes the runs and the jobs that it returns, in one transaction. A
	// run whose slot another has claimed before is left out, and so is its job.
	// It returns what was written; nothing where the entry is not due any more
	// or where another process is at it. plan may be called more than once.
	Fire(ctx context.Context, name string, plan Plan) (Firing, error)
	// Note writes a run by hand, once for its job, and sets the entry's last
	// job; an entry that is gone is passed over.
	Note(ctx context.Context, r Run) error

	// Runs returns the runs of a schedule with a sequence below before, or the
	// last ones where it is 0, newest first.
	Runs(ctx context.Context, name string, before int64, limit int) ([]Run, error)
	// Latest returns the last run of each entry that has one, by name.
	Latest(ctx context.Context) (map[string]Run, error)
	// PurgeRuns deletes at most limit runs older than keep and says how many.
	PurgeRuns(ctx context.Context, keep time.Duration, limit int) (int, error)
}

// Decision makes of an entry, or of none, what it shall be at the time now.
type Decision func(old *Entry, now time.Time) (*Entry, error)

// Plan says what becomes of the due slots of e at the time now. busy says that
// a job of one of its latest runs is not over.
type Plan func(e *Entry, now time.Time, busy bool) Firing

// Jobs is what the timetable needs of job.Service.
type Jobs interface {
	Accept(ctx context.Context, who job.Caller, sub job.Submission) (job.Accepted, error)
	Prepare(ctx context.Context, sub job.Submission, by string) (job.New, error)
	Check(ctx context.Context, sub job.Submission, by string) (payload []byte, err error)
	Dispatch(accepted []job.New, at time.Time)
}

var _ Jobs = (*job.Service)(nil)
