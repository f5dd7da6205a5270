package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/mail"
)

// Audit is the side of a Store that knows what people did.
type Audit struct{ s *Store }

var (
	_ audit.Store  = Audit{}
	_ audit.Pruner = Audit{}
)

// Audit is the audit.Store over the same database.
func (s *Store) Audit() Audit { return Audit{s} }

// auditTexts bounds the texts of a record, in bytes: they come from outside.
const auditTexts = 300

// record writes that the act which the transaction is for was done to n things,
// within it. Without such an act it does nothing.
func (x *tx) record(ctx context.Context, n int) error {
	if x.note == nil || n == 0 {
		return nil
	}
	x.recorded = true
	return x.insertRecord(ctx, x.note.Record(x.part, n))
}

// Write implements audit.Store.
func (v Audit) Write(ctx context.Context, r audit.Record) error {
	return coded("writing to the audit", v.s.transact(ctx, "audit", func(x *tx) error { return x.insertRecord(ctx, r) }))
}

func (x *tx) insertRecord(ctx context.Context, r audit.Record) error {
	t := columns("act uuid, part bigint, actor text, address text, request text, action text, target text, detail text, count bigint, outcome text")
	t.add(r.ID, int64(r.Part), x.s.auditName(r.Actor, "user:"), brief(r.Address), brief(r.Request), string(r.Action),
		x.s.auditName(r.Target, "user:", "room:"), auditDetail(r.Detail), int64(r.Count), r.Outcome)
	return x.exec(ctx, t, `
		INSERT INTO audit (act, part, at, actor, address, request, action, target, detail, count, outcome)
		SELECT v.act, v.part, {now}, v.actor, v.address, v.request, v.action, v.target, v.detail, v.count, v.outcome FROM {v} WHERE TRUE
		ON CONFLICT (act, part) DO NOTHING`)
}

func brief(s string) string {
	if len(s) > auditTexts {
		s = s[:auditTexts]
	}
	return clean(s)
}

// auditName is a name as the audit keeps it. Nothing in the audit can be changed,
// so an erasure could not take a person out of it: who is named by a mail address,
// or by one of the prefixes, is kept as a keyed hash.
func (s *Store) auditName(name string, hidden ...string) string {
	if normal, err := mail.Normalise(name); err == nil {
		return s.hashed(normal)
	}
	hide := func(prefix string) bool { return strings.HasPrefix(name, prefix) }
	if slices.ContainsFunc(hidden, hide) || strings.Contains(name, "@") && !strings.HasPrefix(name, "dashboard:") {
		return s.hashed(name)
	}
	return brief(name)
}

// auditDetail is a detail as the audit keeps it: one that may name a person after
// all, such as a filter that a caller made up, is left out.
func auditDetail(s string) string {
	if strings.Contains(s, "@") {
		return ""
	}
	return brief(s)
}

// List implements audit.Store.
func (v Audit) List(ctx context.Context, f audit.Filter) (out []audit.Record, err error) {
	where, args := []string{"TRUE"}, []any{}
	and := func(cond string, v any) { where, args = append(where, cond), append(args, v) }
	if f.Actor != "" {
		and("actor = ?", v.s.auditName(f.Actor, "user:"))
	}
	if f.Action != "" {
		and("action = ?", clean(string(f.Action)))
	}
	if f.Target != "" {
		and("target = ?", v.s.auditName(f.Target, "user:", "room:"))
	}
	if !f.Since.IsZero() {
		and("at >= ?", f.Since.UnixMilli())
	}
	if !f.Until.IsZero() {
		and("at < ?", f.Until.UnixMilli())
	}
	if f.Before > 0 {
		and("seq < ?", f.Before)
	}
	err = v.s.ask(ctx, "reading the audit", `
		SELECT seq, act, part, at, actor, address, request, action, target, detail, count, outcome
		FROM audit WHERE `+strings.Join(where, " AND ")+` ORDER BY seq DESC LIMIT ?`,
		func(rows *sql.Rows) error {
			var r audit.Record
			var at int64
			err := rows.Scan(&r.Seq, &r.ID, &r.Part, &at, &r.Actor, &r.Address, &r.Request, &r.Action, &r.Target, &r.Detail, &r.Count, &r.Outcome)
			r.At = fromMS(at)
			out = append(out, r)
			return err
		}, append(args, f.Limit)...)
	return out, err
}

// PruneAudit implements audit.Pruner. The schema lets go only of what lies before
// the horizon, and lets that come no nearer than audit.MinKeep.
func (v Audit) PruneAudit(ctx context.Context, keep time.Duration, limit int) (n int, err error) {
	err = v.s.transact(ctx, "prune_audit", func(x *tx) error {
		n = 0
		keep := max(keep, audit.MinKeep).Milliseconds()
		if err := x.exec(ctx, nil, `UPDATE audit_horizon SET before = {now} - ? WHERE before < {now} - ?`, keep, keep); err != nil {
			return err
		}
		return x.rows(ctx, nil, `
			DELETE FROM audit WHERE seq IN (
				SELECT seq FROM audit WHERE at < {now} - ? ORDER BY at LIMIT ?) RETURNING seq`,
			func(rows *sql.Rows) error { n++; return rows.Scan(new(int64)) }, keep, limit)
	})
	return n, coded("pruning the audit", err)
}
