package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// report is what a run tells.
type report struct {
	About []string `json:"about"` // machine and versions

	Absent []string  `json:"absent,omitempty"`
	Cases  []*result `json:"cases"`
}

// keep writes the figures, the table and the plot into dir and prints the table.
// Cases that an earlier run measured on the same machine with the same versions,
// and this one did not, stay: each line of what it said of them still holds.
func (r *report) keep(dir string, stdout io.Writer) error {
	if len(r.Cases) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the results' folder: %w", err)
	}
	file := filepath.Join(dir, "results.json")
	if err := r.merge(file); err != nil {
		return err
	}
	raw, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return fmt.Errorf("encoding the results: %w", err)
	}
	var table, plot strings.Builder
	err = errors.Join(r.markdown(&table), r.svg(&plot))
	for name, text := range map[string]string{
		file: string(raw) + "\n", filepath.Join(dir, "results.md"): table.String(), filepath.Join(dir, "results.svg"): plot.String(),
	} {
		if writeErr := os.WriteFile(name, []byte(text), 0o644); writeErr != nil {
			err = errors.Join(err, fmt.Errorf("writing the results: %w", writeErr))
		}
	}
	fmt.Fprint(stdout, table.String())
	return err
}

// merge takes the cases of the earlier run over, in the order of all cases.
func (r *report) merge(file string) error {
	raw, err := os.ReadFile(file)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var old report
	if err == nil {
		err = json.Unmarshal(raw, &old)
	}
	if err != nil {
		return fmt.Errorf("reading the earlier results: %w", err)
	}
	if slices.ContainsFunc(old.About, func(line string) bool { return !slices.Contains(r.About, line) }) {
		return nil
	}
	all := map[string]*result{}
	for _, c := range append(old.Cases, r.Cases...) {
		all[c.Name] = c
	}
	r.Cases = nil
	for _, c := range allCases(full) {
		if got := all[c.name]; got != nil {
			r.Cases = append(r.Cases, got)
		}
	}
	return nil
}

// markdown writes the tables.
func (r *report) markdown(w io.Writer) error {
	p := &printer{w: w}
	p.f("# Results\n\nPrinted by `make bench`; [how it is measured](../README.md). Each figure is the median of its rounds.\n\n")
	for _, line := range r.About {
		p.f("- %s\n", line)
	}
	for _, what := range r.Absent {
		p.f("- left out: %s\n", what)
	}
	for _, cases := range split(r.Cases) {
		figures(p, cases)
	}
	r.goals(p)
	p.f("\n| case | what | rounds | measured | Postrider | load average before |\n|---|---|---:|---|---|---|\n")
	for _, c := range r.Cases {
		p.f("| %s | %s | %d | %s | %s | %s |\n", c.Name, c.About, c.played(), c.When, c.Commit, c.Load)
	}
	return p.err
}

// split parts the queues' cases from the live ones, which have other contestants.
func split(cases []*result) [][]*result {
	queues, live := []*result{}, []*result{}
	for _, c := range cases {
		if strings.HasPrefix(c.Name, "live-") {
			live = append(live, c)
		} else {
			queues = append(queues, c)
		}
	}
	return slices.DeleteFunc([][]*result{queues, live}, func(part []*result) bool { return len(part) == 0 })
}

// figures writes the table of some cases.
func figures(p *printer, cases []*result) {
	who := contestants(cases)
	p.f("\n| measure | unit | better |")
	for _, c := range who {
		p.f(" %s |", c)
	}
	p.f("\n|---|---|---|%s\n", strings.Repeat("---:|", len(who)))
	for _, c := range cases {
		for i, row := range c.Rows {
			p.f("| %s | %s | %s |", row.Name, row.Unit, row.better())
			for _, name := range who {
				p.f(" %s |", number(median(c.column(name, i))))
			}
			p.f("\n")
		}
	}
}

// goals writes what was aimed at and what came of it.
func (r *report) goals(p *printer) {
	p.f("\nRatios are the median of the rounds' ratios, with the lowest and the highest.\n\n")
	p.f("| measure | ratio | aim | median | lowest – highest | met |\n|---|---|---:|---:|---:|---|\n")
	for _, c := range r.Cases {
		for i, row := range c.Rows {
			for _, g := range row.Goals {
				ratios := c.ratios(g, i)
				if len(ratios) == 0 {
					continue
				}
				sign, met, m := "≥", "no", median(ratios)
				if row.Less {
					sign = "≤"
				}
				if g.met(row, m) {
					met = "yes"
				}
				p.f("| %s | %s | %s %.2f | %.2f | %.2f – %.2f | %s |\n",
					row.Name, g, sign, g.Factor, m, slices.Min(ratios), slices.Max(ratios), met)
			}
		}
	}
}

// contestants are those that have figures, in the order of columns.
func contestants(cases []*result) []string {
	return slices.DeleteFunc(slices.Clone(columns), func(name string) bool {
		return !slices.ContainsFunc(cases, func(c *result) bool { return c.Figures[name] != nil })
	})
}

// played is the most rounds that a contestant has figures of.
func (r *result) played() int {
	n := 0
	for who := range r.Figures {
		n = max(n, len(r.column(who, 0)))
	}
	return n
}

func (r row) better() string {
	if r.Less {
		return "less"
	}
	return "more"
}

// printer remembers the first error, so that not each line has to.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) f(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}
