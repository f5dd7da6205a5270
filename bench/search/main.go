// Command search measures, on a PostgreSQL and a SQLite file of its own, how
// long it takes to find a person's mails among millions.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/postrider/postrider/bench/stage"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/store"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// databases are what can be measured, in the order of the table.
var databases = []string{"postgres", "sqlite"}

// fewest is how many mails it takes for each search to have a 50th page.
const fewest = 200_000

// run is the program; its result is the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("search", flag.ContinueOnError)
	flags.SetOutput(stderr)
	jobs := flags.Int("jobs", 5_000_000, "`how many` mails there are")
	rounds := flags.Int("rounds", 100, "`how many` searches of each kind")
	chosen := flags.String("databases", strings.Join(databases, ","), "which `databases`, with commas between them")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	names := strings.Split(*chosen, ",")
	if *jobs < fewest || *rounds < 1 || slices.ContainsFunc(names, func(n string) bool { return !slices.Contains(databases, n) }) {
		fmt.Fprintf(stderr, "search: -jobs must be %d or more, -rounds positive, and -databases of %v\n", fewest, databases)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := measureAll(ctx, stdout, names, *jobs, *rounds); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "search:", err)
		return 1
	}
	return 0
}

func measureAll(ctx context.Context, out io.Writer, names []string, jobs, rounds int) error {
	fmt.Fprintf(out, "%d mails to %d people, %d searches of each kind, a page of %d, with what came back of each.\n\n", jobs, people(jobs), rounds, page)
	fmt.Fprintln(out, "| database | searched by | p50 | p95 | slowest |\n|---|---|---:|---:|---:|")
	var notes []string
	for _, name := range names {
		measureOn := onPostgres
		if name == "sqlite" {
			measureOn = onSQLite
		}
		note, err := measureOn(ctx, out, jobs, rounds)
		if err != nil {
			return fmt.Errorf("on %s: %w", name, err)
		}
		notes = append(notes, note)
	}
	fmt.Fprintf(out, "\n%s\n", strings.Join(notes, "\n"))
	return nil
}

func onPostgres(ctx context.Context, out io.Writer, jobs, rounds int) (note string, err error) {
	pg, err := stage.StartPostgres(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, pg.Close()) }()
	url, err := pg.Database(ctx)
	if err != nil {
		return "", err
	}
	return measure(ctx, out, database{"PostgreSQL", url, "pgx", url}, jobs, rounds)
}

func onSQLite(ctx context.Context, out io.Writer, jobs, rounds int) (note string, err error) {
	dir, err := os.MkdirTemp("", "postrider-search-")
	if err != nil {
		return "", fmt.Errorf("making a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "postrider.db")
	return measure(ctx, out, database{"SQLite", "sqlite:" + path, "sqlite", "file:" + path + "?_pragma=synchronous(OFF)&_pragma=cache_size(-262144)"}, jobs, rounds)
}

// database is one to be measured.
type database struct {
	name, url      string // as Postrider opens it
	driver, source string // as mails are written into it
}

// measure writes a line of the table for each kind of search, and returns what is
// to be said of the database.
func measure(ctx context.Context, out io.Writer, d database, jobs, rounds int) (note string, err error) {
	s, err := store.Open(ctx, store.Config{URL: d.url, AutoMigrate: true}, slog.New(slog.DiscardHandler), store.Options{RepeatFor: time.Minute})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	began := time.Now()
	if err := fill(ctx, d, jobs); err != nil {
		return "", err
	}
	filled := time.Since(began)
	service := delivery.New(delivery.Options{Store: s, Suppressions: s.Suppressions()})
	for _, kind := range kinds(jobs) {
		search, err := kind.prepare(ctx, service)
		if err != nil {
			return "", fmt.Errorf("searching by %s: %w", kind.name, err)
		}
		took := make([]time.Duration, rounds)
		for i := range took {
			began := time.Now()
			found, err := search(ctx)
			took[i] = time.Since(began)
			if err != nil {
				return "", fmt.Errorf("searching by %s: %w", kind.name, err)
			}
			if found == 0 {
				return "", fmt.Errorf("searching by %s: nothing is found", kind.name)
			}
		}
		slices.Sort(took)
		fmt.Fprintf(out, "| %s | %s | %s | %s | %s |\n", d.name, kind.name, millis(took[rounds/2]), millis(took[rounds*95/100]), millis(took[rounds-1]))
	}
	return fmt.Sprintf("%s was filled in %s, %.0f mails a second.", d.name, filled.Round(time.Second), float64(jobs)/filled.Seconds()), nil
}

func millis(d time.Duration) string { return fmt.Sprintf("%.1f ms", float64(d.Microseconds())/1000) }
