package work

import (
	"context"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/tasks"
)

// Feedback writes down what became of mails, as a provider or a server told it.
// It may run again: what is known already changes nothing.
func Feedback(log mail.FeedbackLog, read feedback.Reader) Binding {
	return On(tasks.FeedbackReceive, func(ctx context.Context, _ *Run, f *tasks.Feedback) job.Outcome {
		var all []mail.Feedback
		if f.Provider == tasks.FeedbackMessage {
			all = read.Message(f.Rcpt, f.Message)
		} else {
			var err error
			if all, err = read.Events(f.Provider, f.Event); err != nil {
				return job.PermanentFailure("%v", err)
			}
		}
		if len(all) == 0 {
			return job.Succeeded("it tells of no delivery, bounce or complaint")
		}
		if err := log.Record(ctx, all...); err != nil {
			if ctx.Err() != nil {
				return Interrupted(err)
			}
			return job.TemporaryFailure("%v", err)
		}
		return job.Succeeded("%s: %d events", f.Provider, len(all))
	})
}
