package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// documented are the metrics that docs/metrics.md lists: ours, those that
// asynqmon asks for, and those of the database's pools.
var documented = regexp.MustCompile(`^(postrider|asynq|go_sql)_`)

// MetricsTable is every metric of every process, as Markdown. It starts each of
// them for a moment, on a database and a Redis of its own.
func MetricsTable(ctx context.Context) (string, error) {
	known := map[string]*documentedMetric{}
	for _, role := range []Role{API, Worker, Scheduler} {
		if err := describe(ctx, role, known); err != nil {
			return "", fmt.Errorf("starting the %s: %w", role.Name, err)
		}
	}
	var out strings.Builder
	out.WriteString("| metric | labels | of | what it tells |\n| --- | --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(known)) {
		m := known[name]
		of := strings.Join(m.roles, ", ")
		if len(m.roles) == 3 {
			of = "all"
		}
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n", name, labels, of, strings.ReplaceAll(m.help, "|", `\|`))
	}
	return out.String(), nil
}

// documentedMetric is one as its processes register it.
type documentedMetric struct {
	help   string
	labels []string
	roles  []string
}

// describe adds what a process registers.
func describe(ctx context.Context, role Role, known map[string]*documentedMetric) (err error) {
	dir, err := os.MkdirTemp("", "postrider-metrics")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	cfg, _, err := Load(Dev, []string{
		"POSTRIDER_DATA_DIR=" + dir, "POSTRIDER_HTTP_ADDR=127.0.0.1:0",
		"SMTP_URL=smtp://127.0.0.1:1?tls=none", // nothing is sent
		"POSTRIDER_BOUNCE_ADDR=127.0.0.1:0", "POSTRIDER_BOUNCE_DOMAIN=bounces.example.com",
		"POSTRIDER_SECRET=" + strings.Repeat("0", 32),
	})
	if err != nil {
		return err
	}
	a, err := New(ctx, role, cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, a.Stop(ctx)) }()
	if err := a.Start(); err != nil {
		return err
	}
	return a.describe(known)
}

func (a *App) describe(known map[string]*documentedMetric) error {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		a.reg.Describe(descs)
	}()
	var err error
	for d := range descs { // to its end, whatever it brings
		name, m, wrong := parseDesc(d)
		if wrong != nil {
			err = wrong
			continue
		}
		if !documented.MatchString(name) {
			continue
		}
		if known[name] == nil {
			known[name] = &m
		}
		if of := &known[name].roles; !slices.Contains(*of, a.role.Name) {
			*of = append(*of, a.role.Name)
		}
	}
	return err
}

// descPattern is how a Desc shows itself, which is all that it does.
var descPattern = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), (?:unit: "[^"]*", )?constLabels: \{(.*)\}, variableLabels: \{(.*)\}\}$`)

func parseDesc(d *prometheus.Desc) (name string, m documentedMetric, err error) {
	parts := descPattern.FindStringSubmatch(d.String())
	if parts == nil {
		return "", m, fmt.Errorf("a metric describes itself strangely: %s", d)
	}
	if name, err = strconv.Unquote(parts[1]); err != nil {
		return "", m, fmt.Errorf("reading a metric's name: %w", err)
	}
	if m.help, err = strconv.Unquote(parts[2]); err != nil {
		return "", m, fmt.Errorf("reading what %s tells: %w", name, err)
	}
	for _, label := range strings.Split(parts[3]+","+parts[4], ",") {
		if label, _, _ = strings.Cut(label, "="); label != "" {
			m.labels = append(m.labels, label)
		}
	}
	return name, m, nil
}
