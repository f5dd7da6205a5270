// Command api accepts jobs over HTTP and answers what became of them.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"

	"github.com/postrider/postrider/internal/app"
)

func main() { os.Exit(run()) }

func run() int {
	check := flag.Bool("check-config", false, "print the settings, secrets hidden, and what is wrong with them")
	flag.Parse()
	sys := app.System{Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	if *check {
		return app.CheckConfig(app.API, sys)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	return app.Run(ctx, app.API, sys)
}
