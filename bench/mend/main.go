// Command mend measures, on servers of its own, what the promises cost that
// have no peer to be measured against: what mending costs with many jobs in
// SQL, and how exactly limits are kept over several workers.
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
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run is the program; its result is the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("mend", flag.ContinueOnError)
	flags.SetOutput(stderr)
	jobs := flags.Int("jobs", 1_000_000, "`how many` jobs for later are in PostgreSQL")
	due := flags.Int("due", 100_000, "`how many` of another queue's jobs are due")
	rate := flags.Int("rate", 50, "limit of the three workers together, `a second`")
	seconds := flags.Int("seconds", 10, "`how long` the limit is watched")
	if err := flags.Parse(args); err != nil {
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := measureMending(ctx, stdout, *jobs, *due)
	if err == nil {
		err = measureLimit(ctx, stdout, *rate, time.Duration(*seconds)*time.Second)
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(stderr, "mend:", err)
		return 1
	}
	return 0
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// ended joins what closing resources came to.
func ended(err *error, closes ...func() error) {
	for _, f := range closes {
		*err = errors.Join(*err, f())
	}
}
