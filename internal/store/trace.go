package store

import (
	"context"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/telemetry"
)

// child is the span of what is asked of the database for a trace, if ctx is part
// of one. A call that shares a transaction has waited for it in that time, too.
func child(ctx context.Context, op string) (context.Context, telemetry.Span) {
	ctx, span := telemetry.Child(ctx, op)
	span.Set("db.operation.name", op)
	return ctx, span
}

// endChild ends it; of an error only the code is told.
func endChild(span telemetry.Span, err error) {
	if err != nil && span.Recorded() {
		span.Fail(string(job.CodeOf(coded("", err))))
	}
	span.End()
}
