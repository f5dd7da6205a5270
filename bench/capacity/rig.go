package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"

	"github.com/postrider/postrider/bench/fleet"
	"github.com/postrider/postrider/bench/stage"
)

const (
	callers  = 64              // that ask for jobs, each with one request under way
	slots    = 50              // of the worker, for each queue that is measured
	patience = 3 * time.Minute // for the jobs of a turn to be done
)

// rig is a fleet with servers of its own.
type rig struct {
	redis    *stage.Redis
	postgres *stage.Postgres
	sink     *stage.Sink
	database string
	fleet    *fleet.Fleet
}

// open starts the servers and the api. The rig is to be closed even if it fails.
func (r *rig) open(ctx context.Context) (err error) {
	if r.redis, err = stage.StartRedis(ctx); err != nil {
		return err
	}
	if r.postgres, err = stage.StartPostgres(ctx); err != nil {
		return err
	}
	if r.sink, err = stage.NewSink(); err != nil {
		return err
	}
	if r.database, err = r.postgres.Database(ctx); err != nil {
		return err
	}
	r.fleet = fleet.New(r.redis.Addr, r.database, "SMTP_URL=smtp://"+r.sink.Addr+"?tls=none",
		fmt.Sprintf("POSTRIDER_QUEUES=email=%d,default=%[1]d,bulk=1,notification=1,maintenance=1", slots))
	if err := r.fleet.StartAPI(ctx); err != nil {
		return err
	}
	// It sends jobs to Redis that the api has not been able to.
	return r.fleet.StartScheduler(ctx)
}

func (r *rig) close() error {
	var errs []error
	if r.fleet != nil {
		errs = append(errs, r.fleet.Close())
	}
	if r.sink != nil {
		errs = append(errs, r.sink.Close())
	}
	if r.postgres != nil {
		errs = append(errs, r.postgres.Close())
	}
	if r.redis != nil {
		errs = append(errs, r.redis.Close())
	}
	return errors.Join(errs...)
}

// put asks for jobs by concurrent callers, in batches or by a request each.
func (r *rig) put(ctx context.Context, k kind, jobs int) error {
	if k.batched {
		return r.fleet.Post(ctx, k.body, jobs)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var taken atomic.Int64
	var all sync.WaitGroup
	for range callers {
		all.Go(func() {
			for taken.Add(1) <= int64(jobs) && ctx.Err() == nil {
				if err := r.fleet.PostTo(ctx, k.path, k.body); err != nil {
					cancel(err)
				}
			}
		})
	}
	all.Wait()
	return context.Cause(ctx)
}

// waiting is how many jobs of the kind wait in Redis: the api answers when SQL
// has them, and sends them there afterwards.
func (r *rig) waiting(_ context.Context, k kind) (int, error) {
	look := asynq.NewInspector(asynq.RedisClientOpt{Addr: r.redis.Addr})
	info, err := look.GetQueueInfo(k.queue)
	switch {
	case errors.Is(err, asynq.ErrQueueNotFound):
		return 0, look.Close()
	case err != nil:
		return 0, errors.Join(fmt.Errorf("looking at the queue %s: %w", k.queue, err), look.Close())
	}
	return info.Pending, look.Close()
}

// done is how many jobs of the kind the worker has done.
func (r *rig) done(ctx context.Context, k kind) (int, error) { return r.fleet.Done(ctx, k.jobType) }

// await returns when so many jobs of the kind count.
func (r *rig) await(ctx context.Context, k kind, jobs int, count func(context.Context, kind) (int, error)) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	look := time.NewTicker(100 * time.Millisecond)
	defer look.Stop()
	for {
		n, err := count(ctx, k)
		if err != nil || n >= jobs {
			return err
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d jobs, there are %d: %w", jobs, n, context.Cause(ctx))
		}
	}
}

// read tells what was used so far.
func (r *rig) read(ctx context.Context) (u usage, err error) {
	seconds := func(d time.Duration, e error) float64 {
		err = errors.Join(err, e)
		return d.Seconds()
	}
	number := func(n int64, e error) float64 {
		err = errors.Join(err, e)
		return float64(n)
	}
	u.api = seconds(r.fleet.API.CPU())
	for _, w := range r.fleet.Workers {
		u.worker += seconds(w.CPU())
	}
	u.redis, u.postgres = seconds(r.redis.CPU()), seconds(r.postgres.CPU())
	u.waiting = number(r.redis.Memory(ctx))
	u.log = number(r.postgres.Number(ctx, r.database, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"))
	return u, err
}

// kept is how many bytes the tables have, with their indexes, once dead rows are
// gone.
func (r *rig) kept(ctx context.Context) (float64, error) {
	if err := r.postgres.Compact(ctx, r.database); err != nil {
		return 0, err
	}
	n, err := r.postgres.Number(ctx, r.database,
		"SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace")
	return float64(n), err
}
