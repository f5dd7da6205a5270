package peers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/hibiken/asynq"
)

// plainAsynq is asynq as it comes.
type plainAsynq struct {
	redis  asynq.RedisClientOpt
	client *asynq.Client
	server *asynq.Server
}

func newAsynq(_ context.Context, spec Spec) (Queue, error) {
	opt := asynq.RedisClientOpt{Addr: spec.Redis}
	return &plainAsynq{redis: opt, client: asynq.NewClient(opt)}, nil
}

// Add implements Queue.
func (q *plainAsynq) Add(ctx context.Context, m Mail, delay time.Duration) error {
	payload, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encoding a payload: %w", err)
	}
	opts := []asynq.Option{asynq.MaxRetry(3)}
	if delay > 0 {
		opts = append(opts, asynq.ProcessIn(delay))
	}
	if _, err := q.client.EnqueueContext(ctx, asynq.NewTask("mail", payload), opts...); err != nil {
		return fmt.Errorf("enqueueing: %w", err)
	}
	return nil
}

// AddBulk implements Queue. asynq has no bulk call: fifty callers share the
// work.
func (q *plainAsynq) AddBulk(ctx context.Context, ms []Mail) error {
	return each(50, ms, func(m Mail) error { return q.Add(ctx, m, 0) })
}

// Flush implements Queue.
func (q *plainAsynq) Flush(context.Context) error { return nil }

// Work implements Queue.
func (q *plainAsynq) Work(_ context.Context, concurrency int, handle func(Mail)) error {
	q.server = asynq.NewServer(q.redis, asynq.Config{Concurrency: concurrency, LogLevel: asynq.FatalLevel})
	err := q.server.Start(asynq.HandlerFunc(func(_ context.Context, t *asynq.Task) error {
		var m Mail
		if err := json.Unmarshal(t.Payload(), &m); err != nil {
			return fmt.Errorf("decoding a payload: %w", err)
		}
		handle(m)
		return nil
	}))
	if err != nil {
		return fmt.Errorf("starting asynq's server: %w", err)
	}
	return nil
}

// Close implements Queue.
func (q *plainAsynq) Close(context.Context) error {
	if q.server != nil {
		q.server.Shutdown()
	}
	return q.client.Close()
}
