// Command capacity measures what a job costs each part, in processor time and
// bytes, on servers of its own, and works out what given numbers of jobs a second
// and of connections need. It runs in the folder above: go run ./capacity.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/postrider/postrider/bench/fleet"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the program; its result is the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if fleet.IsProcess(args) {
		err = fleet.Serve(ctx, args, stdin, stdout)
	} else {
		err = measureAll(ctx, args, stdout, stderr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case err != nil:
		fmt.Fprintln(stderr, "capacity:", err)
		return 1
	}
	return 0
}

func measureAll(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("capacity", flag.ContinueOnError)
	flags.SetOutput(stderr)
	jobs := flags.Int("jobs", 10_000, "`how many` of each kind to measure with, 100 at least")
	results := flags.String("live", "results/results.json", "the bench's results, for what connections take; a `file`")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *jobs < 100 {
		return errors.New("-jobs must be 100 at least")
	}
	l, err := readLive(*results)
	if err != nil {
		return err
	}
	r := &rig{}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.open(ctx); err != nil {
		return err
	}
	var costs []cost
	for _, k := range kinds {
		fmt.Fprintln(stderr, "measuring:", k.name)
		c, err := r.measure(ctx, k, *jobs)
		if err != nil {
			return fmt.Errorf("measuring %s: %w", k.name, err)
		}
		costs = append(costs, c)
	}
	return tell(stdout, costs, l, *jobs)
}
