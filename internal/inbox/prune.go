package inbox

import (
	"context"
	"time"
)

// Pruner deletes what is old.
type Pruner interface {
	// PruneOld deletes at most limit notifications that were made more than keep
	// ago, in the order of the streams' names from after on, and returns how many
	// and where to go on; fewer than limit mean the end. A stream's sequence goes
	// on where it was.
	PruneOld(ctx context.Context, keep time.Duration, after string, limit int) (n int, next string, err error)
}
