package store

import (
	"context"
	"database/sql"
	"math"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// MarkDispatched implements job.Store. Rows that their claim has marked are
// not written again.
func (s *Store) MarkDispatched(ctx context.Context, sent []job.Task) error {
	t := columns("id uuid, n bigint")
	for _, task := range sent {
		t.add(string(task.ID), int64(task.Dispatch))
	}
	return coded("noting dispatches", s.transact(ctx, "dispatched", func(x *tx) error {
		return x.exec(ctx, t, `
			WITH sent AS (
				SELECT jobs.id, v.n FROM {v} JOIN jobs ON jobs.id = v.id AND jobs.dispatches = v.n
				WHERE NOT jobs.dispatched ORDER BY jobs.id {lock}
			)
			UPDATE jobs SET dispatched = TRUE FROM sent WHERE jobs.id = sent.id AND jobs.dispatches = sent.n`)
	}))
}

// Undispatched implements job.Mender.
func (s *Store) Undispatched(ctx context.Context, age time.Duration, limit int) ([]job.Task, error) {
	return s.tasks(ctx, "listing undispatched jobs", `
		SELECT `+taskColumns+` FROM jobs WHERE state = 'waiting' AND NOT dispatched AND dispatch_at <= {now} - ?
		ORDER BY dispatch_at LIMIT ?`, age.Milliseconds(), limit)
}

// DeadLeases implements job.Mender.
func (s *Store) DeadLeases(ctx context.Context, limit int) ([]job.ID, error) {
	return s.ids(ctx, "listing dead leases", `
		SELECT id FROM jobs WHERE state = 'running' AND lease_until <= {now} ORDER BY lease_until LIMIT ?`, limit)
}

// Overdue implements job.Mender.
func (s *Store) Overdue(ctx context.Context, limit int) ([]job.ID, error) {
	return s.ids(ctx, "listing expired jobs", `
		SELECT id FROM jobs WHERE state = 'waiting' AND expires_at IS NOT NULL AND expires_at <= {now}
		ORDER BY expires_at LIMIT ?`, limit)
}

func (s *Store) ids(ctx context.Context, what, q string, args ...any) ([]job.ID, error) {
	var out []job.ID
	err := s.ask(ctx, what, q, func(rows *sql.Rows) error {
		var id job.ID
		err := rows.Scan(&id)
		out = append(out, id)
		return err
	}, args...)
	return out, err
}

// taskColumns are what the task of a job's last dispatch is made of.
const taskColumns = `id, dispatches, type, queue, run_at`

func (s *Store) tasks(ctx context.Context, what, q string, args ...any) ([]job.Task, error) {
	var out []job.Task
	err := s.ask(ctx, what, q, func(rows *sql.Rows) error {
		var t job.Task
		var at int64
		err := rows.Scan(&t.ID, &t.Dispatch, &t.Type, &t.Queue, &at)
		t.RunAt = fromMS(at)
		out = append(out, t)
		return err
	}, args...)
	return out, err
}

// Unclaimed implements job.Mender.
func (s *Store) Unclaimed(ctx context.Context, queue string, age time.Duration, after job.Cursor, limit int) ([]job.Task, job.Cursor, error) {
	from, id := int64(math.MinInt64), "00000000-0000-0000-0000-000000000000"
	if after.ID != "" {
		from, id = after.RunAt.UnixMilli(), string(after.ID)
	}
	which := ""
	args := []any{queue, from, id}
	if age >= 0 {
		which = "AND run_at <= {now} - ? AND dispatched"
		args = append(args, age.Milliseconds())
	}
	out, err := s.tasks(ctx, "listing unclaimed jobs", `
		SELECT `+taskColumns+` FROM jobs
		WHERE state = 'waiting' AND queue = ? AND (run_at, id) > (?, ?) `+which+`
		ORDER BY run_at, id LIMIT ?`, append(args, limit)...)
	if len(out) > 0 {
		last := out[len(out)-1]
		after = job.Cursor{RunAt: last.RunAt, ID: last.ID}
	}
	return out, after, err
}

// Lead implements job.Mender.
func (s *Store) Lead(ctx context.Context, name, holder string, ttl time.Duration) (mine bool, err error) {
	err = s.transact(ctx, "lead", func(x *tx) error {
		mine = false
		return x.rows(ctx, nil, `
			INSERT INTO leases (name, holder, until) VALUES (?, ?, {now} + ?)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE leases.holder = excluded.holder OR leases.until <= {now}
			RETURNING name`,
			func(rows *sql.Rows) error {
				mine = true
				return rows.Scan(new(string))
			}, name, holder, ttl.Milliseconds())
	})
	return mine, coded("taking the lease "+name, err)
}

// Yield implements job.Mender.
func (s *Store) Yield(ctx context.Context, name, holder string) error {
	return coded("giving up the lease "+name, s.transact(ctx, "yield", func(x *tx) error {
		return x.exec(ctx, nil, `DELETE FROM leases WHERE name = ? AND holder = ?`, name, holder)
	}))
}

// endLeases makes the runs of the process before this one dead.
func (s *Store) endLeases(ctx context.Context) error {
	return coded("ending old leases", s.transact(ctx, "end_leases", func(x *tx) error {
		if err := x.exec(ctx, nil, `DELETE FROM leases`); err != nil {
			return err
		}
		return x.exec(ctx, nil, `UPDATE jobs SET lease_until = {now} WHERE state = 'running'`)
	}))
}

// Purge implements job.Mender.
func (s *Store) Purge(ctx context.Context, r job.Retention, limit int) (int, error) {
	most := 0
	err := s.transact(ctx, "purge", func(x *tx) error {
		most = 0
		for _, step := range []struct {
			over string
			keep time.Duration
		}{
			{"state = 'done'", r.Done},
			{"state <> 'done'", r.Failed},
		} {
			n, err := x.purgeJobs(ctx, step.over, step.keep, limit)
			if err != nil {
				return err
			}
			most = max(most, n)
		}
		for _, q := range []struct {
			text string
			keep time.Duration
		}{
			{`UPDATE jobs SET payload = NULL WHERE id IN (
				SELECT id FROM jobs WHERE state = 'done' AND payload IS NOT NULL AND finished_at <= {now} - ?
				ORDER BY finished_at LIMIT ?) RETURNING id`, r.Bodies},
			{`DELETE FROM objective_minutes WHERE (category, minute) IN (
				SELECT category, minute FROM objective_minutes WHERE minute * 60000 <= {now} - ? LIMIT ?) RETURNING minute`, r.Done},
			{`DELETE FROM digest_items WHERE job_id IN (
				SELECT digest_items.job_id FROM digests JOIN digest_items
				ON digest_items.recipient = digests.recipient AND digest_items.ends_at = digests.ends_at
				WHERE digests.closed_at <= {now} - ? ORDER BY digests.closed_at LIMIT ?) RETURNING job_id`, r.Bodies},
			{`DELETE FROM digests WHERE (recipient, ends_at) IN (
				SELECT recipient, ends_at FROM digests WHERE closed_at <= {now} - ? AND NOT EXISTS (
					SELECT 1 FROM digest_items WHERE digest_items.recipient = digests.recipient AND digest_items.ends_at = digests.ends_at)
				ORDER BY closed_at LIMIT ?) RETURNING recipient`, r.Bodies},
			{`DELETE FROM idempotency_keys WHERE (owner, key) IN (
				SELECT owner, key FROM idempotency_keys WHERE expires_at <= {now} - ? ORDER BY expires_at LIMIT ?) RETURNING key`, 0},
			{`DELETE FROM feedback WHERE seq IN (
				SELECT seq FROM feedback WHERE created_at <= {now} - ? ORDER BY created_at LIMIT ?) RETURNING event`, r.Failed},
			{`DELETE FROM templates WHERE hash IN (
				SELECT hash FROM templates WHERE touched_at <= {now} - ? ORDER BY touched_at LIMIT ?) RETURNING hash`, keepTemplates(r)},
		} {
			n := 0
			count := func(*sql.Rows) error { n++; return nil }
			if err := x.rows(ctx, nil, q.text, count, q.keep.Milliseconds(), limit); err != nil {
				return err
			}
			most = max(most, n)
		}
		return nil
	})
	return most, coded("purging", err)
}

// purgeJobs deletes finished jobs with their events.
func (x *tx) purgeJobs(ctx context.Context, over string, keep time.Duration, limit int) (int, error) {
	var ids []job.ID
	err := x.rows(ctx, nil, `
		DELETE FROM jobs WHERE id IN (
			SELECT id FROM jobs WHERE finished_at IS NOT NULL AND finished_at <= {now} - ? AND `+over+`
			ORDER BY finished_at LIMIT ?) RETURNING id`,
		func(rows *sql.Rows) error {
			var id job.ID
			err := rows.Scan(&id)
			ids = append(ids, id)
			return err
		}, keep.Milliseconds(), limit)
	if err != nil || len(ids) == 0 {
		return 0, err
	}
	for _, q := range []string{
		`DELETE FROM job_events WHERE job_id IN (SELECT id FROM {v})`,
		`DELETE FROM mails WHERE job_id IN (SELECT id FROM {v})`,
	} {
		if err := x.exec(ctx, idTable(ids), q); err != nil {
			return 0, err
		}
	}
	return len(ids), nil
}
