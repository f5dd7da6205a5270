package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// jobColumns are a job's columns but for its payload, as scanJob reads them.
const jobColumns = `jobs.id, jobs.type, jobs.queue, jobs.state, jobs.recipient, jobs.batch, jobs.accepted_by, jobs.trace,
	jobs.created_at, jobs.updated_at, jobs.run_at, jobs.due_at, jobs.expires_at, jobs.started_at, jobs.finished_at, jobs.cancel_requested,
	jobs.runs, jobs.attempts, jobs.max_attempts, jobs.deaths, jobs.on_ambiguous,
	jobs.worker, jobs.token, jobs.lease_until, jobs.no_return_run, jobs.settled_run,
	jobs.dispatches, jobs.dispatched, jobs.dispatch_at, jobs.code, jobs.message, jobs.reply_code, jobs.payload IS NULL`

// scanJob reads jobColumns and what more there is.
func scanJob(rows *sql.Rows, more ...any) (job.Job, error) {
	var (
		j                                        job.Job
		batch                                    sql.NullString
		created, updated, runAt, due, dispatchAt int64
		expires, started, finished, lease        sql.NullInt64
	)
	err := rows.Scan(append([]any{
		&j.ID, &j.Type, &j.Queue, &j.State, &j.Recipient, &batch, &j.AcceptedBy, &j.Trace,
		&created, &updated, &runAt, &due, &expires, &started, &finished, &j.CancelRequested,
		&j.Runs, &j.Attempts, &j.MaxAttempts, &j.Deaths, &j.OnAmbiguous,
		&j.Worker, &j.Token, &lease, &j.NoReturnRun, &j.SettledRun,
		&j.Dispatches, &j.Dispatched, &dispatchAt, &j.Code, &j.Message, &j.ReplyCode, &j.PayloadGone,
	}, more...)...)
	j.Batch = job.ID(batch.String)
	j.CreatedAt, j.UpdatedAt, j.RunAt, j.DispatchAt = fromMS(created), fromMS(updated), fromMS(runAt), fromMS(dispatchAt)
	if due > 0 {
		j.DueAt = fromMS(due)
	}
	j.ExpiresAt, j.StartedAt, j.FinishedAt, j.LeaseUntil = orZero(expires), orZero(started), orZero(finished), orZero(lease)
	return j, err
}

func orZero(n sql.NullInt64) time.Time {
	if !n.Valid {
		return time.Time{}
	}
	return fromMS(n.Int64)
}

// lock loads jobs in the order of their ids, with their rows locked until the
// transaction ends, and the transaction's time. The order keeps two
// transactions from waiting for each other.
func (x *tx) lock(ctx context.Context, ids []job.ID) (jobs []*job.Job, now time.Time, err error) {
	err = x.rows(ctx, idTable(ids), `
		SELECT `+jobColumns+`, {now} FROM {v} JOIN jobs ON jobs.id = v.id ORDER BY jobs.id {lock}`,
		func(rows *sql.Rows) error {
			var at int64
			j, err := scanJob(rows, &at)
			jobs, now = append(jobs, &j), fromMS(at)
			return err
		})
	return jobs, now, err
}

func idTable(ids []job.ID) *table {
	t := columns("id uuid")
	for _, id := range ids {
		t.add(string(id))
	}
	return t
}

// save writes back what transitions change of locked jobs.
func (x *tx) save(ctx context.Context, jobs []*job.Job) error {
	t := columns("id uuid, state text, updated_at bigint, run_at bigint, expires_at bigint, started_at bigint, finished_at bigint, " +
		"cancel_requested boolean, runs bigint, attempts bigint, deaths bigint, worker text, token text, lease_until bigint, " +
		"no_return_run bigint, settled_run bigint, dispatches bigint, dispatched boolean, dispatch_at bigint, code text, message text, reply_code bigint")
	for _, j := range jobs {
		t.add(string(j.ID), string(j.State), ms(j.UpdatedAt), ms(j.RunAt), ms(j.ExpiresAt), ms(j.StartedAt), ms(j.FinishedAt),
			j.CancelRequested, int64(j.Runs), int64(j.Attempts), int64(j.Deaths), clean(j.Worker), clean(j.Token), ms(j.LeaseUntil),
			int64(j.NoReturnRun), int64(j.SettledRun), int64(j.Dispatches), j.Dispatched, ms(j.DispatchAt), string(j.Code), clean(j.Message), int64(j.ReplyCode))
	}
	return x.exec(ctx, t, `
		UPDATE jobs SET state = v.state, updated_at = v.updated_at, run_at = v.run_at, expires_at = v.expires_at,
			started_at = v.started_at, finished_at = v.finished_at, cancel_requested = v.cancel_requested,
			runs = v.runs, attempts = v.attempts, deaths = v.deaths, worker = v.worker, token = v.token, lease_until = v.lease_until,
			no_return_run = v.no_return_run, settled_run = v.settled_run, dispatches = v.dispatches, dispatched = v.dispatched, dispatch_at = v.dispatch_at,
			code = v.code, message = v.message, reply_code = v.reply_code
		FROM {v} WHERE jobs.id = v.id`)
}

// Change implements job.Store.
func (s *Store) Change(ctx context.Context, ids []job.ID, decide job.Decision) ([]job.Job, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	var out []job.Job
	err := s.transact(ctx, "change", func(x *tx) error {
		out = nil
		jobs, now, err := x.lock(ctx, ids)
		if err != nil {
			return err
		}
		var changed []*job.Job
		var events []job.Event
		for _, j := range jobs {
			e, err := decide(j, now)
			if err != nil {
				return err
			}
			if len(e) > 0 {
				changed, events = append(changed, j), append(events, e...)
				out = append(out, *j)
			}
		}
		if err := x.save(ctx, changed); err != nil {
			return err
		}
		if err := x.insertEvents(ctx, events); err != nil {
			return err
		}
		return x.record(ctx, len(out))
	})
	if err != nil {
		return nil, coded("changing jobs", err)
	}
	return out, nil
}
