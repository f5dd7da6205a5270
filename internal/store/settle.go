package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
)

// commitSettles records outcomes by one conditional UPDATE, which keeps the
// rule of Settlement.Apply, with their events and effects. What matches no row
// was settled before or comes too late.
func (s *Store) commitSettles(ctx context.Context, x *tx, all []job.Settlement) ([]answer[job.Settled], error) {
	place := make(map[job.ID]int, len(all))
	out := make([]answer[job.Settled], len(all))
	t := columns("id uuid, run bigint, state text, charge bigint, wait bigint, code text, message text, reply_code bigint")
	for i, x := range all {
		place[x.ID] = i
	}
	for _, x := range slices.SortedFunc(slices.Values(all), func(a, b job.Settlement) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
		t.add(string(x.ID), int64(x.Run), string(x.State), int64(x.Charge), x.After.Milliseconds(),
			string(x.Code), clean(x.Message), int64(x.ReplyCode))
	}
	var events []job.Event
	var effects []effect
	err := x.rows(ctx, t, `
		WITH mine AS (
			SELECT jobs.id, v.run, CASE WHEN v.state = 'waiting' AND jobs.cancel_requested THEN 'cancelled' ELSE v.state END AS state,
				v.charge, v.wait, v.code, v.message, v.reply_code,
				jobs.runs = v.run AND jobs.state = 'running' AS live
			FROM {v} JOIN jobs ON jobs.id = v.id ORDER BY jobs.id {lock}
		)
		UPDATE jobs SET state = mine.state, attempts = jobs.attempts + mine.charge, settled_run = mine.run,
			run_at = CASE WHEN mine.state = 'waiting' THEN {now} + mine.wait ELSE jobs.run_at END,
			finished_at = CASE WHEN mine.state IN ('waiting', 'held') THEN NULL ELSE {now} END,
			code = mine.code, message = mine.message, reply_code = mine.reply_code,
			cancel_requested = FALSE, worker = '', lease_until = NULL, updated_at = {now}
		FROM mine WHERE jobs.id = mine.id AND mine.live
		RETURNING jobs.id, jobs.state, jobs.run_at, jobs.updated_at`,
		func(rows *sql.Rows) error {
			var (
				id        job.ID
				state     job.State
				runAt, at int64
			)
			if err := rows.Scan(&id, &state, &runAt, &at); err != nil {
				return err
			}
			i := place[id]
			out[i].val = settled(state, fromMS(runAt), fromMS(at))
			events = append(events, all[i].Event(state, fromMS(at)))
			for _, e := range all[i].Effects {
				effects = append(effects, effect{e, fromMS(at)})
			}
			return nil
		})
	if err != nil {
		return nil, err
	}
	late, err := x.settledBefore(ctx, all, place, out)
	if err != nil {
		return nil, err
	}
	if err := x.insertEvents(ctx, append(events, late...)); err != nil {
		return nil, err
	}
	return out, x.insertEffects(ctx, effects)
}

func settled(state job.State, runAt, now time.Time) job.Settled {
	s := job.Settled{State: state}
	if state == job.Waiting {
		s.RunAt, s.After = runAt, max(runAt.Sub(now), 0)
	}
	return s
}

// settledBefore answers settlements that matched no row and returns the
// events of the late ones.
func (x *tx) settledBefore(ctx context.Context, all []job.Settlement, place map[job.ID]int, out []answer[job.Settled]) ([]job.Event, error) {
	var ids []job.ID
	for i, s := range all {
		if out[i].val.State == "" {
			ids = append(ids, s.ID)
			out[i].val.Late = true
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	jobs, now, err := x.lock(ctx, ids)
	var late []job.Event
	for _, j := range jobs {
		s := all[place[j.ID]]
		if j.SettledRun == s.Run {
			out[place[j.ID]].val = settled(j.State, j.RunAt, now)
			continue
		}
		out[place[j.ID]].val = job.Settled{State: j.State, Late: true}
		late = append(late, s.LateEvent(j.State, now))
	}
	return late, err
}

// effect is an effect and the time of its transaction.
type effect struct {
	job.Effect
	at time.Time
}

// insertEffects writes the rows that exist exactly once with their outcome.
func (x *tx) insertEffects(ctx context.Context, effects []effect) error {
	var notes []inbox.Notification
	for _, e := range effects {
		switch v := e.Effect.(type) {
		case inbox.Notification:
			v.CreatedAt = e.at
			notes = append(notes, v)
		default:
			return job.Errorf(job.CodeInternal, "the store cannot write the effect %q", e.EffectName())
		}
	}
	if len(notes) == 0 {
		return nil
	}
	return x.insertNotifications(ctx, notes)
}

// insertNotifications takes the next numbers of each stream, in the order of
// the streams' names so that two transactions cannot wait for each other, and
// writes the notifications under them.
func (x *tx) insertNotifications(ctx context.Context, notes []inbox.Notification) error {
	slices.SortStableFunc(notes, func(a, b inbox.Notification) int { return strings.Compare(a.Stream, b.Stream) })
	streams := columns("name text, n bigint")
	count := map[string]int64{}
	for _, n := range notes {
		count[n.Stream]++
	}
	for i, n := range notes {
		if i == 0 || notes[i-1].Stream != n.Stream {
			streams.add(n.Stream, count[n.Stream])
		}
	}
	next := map[string]int64{}
	err := x.rows(ctx, streams, `
		INSERT INTO streams (name, last_seq) SELECT v.name, v.n FROM {v} WHERE true
		ON CONFLICT (name) DO UPDATE SET last_seq = streams.last_seq + excluded.last_seq
		RETURNING name, last_seq`,
		func(rows *sql.Rows) error {
			var name string
			var last int64
			err := rows.Scan(&name, &last)
			next[name] = last - count[name] + 1
			return err
		})
	if err != nil {
		return err
	}
	t := columns("stream text, seq bigint, id uuid, type text, message text, data text, created_at bigint")
	for _, n := range notes {
		var data any
		if n.Data != nil {
			data = clean(string(n.Data))
		}
		t.add(n.Stream, next[n.Stream], string(n.ID), n.Type, clean(n.Message), data, ms(n.CreatedAt))
		next[n.Stream]++
	}
	return x.exec(ctx, t, `
		INSERT INTO notifications (stream, seq, id, type, message, data, created_at)
		SELECT v.stream, v.seq, v.id, v.type, v.message, v.data, v.created_at FROM {v}`)
}
