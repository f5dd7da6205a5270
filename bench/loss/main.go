// Command loss counts what clients of two processes do not get, or get twice,
// while processes are killed and connections cut: with Postrider's inbox, and
// with Node's socket.io that emits as the common tutorials do. It runs in the
// folder above: go run ./loss.
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
	"time"

	"github.com/postrider/postrider/bench/fleet"
)

func main() { os.Exit(command(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }

// command is the program; its result is the exit code.
func command(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	if fleet.IsProcess(args) {
		err = fleet.Serve(ctx, args, stdin, stdout)
	} else {
		err = measure(ctx, args, stdout, stderr)
	}
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 2
	case err != nil:
		fmt.Fprintln(stderr, "loss:", err)
		return 1
	}
	return 0
}

// runLimit bounds one run beyond its own time.
const runLimit = 5 * time.Minute

func measure(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := flag.NewFlagSet("loss", flag.ContinueOnError)
	flags.SetOutput(stderr)
	runs := flags.Int("runs", 3, "`how often` each side goes through it")
	clients := flags.Int("clients", 40, "`how many` there are")
	rate := flags.Float64("rate", 300, "notifications `a second`")
	seconds := flags.Float64("seconds", 25, "`how long` they are sent")
	only := flags.String("only", "", "the side to measure, `Postrider or socket.io`; both when empty")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *runs < 1 || *clients < 2 || *rate < 1 || *seconds < 1 {
		return errors.New("each number has to be 1 at least, and there have to be two clients")
	}
	p := plan{clients: *clients, rate: *rate, lasting: time.Duration(*seconds * float64(time.Second))}
	fmt.Fprintf(stdout, "%d clients of two processes, %v notifications a second for %v. Meanwhile half of the sockets are cut twice, "+
		"connections to Redis twice, and each process is killed (kill -9) and started again.\n\n", p.clients, p.rate, p.lasting)
	fmt.Fprintln(stdout, "| run | side | accepted | posts repeated | to be shown | lost | shown twice | shown to others | complete after |")
	fmt.Fprintln(stdout, "|---:|---|---:|---:|---:|---:|---:|---:|---:|")
	for i := range *runs {
		for _, s := range []*side{{name: "Postrider"}, {name: "socket.io", plain: true}} {
			if *only != "" && s.name != *only {
				continue
			}
			limited, cancel := context.WithTimeout(ctx, p.lasting+runLimit)
			o, err := run(limited, s, p)
			cancel()
			if err != nil {
				return fmt.Errorf("%s, run %d: %w", s.name, i+1, err)
			}
			after := "–"
			if o.Lost == 0 {
				after = fmt.Sprintf("%.1f s", o.After.Seconds())
			}
			fmt.Fprintf(stdout, "| %d | %s | %d | %d | %d | %d | %d | %d | %s |\n", i+1, s.name,
				o.Accepted, o.Repeated, o.Due, o.Lost, o.Twice, o.Astray, after)
		}
	}
	return nil
}
