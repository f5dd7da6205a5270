// Command postrider is all of Postrider in one process, and the operator's
// commands.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/postrider/postrider/internal/app"
)

type commands struct {
	Dev     process `cmd:"" help:"Run everything in this process, with an embedded Redis, SQLite and a mail catcher unless settings say otherwise."`
	Serve   process `cmd:"" help:"Run everything in this process, on the Redis, the database and the mail server of the settings."`
	Migrate migrate `cmd:"" help:"Bring the database's schema up to date."`
}

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	sys := app.System{Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	code := 0
	c := commands{Dev: process{role: app.Dev}, Serve: process{role: app.Serve}}
	parsed := kong.Parse(&c, kong.Name("postrider"), kong.Description("Postrider sends: mails and notifications, now, later or on a schedule."),
		kong.UsageOnError(), kong.Bind(sys, &code), kong.BindTo(ctx, (*context.Context)(nil)))
	parsed.FatalIfErrorf(parsed.Run())
	return code
}

// process is a command that runs until it is told to stop.
type process struct {
	CheckConfig bool `help:"Print the settings, secrets hidden, and what is wrong with them."`

	role app.Role
}

func (p *process) Run(ctx context.Context, sys app.System, code *int) error {
	if p.CheckConfig {
		*code = app.CheckConfig(p.role, sys)
	} else {
		*code = app.Run(ctx, p.role, sys)
	}
	return nil
}

type migrate struct{}

func (migrate) Run(ctx context.Context, sys app.System, code *int) error {
	*code = app.Migrate(ctx, sys)
	return nil
}
