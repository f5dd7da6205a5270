package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
)

// tx is a transaction in which the clock stands still, or a lone statement,
// which is one of its own.
type tx struct {
	querier
	s     *Store
	now   string
	until time.Time // no statement waits longer
	// notified are the notifications that it has written.
	notified []inbox.Notification
	// note is the act that it carries out, nil without one; its record has part.
	note     *audit.Note
	part     int
	recorded bool
}

// querier is an sql.Tx, or an sql.DB.
type querier interface {
	QueryContext(ctx context.Context, q string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, q string, args ...any) (sql.Result, error)
}

// rows runs a statement for each chunk of t, or once where t is nil, and
// hands each row to scan.
func (x *tx) rows(ctx context.Context, t *table, q string, scan func(*sql.Rows) error, args ...any) error {
	ctx, cancel := context.WithDeadline(ctx, x.until)
	defer cancel()
	parts := []*table{nil}
	if t != nil {
		parts = x.s.chunks(t)
	}
	for _, part := range parts {
		text, all := x.s.query(q, x.now, part, args)
		rows, err := x.QueryContext(ctx, text, all...)
		if err := each(rows, err, scan); err != nil {
			return err
		}
	}
	return nil
}

// exec is rows for a statement that returns none.
func (x *tx) exec(ctx context.Context, t *table, q string, args ...any) error {
	ctx, cancel := context.WithDeadline(ctx, x.until)
	defer cancel()
	parts := []*table{nil}
	if t != nil {
		parts = x.s.chunks(t)
	}
	for _, part := range parts {
		text, all := x.s.query(q, x.now, part, args)
		if _, err := x.ExecContext(ctx, text, all...); err != nil {
			return err
		}
	}
	return nil
}

// each hands the rows of a query to scan and closes them.
func each(rows *sql.Rows, err error, scan func(*sql.Rows) error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		if err := scan(rows); err != nil {
			return err
		}
	}
	return rows.Err()
}

// ask reads outside of a transaction. ctx and RepeatFor bound it.
func (s *Store) ask(ctx context.Context, what, q string, scan func(*sql.Rows) error, args ...any) error {
	return s.askOf(ctx, what, nil, q, scan, args...)
}

// askOf is ask with a table of values that fits into one statement.
func (s *Store) askOf(ctx context.Context, what string, t *table, q string, scan func(*sql.Rows) error, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.RepeatFor)
	defer cancel()
	text, all := s.query(q, s.now(), t, args)
	began := time.Now()
	ctx, span := child(ctx, what)
	rows, err := s.read.QueryContext(ctx, text, all...)
	err = each(rows, err, scan)
	endChild(span, err)
	s.metrics.note(opRead, began, err)
	return coded(what, err)
}

// attempt runs f in one transaction; ctx has a deadline. After an error of
// which again is true nobody knows whether it was committed.
func (s *Store) attempt(ctx context.Context, op string, f func(*tx) error) error {
	if err := s.fault(op, "begin"); err != nil {
		return err
	}
	t, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = t.Rollback() }() // after a commit it does nothing
	until, _ := ctx.Deadline()
	x := &tx{querier: t, s: s, now: s.now(), until: until}
	if err := f(x); err != nil {
		return err
	}
	if err := s.fault(op, "commit"); err != nil {
		return err
	}
	if err := t.Commit(); err != nil {
		return err
	}
	if err := s.fault(op, "committed"); err != nil {
		return err
	}
	if len(x.notified) > 0 && s.opts.Notified != nil {
		s.opts.Notified(x.notified)
	}
	return nil
}

// attemptAlone is attempt for an f of one statement, without the two round trips
// that begin and commit a transaction.
func (s *Store) attemptAlone(ctx context.Context, op string, db *sql.DB, f func(*tx) error) error {
	for _, point := range []string{"begin", "commit"} {
		if err := s.fault(op, point); err != nil {
			return err
		}
	}
	until, _ := ctx.Deadline()
	if err := f(&tx{querier: db, s: s, now: s.now(), until: until}); err != nil {
		return err
	}
	return s.fault(op, "committed")
}

func (s *Store) fault(op, point string) error {
	if s.opts.Fault == nil {
		return nil
	}
	return s.opts.Fault(op, point)
}

// transact runs f, whose writes are repeatable, until it was committed or
// failed for a reason of its own. ctx and RepeatFor bound it.
func (s *Store) transact(ctx context.Context, op string, f func(*tx) error) error {
	note := audit.NoteOf(ctx)
	if note == nil {
		return s.repeat(ctx, op, func(ctx context.Context) error { return s.attempt(ctx, op, f) })
	}
	part, recorded := note.NextPart(), false
	err := s.repeat(ctx, op, func(ctx context.Context) error {
		return s.attempt(ctx, op, func(x *tx) error {
			x.note, x.part = note, part
			err := f(x)
			recorded = x.recorded
			return err
		})
	})
	if err == nil && recorded {
		note.Committed()
	}
	return err
}

// repeat is transact for any kind of attempt.
func (s *Store) repeat(ctx context.Context, op string, attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.opts.RepeatFor)
	defer cancel()
	wait := 5 * time.Millisecond
	for {
		began := time.Now()
		ctx, span := child(ctx, op)
		err := attempt(ctx)
		endChild(span, err)
		s.metrics.note(op, began, err)
		if err == nil || !again(err) {
			return err
		}
		pause := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			pause.Stop()
			return err
		case <-pause.C:
			wait = min(2*wait, 500*time.Millisecond)
		}
		s.log.Debug("repeating a transaction", "op", op, "err", err)
	}
}

// errAgain is an error after which a transaction is repeated.
var errAgain = errors.New("the transaction met another one")

// again tells an error that lies with the connection, the server's state or
// another transaction, after which repeating helps, from one that lies with
// what was written.
func again(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		switch pg.Code[:min(2, len(pg.Code))] {
		case "08", // connection exception
			"40", // serialization failure, deadlock
			"53", // insufficient resources
			"55", // object not in prerequisite state: lock not available
			"57", // operator intervention: shutdown, statement timeout
			"58": // system error
			return true
		}
		return pg.Code == "25006" // read-only: a standby, until it is promoted
	}
	var lite *sqlite.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff {
		case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_FULL,
			sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_NOMEM, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_READONLY:
			return true
		}
		return false
	}
	var netErr net.Error
	var connect *pgconn.ConnectError
	return errors.Is(err, errAgain) ||
		errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) || errors.Is(err, sql.ErrTxDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) ||
		errors.As(err, &netErr) || errors.As(err, &connect) || pgconn.SafeToRetry(err)
}

// coded gives a database's error the code that the port documents; one that
// has a code keeps it.
func coded(what string, err error) error {
	if err == nil {
		return nil
	}
	var known *job.Error
	if errors.As(err, &known) {
		return err
	}
	err = fmt.Errorf("%s: %w", what, err)
	if again(err) {
		return job.Wrap(job.CodeTemporary, err, "the database did not answer; it may or may not have been done")
	}
	return job.Wrap(job.CodeInternal, err, "the database refused it")
}
