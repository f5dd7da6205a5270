package store

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
)

// insertNotifications takes the next numbers of each stream, in the order of
// the streams' names so that two transactions cannot wait for each other, and
// writes the notifications under them, which are told of after the commit. It
// says how many it wrote: one whose ID is taken is left out, and the
// transaction must then not be committed, since its number would be missing.
func (x *tx) insertNotifications(ctx context.Context, notes []inbox.Notification) (written int, err error) {
	slices.SortStableFunc(notes, func(a, b inbox.Notification) int { return strings.Compare(a.Stream, b.Stream) })
	streams := columns("name text, n bigint")
	for first := 0; first < len(notes); {
		next := first
		for next < len(notes) && notes[next].Stream == notes[first].Stream {
			next++
		}
		streams.add(notes[first].Stream, int64(next-first))
		first = next
	}
	type last struct{ seq, at int64 }
	lasts := map[string]last{}
	err = x.rows(ctx, streams, `
		INSERT INTO streams (name, last_seq, last_at) SELECT v.name, v.n, {now} FROM {v} WHERE true
		ON CONFLICT (name) DO UPDATE SET last_seq = streams.last_seq + excluded.last_seq,
			last_at = CASE WHEN excluded.last_at > streams.last_at THEN excluded.last_at ELSE streams.last_at END
		RETURNING name, last_seq, last_at`,
		func(rows *sql.Rows) error {
			var name string
			var l last
			err := rows.Scan(&name, &l.seq, &l.at)
			lasts[name] = l
			return err
		})
	if err != nil {
		return 0, err
	}
	t := columns("stream text, seq bigint, id uuid, type text, message text, data text, created_at bigint")
	for i := len(notes) - 1; i >= 0; i-- { // a stream's last one has its last number
		n := &notes[i]
		l := lasts[n.Stream]
		n.Seq, n.CreatedAt, n.Message = l.seq, fromMS(l.at), clean(n.Message)
		var data any
		if n.Data != nil {
			data = clean(string(n.Data))
		}
		t.add(n.Stream, n.Seq, string(n.ID), n.Type, n.Message, data, l.at)
		lasts[n.Stream] = last{l.seq - 1, l.at}
	}
	err = x.rows(ctx, t, `
		INSERT INTO notifications (stream, seq, id, type, message, data, created_at)
		SELECT v.stream, v.seq, v.id, v.type, v.message, v.data, v.created_at FROM {v} WHERE true
		ON CONFLICT (id) DO NOTHING RETURNING seq`,
		func(rows *sql.Rows) error {
			var seq int64
			written++
			return rows.Scan(&seq)
		})
	x.notified = append(x.notified, notes...)
	return written, err
}

// Post implements inbox.Store.
func (s *Store) Post(ctx context.Context, n inbox.Notification) (inbox.Notification, bool, error) {
	got, err := s.posts.do(ctx, n)
	return got.note, got.again, err
}

// posted is what became of a notification without a job.
type posted struct {
	note  inbox.Notification
	again bool
}

// commitPosts writes notifications without jobs, unless they are there.
func (s *Store) commitPosts(ctx context.Context, x *tx, all []inbox.Notification) ([]answer[posted], error) {
	ids := columns("id uuid")
	for _, n := range all {
		ids.add(string(n.ID))
	}
	there := map[job.ID]inbox.Notification{}
	err := x.rows(ctx, ids, "SELECT "+noteColumns+" FROM notifications AS n WHERE n.id IN (SELECT v.id FROM {v})", func(rows *sql.Rows) error {
		n, err := scanNote(rows)
		there[n.ID] = n
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]answer[posted], len(all))
	var fresh []inbox.Notification
	for i, n := range all {
		old, again := there[n.ID]
		switch {
		case !again:
			fresh = append(fresh, n)
		case old.Stream != n.Stream || old.Type != n.Type || old.Message != clean(n.Message) || string(old.Data) != clean(string(n.Data)):
			out[i] = refused[posted](job.CodeConflict, "another notification has this id")
		default:
			out[i].val = posted{old, true}
		}
	}
	if len(fresh) == 0 {
		return out, nil
	}
	written, err := x.insertNotifications(ctx, fresh)
	if err != nil {
		return nil, err
	}
	if written < len(fresh) {
		return nil, errVanished // another process has just written one of them
	}
	for _, n := range fresh {
		there[n.ID] = n
	}
	for i, n := range all {
		if out[i].err == nil && !out[i].val.again {
			out[i].val.note = there[n.ID]
		}
	}
	return out, nil
}

// noteColumns are those that scanNote reads, of notifications AS n.
const noteColumns = "n.id, n.stream, n.seq, n.type, n.message, n.data, n.created_at"

// scanNote reads noteColumns, and what follows them into more.
func scanNote(rows *sql.Rows, more ...any) (inbox.Notification, error) {
	var n inbox.Notification
	var data sql.NullString
	var at int64
	err := rows.Scan(append([]any{&n.ID, &n.Stream, &n.Seq, &n.Type, &n.Message, &data, &at}, more...)...)
	if data.Valid {
		n.Data = []byte(data.String)
	}
	n.CreatedAt = fromMS(at)
	return n, err
}
