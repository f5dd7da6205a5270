package store

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// keyRow is a row of idempotency_keys.
type keyRow struct {
	base job.ID
	hash []byte
	at   time.Time
}

// anotherRequest is what the second of two different requests is told.
const anotherRequest = "the Idempotency-Key was used before with another request"

type keyName struct{ owner, key string }

// acceptAlone writes requests without idempotency keys, if all are such.
func (s *Store) acceptAlone(ctx context.Context, x *tx, reqs []job.Request) ([]answer[job.Receipt], error) {
	out := make([]answer[job.Receipt], len(reqs))
	for _, r := range reqs {
		if r.Key.Key != "" {
			return out, nil
		}
	}
	at, _, err := x.insertNew(ctx, reqs)
	for i, r := range reqs {
		if written, ok := at[r.Jobs[0].ID]; ok {
			out[i] = answer[job.Receipt]{val: job.Receipt{Base: r.Base, At: written}, given: true}
		}
	}
	return out, err
}

// commitAccepts writes requests: keys first, which tells whose requests are
// new, then the jobs of those with their first events.
func (s *Store) commitAccepts(ctx context.Context, x *tx, reqs []job.Request) ([]answer[job.Receipt], error) {
	held, err := x.takeKeys(ctx, reqs)
	if err != nil {
		return nil, err
	}
	out := make([]answer[job.Receipt], len(reqs))
	var write []job.Request
	for i, r := range reqs {
		row, keyed := held[keyName{r.Key.Owner, r.Key.Key}]
		switch {
		case r.Key.Key == "":
			write = append(write, r)
		case !keyed:
			return nil, errVanished
		case row.base == r.Base: // taken just now, or by this same request before its answer was lost
			write = append(write, r)
		case bytes.Equal(row.hash, r.Key.Hash):
			out[i].val = job.Receipt{Base: row.base, At: row.at, Replayed: true}
		default:
			out[i] = refused[job.Receipt](job.CodeConflict, anotherRequest)
		}
	}
	at, err := x.insertJobs(ctx, write)
	if err != nil {
		return nil, err
	}
	for i, r := range reqs {
		if out[i].err != nil || out[i].val.Replayed {
			continue
		}
		written, ok := at[r.Jobs[0].ID]
		if !ok {
			return nil, errVanished
		}
		out[i].val = job.Receipt{Base: r.Base, At: written}
	}
	return out, nil
}

// takeKeys takes the requests' idempotency keys where they are free and
// returns for each who has it now. They are taken in their order, so that two
// processes cannot wait for each other.
func (x *tx) takeKeys(ctx context.Context, reqs []job.Request) (map[keyName]keyRow, error) {
	keyed := slices.DeleteFunc(slices.Clone(reqs), func(r job.Request) bool { return r.Key.Key == "" })
	if len(keyed) == 0 {
		return nil, nil
	}
	slices.SortFunc(keyed, func(a, b job.Request) int {
		if c := strings.Compare(a.Key.Owner, b.Key.Owner); c != 0 {
			return c
		}
		return strings.Compare(a.Key.Key, b.Key.Key)
	})
	t := columns("owner text, key text, hash bytea, base uuid, keep bigint")
	for _, r := range keyed {
		t.add(r.Key.Owner, r.Key.Key, r.Key.Hash, string(r.Base), r.Key.Keep.Milliseconds())
	}
	held := make(map[keyName]keyRow, len(keyed))
	scan := func(rows *sql.Rows) error {
		var (
			name keyName
			row  keyRow
			at   int64
		)
		if err := rows.Scan(&name.owner, &name.key, &row.hash, &row.base, &at); err != nil {
			return err
		}
		row.at = fromMS(at)
		held[name] = row
		return nil
	}
	// A key whose time is over counts as free though it is still there.
	err := x.rows(ctx, t, `
		INSERT INTO idempotency_keys (owner, key, hash, base, created_at, expires_at)
		SELECT v.owner, v.key, v.hash, v.base, {now}, {now} + v.keep FROM {v} WHERE true
		ON CONFLICT (owner, key) DO UPDATE
		SET hash = excluded.hash, base = excluded.base, created_at = excluded.created_at, expires_at = excluded.expires_at
		WHERE idempotency_keys.expires_at <= {now}
		RETURNING owner, key, hash, base, created_at`, scan)
	if err != nil || len(held) == len(keyed) {
		return held, err
	}
	lost := columns("owner text, key text")
	for _, r := range keyed {
		if _, ok := held[keyName{r.Key.Owner, r.Key.Key}]; !ok {
			lost.add(r.Key.Owner, r.Key.Key)
		}
	}
	return held, x.rows(ctx, lost, `
		SELECT k.owner, k.key, k.hash, k.base, k.created_at
		FROM {v} JOIN idempotency_keys k ON k.owner = v.owner AND k.key = v.key`, scan)
}

// insertJobs writes the requests' jobs and first events and returns when each
// job was written: now, or earlier where the request is a repeat.
func (x *tx) insertJobs(ctx context.Context, reqs []job.Request) (map[job.ID]time.Time, error) {
	at, events, err := x.insertNew(ctx, reqs)
	if err != nil || len(reqs) == 0 {
		return at, err
	}
	if err := x.insertEvents(ctx, events); err != nil {
		return nil, err
	}
	return at, x.writtenBefore(ctx, reqs, at)
}

// insertNew writes those of the requests' jobs that are not there yet, and
// returns when that was and the events that are still to be written.
func (x *tx) insertNew(ctx context.Context, reqs []job.Request) (map[job.ID]time.Time, []job.Event, error) {
	described := describes(reqs)
	spec := "id uuid, type text, queue text, recipient text, batch uuid, accepted_by text, " +
		"delay bigint, not_before bigint, expires_at bigint, max_attempts bigint, on_ambiguous text, payload text, state text, message text"
	traced, column, value := traces(reqs), "", "" // a column that is mostly empty
	if traced {
		spec, column, value = spec+", trace text", ", trace", ", v.trace"
	}
	together := described && x.s.postgres // the jobs and what describes them, in one statement
	if together {
		spec += ", " + aboutColumns
	}
	t := columns(spec)
	for _, r := range reqs {
		for _, n := range r.Jobs {
			row := []any{string(n.ID), n.Type, n.Queue, clean(n.Recipient), orNull(n.Batch), clean(n.AcceptedBy),
				n.Delay.Milliseconds(), ms(n.RunAt), ms(n.ExpiresAt), int64(n.MaxAttempts), string(n.OnAmbiguous), clean(string(n.Payload)),
				string(cmp.Or(n.State, job.Waiting)), clean(n.Message)}
			if traced {
				row = append(row, clean(n.Trace))
			}
			if together {
				row = append(row, about(n)...)
			}
			t.add(row...)
		}
	}
	at := make(map[job.ID]time.Time, len(t.rows))
	insert := `
		INSERT INTO jobs (id, type, queue, state, recipient, batch, accepted_by, created_at, updated_at, run_at, due_at,
			expires_at, max_attempts, on_ambiguous, dispatches, dispatch_at, payload, finished_at, code, message` + column + `)
		SELECT v.id, v.type, v.queue, v.state, v.recipient, v.batch, v.accepted_by, {now}, {now},
			CASE WHEN v.not_before > {now} + v.delay THEN v.not_before ELSE {now} + v.delay END,
			CASE WHEN v.not_before > {now} + v.delay THEN v.not_before ELSE {now} + v.delay END,
			v.expires_at, v.max_attempts, v.on_ambiguous, 1, {now}, v.payload,
			CASE WHEN v.state <> 'waiting' THEN {now} END, CASE WHEN v.state <> 'waiting' THEN v.state ELSE '' END, v.message` + value + `
		FROM {v} WHERE true
		ON CONFLICT (id) DO NOTHING
		RETURNING id, created_at, accepted_by, state, code, message, due_at`
	switch {
	case together:
		insert = "WITH given AS (SELECT * FROM {v}), written AS (" + strings.Replace(insert, "{v}", "given AS v", 1) + ")" +
			describing + x.s.telling(`SELECT id, created_at, 'accepted', state, 0, '', accepted_by, code, 0, message FROM written`) + `
			SELECT id, created_at, accepted_by, state, code, message, due_at FROM written`
	case x.s.postgres:
		insert = "WITH written AS (" + insert + ")" +
			x.s.telling(`SELECT id, created_at, 'accepted', state, 0, '', accepted_by, code, 0, message FROM written`) + `
			SELECT id, created_at, accepted_by, state, code, message, due_at FROM written`
	}
	var events []job.Event
	err := x.rows(ctx, t, insert,
		func(rows *sql.Rows) error {
			var (
				e            = job.Event{Kind: job.EventAccepted}
				created, due int64
			)
			if err := rows.Scan(&e.Job, &created, &e.Actor, &e.State, &e.Code, &e.Message, &due); err != nil {
				return err
			}
			e.At = fromMS(created)
			at[e.Job] = e.At
			if !x.s.postgres {
				events = append(events, e)
			}
			return nil
		})
	if err == nil && described && !together {
		err = x.describe(ctx, reqs)
	}
	return at, events, err
}

// traces reports whether one of the jobs is part of a trace.
func traces(reqs []job.Request) bool {
	for _, r := range reqs {
		for _, n := range r.Jobs {
			if n.Trace != "" {
				return true
			}
		}
	}
	return false
}

// writtenBefore completes at with the first jobs of repeated requests.
func (x *tx) writtenBefore(ctx context.Context, reqs []job.Request, at map[job.ID]time.Time) error {
	t := columns("id uuid")
	for _, r := range reqs {
		if _, ok := at[r.Jobs[0].ID]; !ok {
			t.add(string(r.Jobs[0].ID))
		}
	}
	return x.rows(ctx, t, `SELECT jobs.id, jobs.created_at FROM {v} JOIN jobs ON jobs.id = v.id`,
		func(rows *sql.Rows) error {
			var (
				id      job.ID
				created int64
			)
			err := rows.Scan(&id, &created)
			at[id] = fromMS(created)
			return err
		})
}

// insertEvents writes events in their order.
func (x *tx) insertEvents(ctx context.Context, events []job.Event) error {
	t := columns("job_id uuid, at bigint, kind text, state text, run bigint, worker text, actor text, code text, reply_code bigint, message text")
	for _, e := range events {
		t.add(string(e.Job), e.At.UnixMilli(), string(e.Kind), string(e.State), int64(e.Run),
			clean(e.Worker), clean(e.Actor), string(e.Code), int64(e.ReplyCode), clean(e.Message))
	}
	return x.exec(ctx, t, `
		INSERT INTO job_events (`+eventColumns+`)
		SELECT v.job_id, v.at, v.kind, v.state, v.run, v.worker, v.actor, v.code, v.reply_code, v.message FROM {v}`)
}
