package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/postrider/postrider/bench/peers"
	"github.com/postrider/postrider/bench/stage"
)

type crewSize struct {
	concurrency, processes int
	warm                   int  // jobs before the measuring
	record                 bool // when each job begins
}

// crew is a contestant's processes: one that puts jobs in and some that carry
// them out. Where one process has to do both it is the same.
type crew struct {
	adder   *stage.Actor
	workers []*stage.Actor
	slots   int // of all workers together
	once    sync.Once
	closed  error
}

// gather starts a crew, with where each finds its servers, and has it do some
// jobs, after which its code is compiled and its connections are there.
func (b *bench) gather(ctx context.Context, c contestant, size crewSize, adder, worker peers.Spec) (_ *crew, err error) {
	w := &crew{slots: size.concurrency * size.processes}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.close())
		}
	}()
	for range size.processes {
		a, err := b.start(ctx, c, worker)
		if err != nil {
			return nil, err
		}
		w.workers = append(w.workers, a)
	}
	if c.single() {
		w.adder = w.workers[0]
	} else if w.adder, err = b.start(ctx, c, adder); err != nil {
		return nil, err
	}
	for _, a := range w.workers {
		if err := a.Do(ctx, "work", map[string]any{"concurrency": size.concurrency, "record": size.record}, nil); err != nil {
			return nil, err
		}
	}
	if err := w.add(ctx, map[string]any{"jobs": size.warm, "bulk": 1000}); err != nil {
		return nil, err
	}
	if _, err := w.await(ctx, func(r work) bool { return r.Done >= size.warm }); err != nil {
		return nil, fmt.Errorf("warming up: %w", err)
	}
	return w, nil
}

// work is what workers tell of themselves, together.
type work struct {
	Done, Gated int
	Last        float64 // Unix time in milliseconds of the last job
}

// await asks the workers until they have done what is waited for.
func (w *crew) await(ctx context.Context, enough func(work) bool) (work, error) {
	for {
		var all work
		for _, a := range w.workers {
			var one work
			if err := a.Do(ctx, "report", nil, &one); err != nil {
				return all, err
			}
			all = work{all.Done + one.Done, all.Gated + one.Gated, max(all.Last, one.Last)}
		}
		if enough(all) {
			return all, nil
		}
		if err := sleep(ctx, 10*time.Millisecond); err != nil {
			return all, fmt.Errorf("waiting for the workers, who have done %d jobs and hold %d: %w", all.Done, all.Gated, err)
		}
	}
}

// add puts jobs in and returns when they can be taken out.
func (w *crew) add(ctx context.Context, how map[string]any) error {
	if err := w.adder.Do(ctx, "add", how, nil); err != nil {
		return err
	}
	return w.adder.Do(ctx, "flush", nil, nil)
}

// tell gives all workers a command.
func (w *crew) tell(ctx context.Context, op string) error {
	for _, a := range w.workers {
		if err := a.Do(ctx, op, nil, nil); err != nil {
			return err
		}
	}
	return nil
}

// drained is how many jobs were done in which time.
type drained struct {
	jobs int
	took time.Duration
}

// drain holds all slots, puts jobs in behind that, lets go, and measures until
// enough of them are done. If that is not all, others still run when it returns,
// and the crew is of no more use.
func (w *crew) drain(ctx context.Context, jobs, enough int) (d drained, err error) {
	if err := w.tell(ctx, "reset"); err != nil {
		return d, err
	}
	if err := w.add(ctx, map[string]any{"jobs": w.slots, "bulk": 1000, "subject": peers.Gate}); err != nil {
		return d, err
	}
	if _, err := w.await(ctx, func(r work) bool { return r.Gated == w.slots }); err != nil {
		return d, fmt.Errorf("holding all slots: %w", err)
	}
	if err := w.add(ctx, map[string]any{"jobs": jobs, "bulk": 1000}); err != nil {
		return d, err
	}
	began := float64(time.Now().UnixMicro()) / 1000
	if err := w.tell(ctx, "go"); err != nil {
		return d, err
	}
	r, err := w.await(ctx, func(r work) bool { return r.Done >= enough })
	if err != nil {
		return d, err
	}
	if r.Done > jobs {
		return d, fmt.Errorf("%d jobs were put in and %d carried out", jobs, r.Done)
	}
	return drained{r.Done, time.Duration((r.Last - began) * float64(time.Millisecond))}, nil
}

// lateness is what the workers recorded since their reset, in milliseconds.
func (w *crew) lateness(ctx context.Context) ([]float64, error) {
	var all []float64
	for _, a := range w.workers {
		var one struct{ Lateness []float64 }
		if err := a.Do(ctx, "lateness", nil, &one); err != nil {
			return nil, err
		}
		all = append(all, one.Lateness...)
	}
	return all, nil
}

// close ends all processes in good order. It may be called again.
func (w *crew) close() error {
	w.once.Do(func() {
		if w.adder != nil {
			w.closed = w.adder.Close()
		}
		for _, a := range w.workers {
			w.closed = errors.Join(w.closed, a.Close())
		}
	})
	return w.closed
}

// sleep waits, unless ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// joinClose ends a crew that is of no use any more because of err.
func joinClose(err error, w *crew) error { return errors.Join(err, w.close()) }
