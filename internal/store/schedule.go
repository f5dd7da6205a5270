package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
)

// Schedules is the timetable's side of a Store.
type Schedules struct{ s *Store }

var _ schedule.Store = Schedules{}

// Schedules is the schedule.Store over the same database.
func (s *Store) Schedules() Schedules { return Schedules{s} }

// entryColumns are a schedule's columns as scanEntry reads them.
const entryColumns = `name, type, payload, queue, cron, time_zone, missed, missed_limit, overlap, paused, source,
	created_at, updated_at, next_at, last_slot, last_at, last_job`

// scanEntry reads entryColumns and what more there is.
func scanEntry(rows *sql.Rows, more ...any) (schedule.Entry, error) {
	var (
		e                  schedule.Entry
		payload            string
		created, updated   int64
		next, slot, lastAt sql.NullInt64
		lastJob            sql.NullString
	)
	err := rows.Scan(append([]any{
		&e.Name, &e.Type, &payload, &e.Queue, &e.Cron, &e.TimeZone, &e.Missed, &e.MissedLimit, &e.Overlap, &e.Paused, &e.Source,
		&created, &updated, &next, &slot, &lastAt, &lastJob,
	}, more...)...)
	e.Payload = []byte(payload)
	e.CreatedAt, e.UpdatedAt = fromMS(created), fromMS(updated)
	e.NextAt, e.LastSlot, e.LastAt, e.LastJob = orZero(next), orZero(slot), orZero(lastAt), job.ID(lastJob.String)
	return e, err
}

// Change implements schedule.Store.
func (v Schedules) Change(ctx context.Context, name string, decide schedule.Decision) (schedule.Entry, error) {
	var out schedule.Entry
	err := v.s.transact(ctx, "change_schedule", func(x *tx) error {
		out = schedule.Entry{}
		if err := x.record(ctx, 1); err != nil { // which is taken back with the rest
			return err
		}
		old, err := x.lockEntry(ctx, name, "TRUE", "")
		if err != nil {
			return err
		}
		now, err := x.time(ctx)
		if err != nil {
			return err
		}
		e, err := decide(old, now)
		switch {
		case err != nil:
			return err
		case e == nil && old == nil:
			return nil
		case e == nil:
			return x.exec(ctx, nil, `DELETE FROM schedules WHERE name = ?`, name)
		}
		out = *e
		return x.saveEntry(ctx, e, old == nil)
	})
	if err != nil {
		return schedule.Entry{}, coded("changing a schedule", err)
	}
	return out, nil
}

// lockEntry loads an entry that meets the condition and locks its row until
// the transaction ends; nil where there is none. how says on PostgreSQL what
// becomes of a row that another has locked; SQLite has one writer at a time.
func (x *tx) lockEntry(ctx context.Context, name, cond, how string) (*schedule.Entry, error) {
	lock := ""
	if x.s.postgres {
		lock = " FOR UPDATE " + how
	}
	var found *schedule.Entry
	err := x.rows(ctx, nil, `SELECT `+entryColumns+` FROM schedules WHERE name = ? AND `+cond+lock, func(rows *sql.Rows) error {
		e, err := scanEntry(rows)
		found = &e
		return err
	}, name)
	return found, err
}

// time is the transaction's.
func (x *tx) time(ctx context.Context) (now time.Time, err error) {
	err = x.rows(ctx, nil, `SELECT {now}`, func(rows *sql.Rows) error {
		var at int64
		err := rows.Scan(&at)
		now = fromMS(at)
		return err
	})
	return now, err
}

// saveEntry writes an entry: a new one, or one whose row is locked. A new one
// whose name was taken in between makes the transaction be repeated.
func (x *tx) saveEntry(ctx context.Context, e *schedule.Entry, fresh bool) error {
	t := columns("name text, type text, payload text, queue text, cron text, time_zone text, missed text, missed_limit bigint, " +
		"overlap text, paused boolean, source text, created_at bigint, updated_at bigint, " +
		"next_at bigint, last_slot bigint, last_at bigint, last_job uuid")
	t.add(e.Name, e.Type, clean(string(e.Payload)), e.Queue, e.Cron, e.TimeZone, string(e.Missed), int64(e.MissedLimit),
		string(e.Overlap), e.Paused, string(e.Source), ms(e.CreatedAt), ms(e.UpdatedAt),
		ms(e.NextAt), ms(e.LastSlot), ms(e.LastAt), orNull(e.LastJob))
	if !fresh {
		return x.exec(ctx, t, `
			UPDATE schedules SET type = v.type, payload = v.payload, queue = v.queue, cron = v.cron, time_zone = v.time_zone,
				missed = v.missed, missed_limit = v.missed_limit, overlap = v.overlap, paused = v.paused, source = v.source,
				created_at = v.created_at, updated_at = v.updated_at,
				next_at = v.next_at, last_slot = v.last_slot, last_at = v.last_at, last_job = v.last_job
			FROM {v} WHERE schedules.name = v.name`)
	}
	written := false
	err := x.rows(ctx, t, `
		INSERT INTO schedules (`+entryColumns+`) SELECT `+entryColumns+` FROM {v} WHERE TRUE
		ON CONFLICT (name) DO NOTHING RETURNING name`,
		func(rows *sql.Rows) error { written = true; return rows.Scan(new(string)) })
	if err == nil && !written {
		return errVanished
	}
	return err
}

// Get implements schedule.Store.
func (v Schedules) Get(ctx context.Context, name string) (schedule.Entry, error) {
	all, err := v.entries(ctx, "finding a schedule", `WHERE name = ?`, name)
	if err == nil && len(all) == 0 {
		err = job.Errorf(job.CodeNotFound, "there is no schedule %q", name)
	}
	if err != nil {
		return schedule.Entry{}, err
	}
	return all[0], nil
}

// List implements schedule.Store.
func (v Schedules) List(ctx context.Context) ([]schedule.Entry, error) {
	order := `ORDER BY name LIMIT ?`
	if v.s.postgres {
		order = `ORDER BY name COLLATE "C" LIMIT ?`
	}
	return v.entries(ctx, "listing schedules", order, schedule.MaxListed)
}

func (v Schedules) entries(ctx context.Context, what, rest string, args ...any) ([]schedule.Entry, error) {
	var out []schedule.Entry
	err := v.s.ask(ctx, what, `SELECT `+entryColumns+` FROM schedules `+rest, func(rows *sql.Rows) error {
		e, err := scanEntry(rows)
		out = append(out, e)
		return err
	}, args...)
	return out, err
}

// Due implements schedule.Store.
func (v Schedules) Due(ctx context.Context, limit int) ([]string, error) {
	var out []string
	err := v.s.ask(ctx, "listing due schedules", `
		SELECT name FROM schedules WHERE next_at IS NOT NULL AND next_at <= {now} ORDER BY next_at, name LIMIT ?`,
		func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			out = append(out, name)
			return err
		}, limit)
	return out, err
}
