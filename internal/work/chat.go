package work

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

const (
	archiveShare = 15 * time.Second // of a worker's time, well within the type's deadline
	archivePause = time.Second      // before it goes on
)

// Archiver moves messages of rooms into SQL until all are there or the time has
// come, and says how many and whether there are more; a chat.Service does.
type Archiver interface {
	Run(ctx context.Context, until time.Time) (n int, more bool, err error)
}

// ChatArchive archives what was said in rooms. What it does not manage in its
// share of time it goes on with soon, which costs no attempt.
func ChatArchive(rooms Archiver) Binding {
	return On(tasks.ChatArchive, func(ctx context.Context, _ *Run, _ *tasks.Archiving) job.Outcome {
		n, more, err := rooms.Run(ctx, time.Now().Add(archiveShare))
		switch {
		case err != nil && ctx.Err() != nil:
			return Interrupted(err)
		case err != nil:
			return job.TemporaryFailure("%d messages archived: %v", n, err)
		case more:
			o := job.TemporaryFailure("%d messages archived, there are more", n)
			o.Kind, o.After = job.OutcomeRateLimited, archivePause
			return o
		}
		return job.Succeeded("%d messages archived", n)
	})
}
