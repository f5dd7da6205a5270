package main

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// What is planned for.
const (
	busy        = 0.6       // of a core is used at most
	hour        = 3600      // seconds of jobs may wait
	day         = 86_400    // seconds, for what is kept
	connections = 1_000_000 // at a time
	every       = 60        // seconds from one notification of a connection to the next
)

// rates are jobs a second.
var rates = []float64{1_000, 10_000, 100_000}

// tables writes Markdown.
type tables struct{ strings.Builder }

func (t *tables) row(name string, cells ...string) {
	fmt.Fprintf(t, "| %s | %s |\n", name, strings.Join(cells, " | "))
}

// of is a row of what each kind of job comes to.
func (t *tables) of(name string, costs []cost, cell func(cost) string) {
	cells := make([]string, len(costs))
	for i, c := range costs {
		cells[i] = cell(c)
	}
	t.row(name, cells...)
}

func (t *tables) head(title string, costs []cost) {
	fmt.Fprintf(t, "\n%s\n\n", title)
	t.of("", costs, func(c cost) string { return c.name })
	t.of("---", costs, func(cost) string { return "---:" })
}

// tell writes the tables.
func tell(w io.Writer, costs []cost, l live, jobs int) error {
	t := &tables{}
	t.costs(costs, jobs)
	for _, rate := range rates {
		t.needs(costs, rate)
	}
	t.live(l)
	_, err := io.WriteString(w, t.String())
	return err
}

// costs is what one job takes.
func (t *tables) costs(costs []cost, jobs int) {
	t.head(fmt.Sprintf("What one job costs, of %d of each kind; accepted from %d callers, run by one worker with %d slots:", jobs, callers, slots), costs)
	pair := func(of func(usage) float64) func(cost) string {
		return func(c cost) string { return fmt.Sprintf("%.0f + %.0f", 1e6*of(c.accept), 1e6*of(c.run)) }
	}
	t.of("api, µs of processor time", costs, func(c cost) string { return fmt.Sprintf("%.0f", 1e6*c.accept.api) })
	t.of("worker, µs", costs, func(c cost) string { return fmt.Sprintf("%.0f", 1e6*c.run.worker) })
	t.of("Redis, µs (accept + run)", costs, pair(func(u usage) float64 { return u.redis }))
	t.of("PostgreSQL, µs (accept + run)", costs, pair(func(u usage) float64 { return u.postgres }))
	t.of("Redis, bytes while it waits", costs, func(c cost) string { return fmt.Sprintf("%.0f", c.accept.waiting) })
	t.of("PostgreSQL, bytes kept when it is done", costs, func(c cost) string { return fmt.Sprintf("%.0f", c.kept) })
	t.of("PostgreSQL's log, bytes", costs, func(c cost) string { return fmt.Sprintf("%.0f", c.accept.log+c.run.log) })
}

// needs is what a rate of jobs takes: the costs times the rate.
func (t *tables) needs(costs []cost, rate float64) {
	t.head(fmt.Sprintf("%.0f jobs a second need (cores = rate × seconds of processor time / %v, bytes = rate × bytes × seconds):", rate, busy), costs)
	cores := func(of func(cost) float64) func(cost) string {
		return func(c cost) string { return up(rate * of(c) / busy) }
	}
	bytes := func(times, unit float64, of func(cost) float64) func(cost) string {
		return func(c cost) string { return up(rate * of(c) * times / unit) }
	}
	log := func(c cost) float64 { return c.accept.log + c.run.log }
	t.of("api, cores", costs, cores(func(c cost) float64 { return c.accept.api }))
	t.of("workers, cores", costs, cores(func(c cost) float64 { return c.run.worker }))
	t.of("Redis, cores (a node uses one)", costs, cores(func(c cost) float64 { return c.accept.redis + c.run.redis }))
	t.of("PostgreSQL, cores", costs, cores(func(c cost) float64 { return c.accept.postgres + c.run.postgres }))
	t.of("Redis, GB while an hour of jobs waits", costs, bytes(hour, 1e9, func(c cost) float64 { return c.accept.waiting }))
	t.of("PostgreSQL, GB kept a day", costs, bytes(day, 1e9, func(c cost) float64 { return c.kept }))
	t.of("PostgreSQL's log, MB a second", costs, bytes(1, 1e6, log))
}

// live is what connections take.
func (t *tables) live(l live) {
	fmt.Fprintf(t, "\n%d connections need, each told something every %d s, by the case %s at commit %s:\n\n", connections, every, liveCase, l.commit)
	t.row("", "each", "all")
	t.row("---", "---:", "---:")
	memory := func(each float64) []string {
		return []string{fmt.Sprintf("%.1f KiB", each/1024), up(each*connections/(1<<30)) + " GiB"}
	}
	t.row("api, memory after a collection", memory(l.idle)...)
	t.row("api, memory before it", memory(l.busy)...)
	t.row("api, processor time", fmt.Sprintf("%.1f µs a delivery", 1e6*l.delivery), up(l.delivery*connections/every/busy)+" cores")
}

// up rounds up to two digits, so that a need is never told smaller than it is.
func up(f float64) string {
	if f <= 0 {
		return "0"
	}
	digits := 1 - int(math.Floor(math.Log10(f))) // behind the point; fewer than none for f over 99
	unit := math.Pow(10, float64(-digits))
	return fmt.Sprintf("%.*f", max(digits, 0), math.Ceil(f/unit-1e-9)*unit) // less what a product is too large by
}
