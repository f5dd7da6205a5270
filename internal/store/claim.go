package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// grantAlone grants what grantDue does.
func (s *Store) grantAlone(ctx context.Context, x *tx, claims []job.Claim) ([]answer[job.Claimed], error) {
	place := make(map[job.ID]int, len(claims))
	for i, c := range claims {
		place[c.ID] = i
	}
	out := make([]answer[job.Claimed], len(claims))
	_, err := x.grantDue(ctx, slices.Clone(claims), place, out)
	return out, err
}

// commitClaims grants what can be granted by one conditional UPDATE, the way
// of nearly every claim. The rest (dead leases, expiries, refusals, repeats)
// is loaded and decided by Claim.Decide, in the same transaction.
func (s *Store) commitClaims(ctx context.Context, x *tx, claims []job.Claim) ([]answer[job.Claimed], error) {
	place := make(map[job.ID]int, len(claims))
	for i, c := range claims {
		place[c.ID] = i
	}
	out := make([]answer[job.Claimed], len(claims))
	events, err := x.grantDue(ctx, slices.Clone(claims), place, out)
	if err != nil {
		return nil, err
	}
	var rest []job.ID
	for i, c := range claims {
		if out[i].val.Verdict == "" {
			rest = append(rest, c.ID)
		}
	}
	if len(rest) > 0 {
		more, err := x.decideClaims(ctx, rest, claims, place, out)
		if err != nil {
			return nil, err
		}
		events = append(events, more...)
	}
	return out, x.insertEvents(ctx, events)
}

// grantDue does for waiting, due and unexpired jobs what Claim.Decide does. It
// locks all the jobs that are claimed, in their order: what is decided later
// in this transaction must take no lock out of that order. Whether a job is
// free is asked with the lock, of the row as it is then. Asked at the update
// (as of all statements of this form) it would tempt PostgreSQL's planner to
// go through every waiting job by the index on them. The events that it returns
// are still to be written.
func (x *tx) grantDue(ctx context.Context, claims []job.Claim, place map[job.ID]int, out []answer[job.Claimed]) ([]job.Event, error) {
	t := columns("id uuid, token text, worker text, lease bigint")
	slices.SortFunc(claims, func(a, b job.Claim) int { return strings.Compare(string(a.ID), string(b.ID)) })
	for _, c := range claims {
		t.add(string(c.ID), clean(c.Token), clean(c.Worker), c.Lease.Milliseconds())
	}
	var events []job.Event
	err := x.rows(ctx, t, `
		WITH due AS (
			SELECT jobs.id, jobs.runs + 1 AS run, v.token, v.worker, v.lease,
				jobs.state = 'waiting' AND jobs.run_at <= {now} AND (jobs.expires_at IS NULL OR jobs.expires_at > {now}) AS free
			FROM {v} JOIN jobs ON jobs.id = v.id ORDER BY jobs.id {lock}
		)`+x.s.telling(`SELECT id, {now}, 'started', 'running', run, worker, '', '', 0, '' FROM due WHERE free`)+`
		UPDATE jobs SET state = 'running', runs = due.run, token = due.token, worker = due.worker,
			lease_until = {now} + due.lease, started_at = {now}, updated_at = {now}, dispatched = TRUE
		FROM due WHERE jobs.id = due.id AND due.free
		RETURNING `+jobColumns+`, jobs.payload`,
		func(rows *sql.Rows) error {
			var payload sql.NullString
			j, err := scanJob(rows, &payload)
			if err != nil {
				return err
			}
			j.Payload = []byte(payload.String)
			if !x.s.postgres {
				events = append(events, job.Started(&j, j.StartedAt))
			}
			out[place[j.ID]] = answer[job.Claimed]{val: job.Claimed{Verdict: job.Granted, Job: j, State: j.State}, given: true}
			return nil
		})
	return events, err
}

// decideClaims answers the claims of the jobs ids.
func (x *tx) decideClaims(ctx context.Context, ids []job.ID, claims []job.Claim, place map[job.ID]int, out []answer[job.Claimed]) ([]job.Event, error) {
	for _, id := range ids {
		out[place[id]].val.Verdict = job.Unknown
	}
	jobs, now, err := x.lock(ctx, ids)
	if err != nil {
		return nil, err
	}
	var changed []*job.Job
	var granted []job.ID
	var events []job.Event
	for _, j := range jobs {
		claimed, e := claims[place[j.ID]].Decide(j, now)
		claimed.State = j.State
		if len(e) > 0 {
			changed, events = append(changed, j), append(events, e...)
		}
		if claimed.Verdict == job.Granted {
			claimed.Job = *j
			granted = append(granted, j.ID)
		}
		out[place[j.ID]].val = claimed
	}
	if err := x.save(ctx, changed); err != nil {
		return nil, err
	}
	return events, x.rows(ctx, idTable(granted), `SELECT jobs.id, jobs.payload FROM {v} JOIN jobs ON jobs.id = v.id`,
		func(rows *sql.Rows) error {
			var id job.ID
			var payload sql.NullString
			err := rows.Scan(&id, &payload)
			out[place[id]].val.Job.Payload = []byte(payload.String)
			return err
		})
}

// Extend implements job.Runner.
func (s *Store) Extend(ctx context.Context, lease time.Duration, runs []job.RunRef) (map[job.RunRef]job.Extended, error) {
	held := make(map[job.RunRef]job.Extended, len(runs))
	err := s.transact(ctx, "extend", func(x *tx) error {
		clear(held)
		return x.rows(ctx, runTable(runs), `
			WITH mine AS (
				SELECT jobs.id, jobs.runs = v.run AND jobs.state = 'running' AS live
				FROM {v} JOIN jobs ON jobs.id = v.id ORDER BY jobs.id {lock}
			)
			UPDATE jobs SET lease_until = {now} + ?
			FROM mine WHERE jobs.id = mine.id AND mine.live
			RETURNING jobs.id, jobs.runs, jobs.cancel_requested`,
			func(rows *sql.Rows) error {
				var r job.RunRef
				var e job.Extended
				err := rows.Scan(&r.ID, &r.Run, &e.CancelRequested)
				held[r] = e
				return err
			}, lease.Milliseconds())
	})
	if err != nil {
		return nil, coded("extending leases", err)
	}
	return held, nil
}

func runTable(runs []job.RunRef) *table {
	t := columns("id uuid, run bigint")
	for _, r := range runs {
		t.add(string(r.ID), int64(r.Run))
	}
	return t
}

// commitNoReturns notes which runs pass their point of no return; one statement
// answers for all of them.
func (s *Store) commitNoReturns(ctx context.Context, x *tx, runs []job.RunRef) ([]answer[struct{}], error) {
	passed := make(map[job.RunRef]bool, len(runs)) // to whether cancellation was asked for
	err := x.rows(ctx, runTable(runs), `
		WITH mine AS (
			SELECT jobs.id, jobs.runs = v.run AND jobs.state = 'running' AS live
			FROM {v} JOIN jobs ON jobs.id = v.id ORDER BY jobs.id {lock}
		)
		UPDATE jobs SET no_return_run = CASE WHEN jobs.cancel_requested THEN jobs.no_return_run ELSE jobs.runs END
		FROM mine WHERE jobs.id = mine.id AND mine.live
		RETURNING jobs.id, jobs.runs, jobs.cancel_requested AND jobs.no_return_run <> jobs.runs`,
		func(rows *sql.Rows) error {
			var r job.RunRef
			var cancelled bool
			err := rows.Scan(&r.ID, &r.Run, &cancelled)
			passed[r] = cancelled
			return err
		})
	if err != nil {
		return nil, err
	}
	out := make([]answer[struct{}], len(runs))
	for i, r := range runs {
		if cancelled, mine := passed[r]; !mine {
			out[i] = refused[struct{}](job.CodeConflict, "run %d is no longer the job's", r.Run)
		} else if cancelled {
			out[i] = refused[struct{}](job.CodeCancelled, "the job's cancellation was asked for")
		}
		out[i].given = true
	}
	return out, nil
}
