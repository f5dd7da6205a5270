package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers that rows are written by
	_ "modernc.org/sqlite"
)

// What mails are like. One comes each half second. One address gets 10,000 of
// them, all the time, but no more than each fiftieth; the others go around.
const (
	firstAt   = 1_780_000_000_000 // milliseconds since 1970
	between   = 500               // milliseconds
	templates = 10
	category  = "receipt"
	busiest   = "busy@example.com"
	busyMails = 10_000
	// failedShare is what part of them has failed: one in so many.
	failedShare = 49
)

// people is to how many the mails go: twenty to each.
func people(jobs int) int { return max(jobs/20, 1) }

// busyShare is what part of the mails goes to the busiest: one in so many.
func busyShare(jobs int) int { return max(jobs/busyMails, 50) }

func address(n int) string { return fmt.Sprintf("user%d@example.com", n) }

func template(n int) string { return fmt.Sprintf("template-%d", n) }

// acceptedAt is when the n-th mail was.
func acceptedAt(n int) time.Time { return time.UnixMilli(firstAt + between*int64(n)) }

// fill writes the mails, with their descriptions and two events each, in
// statements that the database carries out by itself: nothing has to be sent.
func fill(ctx context.Context, d database, jobs int) (err error) {
	db, err := sql.Open(d.driver, d.source)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	db.SetMaxOpenConns(1)
	span := "generate_series({from}, {to}) AS s(n)"
	id := "(lpad(to_hex({at}), 12, '0') || '70008000' || lpad(to_hex(n), 12, '0'))::uuid"
	if d.driver == "sqlite" {
		span = "(WITH RECURSIVE s(n) AS (SELECT {from} UNION ALL SELECT n + 1 FROM s WHERE n < {to}) SELECT n FROM s)"
		id = "printf('%08x-%04x-7000-8000-%012x', ({at}) / 65536, ({at}) % 65536, n)"
	} else if _, err := db.ExecContext(ctx, "SET synchronous_commit = off"); err != nil {
		return fmt.Errorf("setting up the session: %w", err)
	}
	const part = 250_000
	for from := 1; from <= jobs; from += part {
		if err := fillPart(ctx, db, strings.NewReplacer(
			"{span}", span, "{id}", id,
		), strings.NewReplacer(
			"{from}", strconv.Itoa(from), "{to}", strconv.Itoa(min(from+part-1, jobs)),
			"{at}", fmt.Sprintf("(%d + %d * CAST(n AS BIGINT))", int64(firstAt), between),
			"{to_whom}", fmt.Sprintf("CASE WHEN n %% %d = 0 THEN '%s' ELSE 'user' || (n %% %d) || '@example.com' END", busyShare(jobs), busiest, people(jobs)),
			"{failed}", fmt.Sprintf("n %% %d = 0", failedShare), "{templates}", strconv.Itoa(templates), "{category}", category,
		)); err != nil {
			return fmt.Errorf("writing mails: %w", err)
		}
	}
	if d.driver != "sqlite" { // as autovacuum would in its own time
		_, err = db.ExecContext(ctx, "VACUUM ANALYZE")
	}
	return err
}

// fillPart writes a span of mails in one transaction.
func fillPart(ctx context.Context, db *sql.DB, outer, inner *strings.Replacer) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // after a commit it does nothing
	for _, q := range []string{
		`INSERT INTO jobs (id, type, queue, state, recipient, accepted_by, created_at, updated_at, run_at, due_at, finished_at, max_attempts, on_ambiguous, dispatch_at, message, payload)
		SELECT {id}, 'email:send', 'email', CASE WHEN {failed} THEN 'failed' ELSE 'done' END, {to_whom}, 'shop', {at}, {at}, {at}, {at}, {at}, 12, 'resend', {at}, 'main: 2.0.0 OK', '{}' FROM {span}`,
		`INSERT INTO mails (job_id, subject, subject_key, template, category, due_at)
		SELECT {id}, 'Your order no. ' || n || ' is on its way', 'your order no. ' || n || ' is on its way', 'template-' || (n % {templates}), '{category}', {at} FROM {span}`,
		`INSERT INTO job_events (job_id, at, kind, state, actor, message)
		SELECT {id}, {at}, 'accepted', 'waiting', 'shop', '' FROM {span}`,
		`INSERT INTO job_events (job_id, at, kind, state, worker, message)
		SELECT {id}, {at}, 'settled', CASE WHEN {failed} THEN 'failed' ELSE 'done' END, 'worker', 'main: 2.0.0 OK' FROM {span}`,
	} {
		if _, err := tx.ExecContext(ctx, inner.Replace(outer.Replace(q))); err != nil {
			return err
		}
	}
	return tx.Commit()
}
