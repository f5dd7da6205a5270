package work

import (
	"context"
	"log/slog"
)

// runLog adds the ids of job, run and trace to what is logged. Most runs log nothing:
// slog's With would write the ids out all the same, for each run.
type runLog struct {
	slog.Handler
	run *Run
}

func (l runLog) named() slog.Handler {
	j := &l.run.Job
	attrs := []slog.Attr{slog.String("job", string(j.ID)), slog.String("type", j.Type), slog.Int("run", j.Runs)}
	if id := l.run.span.TraceID(); id != "" {
		attrs = append(attrs, slog.String("trace", id))
	}
	return l.Handler.WithAttrs(attrs)
}

// Handle implements slog.Handler.
func (l runLog) Handle(ctx context.Context, r slog.Record) error { return l.named().Handle(ctx, r) }

// WithAttrs implements slog.Handler.
func (l runLog) WithAttrs(attrs []slog.Attr) slog.Handler { return l.named().WithAttrs(attrs) }

// WithGroup implements slog.Handler.
func (l runLog) WithGroup(name string) slog.Handler { return l.named().WithGroup(name) }
