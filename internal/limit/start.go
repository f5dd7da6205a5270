package limit

import (
	"context"
	"time"
)

// take asks for a start now. Otherwise After is how long it is until the job's
// own time, which is kept for it if it is to be.
func (f *Fleet) take(ctx context.Context, d *door, id string, keep bool) (Pass, error) {
	ctx, cancel := context.WithTimeout(ctx, fleetAnswer)
	defer cancel()
	// What begins is a little later than what was allowed to: the window is
	// made 5 % longer, so that the rate is kept where it is felt, and the jobs'
	// own times 1 % further apart, so that one in time finds room.
	window := d.pace.window + d.pace.window/20
	gap := (window + d.pace.window/100) / time.Duration(d.pace.starts)
	wait, err := takeScript.Run(ctx, f.rdb, []string{d.starts, d.slots}, d.pace.starts, window.Microseconds(),
		float64(gap)/float64(time.Microsecond), id, brief.Microseconds(), lapse.Microseconds(), keep).Int64()
	switch {
	case err != nil:
		return Pass{}, err
	case wait > 0:
		return Pass{After: time.Duration(wait) * time.Microsecond}, nil
	}
	return Pass{Leave: open.Leave, undo: func() { f.undo(d, id, -wait) }}, nil
}

// undo gives a start back. If Redis does not hear of it, nobody had it.
func (f *Fleet) undo(d *door, id string, start int64) {
	ctx, cancel := context.WithTimeout(context.Background(), fleetAnswer)
	defer cancel()
	if err := undoScript.Run(ctx, f.rdb, []string{d.starts, d.slots}, start, id, lapse.Milliseconds()).Err(); err != nil {
		f.log.Debug("a start was not given back", "limit", d.name, "err", err)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
