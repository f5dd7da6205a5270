package store

import (
	"context"
	"database/sql"

	"github.com/postrider/postrider/internal/inbox"
)

var _ inbox.Store = (*Store)(nil)

// streamsOf is the table of a viewer's streams.
func streamsOf(v inbox.Viewer) *table {
	t := columns("user_id text, stream text")
	for _, stream := range v.Streams() {
		t.add(clean(v.User), clean(stream))
	}
	return t
}

// stateText asks how a user stands to streams. Sequences are dense, so that
// nothing has to be counted but what was read out of turn.
const stateText = `
	SELECT a.stream, a.last_seq, a.seen, a.done, a.archived, a.first, a.newest,
		(SELECT count(*) FROM inbox_exceptions AS e WHERE e.user_id = a.user_id AND e.stream = a.stream
			AND e.seq > a.done AND e.seq >= a.first),
		(SELECT count(*) FROM inbox_exceptions AS e WHERE e.user_id = a.user_id AND e.stream = a.stream
			AND e.seq > a.done AND e.seq >= a.first AND e.seq > a.seen)
	FROM (
		SELECT v.user_id, v.stream, s.last_seq,
			COALESCE(m.seen_seq, 0) AS seen, COALESCE(m.read_seq, 0) AS done, COALESCE(m.archived_seq, 0) AS archived,
			(SELECT min(n.seq) FROM notifications AS n WHERE n.stream = v.stream) AS first,
			(SELECT max(n.created_at) FROM notifications AS n WHERE n.stream = v.stream) AS newest
		FROM {v} JOIN streams AS s ON s.name = v.stream
		LEFT JOIN inbox_marks AS m ON m.user_id = v.user_id AND m.stream = v.stream
	) AS a`

func scanState(into map[string]inbox.StreamState) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var name string
		var at inbox.StreamState
		var first, newest sql.NullInt64
		var read, seen int64 // out of turn
		if err := rows.Scan(&name, &at.Last, &at.Seen, &at.Read, &at.Archived, &first, &newest, &read, &seen); err != nil {
			return err
		}
		at.Gone = at.Last
		if first.Valid {
			at.Gone, at.LastAt = first.Int64-1, fromMS(newest.Int64)
		}
		at.Unread = at.Last - max(at.Read, at.Gone) - read
		at.Unseen = at.Last - max(at.Seen, at.Read, at.Gone) - seen
		into[name] = at
		return nil
	}
}

// State implements inbox.Store. The version is read first: counts may be later
// than it says, never earlier.
func (s *Store) State(ctx context.Context, v inbox.Viewer) (inbox.State, error) {
	state := inbox.State{Streams: map[string]inbox.StreamState{}}
	err := s.ask(ctx, "reading an inbox's version", `SELECT version FROM inboxes WHERE user_id = ?`,
		func(rows *sql.Rows) error { return rows.Scan(&state.Version) }, clean(v.User))
	if err != nil {
		return state, err
	}
	return state, s.askOf(ctx, "reading how an inbox stands", streamsOf(v), stateText, scanState(state.Streams))
}

// inboxColumns are those that scanInbox reads.
const inboxColumns = noteColumns + ", e.seq IS NOT NULL, COALESCE(e.archived, FALSE)"

// inboxTables are where they come from, for a user's id.
const inboxTables = "notifications AS n LEFT JOIN inbox_exceptions AS e ON e.user_id = ? AND e.stream = n.stream AND e.seq = n.seq"

// scanInbox reads a notification and what its user has marked of it.
func scanInbox(rows *sql.Rows, marks inbox.StreamState) (inbox.Entry, error) {
	var e inbox.Entry
	var read, archived bool
	n, err := scanNote(rows, &read, &archived)
	e.Notification = n
	e.Read = read || n.Seq <= marks.Read
	e.Archived = archived || n.Seq <= marks.Archived
	return e, err
}

// Page implements inbox.Store.
func (s *Store) Page(ctx context.Context, q inbox.PageQuery) (out []inbox.Entry, err error) {
	for _, part := range pageParts(q) {
		if len(out) == q.Limit {
			break
		}
		err = s.ask(ctx, "reading an inbox", part.text, func(rows *sql.Rows) error {
			e, err := scanInbox(rows, q.Marks)
			out = append(out, e)
			return err
		}, append(part.args, q.Limit-len(out))...)
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// pagePart is a statement that lacks its last argument, how many rows are
// wanted.
type pagePart struct {
	text string
	args []any
}

// pageParts are the statements that answer for a page, each of older entries
// than the one before. None of them looks below the cursor that bounds it, nor
// at what others have marked.
func pageParts(q inbox.PageQuery) []pagePart {
	const byTime = "n.created_at DESC, n.seq DESC"
	part := func(from, chosen, order string, bound int64) pagePart {
		return pagePart{"SELECT " + inboxColumns + " FROM " + from + " WHERE " + chosen +
			" AND (n.created_at, n.seq, n.id) < (?, ?, ?) ORDER BY " + order + " LIMIT ?",
			[]any{clean(q.User), clean(q.Stream), bound, q.Before.At.UnixMilli(), q.Before.Seq, string(q.Before.ID)}}
	}
	switch q.Which {
	case inbox.OnlyUnread:
		return []pagePart{part(inboxTables, "n.stream = ? AND n.seq > ? AND e.seq IS NULL", byTime, q.Marks.Read)}
	case inbox.OnlyArchived:
		return []pagePart{
			part("inbox_exceptions AS e JOIN notifications AS n ON n.stream = e.stream AND n.seq = e.seq",
				"e.user_id = ? AND e.stream = ? AND e.seq > ? AND e.archived", "e.seq DESC", q.Marks.Archived),
			// The sum keeps the databases from choosing the index by sequence, and then
			// sorting all there is.
			part(inboxTables, "n.stream = ? AND n.seq + 0 <= ?", byTime, q.Marks.Archived),
		}
	default:
		return []pagePart{part(inboxTables, "n.stream = ? AND n.seq > ? AND NOT COALESCE(e.archived, FALSE)", byTime, q.Marks.Archived)}
	}
}
