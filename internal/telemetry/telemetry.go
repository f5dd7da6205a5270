// Package telemetry makes what shows how a process fares: its logger, its
// metrics registry, and the health pages that an orchestrator asks.
//
// Nothing here is global: each process, and each test, has its own.
package telemetry

import (
	"fmt"
	"io"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// Config says how to log.
type Config struct {
	Format Format     `env:"POSTRIDER_LOG_FORMAT" envDefault:"text" help:"how log lines look: text or json"`
	Level  slog.Level `env:"POSTRIDER_LOG_LEVEL" envDefault:"info" help:"the least level that is logged: debug, info, warn or error"`
}

// Format is the form of log lines.
type Format string

// The forms there are.
const (
	Text Format = "text" // key=value, for people
	JSON Format = "json" // an object a line, for collectors
)

// UnmarshalText accepts text and json.
func (f *Format) UnmarshalText(b []byte) error {
	switch v := Format(b); v {
	case Text, JSON:
		*f = v
		return nil
	}
	return fmt.Errorf("%q is not a log format: want text or json", b)
}

// NewLogger returns a logger that writes to w; the zero Config logs text from
// level info.
func NewLogger(w io.Writer, cfg Config) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == JSON {
		return slog.New(slog.NewJSONHandler(w, opts))
	}
	return slog.New(slog.NewTextHandler(w, opts))
}

// NewRegistry returns a registry that already collects what Go's runtime and
// the operating system know of the process.
func NewRegistry() *prometheus.Registry {
	reg := prometheus.NewRegistry()
	reg.MustRegister(
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return reg
}
