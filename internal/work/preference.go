package work

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/tasks"
)

// gathered is what a digest shows of a message.
type gathered struct{ category, title, text string }

// preferred asks what its recipient wants done with a message now, which may
// have changed since it was accepted; true comes with the outcome of a run that
// is not to deliver it. Nothing is charged for what waits. show is asked for what
// is gathered; its error is one of render.
func preferred(ctx context.Context, run *Run, c *recipient.Channel, payload tasks.Payload, show func() (gathered, error)) (job.Outcome, bool) {
	now := time.Now()
	d, err := c.Decide(ctx, payload, now)
	if err != nil {
		if ctx.Err() != nil {
			return Interrupted(err), true
		}
		return job.Outcome{Kind: job.OutcomeGivenBack, After: jittered(askAgain), Message: err.Error()}, true
	}
	switch d.Action {
	case recipient.Refuse:
		return job.Outcome{Kind: job.OutcomeSuppressed, Message: d.Reason}, true
	case recipient.Wait:
		return job.Outcome{Kind: job.OutcomeGivenBack, After: max(d.Until.Sub(now), minPause), Message: d.Reason}, true
	case recipient.Gather:
		g, err := show()
		if err != nil {
			return renderOutcome(ctx, err), true
		}
		o := job.Succeeded("%s", d.Reason)
		o.Effects = []job.Effect{d.Item(run.Job.ID, g.category, g.title, g.text)}
		return o, true
	}
	return job.Outcome{}, false
}
