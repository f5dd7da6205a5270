package work

import (
	"context"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/tasks"
)

// Notification puts a job's notification into its stream: the row is written
// together with the job's outcome, so it is there exactly once. What its
// receiver has gathered goes into a digest instead.
func Notification(prefs *recipient.Service) Binding {
	return On(tasks.NotificationSend, func(ctx context.Context, run *Run, n *tasks.Notification) job.Outcome {
		if o, ended := preferred(ctx, run, prefs.Notifications, n, func() (gathered, error) {
			return gathered{n.Category, n.Message, ""}, nil
		}); ended {
			return o
		}
		o := job.Succeeded("put into the stream %s", n.Stream())
		o.Effects = []job.Effect{inbox.Notification{
			ID: run.Job.ID, Stream: n.Stream(), Type: n.Type, Message: n.Message, Data: n.Data,
			Trace: telemetry.Traceparent(ctx),
		}}
		return o
	})
}
