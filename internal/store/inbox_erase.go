package store

import (
	"context"
	"database/sql"

	"github.com/postrider/postrider/internal/inbox"
)

// EraseInbox implements delivery.Eraser. The stream is locked, so that nothing
// comes to it between its last notification and its own end.
func (s *Store) EraseInbox(ctx context.Context, user string, limit int) (n int, err error) {
	user = clean(user)
	err = s.transact(ctx, "erase_inbox", func(x *tx) error {
		n = 0
		if err := x.exec(ctx, nil, `UPDATE streams SET last_at = last_at WHERE name = ?`, inbox.Of(user)); err != nil {
			return err
		}
		for _, part := range []struct{ table, whose, is string }{
			{"notifications", "stream", inbox.Of(user)}, {"inbox_exceptions", "user_id", user},
		} {
			doomed := columns("stream text, seq bigint")
			err := x.rows(ctx, nil, `SELECT stream, seq FROM `+part.table+` WHERE `+part.whose+` = ? LIMIT ?`, func(rows *sql.Rows) error {
				var stream string
				var seq int64
				err := rows.Scan(&stream, &seq)
				doomed.add(stream, seq)
				return err
			}, part.is, limit-n)
			if err != nil {
				return err
			}
			n += len(doomed.rows)
			err = x.exec(ctx, doomed, `DELETE FROM `+part.table+` WHERE (stream, seq) IN (SELECT v.stream, v.seq FROM {v}) AND `+part.whose+` = ?`, part.is)
			if err != nil {
				return err
			}
		}
		if n == limit {
			return nil
		}
		for _, q := range []struct{ text, of string }{
			{`DELETE FROM streams WHERE name = ?`, inbox.Of(user)}, {`DELETE FROM inbox_marks WHERE user_id = ?`, user}, {`DELETE FROM inboxes WHERE user_id = ?`, user},
		} {
			if err := x.exec(ctx, nil, q.text, q.of); err != nil {
				return err
			}
		}
		return nil
	})
	return n, coded("erasing an inbox", err)
}
