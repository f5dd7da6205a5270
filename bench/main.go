// Command bench measures Postrider beside its peers, on servers of its own: see
// README.md.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/postrider/postrider/bench/peers"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the program; its result is the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if len(args) > 0 && args[0] == "contestant" {
		err = contest(ctx, args[1:], stdin, stdout)
	} else {
		err = measure(ctx, args, stdout, stderr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case err != nil:
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

// contest is a contestant's process: bench contestant KIND SPEC. The bench
// starts it from its own file.
func contest(ctx context.Context, args []string, in io.Reader, out io.Writer) error {
	if len(args) != 2 {
		return errors.New("contestant wants a kind and a spec; only the bench itself calls it")
	}
	var spec peers.Spec
	if err := json.Unmarshal([]byte(args[1]), &spec); err != nil {
		return fmt.Errorf("reading the spec: %w", err)
	}
	if args[0] == "postrider-http" {
		return peers.ServeHTTP(ctx, spec, in, out)
	}
	q, err := peers.Open(ctx, args[0], spec)
	if err != nil {
		return err
	}
	return peers.Serve(ctx, q, in, out)
}

// measure runs the cases that args choose and tells what came of it.
func measure(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rounds := flags.Int("rounds", 5, "how often each contestant is measured in each case")
	quick := flags.Bool("quick", false, "sizes that show that a case works, in seconds; the figures are worth nothing")
	out := flags.String("out", "results", "the folder for the table and the plot; nothing is written when it is empty or with -quick")
	only := flags.String("only", "", "the contestants to measure, with commas between; all when empty")
	list := flags.Bool("list", false, "list the cases")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: bench [flags] [case ...]   (all cases when none is named; drain-* for all that begin so)")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("reading the flags: %w", err)
	}
	size := full
	if *quick {
		size = small
	}
	chosen, err := choose(allCases(size), flags.Args())
	if err != nil {
		return err
	}
	if *list {
		for _, c := range chosen {
			fmt.Fprintf(stdout, "%-16s %s\n", c.name, c.about)
		}
		return nil
	}
	if *rounds < 1 {
		return errors.New("-rounds must be 1 at least")
	}
	var who []string
	if *only != "" {
		who = strings.Split(*only, ",")
	}
	b, err := open(ctx, stderr, chosen, who)
	if err != nil {
		return err
	}
	report, err := b.runAll(ctx, chosen, *rounds)
	err = errors.Join(err, b.close())
	if *quick || *out == "" {
		return errors.Join(err, report.markdown(stdout))
	}
	return errors.Join(err, report.keep(*out, stdout))
}

// choose picks the cases that the patterns name, in the order of all.
func choose(all []benchCase, patterns []string) ([]benchCase, error) {
	if len(patterns) == 0 {
		return all, nil
	}
	var out []benchCase
	used := make([]bool, len(patterns))
	for _, c := range all {
		hit := false
		for i, p := range patterns {
			prefix, wild := strings.CutSuffix(p, "*")
			if c.name == p || wild && strings.HasPrefix(c.name, prefix) {
				used[i], hit = true, true
			}
		}
		if hit {
			out = append(out, c)
		}
	}
	for i, p := range patterns {
		if !used[i] {
			return nil, fmt.Errorf("there is no case %q: -list shows them", p)
		}
	}
	return out, nil
}
