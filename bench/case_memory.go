package main

import (
	"context"
	"fmt"
	"time"
)

// memory is what a job costs Redis while it waits: the growth of used_memory,
// with no client connected before and after.
func memory(s sizes) benchCase {
	return benchCase{
		name: "memory", about: fmt.Sprintf("Redis memory a job, with %d jobs waiting", s.memory),
		rows: []row{
			{Name: "memory of a pending job", Unit: "bytes", Less: true, Goals: []goal{{ours, bullmq, 1}}},
			{Name: "memory of a delayed job", Unit: "bytes", Less: true},
		},
		contestants: []contestant{postrider, postriderPostgres, plainAsynq, bullmqQueue, beeQueueQueue},
		run: func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
			pending, err := b.weigh(ctx, c, s.memory, map[string]any{"jobs": s.memory, "bulk": 1000})
			if err != nil {
				return nil, err
			}
			hour := float64(time.Hour.Milliseconds())
			delayed, err := b.weigh(ctx, c, s.memory, map[string]any{"jobs": s.memory, "callers": 50, "delay": hour})
			return []float64{pending, delayed}, err
		},
	}
}

// weigh puts jobs in and returns the bytes that each takes.
func (b *bench) weigh(ctx context.Context, c contestant, jobs int, how map[string]any) (float64, error) {
	spec, err := b.setUp(ctx, c)
	if err != nil {
		return 0, err
	}
	before, err := b.redis.Memory(ctx)
	if err != nil {
		return 0, err
	}
	a, err := b.start(ctx, c, spec)
	if err != nil {
		return 0, err
	}
	defer a.Close()
	if err := a.Do(ctx, "add", how, nil); err != nil {
		return 0, err
	}
	if err := a.Do(ctx, "flush", nil, nil); err != nil {
		return 0, err
	}
	if err := a.Close(); err != nil {
		return 0, err
	}
	// Redis frees a client's buffers in its own time, a few times a second.
	if err := sleep(ctx, 300*time.Millisecond); err != nil {
		return 0, err
	}
	after, err := b.redis.Memory(ctx)
	return float64(after-before) / float64(jobs), err
}
