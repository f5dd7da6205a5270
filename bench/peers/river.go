package peers

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

// riverQueue is River on PostgreSQL, with the intervals of River's own
// benchmark (`river bench`), which do much better than its defaults.
type riverQueue struct {
	pool   *pgxpool.Pool
	insert *river.Client[pgx.Tx]
	work   *river.Client[pgx.Tx]
}

func newRiver(ctx context.Context, spec Spec) (Queue, error) {
	cfg, err := pgxpool.ParseConfig(spec.Database)
	if err != nil {
		return nil, fmt.Errorf("reading the database's URL: %w", err)
	}
	cfg.MaxConns = 32
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	driver := riverpgxv5.New(pool)
	migrator, err := rivermigrate.New(driver, &rivermigrate.Config{Logger: quiet()})
	if err != nil {
		return nil, fmt.Errorf("preparing the schema: %w", err)
	}
	if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return nil, fmt.Errorf("making the schema: %w", err)
	}
	insert, err := river.NewClient(driver, &river.Config{Logger: quiet()})
	if err != nil {
		return nil, fmt.Errorf("making the inserting client: %w", err)
	}
	return &riverQueue{pool: pool, insert: insert}, nil
}

// riverMail is the payload as River wants it.
type riverMail struct{ Mail }

// Kind implements river.JobArgs.
func (riverMail) Kind() string { return "mail" }

type riverWorker struct {
	river.WorkerDefaults[riverMail]
	handle func(Mail)
}

// Work implements river.Worker.
func (w *riverWorker) Work(_ context.Context, j *river.Job[riverMail]) error {
	w.handle(j.Args.Mail)
	return nil
}

// Timeout implements river.Worker: a job of the gate waits for long.
func (w *riverWorker) Timeout(*river.Job[riverMail]) time.Duration { return time.Hour }

// Add implements Queue.
func (q *riverQueue) Add(ctx context.Context, m Mail, delay time.Duration) error {
	opts := &river.InsertOpts{MaxAttempts: 3}
	if delay > 0 {
		opts.ScheduledAt = time.Now().Add(delay)
	}
	if _, err := q.insert.Insert(ctx, riverMail{m}, opts); err != nil {
		return fmt.Errorf("inserting a job: %w", err)
	}
	return nil
}

// AddBulk implements Queue, by COPY.
func (q *riverQueue) AddBulk(ctx context.Context, ms []Mail) error {
	params := make([]river.InsertManyParams, len(ms))
	for i, m := range ms {
		params[i] = river.InsertManyParams{Args: riverMail{m}, InsertOpts: &river.InsertOpts{MaxAttempts: 3}}
	}
	if _, err := q.insert.InsertManyFast(ctx, params); err != nil {
		return fmt.Errorf("inserting jobs: %w", err)
	}
	return nil
}

// Flush implements Queue.
func (q *riverQueue) Flush(context.Context) error { return nil }

// Work implements Queue.
func (q *riverQueue) Work(ctx context.Context, concurrency int, handle func(Mail)) error {
	workers := river.NewWorkers()
	river.AddWorker(workers, &riverWorker{handle: handle})
	var err error
	q.work, err = river.NewClient(riverpgxv5.New(q.pool), &river.Config{
		FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond,
		Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: concurrency}},
		Workers: workers, Logger: quiet(),
	})
	if err != nil {
		return fmt.Errorf("making the working client: %w", err)
	}
	if err := q.work.Start(ctx); err != nil {
		return fmt.Errorf("starting to work: %w", err)
	}
	return nil
}

// Close implements Queue.
func (q *riverQueue) Close(ctx context.Context) error {
	defer q.pool.Close()
	if q.work == nil {
		return nil
	}
	return q.work.Stop(ctx)
}

// quiet is a log that keeps nothing: what goes wrong is an error.
func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }
