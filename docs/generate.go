//go:build ignore

// Command generate writes the tables that come from the code into the
// documentation, each between its two marks. Run it with `make generate`.
package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/postrider/postrider/internal/app"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "writing the tables:", err)
		os.Exit(1)
	}
}

// run names files as seen from internal/app, whose go:generate runs this.
func run() error {
	if err := write("../../README.md", "settings", app.SettingsTable()); err != nil {
		return err
	}
	metrics, err := app.MetricsTable(context.Background())
	if err != nil {
		return err
	}
	return write("../../docs/metrics.md", "metrics", metrics)
}

// write puts the table in the place of the one that the file has.
func write(file, what, table string) error {
	begin, end := "<!-- "+what+": written by make generate -->\n", "<!-- end of "+what+" -->"
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s lacks the marks %q and %q", file, begin, end)
	}
	return os.WriteFile(file, []byte(before+begin+table+end+after), 0o644)
}
