package work

import (
	"context"
	"time"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Noop sleeps as long as a durable job asks.
func Noop() Binding { return On(tasks.Noop, sleep) }

// NoopEphemeral sleeps as long as an ephemeral job asks.
func NoopEphemeral() Binding { return On(tasks.NoopEphemeral, sleep) }

func sleep(ctx context.Context, _ *Run, n *tasks.Nothing) job.Outcome {
	if n.SleepMS == 0 {
		return job.Succeeded("")
	}
	timer := time.NewTimer(time.Duration(n.SleepMS) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-timer.C:
		return job.Succeeded("slept %d ms", n.SleepMS)
	case <-ctx.Done():
		return Interrupted(ctx.Err())
	}
}
