package store

import (
	"bytes"
	"context"
	"database/sql"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Replay implements job.Store.
func (s *Store) Replay(ctx context.Context, key job.IdempotencyKey) (first job.Replay, met bool, err error) {
	const doing = "looking an idempotency key up"
	var hash []byte
	err = s.ask(ctx, doing, `
		SELECT base, hash, created_at FROM idempotency_keys WHERE owner = ? AND key = ? AND expires_at > {now}`,
		func(rows *sql.Rows) error {
			var at int64
			err := rows.Scan(&first.Base, &hash, &at)
			first.At, met = fromMS(at), true
			return err
		}, key.Owner, key.Key)
	switch {
	case err != nil || !met:
		return job.Replay{}, false, err
	case !bytes.Equal(hash, key.Hash):
		return job.Replay{}, false, job.Errorf(job.CodeConflict, anotherRequest)
	}
	// Both by an index of their own, which an OR would not use.
	const told = `SELECT jobs.id, jobs.type, jobs.queue, jobs.created_at, jobs.due_at, job_events.state, job_events.message
		FROM jobs JOIN job_events ON job_events.job_id = jobs.id AND job_events.kind = 'accepted' WHERE `
	err = s.ask(ctx, doing, told+`jobs.id = ? UNION ALL `+told+`jobs.batch = ?`,
		func(rows *sql.Rows) error {
			var (
				n            job.New
				created, due int64
			)
			err := rows.Scan(&n.ID, &n.Type, &n.Queue, &created, &due, &n.State, &n.Message)
			if due > created {
				n.RunAt = time.UnixMilli(due)
			}
			first.Jobs = append(first.Jobs, n)
			return err
		}, string(first.Base), string(first.Base))
	return first, true, err
}
