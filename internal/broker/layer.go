package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/job"
)

// queueLayer is what stands between one queue's asynq server and Redis: its
// fetches come from batches, its acknowledgements travel together and surely,
// an idle one is woken, and delayed tasks come at their time.
type queueLayer struct {
	queue   string
	ops     map[string]op
	slots   *slots
	fetcher *fetcher
	acks    *acks
	pipe    *coalescer
	keeper  *keeper
	hands   *hands
}

func newQueueLayer(rdb redis.UniversalClient, q Queue, c *contract, l *link, log *slog.Logger, lost prometheus.Counter) *queueLayer {
	s := newSlots(q.Concurrency)
	f := newFetcher(rdb, c.texts, q.Name, s, log)
	return &queueLayer{
		queue: q.Name, ops: c.ops, slots: s, fetcher: f, pipe: f.pipe,
		acks:   &acks{pipe: f.pipe, link: l, slots: s, queue: q.Name, log: log, lost: lost},
		keeper: newKeeper(rdb, q.Name, f.giveBackOld, log),
		hands:  &hands{log: log},
	}
}

// settle gives back what asynq has not begun; it asks no more.
func (q *queueLayer) settle() {
	ctx, cancel := context.WithTimeout(context.Background(), courtesy)
	defer cancel()
	q.fetcher.settle(ctx)
}

// layered is the client that a queue's asynq server gets.
type layered struct {
	paced
	layer *queueLayer
}

func (l layered) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	switch op := l.layer.ops[sha]; op {
	case opDequeue:
		msg, err := l.layer.fetcher.dequeue(ctx)
		l.link.note(ctx, err)
		if err != nil {
			return answer(ctx, nil, err)
		}
		return answer(ctx, msg, nil)
	case opDone, opDoneUnique, opRetry, opArchive:
		return l.layer.acks.send(ctx, op, sha, keys, args)
	case opForward:
		cmd := l.paced.EvalSha(ctx, sha, keys, args...)
		if n, err := cmd.Int(); err == nil && n > 0 {
			l.layer.wake(ctx)
		}
		return cmd
	}
	return l.paced.EvalSha(ctx, sha, keys, args...)
}

// wake tells a worker of tasks that asynq put into the queue. The keeper does
// so a little later if this fails.
func (q *queueLayer) wake(ctx context.Context) {
	var n nudges
	n.wakes(q.queue)
	ctx, cancel := context.WithTimeout(ctx, courtesy)
	defer cancel()
	_ = q.pipe.send(ctx, n)
}

// run is asynq's view of a task's handler, which it counts.
func (q *queueLayer) run(ctx context.Context, id string, handle func(context.Context) (again time.Time, err error)) error {
	q.slots.begin(id)
	var again time.Time
	defer func() { q.slots.end(id, again) }() // also when the handler panics
	ctx = job.WithSlot(ctx, func() { q.slots.over(id) })
	return q.hands.do(func() (err error) {
		again, err = handle(ctx)
		return err
	})
}
