package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/postrider/postrider/bench/fleet"
)

// Whole processes, many of them: what more of them bring, and what they cost
// while there is nothing to do.

var (
	fleetEphemeral = contestant{name: ours, kind: "noop:ephemeral", sql: "postgres"}
	fleetDurable   = contestant{name: oursPG, kind: "noop", sql: "postgres"}
)

// fleetSizes are how much the cases with whole processes do.
type fleetSizes struct {
	settle, each time.Duration // before a figure is taken, and for it
	idle         int           // workers with nothing to do
}

// The handler of scale waits so long; a worker has so many slots for it. Eight
// workers then leave two cores some air.
const (
	scaleHandler = 50 * time.Millisecond
	scaleSlots   = 5
)

// starting is what the next workers may take to start while the others work.
const starting = 6 * time.Second

// scaleWorkers are how many there are, one after the other.
var scaleWorkers = []int{1, 2, 4, 8}

// ideal is what n workers do if nothing but the handler takes time.
func ideal(n int) float64 { return float64(n*scaleSlots) / scaleHandler.Seconds() }

// scale adds workers to a fleet that has enough to do.
func scale(s fleetSizes) benchCase {
	c := benchCase{
		name:        "scale",
		about:       fmt.Sprintf("whole worker processes with %d slots each for jobs that wait %v; more workers are added while jobs wait", scaleSlots, scaleHandler),
		contestants: []contestant{fleetEphemeral, fleetDurable},
	}
	for _, n := range scaleWorkers {
		c.rows = append(c.rows, row{Name: fmt.Sprintf("scale, %d workers (ideal %v)", n, ideal(n)), Unit: "jobs/s"})
	}
	c.rows = append(c.rows, row{
		Name: fmt.Sprintf("scale, share of the ideal with %d workers", scaleWorkers[len(scaleWorkers)-1]), Unit: "×",
		Goals: []goal{{Who: ours, Factor: 0.8}, {Who: oursPG, Factor: 0.8}},
	})
	c.run = func(ctx context.Context, b *bench, c contestant) (figures []float64, err error) {
		spec, err := b.setUp(ctx, c)
		if err != nil {
			return nil, err
		}
		f := fleet.New(spec.Redis, spec.Database, fmt.Sprintf("POSTRIDER_QUEUES=default=%d,email=1,bulk=1,notification=1,maintenance=1", scaleSlots),
			"SMTP_URL=smtp://127.0.0.1:25?tls=none")
		defer func() { err = errors.Join(err, f.Close()) }()
		if err := f.StartAPI(ctx); err != nil {
			return nil, err
		}
		jobs := 0.0
		for _, n := range scaleWorkers {
			jobs += ideal(n) * (s.settle + s.each + starting).Seconds()
		}
		entry := fmt.Sprintf(`{"type":%q,"payload":{"sleep_ms":%d}}`, c.kind, scaleHandler.Milliseconds())
		if err := f.Post(ctx, entry, int(jobs)); err != nil {
			return nil, err
		}
		for _, n := range scaleWorkers {
			if err := f.StartWorkers(ctx, n); err != nil {
				return nil, err
			}
			if err := sleep(ctx, s.settle); err != nil {
				return nil, err
			}
			perSecond, err := f.Rate(ctx, c.kind, s.each)
			if err != nil {
				return nil, err
			}
			figures = append(figures, perSecond)
		}
		if done, err := f.Done(ctx, c.kind); err != nil || done >= int(jobs) {
			return nil, errors.Join(err, fmt.Errorf("%d of %d jobs are done: the workers had not enough to do", done, int(jobs)))
		}
		last := len(figures) - 1
		return append(figures, figures[last]/ideal(scaleWorkers[last])), nil
	}
	return c
}

// idle is what workers ask of the servers when there is nothing to do.
func idle(s fleetSizes) benchCase {
	name := func(what string) string { return fmt.Sprintf("%d idle workers, %s", s.idle, what) }
	return benchCase{
		name:  "idle",
		about: fmt.Sprintf("%d worker processes with all queues and nothing to do: what Redis and PostgreSQL have of them", s.idle),
		rows: []row{
			{Name: name("commands to Redis"), Unit: "1/s", Less: true},
			{Name: name("Redis' processor"), Unit: "%", Less: true},
			{Name: name("connections to Redis"), Unit: "", Less: true},
			{Name: name("Redis' memory"), Unit: "MiB", Less: true},
			{Name: name("transactions of PostgreSQL"), Unit: "1/s", Less: true},
			{Name: name("PostgreSQL's processor"), Unit: "%", Less: true},
			{Name: name("sessions of PostgreSQL"), Unit: "", Less: true},
			{Name: "an idle worker's memory", Unit: "MiB", Less: true},
		},
		contestants: []contestant{fleetDurable},
		run: func(ctx context.Context, b *bench, c contestant) (figures []float64, err error) {
			spec, err := b.setUp(ctx, c)
			if err != nil {
				return nil, err
			}
			before, err := b.redis.Memory(ctx)
			if err != nil {
				return nil, err
			}
			f := fleet.New(spec.Redis, spec.Database, "SMTP_URL=smtp://127.0.0.1:25?tls=none")
			defer func() { err = errors.Join(err, f.Close()) }()
			if err := f.StartWorkers(ctx, s.idle); err != nil {
				return nil, err
			}
			if err := sleep(ctx, s.settle); err != nil {
				return nil, err
			}
			began := time.Now()
			first, err := b.idleLoad(ctx, spec.Database)
			if err != nil {
				return nil, err
			}
			if err := sleep(ctx, 3*s.each); err != nil {
				return nil, err
			}
			last, err := b.idleLoad(ctx, spec.Database)
			if err != nil {
				return nil, err
			}
			seconds := time.Since(began).Seconds()
			rss, err := f.Workers[0].RSS()
			if err != nil {
				return nil, err
			}
			percent := func(d time.Duration) float64 { return 100 * d.Seconds() / seconds }
			return []float64{
				float64(last.commands-first.commands) / seconds, percent(last.redis - first.redis), float64(last.connections - 1),
				float64(last.memory-before) / (1 << 20), float64(last.transactions-first.transactions) / seconds,
				percent(last.postgres - first.postgres), float64(last.sessions - 1), float64(rss) / (1 << 20),
			}, nil
		},
	}
}

// idleLoad is what the servers have to do: counts since they began, and how
// they are now. It has a connection of its own to each.
type idleLoad struct {
	commands, connections, memory, transactions, sessions int64
	redis, postgres                                       time.Duration
}

func (b *bench) idleLoad(ctx context.Context, database string) (l idleLoad, err error) {
	for name, to := range map[string]*int64{"total_commands_processed": &l.commands, "connected_clients": &l.connections, "used_memory": &l.memory} {
		if *to, err = b.redis.Info(ctx, name); err != nil {
			return l, err
		}
	}
	for query, to := range map[string]*int64{
		"SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()": &l.transactions,
		"SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()":    &l.sessions,
	} {
		if *to, err = b.postgres.Number(ctx, database, query); err != nil {
			return l, err
		}
	}
	if l.redis, err = b.redis.CPU(); err != nil {
		return l, err
	}
	l.postgres, err = b.postgres.CPU()
	return l, err
}
