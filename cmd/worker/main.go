// Command worker carries jobs out.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/postrider/postrider/internal/app"
)

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	sys := app.System{Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr}
	return app.Main(ctx, app.Worker, sys, os.Args[1:])
}
