package work

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

const (
	cleanupBatch = 500              // rows or tasks at once
	cleanupShare = 15 * time.Second // of a worker's time, well within the type's deadline
	cleanupPause = 10 * time.Second // before it goes on
)

// Housekeeping is what Cleanup needs.
type Housekeeping struct {
	Jobs      Purger
	Retention job.Retention
	Inboxes   inbox.Pruner
	Chats     chat.Pruner
	Archive   Trimmer
	Files     FilePruner
	Audit     audit.Pruner
	KeepAudit time.Duration
}

// FilePruner deletes at most limit files that no mail needs any more, and says
// how many; an attach.Store does.
type FilePruner interface {
	PruneFiles(ctx context.Context, limit int) (int, error)
}

// Purger is the part of job.Mender that retention needs.
type Purger interface {
	Purge(ctx context.Context, r job.Retention, limit int) (int, error)
}

// Trimmer trims the archive of the engine: it deletes at most limit tasks that
// were archived longer than keep ago and says how many.
type Trimmer interface {
	TrimArchived(ctx context.Context, keep time.Duration, limit int) (int, error)
}

// Cleanup deletes what has had its time, a batch at a time. What it does not
// manage in its share of time it goes on with later, which costs no attempt: it
// keeps no worker from stopping and no other job waiting for long.
func Cleanup(h Housekeeping) Binding {
	return On(tasks.MaintenanceCleanup, func(ctx context.Context, run *Run, c *tasks.Cleanup) job.Outcome {
		stream := ""
		chores := []chore{
			{"jobs", func() (int, error) { return h.Jobs.Purge(ctx, h.Retention, cleanupBatch) }},
			{"notifications", func() (n int, err error) {
				n, stream, err = h.Inboxes.PruneOld(ctx, c.InboxKeep(), stream, cleanupBatch)
				return n, err
			}},
			{"chat messages", func() (int, error) { return h.Chats.PruneMessages(ctx, c.ChatKeep(), cleanupBatch) }},
			{"files", func() (int, error) { return h.Files.PruneFiles(ctx, cleanupBatch) }},
			{"records of the audit", func() (int, error) { return h.Audit.PruneAudit(ctx, h.KeepAudit, cleanupBatch) }},
			{"archived tasks", func() (int, error) { return h.Archive.TrimArchived(ctx, c.ArchiveKeep(), cleanupBatch) }},
		}
		return cleanUp(ctx, chores, time.Now().Add(cleanupShare))
	})
}

// chore deletes a batch and says how much it found: less than a batch means
// that it is done.
type chore struct {
	what string
	once func() (int, error)
}

// cleanUp does the chores until they are done or the time is over. One that
// fails does not keep the others from being done.
func cleanUp(ctx context.Context, chores []chore, until time.Time) job.Outcome {
	var told []string
	var failed error
	for _, c := range chores {
		total := 0
		for {
			n, err := c.once()
			total += n
			if err != nil && ctx.Err() != nil {
				return Interrupted(err)
			}
			if err != nil {
				failed = fmt.Errorf("deleting %s: %w", c.what, err)
				break
			}
			if n < cleanupBatch {
				break
			}
			if time.Now().After(until) {
				o := job.TemporaryFailure("%d %s deleted, there are more", total, c.what)
				o.Kind, o.After = job.OutcomeRateLimited, cleanupPause
				return o
			}
		}
		told = append(told, fmt.Sprintf("%d %s", total, c.what))
	}
	if failed != nil {
		return job.TemporaryFailure("%v", failed)
	}
	return job.Succeeded("deleted %s", strings.Join(told, ", "))
}
