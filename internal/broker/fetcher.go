package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// fetched is a task that was taken from the queue.
type fetched struct {
	id, msg string
	at      time.Time // when the fetch began
}

// fetcher answers asynq's dequeues of one queue from batches: one script call
// takes as many tasks as the server has free slots. It travels with the
// acknowledgements that free them, so that the next tasks are there when asynq
// asks for them.
type fetcher struct {
	pipe   *coalescer
	queue  string
	batch  string // the key of what was taken last
	slots  *slots
	wake   *waiter
	log    *slog.Logger
	aged   time.Duration
	closed chan struct{} // when no more are to be fetched
	once   sync.Once

	mu     sync.Mutex
	buffer []fetched
	token  string   // of a fetch whose answer is owed
	flying *request // the fetch that is under way
	wanted bool     // asynq waits for a task
	hungry bool     // the last fetch brought all that it asked for
	failed error    // how the last fetch did
}

// request is a fetch that is under way.
type request struct {
	call   *call
	at     time.Time
	most   int
	landed chan struct{} // closed when it was answered
}

func newFetcher(rdb redis.UniversalClient, texts map[string]string, queue string, s *slots, log *slog.Logger) *fetcher {
	f := &fetcher{
		pipe: newCoalescer(rdb, texts), queue: queue, slots: s, wake: newWaiter(rdb), log: log, aged: bufferAge,
		batch:  "postrider:{" + queue + "}:batch:" + rand.Text(),
		closed: make(chan struct{}),
	}
	f.pipe.also = f
	return f
}

// close ends the fetching, also where it waits for a task. settle may follow
// when asynq asks no more.
func (f *fetcher) close() {
	f.once.Do(func() { close(f.closed) })
	f.wake.close()
}

func (f *fetcher) over() bool {
	select {
	case <-f.closed:
		return true
	default:
		return false
	}
}

// dequeue returns the next task's message. It waits for one up to
// fetchPatience; redis.Nil means that none came, or that no more are wanted.
func (f *fetcher) dequeue(ctx context.Context) (string, error) {
	until := time.Now().Add(fetchPatience)
	for !f.over() && f.slots.await(until, f.closed) {
		if msg, ok := f.take(); ok {
			return msg, nil
		}
		if err := f.more(ctx); err != nil {
			return "", err
		}
		if f.filled() {
			continue
		}
		patience := time.Until(until)
		if patience <= 0 {
			break
		}
		f.wake.wait(wakeKey(f.queue), patience)
	}
	return "", redis.Nil
}

// take hands the first task of the buffer out.
func (f *fetcher) take() (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.buffer) == 0 {
		return "", false
	}
	t := f.buffer[0]
	f.buffer = f.buffer[1:]
	f.slots.hand(t.id)
	f.slots.buffered(len(f.buffer))
	return t.msg, true
}

func (f *fetcher) filled() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.buffer) > 0
}

// more returns when a fetch was answered, the one under way if there is one.
func (f *fetcher) more(ctx context.Context) error {
	f.mu.Lock()
	flying := f.flying
	f.wanted = flying == nil
	f.mu.Unlock()
	if flying == nil {
		if err := f.pipe.send(ctx, nudges{}); err != nil {
			return fmt.Errorf("fetching tasks: %w", err)
		}
	} else if err := flying.await(ctx); err != nil {
		return err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

func (r *request) await(ctx context.Context) error {
	select {
	case <-r.landed:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("waiting for fetched tasks: %w", context.Cause(ctx))
	}
}

// expected implements companion: a batch's first acknowledgement waits for the
// others' handlers to have been called. Those that are short travel with it, where
// a flight for each of the first few would keep the others waiting and cost Redis
// and us as much as one for all.
func (f *fetcher) expected() <-chan struct{} { return f.slots.beginning() }

// board implements companion: it fetches when asynq waits for a task, and ahead
// of that, as long as the queue has more than is asked for, as many as there
// will be slots for when the acknowledgements have been answered.
func (f *fetcher) board(acks []*call) *call {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.flying != nil || f.over() || !f.wanted && !f.hungry {
		return nil
	}
	asked := f.wanted && len(f.buffer) == 0
	f.wanted = false
	n := f.slots.free(acks) - len(f.buffer)
	if asked { // there was a slot, and asynq has room
		n = max(n, 1)
	}
	if n < 1 {
		return nil
	}
	return f.request(n)
}

// request begins a fetch of at most n tasks; f.mu is held. One whose answer is
// owed is repeated: it has the same token.
func (f *fetcher) request(n int) *call {
	if f.token == "" {
		f.token = rand.Text()
	}
	n = min(n, fetchSize)
	now := time.Now()
	c := &call{
		sha: fetchScript.Hash(),
		keys: []string{
			queueKey(f.queue, statePending), queueKey(f.queue, "paused"), queueKey(f.queue, stateActive),
			queueKey(f.queue, "lease"), f.batch, wakeKey(f.queue),
		},
		args: []any{now.Add(leaseLength).Unix(), taskKey(f.queue, ""), n, f.token, int(batchLife.Seconds())},
	}
	f.flying = &request{call: c, at: now, most: n, landed: make(chan struct{})}
	return c
}

// landed implements companion.
func (f *fetcher) landed(c *call) { f.land(c, c.val, c.err) }

// land takes a fetch's answer. After an error nobody knows whether tasks were
// taken; the next fetch has the same token.
func (f *fetcher) land(c *call, val any, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r := f.flying
	if r == nil || r.call != c {
		return // it was given up, and is asked for again
	}
	f.flying = nil
	defer close(r.landed)
	answer, ok := val.([]any)
	if err == nil && !ok {
		err = fmt.Errorf("an answer of type %T", val)
	}
	if err != nil {
		f.failed, f.hungry = fmt.Errorf("fetching tasks: %w", err), false
		return
	}
	f.failed, f.token = nil, ""
	f.hungry = len(answer) == 2*r.most
	for pair := range slices.Chunk(answer, 2) {
		id, _ := pair[0].(string)
		msg, _ := pair[1].(string)
		f.buffer = append(f.buffer, fetched{id, msg, r.at})
	}
	f.slots.buffered(len(f.buffer))
}

// fetch asks for at most n tasks and waits for the answer; none may be under
// way.
func (f *fetcher) fetch(ctx context.Context, n int) error {
	f.mu.Lock()
	c := f.request(n)
	f.mu.Unlock()
	if err := f.pipe.send(ctx, nudges{}, c); err != nil {
		f.land(c, nil, err) // c may still be flying: it is not looked at
	} else {
		f.landed(c)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failed
}

// giveBackOld returns tasks that asynq has left in the buffer for too long.
func (f *fetcher) giveBackOld(ctx context.Context) {
	f.mu.Lock()
	old := len(f.buffer) > 0 && time.Since(f.buffer[0].at) > f.aged
	f.mu.Unlock()
	if old {
		f.giveBack(ctx)
	}
}

// settle gives back all that was fetched and not begun, what a lost answer
// spoke of too. To be called after close, when asynq asks no more.
func (f *fetcher) settle(ctx context.Context) {
	if err := f.catchUp(ctx); err != nil {
		f.log.Warn("tasks that were fetched at the end are left to their leases", "queue", f.queue, "err", err)
	}
	f.giveBack(ctx)
}

// catchUp waits for the last answer, and asks again if it was lost.
func (f *fetcher) catchUp(ctx context.Context) error {
	f.mu.Lock()
	flying := f.flying
	f.mu.Unlock()
	if flying != nil {
		if err := flying.await(ctx); err != nil {
			return err
		}
	}
	f.mu.Lock()
	owed := f.token != ""
	f.mu.Unlock()
	if !owed {
		return nil
	}
	return f.fetch(ctx, 0)
}

func (f *fetcher) giveBack(ctx context.Context) {
	f.mu.Lock()
	tasks := f.buffer
	f.buffer = nil
	f.slots.buffered(0)
	f.mu.Unlock()
	if len(tasks) == 0 {
		return
	}
	ids := make([]string, len(tasks))
	for i, t := range tasks {
		ids[i] = t.id
	}
	var err error
	for range 2 { // once more is safe: what was put back is not ours any more
		if _, err = giveBack(ctx, f.pipe.rdb, f.queue, ids); err == nil || errors.Is(err, context.DeadlineExceeded) {
			break
		}
	}
	if err != nil {
		f.log.Warn("fetched tasks are left to their leases", "queue", f.queue, "tasks", len(tasks), "err", err)
	}
}
