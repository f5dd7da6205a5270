package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/recipient"
)

// settleAlone records outcomes that have no effects, if all are such.
func (s *Store) settleAlone(ctx context.Context, x *tx, all []job.Settlement) ([]answer[job.Settled], error) {
	out := make([]answer[job.Settled], len(all))
	for _, s := range all {
		if len(s.Effects) > 0 {
			return out, nil
		}
	}
	_, _, err := x.settleLive(ctx, all, placeOf(all), out)
	return out, err
}

// commitSettles records outcomes with their events and effects. What matches no
// row was settled before or comes too late.
func (s *Store) commitSettles(ctx context.Context, x *tx, all []job.Settlement) ([]answer[job.Settled], error) {
	place := placeOf(all)
	out := make([]answer[job.Settled], len(all))
	events, effects, err := x.settleLive(ctx, all, place, out)
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

func placeOf(all []job.Settlement) map[job.ID]int {
	place := make(map[job.ID]int, len(all))
	for i, s := range all {
		place[s.ID] = i
	}
	return place
}

// settleLive settles the runs that are still their jobs' by one conditional
// UPDATE, which keeps the rule of Settlement.Apply, and returns the events and
// effects that are still to be written.
func (x *tx) settleLive(ctx context.Context, all []job.Settlement, place map[job.ID]int, out []answer[job.Settled]) (events []job.Event, effects []effect, err error) {
	t := columns("id uuid, run bigint, worker text, state text, charge bigint, wait bigint, code text, message text, reply_code bigint")
	for _, s := range slices.SortedFunc(slices.Values(all), func(a, b job.Settlement) int { return strings.Compare(string(a.ID), string(b.ID)) }) {
		t.add(string(s.ID), int64(s.Run), clean(s.Worker), string(s.State), int64(s.Charge), s.After.Milliseconds(),
			string(s.Code), clean(s.Message), int64(s.ReplyCode))
	}
	err = x.rows(ctx, t, `
		WITH mine AS (
			SELECT jobs.id, v.run, v.worker, CASE WHEN v.state = 'waiting' AND jobs.cancel_requested THEN 'cancelled' ELSE v.state END AS state,
				v.charge, v.wait, v.code, v.message, v.reply_code,
				jobs.runs = v.run AND jobs.state = 'running' AS live
			FROM {v} JOIN jobs ON jobs.id = v.id ORDER BY jobs.id {lock}
		)`+x.s.telling(`SELECT id, {now}, 'settled', state, run, worker, '', code, reply_code, message FROM mine WHERE live`)+`
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
			out[i] = answer[job.Settled]{val: settled(state, fromMS(runAt), fromMS(at)), given: true}
			if !x.s.postgres {
				events = append(events, all[i].Event(state, fromMS(at)))
			}
			for _, e := range all[i].Effects {
				effects = append(effects, effect{e, fromMS(at)})
			}
			return nil
		})
	return events, effects, err
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
	var suppressions []mail.Suppression
	var items []recipient.Item
	for _, e := range effects {
		switch v := e.Effect.(type) {
		case inbox.Notification:
			v.CreatedAt = e.at
			notes = append(notes, v)
		case mail.Suppression:
			suppressions = append(suppressions, v)
		case recipient.Item:
			v.At = e.at
			items = append(items, v)
		default:
			return job.Errorf(job.CodeInternal, "the store cannot write the effect %q", e.EffectName())
		}
	}
	if len(notes) > 0 {
		written, err := x.insertNotifications(ctx, notes)
		if err != nil {
			return err
		}
		if written < len(notes) {
			return job.Errorf(job.CodeInternal, "a notification has the id of a job that has not made it")
		}
	}
	if len(suppressions) > 0 {
		if err := x.suppress(ctx, suppressions); err != nil {
			return err
		}
	}
	if len(items) > 0 {
		return x.insertItems(ctx, items)
	}
	return nil
}
