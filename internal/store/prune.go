package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/postrider/postrider/internal/inbox"
)

var _ inbox.Pruner = (*Store)(nil)

// PruneInactive implements inbox.Pruner. The stream that the last call ended in
// is looked at again, since it may have more. What is next is the database's to
// say, whose order of texts is not ours.
func (s *Store) PruneInactive(ctx context.Context, idle time.Duration, after string, limit int) (n int, next string, err error) {
	err = s.transact(ctx, "prune_inboxes", func(x *tx) error {
		next = after
		doomed := columns("stream text, seq bigint")
		err := x.rows(ctx, nil, `
			SELECT n.stream, n.seq FROM streams
			JOIN notifications AS newest ON newest.stream = streams.name AND newest.seq = streams.last_seq
			JOIN notifications AS n ON n.stream = streams.name
			WHERE streams.name >= ? AND newest.created_at <= {now} - ?
			ORDER BY n.stream, n.seq LIMIT ?`,
			func(rows *sql.Rows) error {
				var seq int64
				err := rows.Scan(&next, &seq)
				doomed.add(next, seq)
				return err
			}, after, idle.Milliseconds(), limit)
		if err != nil {
			return err
		}
		n = len(doomed.rows)
		return x.exec(ctx, doomed, `DELETE FROM notifications WHERE (stream, seq) IN (SELECT v.stream, v.seq FROM {v})`)
	})
	return n, next, coded("emptying inactive inboxes", err)
}
