// Package operator is the commands of the program postrider: it runs all
// processes in one, speaks to the API of a running one, and looks a
// deployment over.
//
// Exit codes: 0 it is done, 1 it could not be done, 2 the command line or the
// settings are wrong.
package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"

	"github.com/alecthomas/kong"

	"github.com/postrider/postrider/internal/app"
)

const (
	exitError = 1
	exitUsage = 2
)

type commands struct {
	Version kong.VersionFlag `help:"Print the program's version."`

	Dev          process      `cmd:"" help:"Run everything in this process, with an embedded Redis, SQLite and a mail catcher unless settings say otherwise."`
	Serve        process      `cmd:"" help:"Run everything in this process, on the Redis, the database and the mail server of the settings."`
	Migrate      migrate      `cmd:"" help:"Bring the database's schema up to date, or show which migrations it has."`
	SendEmail    sendEmail    `cmd:"" help:"Send a mail through a running Postrider."`
	Render       render       `cmd:"" help:"Show the mail that a template makes, without sending it; works without a running Postrider."`
	Jobs         jobs         `cmd:"" help:"List, show, retry and cancel the jobs of a running Postrider."`
	HashPassword hashPassword `cmd:"" help:"Make the hash of a dashboard user's password, which is read from the standard input."`
	NewKey       newKey       `cmd:"" help:"Make an API key."`
	NewToken     newToken     `cmd:"" help:"Make a token of a user of your application, signed with POSTRIDER_JWT_SECRET, to try live connections and inboxes with."`
	Healthcheck  healthcheck  `cmd:"" help:"Ask a running process whether it is well; for containers."`
	Doctor       doctor       `cmd:"" help:"Look over what the settings name, and say what to mend."`
}

// call is what a command is given.
type call struct {
	ctx context.Context
	app.System
	code int // of the exit, where the command did not fail
}

// Main carries out one command line, without the program's name, and returns
// the exit code.
func Main(ctx context.Context, sys app.System, args []string) int {
	cmds := commands{Dev: process{role: app.Dev}, Serve: process{role: app.Serve}}
	left := false // kong has printed help and wants to leave
	parser, err := kong.New(&cmds,
		kong.Name("postrider"), kong.Description("Postrider sends: mails and notifications, now, later or on a schedule."),
		kong.Vars{"version": app.Version()},
		kong.Writers(sys.Stdout, sys.Stderr), kong.Exit(func(int) { left = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}))
	if err != nil {
		fmt.Fprintln(sys.Stderr, "postrider:", err)
		return exitError
	}
	parsed, err := parser.Parse(longFlags(args))
	if left {
		return 0
	}
	if err != nil {
		fmt.Fprintf(sys.Stderr, "postrider: %v; -h tells more\n", err)
		return exitUsage
	}
	c := &call{ctx: ctx, System: sys}
	if err := parsed.Run(c); err != nil {
		fmt.Fprintln(sys.Stderr, "postrider:", err)
		var usage usageError
		if errors.As(err, &usage) {
			return exitUsage
		}
		return exitError
	}
	return c.code
}

// usageError is a command line that cannot be meant.
type usageError struct{ error }

func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

var oneDash = regexp.MustCompile(`^-[a-z][a-z-]+(=.*)?$`)

// longFlags lets a flag be written with one dash, as the other programs' are:
// -json. No command has short flags that could be joined, but for -h.
func longFlags(args []string) []string {
	out := make([]string, len(args))
	for i, a := range args {
		if a == "--" {
			copy(out[i:], args[i:])
			return out
		}
		if oneDash.MatchString(a) {
			a = "-" + a
		}
		out[i] = a
	}
	return out
}

// printJSON writes v indented.
func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
