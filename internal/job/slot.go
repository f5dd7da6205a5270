package job

import "context"

type slotKey struct{}

// WithSlot is for engines: it makes FreeSlot, with the context that is
// returned or one below it, call free.
func WithSlot(ctx context.Context, free func()) context.Context {
	return context.WithValue(ctx, slotKey{}, free)
}

// FreeSlot tells the engine that a task's work is over and only its outcome
// still has to be recorded, so that another task may begin: a queue's
// concurrency bounds the work. It may be called more than once, and is nothing
// to an engine that does not care.
func FreeSlot(ctx context.Context) {
	if free, ok := ctx.Value(slotKey{}).(func()); ok {
		free()
	}
}
