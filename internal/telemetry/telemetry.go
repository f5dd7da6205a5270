// Package telemetry makes what shows how a process fares: its logger, its
// metrics registry, and the health pages that an orchestrator asks.
//
// Nothing here is global: each process, and each test, has its own.
package telemetry

import (
	"errors"
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

// Shared registers a collector, or returns the one of the same metrics that
// another part of the process has registered. Without a registry it is the one
// that was given, for nobody to see.
func Shared[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	if reg == nil {
		return c
	}
	var taken prometheus.AlreadyRegisteredError
	if err := reg.Register(c); errors.As(err, &taken) {
		if there, ok := taken.ExistingCollector.(C); ok {
			return there
		}
	}
	return c
}
