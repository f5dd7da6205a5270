package store

import (
	"context"
	"database/sql"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
)

// Mark implements inbox.Store.
func (s *Store) Mark(ctx context.Context, v inbox.Viewer, id job.ID, as inbox.Mark) (e inbox.Entry, state inbox.State, err error) {
	err = s.transact(ctx, "mark", func(x *tx) error {
		if state, err = x.touchInbox(ctx, v); err != nil {
			return err
		}
		found := false
		err := x.rows(ctx, nil, "SELECT "+inboxColumns+" FROM "+inboxTables+" WHERE n.id = ?", func(rows *sql.Rows) error {
			e, err = scanInbox(rows, inbox.StreamState{})
			_, found = state.Streams[e.Stream]
			return err
		}, clean(v.User), string(id))
		if err != nil {
			return err
		}
		if !found {
			return job.Errorf(job.CodeNotFound, "the inbox has no such notification")
		}
		one := columns("user_id text, stream text, seq bigint, archived boolean")
		one.add(clean(v.User), e.Stream, e.Seq, as == inbox.Archived)
		err = x.exec(ctx, one, `
			INSERT INTO inbox_exceptions (user_id, stream, seq, archived)
			SELECT v.user_id, v.stream, v.seq, v.archived FROM {v} LEFT JOIN inbox_marks AS m ON m.user_id = v.user_id AND m.stream = v.stream
			WHERE v.seq > COALESCE(CASE WHEN v.archived THEN m.archived_seq ELSE m.read_seq END, 0)
			ON CONFLICT (user_id, stream, seq) DO UPDATE SET archived = inbox_exceptions.archived OR excluded.archived`)
		if err != nil {
			return err
		}
		at := state.Streams[e.Stream]
		e.Read = true
		e.Archived = e.Archived || as == inbox.Archived || e.Seq <= at.Archived
		return x.rows(ctx, streamsOf(v), stateText, scanState(state.Streams))
	})
	return e, state, coded("marking a notification", err)
}

// MarkAll implements inbox.Store.
func (s *Store) MarkAll(ctx context.Context, v inbox.Viewer, as inbox.Mark) (state inbox.State, err error) {
	err = s.transact(ctx, "mark_all", func(x *tx) error {
		if state, err = x.touchInbox(ctx, v); err != nil {
			return err
		}
		t := columns("user_id text, stream text, done boolean, archived boolean")
		for _, stream := range v.Streams() {
			t.add(clean(v.User), clean(stream), as >= inbox.Read, as >= inbox.Archived)
		}
		// A stream's sequence never falls, so a cursor that follows it does not.
		err := x.exec(ctx, t, `
			INSERT INTO inbox_marks (user_id, stream, seen_seq, read_seq, archived_seq)
			SELECT v.user_id, s.name, s.last_seq, CASE WHEN v.done THEN s.last_seq ELSE 0 END, CASE WHEN v.archived THEN s.last_seq ELSE 0 END
			FROM {v} JOIN streams AS s ON s.name = v.stream WHERE true
			ON CONFLICT (user_id, stream) DO UPDATE SET seen_seq = excluded.seen_seq,
				read_seq = CASE WHEN excluded.read_seq > 0 THEN excluded.read_seq ELSE inbox_marks.read_seq END,
				archived_seq = CASE WHEN excluded.archived_seq > 0 THEN excluded.archived_seq ELSE inbox_marks.archived_seq END`)
		if err != nil {
			return err
		}
		err = x.exec(ctx, nil, `
			DELETE FROM inbox_exceptions WHERE user_id = ? AND EXISTS (
				SELECT 1 FROM inbox_marks AS m WHERE m.user_id = inbox_exceptions.user_id AND m.stream = inbox_exceptions.stream
					AND inbox_exceptions.seq <= CASE WHEN inbox_exceptions.archived THEN m.archived_seq ELSE m.read_seq END)`, clean(v.User))
		if err != nil {
			return err
		}
		return x.rows(ctx, streamsOf(v), stateText, scanState(state.Streams))
	})
	return state, coded("marking an inbox", err)
}

// touchInbox begins a change of a user's marks, one at a time, and tells how the
// user stands before it, with the version that it makes.
func (x *tx) touchInbox(ctx context.Context, v inbox.Viewer) (inbox.State, error) {
	state := inbox.State{Streams: map[string]inbox.StreamState{}}
	one := columns("user_id text")
	one.add(clean(v.User))
	err := x.rows(ctx, one, `
		INSERT INTO inboxes (user_id, version) SELECT v.user_id, 1 FROM {v} WHERE true
		ON CONFLICT (user_id) DO UPDATE SET version = inboxes.version + 1 RETURNING version`,
		func(rows *sql.Rows) error { return rows.Scan(&state.Version) })
	if err != nil {
		return state, err
	}
	return state, x.rows(ctx, streamsOf(v), stateText, scanState(state.Streams))
}
