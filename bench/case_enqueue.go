package main

import (
	"context"
	"fmt"
)

// What goes in: each job is answered for before the next, by one caller; the
// same by fifty; and by the library's bulk call, a thousand at a time.

var enqueuers = []contestant{postrider, postriderPostgres, postriderSQLite, plainAsynq, bullmqQueue, beeQueueQueue}

func enqueueOne(s sizes) benchCase {
	return enqueue("enqueue-one", fmt.Sprintf("one caller puts in %d jobs one by one", s.one), s.one,
		map[string]any{"callers": 1}, enqueuers)
}

func enqueueCallers(s sizes) benchCase {
	return enqueue("enqueue-callers", fmt.Sprintf("50 callers put in %d jobs one by one", s.callers), s.callers,
		map[string]any{"callers": 50}, enqueuers, goal{ours, bullmq, 2.5}, goal{ours, beeQueue, 1})
}

// asynq has no bulk call.
func enqueueBulk(s sizes) benchCase {
	return enqueue("enqueue-bulk", fmt.Sprintf("one caller puts in %d jobs, 1,000 a call", s.bulk), s.bulk,
		map[string]any{"bulk": 1000}, []contestant{postrider, postriderPostgres, postriderSQLite, bullmqQueue, beeQueueQueue},
		goal{ours, bullmq, 4})
}

func enqueue(name, about string, jobs int, how map[string]any, who []contestant, goals ...goal) benchCase {
	return benchCase{
		name: name, about: about, contestants: who,
		rows: []row{{Name: name, Unit: "jobs/s", Goals: goals}},
		run: func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
			spec, err := b.setUp(ctx, c)
			if err != nil {
				return nil, err
			}
			a, err := b.start(ctx, c, spec)
			if err != nil {
				return nil, err
			}
			defer a.Close()
			how["jobs"] = max(jobs/20, 50)
			if err := a.Do(ctx, "add", how, nil); err != nil { // warms the program up
				return nil, err
			}
			how["jobs"] = jobs
			var took struct{ MS float64 }
			if err := a.Do(ctx, "add", how, &took); err != nil {
				return nil, err
			}
			if err := a.Do(ctx, "flush", nil, nil); err != nil {
				return nil, err
			}
			return []float64{float64(jobs) / took.MS * 1000}, a.Close()
		},
	}
}
