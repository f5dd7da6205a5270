package inbox

import (
	"context"
	"time"
)

// Pruner empties inboxes that nothing comes to any more.
type Pruner interface {
	// PruneInactive deletes at most limit notifications of streams that had no
	// new one for idle, in the order of the streams' names from after on, and
	// returns how many and where to go on; fewer than limit mean the end. A
	// stream's sequence goes on where it was when something comes after all.
	PruneInactive(ctx context.Context, idle time.Duration, after string, limit int) (n int, next string, err error)
}
