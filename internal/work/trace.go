package work

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/telemetry"
)

// trace begins a run's span in the trace that its job was accepted in, which all
// its runs are part of. A job that was not traced then is not traced now.
func (w *Worker) trace(ctx context.Context, j job.Job, began time.Time) (context.Context, telemetry.Span) {
	ctx, span := w.tracer.Resume(ctx, j.Trace, "run", began)
	if span.Recorded() {
		span.Name("run " + w.typeLabel(j.Type))
		span.Set("postrider.job", string(j.ID))
		span.Set("postrider.queue", j.Queue)
		span.Set("postrider.worker", w.name)
		span.SetInt("postrider.run", j.Runs)
		span.SetInt("postrider.attempt", j.Attempts+1)
	}
	return ctx, span
}

// traceOutcome tells what the run came to. Its words may hold addresses, and
// stay in the job's history.
func traceOutcome(span telemetry.Span, o job.Outcome) {
	if !span.Recorded() {
		return
	}
	span.Set("postrider.outcome", string(o.Kind))
	if o.ReplyCode != 0 {
		span.SetInt("postrider.reply_code", o.ReplyCode)
	}
	switch o.Kind {
	case job.OutcomeTemporary, job.OutcomePermanent, job.OutcomeAmbiguous, left:
		span.Fail(string(o.Kind))
	}
}
