// Command search measures, on a PostgreSQL and a SQLite file of its own, how
// long it takes to find a person's mails among millions.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the drivers that rows are seeded by
	_ "modernc.org/sqlite"

	"github.com/postrider/postrider/bench/stage"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program; its result is the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("search", flag.ContinueOnError)
	flags.SetOutput(stderr)
	jobs := flags.Int("jobs", 5_000_000, "`how many` mails there are")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	fmt.Fprintf(stdout, "%d mails to %d people, 50 searches of each kind, a page of 50.\n\n", *jobs, people(*jobs))
	fmt.Fprintln(stdout, "| database | searched by | median | slowest |\n|---|---|---|---|")
	err := errors.Join(onPostgres(ctx, stdout, *jobs), onSQLite(ctx, stdout, *jobs))
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "search:", err)
		return 1
	}
	return 0
}

// people is to how many the mails go: twenty to each.
func people(jobs int) int { return max(jobs/20, 1) }

func onPostgres(ctx context.Context, out io.Writer, jobs int) (err error) {
	pg, err := stage.StartPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pg.Close()) }()
	url, err := pg.Database(ctx)
	if err != nil {
		return err
	}
	return measure(ctx, out, "PostgreSQL", url, "pgx", url, jobs)
}

func onSQLite(ctx context.Context, out io.Writer, jobs int) (err error) {
	dir, err := os.MkdirTemp("", "postrider-search-")
	if err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "postrider.db")
	return measure(ctx, out, "SQLite", "sqlite:"+path, "sqlite", "file:"+path, jobs)
}

func measure(ctx context.Context, out io.Writer, name, url, driver, source string, jobs int) (err error) {
	s, err := store.Open(ctx, store.Config{URL: url, AutoMigrate: true}, slog.New(slog.DiscardHandler), store.Options{RepeatFor: time.Minute})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := seed(ctx, driver, source, jobs); err != nil {
		return err
	}
	for _, kind := range []struct {
		name  string
		query func() delivery.Query
	}{
		{"address", func() delivery.Query {
			return delivery.Query{Recipients: []string{fmt.Sprintf("user%d@example.com", rand.IntN(people(jobs)))}}
		}},
		{"address and state", func() delivery.Query {
			return delivery.Query{Status: "failed", Recipients: []string{fmt.Sprintf("user%d@example.com", rand.IntN(people(jobs)))}}
		}},
		{"subject of one mail", func() delivery.Query {
			return delivery.Query{Subject: fmt.Sprintf("your order no. %d", rand.IntN(jobs))}
		}},
		{"template", func() delivery.Query { return delivery.Query{Template: fmt.Sprintf("template-%d", rand.IntN(10))} }},
		{"state failed", func() delivery.Query { return delivery.Query{Status: "failed"} }},
		{"nothing", func() delivery.Query { return delivery.Query{} }},
	} {
		var took []time.Duration
		for range 50 {
			q := kind.query()
			q.Limit = 50
			began := time.Now()
			if _, err := s.Search(ctx, q); err != nil {
				return fmt.Errorf("searching by %s: %w", kind.name, err)
			}
			took = append(took, time.Since(began))
		}
		slices.Sort(took)
		fmt.Fprintf(out, "| %s | %s | %.1f ms | %.1f ms |\n", name, kind.name, millis(took[len(took)/2]), millis(took[len(took)-1]))
	}
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// seed writes the mails, a fiftieth of them failed, in statements that the
// databases carry out by themselves.
func seed(ctx context.Context, driver, source string, jobs int) (err error) {
	db, err := sql.Open(driver, source)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	series := "generate_series(%d, %d) AS s(n)"
	id := "(lpad(to_hex(n), 16, '0') || substr(md5(n::text), 1, 16))::uuid"
	if driver == "sqlite" {
		series = "(WITH RECURSIVE s(n) AS (SELECT %d UNION ALL SELECT n + 1 FROM s WHERE n < %d) SELECT n FROM s)"
		id = "printf('%08x-%04x-7000-8000-%012x', n / 65536, n % 65536, n)"
	}
	const part = 100_000
	for from := 1; from <= jobs; from += part {
		span := fmt.Sprintf(series, from, min(from+part-1, jobs))
		for _, q := range []string{
			`INSERT INTO jobs (id, type, queue, state, recipient, accepted_by, created_at, updated_at, run_at, due_at, finished_at, max_attempts, on_ambiguous, dispatch_at, message, payload)
			SELECT {id}, 'email:send', 'email', CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'done' END, 'user' || (n % {people}) || '@example.com', 'shop', n, n, n, n, n, 12, 'resend', n, 'main: 2.0.0 OK', '{}' FROM {span}`,
			`INSERT INTO mails (job_id, subject, subject_key, template, category, due_at)
			SELECT {id}, 'Your order no. ' || n, 'your order no. ' || n, 'template-' || (n % 10), 'receipt', n FROM {span}`,
		} {
			text := strings.NewReplacer("{id}", id, "{people}", fmt.Sprint(people(jobs)), "{span}", span).Replace(q)
			if _, err := db.ExecContext(ctx, text); err != nil {
				return fmt.Errorf("writing mails: %w", err)
			}
		}
	}
	if driver != "sqlite" { // as autovacuum would in its own time
		_, err = db.ExecContext(ctx, "ANALYZE")
	}
	return err
}
