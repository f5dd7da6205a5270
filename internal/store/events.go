package store

import (
	"context"
	"database/sql"

	"github.com/postrider/postrider/internal/job"
)

// EventsAfter implements job.EventLog. One statement has one snapshot, so what
// it says of transactions is true of the events that it returns.
func (s *Store) EventsAfter(ctx context.Context, seq int64, limit int) (job.EventPage, error) {
	over := "0" // of SQLite: one transaction at a time writes, and numbers come to light in their order
	if s.postgres {
		over = "pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
	}
	var page job.EventPage
	err := s.ask(ctx, "reading events", `
		SELECT moment.ended, e.seq, e.job_id, e.at, e.kind, e.state, e.run, e.worker, e.actor, e.code, e.reply_code, e.message, e.type, e.queue
		FROM (SELECT `+over+` AS ended) AS moment LEFT JOIN (
			SELECT job_events.*, jobs.type, jobs.queue FROM job_events LEFT JOIN jobs ON jobs.id = job_events.job_id
			WHERE job_events.seq > ? ORDER BY job_events.seq LIMIT ?
		) AS e ON TRUE ORDER BY e.seq`,
		func(rows *sql.Rows) error {
			var (
				seq, at, run, replyCode                                       sql.NullInt64
				id, kind, state, worker, actor, code, message, jobType, queue sql.NullString
			)
			err := rows.Scan(&page.Over, &seq, &id, &at, &kind, &state, &run, &worker, &actor, &code, &replyCode, &message, &jobType, &queue)
			if err == nil && seq.Valid {
				page.Events = append(page.Events, job.JobEvent{Type: jobType.String, Queue: queue.String, Event: job.Event{
					Seq: seq.Int64, Job: job.ID(id.String), At: fromMS(at.Int64), Kind: job.EventKind(kind.String), State: job.State(state.String),
					Run: int(run.Int64), Worker: worker.String, Actor: actor.String,
					Code: job.Code(code.String), ReplyCode: int(replyCode.Int64), Message: message.String,
				}})
			}
			return err
		}, seq, limit)
	return page, err
}

// EventsEnd implements job.EventLog. On PostgreSQL the mark is the number of a
// transaction that begins after the snapshot was taken. Whoever writes an event
// locks or writes the event's job first, and so has its own number before the
// event has one: of an event below the highest that is to be seen, that number
// is lower than the mark.
func (s *Store) EventsEnd(ctx context.Context) (seq, mark int64, err error) {
	q := "SELECT COALESCE(max(seq), 0), 0 FROM job_events"
	if s.postgres {
		q = "SELECT COALESCE(max(seq), 0), pg_current_xact_id()::text::bigint FROM job_events"
	}
	err = s.ask(ctx, "asking for the last event", q, func(rows *sql.Rows) error { return rows.Scan(&seq, &mark) })
	return seq, mark, err
}
