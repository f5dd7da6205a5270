package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/postrider/postrider/internal/inbox"
)

var _ inbox.Pruner = (*Store)(nil)

// PruneOld implements inbox.Pruner. The stream that the last call ended in is
// looked at again, since it may have more. What is next is the database's to
// say, whose order of texts is not ours.
func (s *Store) PruneOld(ctx context.Context, keep time.Duration, after string, limit int) (n int, next string, err error) {
	err = s.transact(ctx, "prune_inboxes", func(x *tx) error {
		next = after
		doomed := columns("stream text, seq bigint")
		err := x.rows(ctx, nil, `
			SELECT streams.name, n.seq FROM streams
			JOIN notifications AS n ON n.stream = streams.name AND n.created_at <= {now} - ?
			WHERE streams.name >= ? ORDER BY streams.name, n.created_at, n.seq LIMIT ?`,
			func(rows *sql.Rows) error {
				var seq int64
				err := rows.Scan(&next, &seq)
				doomed.add(next, seq)
				return err
			}, keep.Milliseconds(), after, limit)
		if err != nil {
			return err
		}
		n = len(doomed.rows)
		for _, table := range []string{"inbox_exceptions", "notifications"} {
			if err := x.exec(ctx, doomed, `DELETE FROM `+table+` WHERE (stream, seq) IN (SELECT v.stream, v.seq FROM {v})`); err != nil {
				return err
			}
		}
		return nil
	})
	return n, next, coded("deleting old notifications", err)
}
