package store

import (
	"context"
	"database/sql"
	"math"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
)

// latestRuns is how many of a schedule's last jobs are looked at to tell
// whether one is not over.
const latestRuns = 20

// Fire implements schedule.Store. The runs go first: what could not be inserted
// is another's slot, and its job is not written.
func (v Schedules) Fire(ctx context.Context, name string, plan schedule.Plan) (schedule.Firing, error) {
	var out schedule.Firing
	err := v.s.transact(ctx, "fire", func(x *tx) error {
		out = schedule.Firing{}
		e, err := x.lockEntry(ctx, name, "next_at IS NOT NULL AND next_at <= {now}", "SKIP LOCKED")
		if err != nil || e == nil {
			return err
		}
		now, err := x.time(ctx)
		if err != nil {
			return err
		}
		busy, err := x.busy(ctx, name)
		if err != nil {
			return err
		}
		f := plan(e, now, busy)
		mine, err := x.claimSlots(ctx, f.Runs)
		if err != nil {
			return err
		}
		f.Runs = slices.DeleteFunc(f.Runs, func(r schedule.Run) bool { return !mine[r.Slot.UnixMilli()] })
		f.Jobs = slices.DeleteFunc(f.Jobs, func(n job.New) bool {
			return !slices.ContainsFunc(f.Runs, func(r schedule.Run) bool { return r.JobID == n.ID })
		})
		reqs := make([]job.Request, len(f.Jobs))
		for i, n := range f.Jobs {
			reqs[i] = job.Request{Base: n.ID, Jobs: []job.New{n}}
			e.LastAt, e.LastJob = now, n.ID
		}
		if _, err := x.insertJobs(ctx, reqs); err != nil {
			return err
		}
		e.NextAt, e.LastSlot = f.Next, f.Last
		out = f
		return x.saveEntry(ctx, e, false)
	})
	if err != nil {
		return schedule.Firing{}, coded("firing a schedule", err)
	}
	return out, nil
}

// busy reports whether one of the schedule's last jobs is not over.
func (x *tx) busy(ctx context.Context, name string) (busy bool, err error) {
	err = x.rows(ctx, nil, `
		SELECT jobs.id FROM (
			SELECT job_id FROM schedule_runs WHERE name = ? AND job_id IS NOT NULL ORDER BY seq DESC LIMIT ?
		) AS latest JOIN jobs ON jobs.id = latest.job_id
		WHERE jobs.state IN ('waiting', 'running', 'held') LIMIT 1`,
		func(rows *sql.Rows) error { busy = true; return rows.Scan(new(string)) }, name, latestRuns)
	return busy, err
}

// claimSlots writes runs and returns the slots, in milliseconds, that no other
// had.
func (x *tx) claimSlots(ctx context.Context, runs []schedule.Run) (map[int64]bool, error) {
	mine := make(map[int64]bool, len(runs))
	if len(runs) == 0 {
		return mine, nil
	}
	err := x.rows(ctx, historyTable(runs), insertRuns+` RETURNING slot`, func(rows *sql.Rows) error {
		var slot int64
		err := rows.Scan(&slot)
		mine[slot] = true
		return err
	})
	return mine, err
}

const insertRuns = `
	INSERT INTO schedule_runs (name, slot, at, outcome, job_id, actor, reason)
	SELECT v.name, v.slot, v.at, v.outcome, v.job_id, v.actor, v.reason FROM {v} WHERE TRUE
	ON CONFLICT DO NOTHING`

func historyTable(runs []schedule.Run) *table {
	t := columns("name text, slot bigint, at bigint, outcome text, job_id uuid, actor text, reason text")
	for _, r := range runs {
		t.add(r.Name, ms(r.Slot), ms(r.At), string(r.Outcome), orNull(r.JobID), clean(r.Actor), clean(r.Reason))
	}
	return t
}

// Note implements schedule.Store. The job's id makes it repeatable.
func (v Schedules) Note(ctx context.Context, r schedule.Run) error {
	return coded("noting a run", v.s.transact(ctx, "note_run", func(x *tx) error {
		e, err := x.lockEntry(ctx, r.Name, "TRUE", "")
		if err != nil || e == nil {
			return err
		}
		if err := x.exec(ctx, historyTable([]schedule.Run{r}), insertRuns); err != nil {
			return err
		}
		e.LastAt, e.LastJob = r.At, r.JobID
		return x.saveEntry(ctx, e, false)
	}))
}

// Runs implements schedule.Store.
func (v Schedules) Runs(ctx context.Context, name string, before int64, limit int) ([]schedule.Run, error) {
	if before == 0 {
		before = math.MaxInt64
	}
	var out []schedule.Run
	err := v.s.ask(ctx, "listing a schedule's runs", `
		SELECT `+runColumns+` FROM schedule_runs LEFT JOIN jobs ON jobs.id = schedule_runs.job_id
		WHERE name = ? AND seq < ? ORDER BY seq DESC LIMIT ?`,
		func(rows *sql.Rows) error {
			r, err := scanRun(rows)
			out = append(out, r)
			return err
		}, name, before, limit)
	return out, err
}

// Latest implements schedule.Store. The last run of each is one look into the
// index of name and seq.
func (v Schedules) Latest(ctx context.Context) (map[string]schedule.Run, error) {
	out := map[string]schedule.Run{}
	err := v.s.ask(ctx, "listing the schedules' last runs", `
		SELECT `+runColumns+` FROM schedule_runs LEFT JOIN jobs ON jobs.id = schedule_runs.job_id
		WHERE seq IN (SELECT (SELECT max(r.seq) FROM schedule_runs AS r WHERE r.name = schedules.name) FROM schedules)`,
		func(rows *sql.Rows) error {
			r, err := scanRun(rows)
			out[r.Name] = r
			return err
		})
	return out, err
}

// runColumns are a run's columns as scanRun reads them.
const runColumns = `schedule_runs.seq, schedule_runs.name, schedule_runs.slot, schedule_runs.at, schedule_runs.outcome,
	schedule_runs.job_id, schedule_runs.actor, schedule_runs.reason, jobs.state`

func scanRun(rows *sql.Rows) (schedule.Run, error) {
	var (
		r         schedule.Run
		slot      sql.NullInt64
		at        int64
		id, state sql.NullString
	)
	err := rows.Scan(&r.Seq, &r.Name, &slot, &at, &r.Outcome, &id, &r.Actor, &r.Reason, &state)
	r.Slot, r.At, r.JobID, r.JobState = orZero(slot), fromMS(at), job.ID(id.String), job.State(state.String)
	return r, err
}

// PurgeRuns implements schedule.Store.
func (v Schedules) PurgeRuns(ctx context.Context, keep time.Duration, limit int) (int, error) {
	n := 0
	err := v.s.transact(ctx, "purge_runs", func(x *tx) error {
		n = 0
		return x.rows(ctx, nil, `
			DELETE FROM schedule_runs WHERE seq IN (
				SELECT seq FROM schedule_runs WHERE at <= {now} - ? ORDER BY at LIMIT ?) RETURNING seq`,
			func(rows *sql.Rows) error { n++; return rows.Scan(new(int64)) }, keep.Milliseconds(), limit)
	})
	return n, coded("purging runs", err)
}
