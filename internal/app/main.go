package app

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/postrider/postrider/internal/config"
	"github.com/postrider/postrider/internal/telemetry"
)

// Exit codes of the programs.
const (
	exitOK    = 0
	exitError = 1 // it could not start, or did not stop as it should
	exitUsage = 2 // the settings or flags are wrong
)

// System is what a program is given by the operating system.
type System struct {
	Environ        []string
	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// Main is a program of one role, but for its signals: args are its flags,
// without the program's name. It returns the exit code.
func Main(ctx context.Context, role Role, sys System, args []string) int {
	flags := flag.NewFlagSet(role.Name, flag.ContinueOnError)
	flags.SetOutput(sys.Stderr)
	check := flags.Bool("check-config", false, "print the settings, secrets hidden, and what is wrong with them")
	version := flags.Bool("version", false, "print the program's version")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage // flags has said what is wrong
	case flags.NArg() > 0:
		// Not left alone: check-config without its dash would start the process.
		fmt.Fprintf(sys.Stderr, "%s: unexpected argument %s; -h tells more\n", role.Name, flags.Arg(0))
		return exitUsage
	case *version:
		fmt.Fprintln(sys.Stdout, Version())
		return exitOK
	case *check:
		return CheckConfig(role, sys)
	}
	return Run(ctx, role, sys)
}

// Run is the life of a process: it reads the settings, starts the role, waits
// until ctx ends (a signal, to main) and stops. It returns the exit code.
func Run(ctx context.Context, role Role, sys System) int {
	defer FloorHeap()()
	cfg, report, err := Load(role, sys.Environ)
	log := telemetry.NewLogger(sys.Stderr, cfg.Log)
	if code := complain(sys, log, report, err); code != exitOK {
		return code
	}
	a, err := New(ctx, role, cfg, log)
	if err != nil {
		log.Error("cannot start", "err", err)
		return exitError
	}
	code := exitOK
	if err := a.Start(); err != nil {
		log.Error("cannot start", "err", err)
		code = exitError
	} else {
		a.greet(sys.Stdout)
		select {
		case <-ctx.Done():
			log.Info("stopping: running jobs finish or are given back; a second signal ends at once")
		case err := <-a.Fault():
			log.Error("a part failed; stopping", "err", err)
			code = exitError
		}
	}
	stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cfg.Work.ContainerGrace)
	defer cancel()
	if err := a.Stop(stopCtx); err != nil {
		log.Error("did not stop cleanly", "err", err)
		return exitError
	}
	log.Info("stopped")
	return code
}

// CheckConfig prints the settings that a role would run with, secrets hidden,
// and what is wrong with them.
func CheckConfig(role Role, sys System) int {
	cfg, report, err := Load(role, sys.Environ)
	if report != nil {
		if err := report.Dump(sys.Stdout); err != nil {
			return exitError
		}
	}
	return complain(sys, telemetry.NewLogger(sys.Stderr, cfg.Log), report, err)
}

// complain tells what Load found. Wrong settings are told as plain text: their
// reader has just typed them.
func complain(sys System, log *slog.Logger, report *config.Report, err error) int {
	if report != nil {
		for _, w := range report.Warnings {
			log.Warn(w)
		}
	}
	if err != nil {
		fmt.Fprintf(sys.Stderr, "the settings are wrong:\n%v\n", err)
		return exitUsage
	}
	return exitOK
}

// greet prints where to find what, for who started it by hand.
func (a *App) greet(w io.Writer) {
	if !a.role.API {
		return
	}
	base := "http://" + a.Addr()
	if a.https != nil {
		base = "https://" + a.Addr()
	}
	fmt.Fprintf(w, "Postrider is running.\n\n  API      %s/jobs/send-email (all routes: %s/openapi.json)\n", base, base)
	if a.catcher != nil {
		fmt.Fprintf(w, "  Mails    %s/dev/mail\n", base)
	}
	if a.signsForAnyone() {
		fmt.Fprintf(w, "  Live     %s/socket.io/ (a token to try it with: '%s/dev/token?user=ann&room=lobby')\n", base, base)
	}
	fmt.Fprintf(w, "  Monitor  %s/admin\n  Health   %s/readyz\n", base, base)
	if a.cfg.Store.SQLite() {
		fmt.Fprintf(w, "  Data     %s\n", a.cfg.Store.URL[len("sqlite:"):])
	}
	fmt.Fprintln(w, "\nCtrl-C stops it; what was accepted runs after the next start.")
}
