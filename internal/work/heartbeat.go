package work

import (
	"context"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Heartbeat writes a line into the log.
func Heartbeat() Binding {
	return On(tasks.LogHeartbeat, func(_ context.Context, run *Run, h *tasks.Heartbeat) job.Outcome {
		run.Log.Info("heartbeat", "message", h.Message)
		return job.Succeeded("logged")
	})
}
