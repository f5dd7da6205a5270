package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"slices"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of the rows' seeding
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/bench/stage"
	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/tasks"
)

const (
	laterQueue = "later" // has jobs for the next days
	dueQueue   = "due"   // has jobs that are due
)

// measureMending fills PostgreSQL with jobs of which an empty Redis knows
// nothing, lets the reconciler send them, and then has it go its rounds where
// there is nothing to mend.
func measureMending(ctx context.Context, out io.Writer, later, due int) (err error) {
	pg, err := stage.StartPostgres(ctx)
	if err != nil {
		return err
	}
	defer ended(&err, pg.Close)
	rdb, err := stage.StartRedis(ctx)
	if err != nil {
		return err
	}
	defer ended(&err, rdb.Close)
	url, err := pg.Database(ctx)
	if err != nil {
		return err
	}
	s, err := store.Open(ctx, store.Config{URL: url, AutoMigrate: true}, quiet(), store.Options{})
	if err != nil {
		return err
	}
	defer ended(&err, s.Close)
	if err := seed(ctx, url, later, due); err != nil {
		return err
	}
	queues := broker.Queues{{Name: laterQueue, Concurrency: 10}, {Name: dueQueue, Concurrency: 10}}
	client, err := broker.Connect(broker.Config{RedisURL: "redis://" + rdb.Addr + "/0", Queues: queues})
	if err != nil {
		return err
	}
	defer ended(&err, client.Close)
	types, err := tasks.NewCatalogue(tasks.Builtin()...)
	if err != nil {
		return err
	}
	service := job.NewService(job.Options{
		Store: s, Types: types, Queues: queues.Names(), Log: quiet(), Metrics: prometheus.NewRegistry(),
		Dispatcher: broker.NewClient(broker.Options{
			Redis: client, Queues: queues, Types: types, Margin: 20 * time.Second, Log: quiet(),
		}),
	})
	mender := job.NewReconciler(service, "bench", job.Retention{Done: time.Hour, Bodies: time.Hour, Failed: time.Hour})

	fmt.Fprintf(out, "PostgreSQL has %d jobs for later and %d that are due; Redis is empty.\n\n", later, due)
	fmt.Fprintln(out, "| what | figure |\n|---|---|")
	began := time.Now()
	dueSent := make(chan time.Duration, 1)
	watch, stop := context.WithCancel(ctx)
	defer stop()
	go func() { dueSent <- waitFor(watch, client, "asynq:{"+dueQueue+"}:pending", due, began) }()
	if err := mender.Turn(ctx); err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	took := time.Since(began)
	stop()
	fmt.Fprintf(out, "| all sent to Redis anew | %.1f s, %.0f jobs/s |\n", took.Seconds(), float64(later+due)/took.Seconds())
	fmt.Fprintf(out, "| all that are due sent, though the others' queue comes first | %.1f s |\n", (<-dueSent).Seconds())
	n, err := client.ZCard(ctx, "asynq:{"+laterQueue+"}:scheduled").Result()
	if err != nil || n != int64(later) {
		return fmt.Errorf("redis has %d of %d delayed tasks: %w", n, later, err)
	}

	round, usec, err := rounds(ctx, mender, client)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "| a round with all due jobs waiting (4 pages of 500 looked for) | %.1f ms, of it Redis %.1f ms |\n", round.Seconds()*1000, usec/1000)
	if err := settle(ctx, url); err != nil {
		return err
	}
	round, usec, err = rounds(ctx, mender, client)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "| a round with only the jobs for later waiting | %.1f ms, of it Redis %.1f ms |\n\n", round.Seconds()*1000, usec/1000)
	fmt.Fprintln(out, "There is a round every 5 s.")
	return nil
}

// seed writes jobs whose tasks were sent long ago.
func seed(ctx context.Context, url string, later, due int) (err error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer ended(&err, db.Close)
	const rows = `
		INSERT INTO jobs (id, type, queue, state, created_at, updated_at, run_at, max_attempts, on_ambiguous, dispatch_at, dispatched, payload)
		SELECT gen_random_uuid(), 'noop', $1, 'waiting', n.ms, n.ms, n.ms + $2 + i, 3, 'resend', n.ms, TRUE, '{}'
		FROM generate_series(1, $3) i, (SELECT (extract(epoch FROM now()) * 1000)::bigint - 60000 AS ms) n`
	for _, q := range []struct {
		name  string
		after int64
		n     int
	}{{laterQueue, time.Hour.Milliseconds(), later}, {dueQueue, -time.Hour.Milliseconds(), due}} {
		if _, err := db.ExecContext(ctx, rows, q.name, q.after, q.n); err != nil {
			return fmt.Errorf("writing jobs: %w", err)
		}
	}
	if _, err := db.ExecContext(ctx, "VACUUM ANALYZE jobs"); err != nil {
		return fmt.Errorf("analysing jobs: %w", err)
	}
	return nil
}

// settle ends the jobs that are due.
func settle(ctx context.Context, url string) (err error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return fmt.Errorf("opening the database: %w", err)
	}
	defer ended(&err, db.Close)
	if _, err := db.ExecContext(ctx, "UPDATE jobs SET state = 'done' WHERE queue = $1", dueQueue); err != nil {
		return fmt.Errorf("ending jobs: %w", err)
	}
	return nil
}

// waitFor returns how long after began the list had n members; the time so far
// if ctx ends before.
func waitFor(ctx context.Context, rdb redis.UniversalClient, list string, n int, began time.Time) time.Duration {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if m, err := rdb.LLen(ctx, list).Result(); err == nil && m >= int64(n) {
			return time.Since(began)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Since(began)
		}
	}
}

// rounds is the median of some rounds, and Redis' own time of one in
// microseconds.
func rounds(ctx context.Context, mender *job.Reconciler, rdb redis.UniversalClient) (time.Duration, float64, error) {
	if err := rdb.ConfigResetStat(ctx).Err(); err != nil {
		return 0, 0, fmt.Errorf("resetting the statistics of Redis: %w", err)
	}
	const n = 21
	var took []time.Duration
	for range n {
		began := time.Now()
		if err := mender.Turn(ctx); err != nil {
			return 0, 0, fmt.Errorf("reconciling: %w", err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	info, err := rdb.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, 0, fmt.Errorf("asking Redis for its statistics: %w", err)
	}
	return took[n/2], usecOf(info, "cmdstat_evalsha:") / n, nil
}
