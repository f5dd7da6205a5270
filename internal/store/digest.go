package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/recipient"
)

// mostWindows bounds how many closed windows an item is moved past. One that is
// closed has ended by this same clock, so the next one is open but for a clock
// that was put back.
const mostWindows = 100

// insertItems puts items into their digests: that of the window which the
// transaction's time is in, or of the first after it that is open. Taking the
// window's row, which closing it needs too, settles which comes first. The
// order of the rows keeps two transactions from waiting for each other.
func (x *tx) insertItems(ctx context.Context, items []recipient.Item) error {
	slices.SortStableFunc(items, func(a, b recipient.Item) int { return strings.Compare(a.For.ID, b.For.ID) })
	t := columns("job_id uuid, recipient text, ends_at bigint, category text, title text, text text, at bigint")
	for _, item := range items {
		ends, err := x.openDigest(ctx, item)
		if err != nil {
			return err
		}
		t.add(string(item.Job), clean(item.For.ID), ms(ends), clean(item.Category), clean(item.Title), clean(item.Text), ms(item.At))
	}
	return x.exec(ctx, t, `
		INSERT INTO digest_items (job_id, recipient, ends_at, category, title, text, at)
		SELECT v.job_id, v.recipient, v.ends_at, v.category, v.title, v.text, v.at FROM {v}`)
}

// openDigest counts the item in its digest, and says which that is.
func (x *tx) openDigest(ctx context.Context, item recipient.Item) (time.Time, error) {
	ends := item.At
	for range mostWindows {
		next := item.For.WindowEnd(ends)
		if !next.After(ends) {
			break
		}
		ends = next
		open := false
		err := x.rows(ctx, nil, `
			INSERT INTO digests (recipient, ends_at, address, items) VALUES (?, ?, ?, 1)
			ON CONFLICT (recipient, ends_at) DO UPDATE SET items = digests.items + 1, address = excluded.address
			WHERE digests.closed_at IS NULL
			RETURNING recipient`,
			func(rows *sql.Rows) error { open = true; return rows.Scan(new(string)) },
			clean(item.For.ID), ms(ends), item.For.Address)
		if err != nil || open {
			return ends, err
		}
	}
	return ends, job.Errorf(job.CodeInternal, "no digest is open for an item")
}

// Due implements recipient.Store.
func (r Recipients) Due(ctx context.Context, limit int) ([]recipient.Gathered, error) {
	var out []recipient.Gathered
	err := r.s.ask(ctx, "listing due digests", `
		SELECT recipient, ends_at, address, items FROM digests
		WHERE closed_at IS NULL AND ends_at <= {now} ORDER BY ends_at LIMIT ?`,
		func(rows *sql.Rows) error {
			var g recipient.Gathered
			var ends int64
			err := rows.Scan(&g.Recipient, &ends, &g.Address, &g.Items)
			g.EndsAt = fromMS(ends)
			out = append(out, g)
			return err
		}, limit)
	return out, err
}

// Items implements recipient.Store.
func (r Recipients) Items(ctx context.Context, d recipient.Gathered, without []string, limit int) (recipient.Contents, error) {
	var out recipient.Contents
	where, args := `recipient = ? AND ends_at = ?`, []any{d.Recipient, ms(d.EndsAt)}
	if len(without) > 0 {
		where += ` AND category NOT IN (?` + strings.Repeat(", ?", len(without)-1) + `)`
		for _, category := range without {
			args = append(args, category)
		}
	}
	err := r.s.ask(ctx, "counting a digest's items", `SELECT count(*) FROM digest_items WHERE `+where,
		func(rows *sql.Rows) error { return rows.Scan(&out.Total) }, args...)
	if err != nil {
		return out, err
	}
	err = r.s.ask(ctx, "reading a digest's items", `
		SELECT job_id, category, title, text, at FROM digest_items WHERE `+where+` ORDER BY at, job_id LIMIT ?`,
		func(rows *sql.Rows) error {
			var item recipient.Item
			var at int64
			err := rows.Scan(&item.Job, &item.Category, &item.Title, &item.Text, &at)
			item.At = fromMS(at)
			out.Items = append(out.Items, item)
			return err
		}, append(args, limit)...)
	return out, err
}

// Close implements recipient.Store.
func (r Recipients) Close(ctx context.Context, d recipient.Gathered, mail *job.New) (at time.Time, ok bool, err error) {
	var id job.ID
	if mail != nil {
		id = mail.ID
	}
	err = r.s.transact(ctx, "close_digest", func(x *tx) error {
		if at, ok, err = x.closeDigest(ctx, d, id); err != nil || !ok || mail == nil {
			return err
		}
		_, err := x.insertJobs(ctx, []job.Request{{Base: id, Jobs: []job.New{*mail}}})
		return err
	})
	if err != nil {
		return time.Time{}, false, coded("closing a digest", err)
	}
	return at, ok, nil
}

// closeDigest claims a digest for its mail, and finds a claim that was
// committed unheard.
func (x *tx) closeDigest(ctx context.Context, d recipient.Gathered, mail job.ID) (at time.Time, ok bool, err error) {
	scan := func(rows *sql.Rows) error {
		var closed int64
		err := rows.Scan(&closed)
		at, ok = fromMS(closed), true
		return err
	}
	err = x.rows(ctx, nil, `
		UPDATE digests SET closed_at = {now}, job_id = ?
		WHERE recipient = ? AND ends_at = ? AND closed_at IS NULL AND items = ? AND ends_at <= {now}
		RETURNING closed_at`, scan, orNull(mail), d.Recipient, ms(d.EndsAt), d.Items)
	if err != nil || ok || mail == "" {
		return at, ok, err
	}
	err = x.rows(ctx, nil, `SELECT closed_at FROM digests WHERE recipient = ? AND ends_at = ? AND job_id = ?`,
		scan, d.Recipient, ms(d.EndsAt), string(mail))
	return at, ok, err
}
