package store

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
)

// Suppressions is the side of a Store that knows who gets no mail.
type Suppressions struct{ s *Store }

var _ mail.Suppressions = Suppressions{}

// Suppressions is the mail.Suppressions over the same database.
func (s *Store) Suppressions() Suppressions { return Suppressions{s} }

// Suppress implements mail.Suppressions.
func (v Suppressions) Suppress(ctx context.Context, all ...mail.Suppression) error {
	return coded("suppressing addresses", v.s.transact(ctx, "suppress", func(x *tx) error {
		if err := x.suppress(ctx, all); err != nil {
			return err
		}
		return x.record(ctx, len(all))
	}))
}

// suppress writes suppressions in their order, so that two transactions cannot
// wait for each other, and each once: of two that are the same the last counts.
func (x *tx) suppress(ctx context.Context, all []mail.Suppression) error {
	key := func(s mail.Suppression) string { return s.Address + "\x00" + s.Category + "\x00" + string(s.Reason) }
	last := make(map[string]mail.Suppression, len(all))
	for _, s := range all {
		last[key(s)] = s
	}
	ordered := make([]mail.Suppression, 0, len(last))
	for _, s := range last {
		ordered = append(ordered, s)
	}
	slices.SortFunc(ordered, func(a, b mail.Suppression) int { return strings.Compare(key(a), key(b)) })
	erased, err := x.erased(ctx, ordered)
	if err != nil {
		return err
	}
	t := columns("address text, category text, reason text, note text, actor text, job_id uuid")
	for _, s := range ordered {
		if hash := x.s.hashed(s.Address); erased[hash] {
			s.Address, s.Note = hash, ""
		}
		t.add(clean(s.Address), clean(s.Category), string(s.Reason), clean(s.Note), clean(s.Actor), orNull(job.ID(s.Job)))
	}
	return x.exec(ctx, t, `
		INSERT INTO suppressions (address, category, reason, note, actor, job_id, created_at)
		SELECT v.address, v.category, v.reason, v.note, v.actor, v.job_id, {now} FROM {v} WHERE true
		ON CONFLICT (address, category, reason) DO UPDATE
		SET note = excluded.note, actor = excluded.actor, job_id = excluded.job_id`)
}

// erased finds which of the addresses are on the list as those of erased people:
// what comes later, such as a complaint about the last mail, does not bring them
// back.
func (x *tx) erased(ctx context.Context, all []mail.Suppression) (map[string]bool, error) {
	t := columns("hash text")
	for _, s := range all {
		t.add(x.s.hashed(s.Address))
	}
	out := map[string]bool{}
	return out, x.rows(ctx, t, `SELECT DISTINCT address FROM suppressions WHERE address IN (SELECT v.hash FROM {v})`,
		func(rows *sql.Rows) error {
			var hash string
			err := rows.Scan(&hash)
			out[hash] = true
			return err
		})
}

// keepHashed replaces an erased person's address by its hash, unless that is there
// already, and forgets what was noted.
func (x *tx) keepHashed(ctx context.Context, address, category, reason string) error {
	err := x.exec(ctx, nil, `
		INSERT INTO suppressions (address, category, reason, note, actor, job_id, created_at)
		SELECT ?, category, reason, '', actor, job_id, created_at FROM suppressions WHERE address = ? AND category = ? AND reason = ?
		ON CONFLICT (address, category, reason) DO NOTHING`, x.s.hashed(address), address, category, reason)
	if err != nil {
		return err
	}
	return x.exec(ctx, nil, `DELETE FROM suppressions WHERE address = ? AND category = ? AND reason = ?`, address, category, reason)
}

// Unsuppress implements mail.Suppressions.
func (v Suppressions) Unsuppress(ctx context.Context, f mail.SuppressionFilter) (out []mail.Suppression, err error) {
	if f.Address == "" {
		return nil, job.Wrap(job.CodeInternal, errors.New("no address is named"), "suppressions are removed by address")
	}
	where, args := v.conditions(f)
	err = v.s.transact(ctx, "unsuppress", func(x *tx) error {
		out = nil
		err := x.rows(ctx, nil, "DELETE FROM suppressions WHERE "+where+" RETURNING "+suppressionColumns, scanSuppressions(&out), args...)
		if err != nil {
			return err
		}
		return x.record(ctx, len(out))
	})
	return out, coded("removing suppressions", err)
}

// Find implements mail.Suppressions. One address, as a worker asks before each
// mail, is one statement whose text is always the same.
func (v Suppressions) Find(ctx context.Context, addresses ...string) (out []mail.Suppression, err error) {
	t := columns("address text")
	erased := make(map[string]string, len(addresses)) // by hash
	for _, a := range addresses {
		hash := v.s.hashed(a)
		erased[hash] = a
		t.add(clean(a))
		t.add(hash)
	}
	for _, part := range v.s.chunks(t) {
		err := v.s.askOf(ctx, "looking for suppressions", part, `
			SELECT `+suppressionColumns+` FROM suppressions WHERE address IN (SELECT v.address FROM {v})`, scanSuppressions(&out))
		if err != nil {
			return nil, err
		}
	}
	for i := range out {
		if a, there := erased[out[i].Address]; there {
			out[i].Address = a
		}
	}
	return out, nil
}

// List implements mail.Suppressions.
func (v Suppressions) List(ctx context.Context, f mail.SuppressionFilter) (out []mail.Suppression, err error) {
	where, args := v.conditions(f)
	err = v.s.ask(ctx, "listing suppressions", "SELECT "+suppressionColumns+" FROM suppressions WHERE "+where+" ORDER BY seq DESC LIMIT ?",
		scanSuppressions(&out), append(args, f.Limit)...)
	return out, err
}

func (v Suppressions) conditions(f mail.SuppressionFilter) (where string, args []any) {
	conditions := []string{"TRUE"}
	and := func(cond string, v any) { conditions, args = append(conditions, cond), append(args, v) }
	if f.Address != "" {
		conditions, args = append(conditions, "address IN (?, ?)"), append(args, clean(f.Address), v.s.hashed(f.Address))
	}
	switch f.Category {
	case "":
	case mail.AllMail:
		and("category = ?", "")
	default:
		and("category = ?", clean(f.Category))
	}
	if f.Reason != "" {
		and("reason = ?", string(f.Reason))
	}
	if f.Before > 0 {
		and("seq < ?", f.Before)
	}
	return strings.Join(conditions, " AND "), args
}

// suppressionColumns are a suppression's columns as scanSuppressions reads them.
const suppressionColumns = `seq, address, category, reason, note, actor, job_id, created_at`

func scanSuppressions(out *[]mail.Suppression) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var (
			s     mail.Suppression
			jobID sql.NullString
			at    int64
		)
		err := rows.Scan(&s.Seq, &s.Address, &s.Category, &s.Reason, &s.Note, &s.Actor, &jobID, &at)
		s.Job, s.At = jobID.String, fromMS(at)
		*out = append(*out, s)
		return err
	}
}
