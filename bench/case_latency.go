package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Who is idle, and who is to be on time. Producer and worker are two processes
// on one clock; a job carries when it was put in, by a call that began then.

var punctual = []contestant{postrider, postriderPostgres, plainAsynq, bullmqQueue, beeQueueQueue}

// pickup is how long a job waits on an idle queue. The gaps between the jobs are
// random, and for one that polls as long as its interval, so that the jobs are
// not in step with it. It needs fewer: its times spread evenly over the interval.
func pickup(s sizes) benchCase {
	return benchCase{
		name: "pickup", about: fmt.Sprintf("from the call to the handler's start on an idle queue, %d jobs (%d where it polls)", s.pickups, s.polled),
		rows: []row{
			{Name: "pickup, p50", Unit: "ms", Less: true, Goals: []goal{{ours, bullmq, 0.5}}},
			{Name: "pickup, p99", Unit: "ms", Less: true, Goals: []goal{{ours, bullmq, 0.5}}},
		},
		contestants: punctual,
		run: func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
			w, err := b.attentive(ctx, c, 10, s.warmFor(c))
			if err != nil {
				return nil, err
			}
			defer w.close()
			samples, longest := s.pickups, s.gapMS
			if c.polls {
				samples, longest = s.polled, s.pollMS
			}
			for i := range samples {
				gap := 20 + rand.IntN(longest)
				if err := sleep(ctx, time.Duration(gap)*time.Millisecond); err != nil {
					return nil, err
				}
				if err := w.adder.Do(ctx, "add", map[string]any{"jobs": 1}, nil); err != nil {
					return nil, err
				}
				if _, err := w.await(ctx, func(r work) bool { return r.Done > i }); err != nil {
					return nil, err
				}
			}
			late, err := w.lateness(ctx)
			if err != nil {
				return nil, err
			}
			return []float64{percentile(late, 50), percentile(late, 99)}, w.close()
		},
	}
}

// delayed is how much later than its time a delayed job begins.
func delayed(s sizes) benchCase {
	return benchCase{
		name: "delayed", about: fmt.Sprintf("lateness of %d jobs that are put in with a delay of %v ms, concurrency 100", s.delayed, s.delayMS),
		rows: []row{
			{Name: "delayed, lateness p50", Unit: "ms", Less: true},
			{Name: "delayed, lateness p99", Unit: "ms", Less: true, Goals: []goal{{ours, bullmq, 1. / 3}}},
			{Name: "delayed, the earliest", Unit: "ms", Goals: []goal{{Who: ours, Factor: 0}, {Who: oursPG, Factor: 0}}},
		},
		contestants: append(slices.Clone(punctual), riverQueue),
		run: func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
			w, err := b.attentive(ctx, c, 100, s.warmFor(c))
			if err != nil {
				return nil, err
			}
			defer w.close()
			if err := w.adder.Do(ctx, "add", map[string]any{"jobs": s.delayed, "callers": 50, "delay": s.delayMS}, nil); err != nil {
				return nil, err
			}
			if _, err := w.await(ctx, func(r work) bool { return r.Done >= s.delayed }); err != nil {
				return nil, err
			}
			late, err := w.lateness(ctx)
			if err != nil {
				return nil, err
			}
			for i := range late {
				late[i] -= s.delayMS
			}
			return []float64{percentile(late, 50), percentile(late, 99), slices.Min(late)}, w.close()
		},
	}
}

// attentive gathers a crew that records when each job begins.
func (b *bench) attentive(ctx context.Context, c contestant, concurrency, warm int) (*crew, error) {
	spec, err := b.setUp(ctx, c)
	if err != nil {
		return nil, err
	}
	w, err := b.gather(ctx, c, crewSize{concurrency: concurrency, processes: 1, warm: warm, record: true}, spec, spec)
	if err != nil {
		return nil, err
	}
	// A caller's first single call is not its last bulk call: warm that way too.
	if err := w.adder.Do(ctx, "add", map[string]any{"jobs": 50, "callers": 10}, nil); err != nil {
		return nil, joinClose(err, w)
	}
	if _, err := w.await(ctx, func(r work) bool { return r.Done >= warm+50 }); err != nil {
		return nil, joinClose(err, w)
	}
	if err := w.tell(ctx, "reset"); err != nil {
		return nil, joinClose(err, w)
	}
	return w, nil
}
