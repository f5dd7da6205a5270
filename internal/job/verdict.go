package job

import (
	"context"
	"time"
)

// Handler carries out what the engine brings.
type Handler interface {
	// Handle works on a task until it is settled, refused or the context
	// ends, and says what the engine shall do with it. It never panics.
	Handle(ctx context.Context, t Task) Verdict
}

// Verdict is what the engine is told about a task that was brought. The zero
// value acknowledges it: the task goes.
type Verdict struct {
	Again  bool          // bring it again
	After  time.Duration // not before that time has passed, and never early
	Reason string        // a short word for people who look at the queue
	// Err is the failure of an ephemeral task, to which the engine's own
	// retries apply; Skip with it ends the task at once.
	Err  error
	Skip bool
}
