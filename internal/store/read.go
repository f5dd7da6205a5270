package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
)

const eventsMost = 1000

// Find implements job.Reader.
func (s *Store) Find(ctx context.Context, id job.ID) (job.Job, error) {
	var found *job.Job
	err := s.ask(ctx, "finding a job", `SELECT `+jobColumns+`, jobs.payload FROM jobs WHERE id = ?`,
		func(rows *sql.Rows) error {
			var payload sql.NullString
			j, err := scanJob(rows, &payload)
			if payload.Valid {
				j.Payload = []byte(payload.String)
			}
			found = &j
			return err
		}, string(id))
	switch {
	case err != nil:
		return job.Job{}, err
	case found == nil:
		return job.Job{}, job.Errorf(job.CodeNotFound, "no job has the id %q", string(id))
	}
	return *found, nil
}

// Events implements job.Reader.
func (s *Store) Events(ctx context.Context, id job.ID) ([]job.Event, error) {
	var out []job.Event
	err := s.ask(ctx, "reading a job's events", `
		SELECT seq, job_id, at, kind, state, run, worker, actor, code, reply_code, message
		FROM job_events WHERE job_id = ? ORDER BY seq LIMIT ?`,
		scanEvents(&out), string(id), eventsMost)
	return out, err
}

// Now implements job.Reader.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	err = s.ask(ctx, "asking for the time", "SELECT {now}", func(rows *sql.Rows) error {
		var at int64
		err := rows.Scan(&at)
		now = fromMS(at)
		return err
	})
	return now, err
}

// After implements inbox.Reader.
func (s *Store) After(ctx context.Context, stream string, seq int64, limit int) ([]inbox.Notification, error) {
	var out []inbox.Notification
	err := s.ask(ctx, "reading a stream", `
		SELECT `+noteColumns+` FROM notifications AS n WHERE n.stream = ? AND n.seq > ? ORDER BY n.seq LIMIT ?`,
		func(rows *sql.Rows) error {
			n, err := scanNote(rows)
			out = append(out, n)
			return err
		}, stream, seq, limit)
	return out, err
}
