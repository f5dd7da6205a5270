package store

import (
	"context"
	"database/sql"
	"errors"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/chat"
)

// Chats is the rooms' side of a Store.
type Chats struct{ s *Store }

var (
	_ chat.Archive = Chats{}
	_ chat.Pruner  = Chats{}
)

// Chats is the chat.Archive over the same database.
func (s *Store) Chats() Chats { return Chats{s} }

// messageColumns are a message's as scanMessage reads them.
const messageColumns = "m.room, m.at_ms, m.seq, m.user_id, m.client_id, m.body, m.data, m.deleted_at IS NOT NULL"

func scanMessage(rows *sql.Rows) (m chat.Message, err error) {
	var data string
	err = rows.Scan(&m.Room, &m.ID.MS, &m.ID.Seq, &m.User, &m.ClientID, &m.Text, &data, &m.Deleted)
	if data != "" {
		m.Data = []byte(data)
	}
	return m, err
}

func scanMessages(out *[]chat.Message) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		m, err := scanMessage(rows)
		*out = append(*out, m)
		return err
	}
}

// messageTable is of messages as they are written.
func messageTable(messages []chat.Message) *table {
	t := columns("room text, at_ms bigint, seq bigint, user_id text, client_id text, body text, data text, words text")
	for _, m := range messages {
		t.add(m.Room, m.ID.MS, m.ID.Seq, m.User, m.ClientID, m.Text, string(m.Data), strings.Join(chat.Words(m.Text), " "))
	}
	return t
}

// placeTable is of their keys.
func placeTable(messages []chat.Message) *table {
	t := columns("room text, at_ms bigint, seq bigint")
	for _, m := range messages {
		t.add(m.Room, m.ID.MS, m.ID.Seq)
	}
	return t
}

// messagePlace is the key of a message.
type messagePlace struct {
	room string
	id   chat.ID
}

func scanPlaces(into map[messagePlace]bool) func(*sql.Rows) error {
	return func(rows *sql.Rows) error {
		var p messagePlace
		err := rows.Scan(&p.room, &p.id.MS, &p.id.Seq)
		into[p] = true
		return err
	}
}

// Keep implements chat.Archive.
func (c Chats) Keep(ctx context.Context, messages []chat.Message) (doubles []chat.Message, err error) {
	err = c.s.transact(ctx, "keep_messages", func(x *tx) error {
		doubles = nil
		there := map[messagePlace]bool{}
		err := x.rows(ctx, messageTable(messages), `
			INSERT INTO chat_messages (room, at_ms, seq, user_id, client_id, body, data, words)
			SELECT v.room, v.at_ms, v.seq, v.user_id, v.client_id, v.body, v.data, v.words FROM {v}
			WHERE TRUE ON CONFLICT DO NOTHING RETURNING room, at_ms, seq`, scanPlaces(there))
		if err != nil || len(there) == len(messages) {
			return err
		}
		err = x.rows(ctx, placeTable(messages), `
			SELECT m.room, m.at_ms, m.seq FROM {v} JOIN chat_messages AS m
			ON m.room = v.room AND m.at_ms = v.at_ms AND m.seq = v.seq`, scanPlaces(there))
		for _, m := range messages {
			if !there[messagePlace{m.Room, m.ID}] {
				doubles = append(doubles, m)
			}
		}
		return err
	})
	return doubles, coded("archiving messages", err)
}

// Newest implements chat.Archive.
func (c Chats) Newest(ctx context.Context, rooms []string) (map[string]chat.ID, error) {
	out := map[string]chat.ID{}
	t := columns("room text")
	for _, room := range rooms {
		t.add(room)
	}
	err := c.s.askOf(ctx, "asking how far rooms are archived", t, `
		SELECT m.room, m.at_ms, m.seq FROM {v} JOIN chat_messages AS m ON m.room = v.room
		AND (m.at_ms, m.seq) = (SELECT n.at_ms, n.seq FROM chat_messages AS n WHERE n.room = v.room ORDER BY n.at_ms DESC, n.seq DESC LIMIT 1)`,
		func(rows *sql.Rows) error {
			var p messagePlace
			err := rows.Scan(&p.room, &p.id.MS, &p.id.Seq)
			out[p.room] = p.id
			return err
		})
	return out, err
}

// Sent implements chat.Archive.
func (c Chats) Sent(ctx context.Context, room, user, clientID string) (chat.Message, error) {
	return c.one(ctx, "m.room = ? AND m.user_id = ? AND m.client_id = ? AND m.client_id <> ''", room, user, clientID)
}

// Find implements chat.Archive.
func (c Chats) Find(ctx context.Context, room string, id chat.ID) (chat.Message, error) {
	return c.one(ctx, "m.room = ? AND m.at_ms = ? AND m.seq = ?", room, id.MS, id.Seq)
}

func (c Chats) one(ctx context.Context, where string, args ...any) (chat.Message, error) {
	var found []chat.Message
	err := c.s.ask(ctx, "looking for a message", "SELECT "+messageColumns+" FROM chat_messages AS m WHERE "+where, scanMessages(&found), args...)
	switch {
	case err != nil:
		return chat.Message{}, err
	case len(found) == 0:
		return chat.Message{}, chat.ErrNotFound
	}
	return found[0], nil
}

// Page implements chat.Archive. PostgreSQL has an index of words; SQLite looks
// through the room.
func (c Chats) Page(ctx context.Context, q chat.Query) (out []chat.Message, err error) {
	text, args := c.pageText(q)
	err = c.s.ask(ctx, "reading a room's history", text, scanMessages(&out), args...)
	return out, err
}

func (c Chats) pageText(q chat.Query) (string, []any) {
	text, args := "SELECT "+messageColumns+" FROM chat_messages AS m WHERE m.room = ? AND m.deleted_at IS NULL", []any{q.Room}
	if !q.Before.IsZero() {
		text, args = text+" AND (m.at_ms, m.seq) < (?, ?)", append(args, q.Before.MS, q.Before.Seq)
	}
	if !q.After.IsZero() {
		text, args = text+" AND (m.at_ms, m.seq) > (?, ?)", append(args, q.After.MS, q.After.Seq)
	}
	switch {
	case len(q.Words) > 0 && c.s.postgres:
		text, args = text+" AND string_to_array(m.words, ' ') @> string_to_array(?, ' ')", append(args, strings.Join(q.Words, " "))
	default:
		for _, w := range q.Words {
			text, args = text+" AND instr(' ' || m.words || ' ', ?) > 0", append(args, " "+w+" ")
		}
	}
	return text + " ORDER BY m.at_ms DESC, m.seq DESC LIMIT ?", append(args, q.Limit)
}

// Bury implements chat.Archive. The archive may be keeping the same message at
// this moment, or another of the same client id: an INSERT that names one of the
// two constraints fails by the other.
func (c Chats) Bury(ctx context.Context, m chat.Message) error {
	err := c.s.transact(ctx, "bury_message", func(x *tx) error {
		m.Text, m.Data = "", nil
		for range 3 { // the second time it sees what came in between
			err := x.exec(ctx, messageTable([]chat.Message{m}), `
				INSERT INTO chat_messages (room, at_ms, seq, user_id, client_id, body, data, words)
				SELECT v.room, v.at_ms, v.seq, v.user_id,
					CASE WHEN EXISTS (SELECT 1 FROM chat_messages AS o WHERE o.room = v.room AND o.user_id = v.user_id AND o.client_id = v.client_id
						AND (o.at_ms, o.seq) <> (v.at_ms, v.seq)) THEN '' ELSE v.client_id END,
					'', '', '' FROM {v}
				WHERE TRUE ON CONFLICT DO NOTHING`)
			if err != nil {
				return err
			}
			buried := map[messagePlace]bool{}
			err = x.rows(ctx, placeTable([]chat.Message{m}), `
				UPDATE chat_messages SET body = '', data = '', words = '', deleted_at = COALESCE(deleted_at, {now})
				WHERE (room, at_ms, seq) IN (SELECT v.room, v.at_ms, v.seq FROM {v}) RETURNING room, at_ms, seq`, scanPlaces(buried))
			if err != nil || len(buried) > 0 {
				return err
			}
		}
		return errors.New("others of its client id come and go")
	})
	return coded("deleting a message", err)
}

// WrittenBy implements chat.Archive.
func (c Chats) WrittenBy(ctx context.Context, user string, limit int) (out []chat.Message, err error) {
	err = c.s.ask(ctx, "listing a user's messages",
		"SELECT "+messageColumns+" FROM chat_messages AS m WHERE m.user_id = ? AND m.user_id <> '' LIMIT ?", scanMessages(&out), clean(user), limit)
	return out, err
}

// Blank implements chat.Archive.
func (c Chats) Blank(ctx context.Context, messages []chat.Message) error {
	return coded("erasing messages", c.s.transact(ctx, "erase_messages", func(x *tx) error {
		return x.exec(ctx, placeTable(messages), `
			UPDATE chat_messages SET user_id = '', client_id = '', body = '', data = '', words = '', deleted_at = COALESCE(deleted_at, {now})
			WHERE (room, at_ms, seq) IN (SELECT v.room, v.at_ms, v.seq FROM {v})`)
	}))
}

// PruneMessages implements chat.Pruner.
func (c Chats) PruneMessages(ctx context.Context, keep time.Duration, limit int) (n int, err error) {
	err = c.s.transact(ctx, "prune_messages", func(x *tx) error {
		var doomed []chat.Message
		err := x.rows(ctx, nil, "SELECT "+messageColumns+" FROM chat_messages AS m WHERE m.at_ms <= {now} - ? ORDER BY m.at_ms LIMIT ?",
			scanMessages(&doomed), keep.Milliseconds(), limit)
		n = len(doomed)
		if err != nil || n == 0 {
			return err
		}
		return x.exec(ctx, placeTable(doomed), `DELETE FROM chat_messages WHERE (room, at_ms, seq) IN (SELECT v.room, v.at_ms, v.seq FROM {v})`)
	})
	return n, coded("deleting old messages", err)
}
