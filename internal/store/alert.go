package store

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/alert"
)

// Alerts is the side of a Store that knows what is wrong with the fleet.
type Alerts struct{ *Store }

var _ alert.Store = Alerts{}

// Alerts is the alert.Store over the same database.
func (s *Store) Alerts() Alerts { return Alerts{s} }

// alertColumns are an alert's columns as scanAlerts reads them.
const alertColumns = `rule, subject, summary, since, fired_at, noticed_at, clear_at`

func scanAlerts(out *[]alert.Alert) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var a alert.Alert
		var since int64
		var fired, noticed, clear sql.NullInt64
		err := rows.Scan(&a.Rule, &a.Subject, &a.Summary, &since, &fired, &noticed, &clear)
		a.Since, a.FiredAt, a.NoticedAt, a.ClearAt = fromMS(since), orZero(fired), orZero(noticed), orZero(clear)
		*out = append(*out, a)
		return err
	}
}

// Alerts implements alert.Store.
func (v Alerts) Alerts(ctx context.Context) (out []alert.Alert, err error) {
	err = v.ask(ctx, "listing alerts", `
		SELECT `+alertColumns+` FROM alerts ORDER BY CASE WHEN fired_at IS NULL THEN 1 ELSE 0 END, fired_at, since, rule, subject`, scanAlerts(&out))
	return out, err
}

// Change implements alert.Store. On PostgreSQL the table's lock lets one at a time
// change alerts: two that find something new must not both tell of it.
func (v Alerts) Change(ctx context.Context, decide func(time.Time, []alert.Alert) alert.Change) error {
	return coded("changing alerts", v.transact(ctx, "change_alerts", func(x *tx) error {
		if x.s.postgres {
			if err := x.exec(ctx, nil, `LOCK TABLE alerts IN EXCLUSIVE MODE`); err != nil {
				return err
			}
		}
		var all []alert.Alert
		if err := x.rows(ctx, nil, `SELECT `+alertColumns+` FROM alerts ORDER BY rule, subject`, scanAlerts(&all)); err != nil {
			return err
		}
		now, err := x.time(ctx)
		if err != nil {
			return err
		}
		change := decide(now, all)
		if err := x.saveAlerts(ctx, change.Save); err != nil {
			return err
		}
		gone := columns("rule text, subject text")
		for _, a := range change.Drop {
			gone.add(string(a.Rule), clean(a.Subject))
		}
		if err := x.exec(ctx, gone, `DELETE FROM alerts WHERE (rule, subject) IN (SELECT v.rule, v.subject FROM {v})`); err != nil {
			return err
		}
		return x.insertNotices(ctx, change.Notices)
	}))
}

func (x *tx) saveAlerts(ctx context.Context, all []alert.Alert) error {
	t := columns("rule text, subject text, summary text, since bigint, fired_at bigint, noticed_at bigint, clear_at bigint")
	for _, a := range all {
		t.add(string(a.Rule), clean(a.Subject), clean(a.Summary), ms(a.Since), ms(a.FiredAt), ms(a.NoticedAt), ms(a.ClearAt))
	}
	return x.exec(ctx, t, `
		INSERT INTO alerts (`+alertColumns+`) SELECT `+alertColumns+` FROM {v} WHERE TRUE
		ON CONFLICT (rule, subject) DO UPDATE SET summary = excluded.summary, since = excluded.since,
			fired_at = excluded.fired_at, noticed_at = excluded.noticed_at, clear_at = excluded.clear_at`)
}

func (x *tx) insertNotices(ctx context.Context, all []alert.Notice) error {
	t := columns("id uuid, target text, kind text, rule text, subject text, summary text, since bigint, until bigint, at bigint")
	for _, n := range all {
		t.add(n.ID, n.Target, string(n.Kind), string(n.Rule), clean(n.Subject), clean(n.Summary), ms(n.Since), ms(n.Until), ms(n.At))
	}
	return x.exec(ctx, t, `
		INSERT INTO alert_notices (id, target, kind, rule, subject, summary, since, until, at, next_at)
		SELECT v.id, v.target, v.kind, v.rule, v.subject, v.summary, v.since, v.until, v.at, v.at FROM {v}`)
}

// Claim implements alert.Store.
func (v Alerts) Claim(ctx context.Context, hold time.Duration) (out []alert.Notice, err error) {
	lock := ""
	if v.postgres {
		lock = " FOR UPDATE SKIP LOCKED"
	}
	err = v.transact(ctx, "claim_notices", func(x *tx) error {
		out = nil
		err := x.rows(ctx, nil, `
			UPDATE alert_notices SET next_at = {now} + ?, attempts = attempts + 1 WHERE seq IN (
				SELECT seq FROM alert_notices AS n WHERE next_at <= {now}
				AND seq = (SELECT min(seq) FROM alert_notices AS o WHERE o.target = n.target)`+lock+`)
			RETURNING id, target, kind, rule, subject, summary, since, until, at, attempts`,
			func(rows *sql.Rows) error {
				var n alert.Notice
				var since, at int64
				var until sql.NullInt64
				err := rows.Scan(&n.ID, &n.Target, &n.Kind, &n.Rule, &n.Subject, &n.Summary, &since, &until, &at, &n.Attempts)
				n.Since, n.Until, n.At = fromMS(since), orZero(until), fromMS(at)
				out = append(out, n)
				return err
			}, hold.Milliseconds())
		slices.SortFunc(out, func(a, b alert.Notice) int { return cmp.Compare(a.Target, b.Target) })
		return err
	})
	return out, coded("claiming notices", err)
}

// Delivered implements alert.Store.
func (v Alerts) Delivered(ctx context.Context, id string) error {
	return coded("forgetting a notice", v.transact(ctx, "notice_delivered", func(x *tx) error {
		return x.exec(ctx, nil, `DELETE FROM alert_notices WHERE id = ?`, id)
	}))
}

// Postpone implements alert.Store.
func (v Alerts) Postpone(ctx context.Context, id string, after time.Duration) error {
	return coded("postponing a notice", v.transact(ctx, "postpone_notice", func(x *tx) error {
		return x.exec(ctx, nil, `UPDATE alert_notices SET next_at = {now} + ? WHERE id = ?`, after.Milliseconds(), id)
	}))
}

// MissedSlots implements alert.Store.
func (v Alerts) MissedSlots(ctx context.Context, within time.Duration) (n int, err error) {
	err = v.ask(ctx, "counting missed slots", `
		SELECT count(*) FROM schedule_runs WHERE at >= {now} - ? AND outcome IN ('missed', 'refused')`,
		func(rows *sql.Rows) error { return rows.Scan(&n) }, within.Milliseconds())
	return n, err
}

// Outages implements alert.Store.
func (v Alerts) Outages(ctx context.Context, within time.Duration) (out []string, err error) {
	err = v.ask(ctx, "reading which mail providers fail", `
		SELECT DISTINCT provider FROM provider_outages WHERE seen_at >= {now} - ? ORDER BY provider`,
		func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			out = append(out, name)
			return err
		}, within.Milliseconds())
	return out, err
}

// ReportOutages implements alert.Store. What processes have left behind that were
// killed goes with it, a day later.
func (v Alerts) ReportOutages(ctx context.Context, process string, providers []string) error {
	return coded("reporting which mail providers fail", v.transact(ctx, "report_outages", func(x *tx) error {
		const day = 24 * time.Hour
		if err := x.exec(ctx, nil, `DELETE FROM provider_outages WHERE process = ? OR seen_at < {now} - ?`, process, day.Milliseconds()); err != nil {
			return err
		}
		t := columns("process text, provider text")
		for _, name := range providers {
			t.add(process, clean(name))
		}
		return x.exec(ctx, t, `
			INSERT INTO provider_outages (process, provider, seen_at) SELECT v.process, v.provider, {now} FROM {v}`)
	}))
}
