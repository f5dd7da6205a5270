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
	"path/filepath"
	"runtime/pprof"
	"strings"
	"syscall"

	"github.com/postrider/postrider/bench/crowd"
	"github.com/postrider/postrider/bench/fleet"
	"github.com/postrider/postrider/bench/peers"
	"github.com/postrider/postrider/internal/app"
)

func main() { os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// run is the program; its result is the exit code.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(args) > 0 && args[0] == "contestant":
		err = contest(ctx, args[1:], stdin, stdout)
	case fleet.IsProcess(args):
		err = fleet.Serve(ctx, args, stdin, stdout)
	default:
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

// servers are the processes that are no queue's.
var servers = map[string]func(ctx context.Context, spec peers.Spec, in io.Reader, out io.Writer) error{
	"postrider-http":     peers.ServeHTTP,
	"postrider-socketio": peers.ServeSocketIO,
	"postrider-hub":      peers.ServeHub,
	"crowd": func(ctx context.Context, _ peers.Spec, in io.Reader, out io.Writer) error {
		return crowd.Serve(ctx, in, out)
	},
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
	stop, err := profiled(args[0], spec.Profile)
	if err != nil {
		return err
	}
	defer stop()
	if strings.HasPrefix(args[0], "postrider") {
		defer app.FloorHeap()() // as Postrider's own programs do
	}
	if serve := servers[args[0]]; serve != nil {
		return serve(ctx, spec, in, out)
	}
	q, err := peers.Open(ctx, args[0], spec)
	if err != nil {
		return err
	}
	return peers.Serve(ctx, q, in, out)
}

// profiled begins a CPU profile in the folder, if there is one.
func profiled(kind, dir string) (stop func(), err error) {
	if dir == "" {
		return func() {}, nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("making a folder for profiles: %w", err)
	}
	file, err := os.Create(filepath.Join(dir, fmt.Sprintf("%s-%d.pprof", kind, os.Getpid())))
	if err != nil {
		return nil, fmt.Errorf("making a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, errors.Join(fmt.Errorf("beginning a profile: %w", err), file.Close())
	}
	return func() { pprof.StopCPUProfile(); _ = file.Close() }, nil
}

// measure runs the cases that args choose and tells what came of it.
func measure(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	rounds := flags.Int("rounds", 5, "how often each contestant is measured in each case")
	quick := flags.Bool("quick", false, "sizes that show that a case works, in seconds; the figures are worth nothing")
	share := flags.Float64("share", 1, "how much of the full number of jobs to measure with, from 0.01 to 1")
	profile := flags.String("profile", "", "a folder for CPU profiles of the contestants in Go, one a process; they cost some speed")
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
	if *rounds < 1 || *share < 0.01 || *share > 1 {
		return errors.New("-rounds must be 1 at least, and -share from 0.01 to 1")
	}
	size := full.share(*share)
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
	var who []string
	if *only != "" {
		who = strings.Split(*only, ",")
	}
	b, err := open(ctx, stderr, chosen, who)
	if err != nil {
		return err
	}
	b.profile = *profile
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
