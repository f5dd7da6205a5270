//go:build ignore

// Command settings writes the table of settings into README.md, between its
// two marks. Run it with `make generate`.
package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/postrider/postrider/internal/app"
)

const (
	file  = "../../README.md" // seen from internal/app, whose go:generate runs this
	begin = "<!-- settings: written by make generate -->\n"
	end   = "<!-- end of settings -->"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "writing the settings:", err)
		os.Exit(1)
	}
}

func run() error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		return fmt.Errorf("%s lacks the marks %q and %q", file, begin, end)
	}
	return os.WriteFile(file, []byte(before+begin+app.SettingsTable()+end+after), 0o644)
}
