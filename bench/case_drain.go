package main

import (
	"context"
	"fmt"
	"time"

	"github.com/postrider/postrider/bench/stage"
)

// What comes out: jobs wait in the queue, and workers carry them out that do
// nothing. All slots of all workers are held until all jobs are there, so that
// the clock starts with everybody ready (see crew).

func drain(s sizes, name string, concurrency, processes int, goals ...goal) benchCase {
	who := []contestant{postrider, postriderPostgres, plainAsynq, bullmqQueue, beeQueueQueue}
	if processes == 1 {
		who = append(who, postriderSQLite)
	}
	return benchCase{
		name:        name,
		about:       fmt.Sprintf("drain %d no-op jobs (%d durable ones), concurrency %d, processes %d", s.drain, s.durable, concurrency, processes),
		rows:        []row{{Name: name, Unit: "jobs/s", Goals: goals}},
		contestants: who,
		run: func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
			jobs := s.drain
			if c.sql != "" {
				jobs = s.durable // each takes longer
			}
			return b.drainOnce(ctx, c, crewSize{concurrency: concurrency, processes: processes, warm: s.warmFor(c)}, jobs)
		},
	}
}

// durable is the drain out of SQL alone, against one that is built on it.
func durable(s sizes) benchCase {
	return benchCase{
		name: "durable-100", about: fmt.Sprintf("drain %d durable no-op jobs, concurrency 100, processes 1", s.durable),
		rows:        []row{{Name: "durable-100", Unit: "jobs/s", Goals: []goal{{oursPG, river, 1}}}},
		contestants: []contestant{postriderPostgres, postriderSQLite, riverQueue},
		run: func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
			return b.drainOnce(ctx, c, crewSize{concurrency: 100, processes: 1, warm: s.warmFor(c)}, s.durable)
		},
	}
}

// distant is a drain with the workers 1 ms away from Redis.
func distant(s sizes) benchCase {
	return benchCase{
		name: "distant-100", about: fmt.Sprintf("drain %d no-op jobs, concurrency 100, 1 ms of round trip to Redis", s.distant),
		rows:        []row{{Name: "distant-100", Unit: "jobs/s", Goals: []goal{{ours, bullmq, 3}}}},
		contestants: []contestant{postrider, postriderPostgres, plainAsynq, bullmqQueue, beeQueueQueue},
		run: func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
			d, err := stage.NewDistance(b.redis.Addr, time.Millisecond)
			if err != nil {
				return nil, err
			}
			defer d.Close()
			return b.drainOnce(ctx, c, crewSize{concurrency: 100, processes: 1, warm: s.warmFor(c)}, s.distant, d.Addr)
		},
	}
}

// backlog asks whether a job costs more the more of them wait. The small backlogs
// are drained whole, the first of them again and again, since it is over before a
// clock can tell. Of the largest it takes the first jobs, as many as the one
// before has, behind which most still wait.
func backlog(s sizes) benchCase {
	c := benchCase{
		name: "backlog", about: fmt.Sprintf("drain backlogs of %v no-op jobs, of the last the first %d, concurrency 100", s.backlog, s.enough()),
		contestants: []contestant{postrider, plainAsynq, bullmqQueue, beeQueueQueue},
	}
	for _, n := range s.backlog {
		c.rows = append(c.rows, row{Name: fmt.Sprintf("backlog of %d", n), Unit: "jobs/s"})
	}
	c.rows = append(c.rows, row{
		Name: "backlog, cost of a job in the largest over the smallest", Unit: "×", Less: true,
		Goals: []goal{{Who: ours, Factor: 1.15}},
	})
	c.run = func(ctx context.Context, b *bench, c contestant) ([]float64, error) {
		spec, err := b.setUp(ctx, c)
		if err != nil {
			return nil, err
		}
		w, err := b.gather(ctx, c, crewSize{concurrency: 100, processes: 1, warm: s.warmFor(c)}, spec, spec)
		if err != nil {
			return nil, err
		}
		defer w.close()
		var figures []float64
		for _, n := range s.backlog {
			measured := min(n, s.enough())
			var jobs int
			var took time.Duration
			for jobs == 0 || jobs < s.enough()/5 {
				d, err := w.drain(ctx, n, measured)
				if err != nil {
					return nil, err
				}
				jobs, took = jobs+d.jobs, took+d.took
			}
			figures = append(figures, float64(jobs)/took.Seconds())
		}
		return append(figures, figures[0]/figures[len(figures)-1]), w.close()
	}
	return c
}

// enough is how many jobs of a backlog are measured at most.
func (s sizes) enough() int { return s.backlog[len(s.backlog)-2] }

// drainOnce sets up, drains and returns jobs a second; far is the address that
// the workers know Redis by, if not its own.
func (b *bench) drainOnce(ctx context.Context, c contestant, size crewSize, jobs int, far ...string) ([]float64, error) {
	spec, err := b.setUp(ctx, c)
	if err != nil {
		return nil, err
	}
	workers := spec
	for _, addr := range far {
		workers.Redis = addr
	}
	w, err := b.gather(ctx, c, size, spec, workers)
	if err != nil {
		return nil, err
	}
	defer w.close()
	d, err := w.drain(ctx, jobs, jobs)
	if err != nil {
		return nil, err
	}
	return []float64{float64(d.jobs) / d.took.Seconds()}, w.close()
}
