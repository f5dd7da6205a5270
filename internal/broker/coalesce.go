package broker

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// flightSize is how many calls one pipeline carries at most: some 100 kB, a
// few milliseconds of Redis' time.
const flightSize = 512

// coalescer sends the calls that are issued at the same moment by many
// goroutines as one pipeline. The first to come leads: it waits for its turn,
// meanwhile others join, and sends for all. A lone call finds the turn free
// and is sent by its own goroutine. One flight is under way at a time: with two
// the batches were half as long, and a drain took half as much of Redis again.
type coalescer struct {
	rdb   redis.UniversalClient
	texts map[string]string // of the scripts, by SHA-1
	also  companion         // may be nil
	wait  time.Duration     // boarding
	turn  sync.Mutex        // held by the flight that is under way

	mu   sync.Mutex
	open *flight // that may still be joined
}

// boarding is how long a flight that could leave waits at most for calls that are
// expected. They come when goroutines that are ready have run, so that it ends
// the wait on a machine that has no time for them.
const boarding = 2 * time.Millisecond

// flight is one pipeline.
type flight struct {
	calls  []*call
	nudges nudges
	until  time.Time     // the latest deadline of those aboard
	landed chan struct{} // closed when all calls are answered
}

// companion has something to send now and then, and adds it to flights.
type companion interface {
	// board is asked at each departure; nil for nothing.
	board(flying []*call) *call
	// landed tells that the call was answered.
	landed(*call)
	// expected returns what is closed when no more calls are to be expected at
	// once; nil if that is so now.
	expected() <-chan struct{}
}

func newCoalescer(rdb redis.UniversalClient, texts map[string]string) *coalescer {
	return &coalescer{rdb: rdb, texts: texts, wait: boarding}
}

// send returns when the calls are answered, each with its own result, or
// when ctx has ended: then nobody knows what became of them, and they must not
// be looked at any more. A leader stays as long as the most patient of those
// aboard, at most ioTimeout. Nudges are sent after the calls, those of one
// flight once. Without calls it asks for a flight of the companion.
func (c *coalescer) send(ctx context.Context, n nudges, calls ...*call) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	until := time.Now().Add(ioTimeout)
	if d, ok := ctx.Deadline(); ok && d.Before(until) {
		until = d
	}
	c.mu.Lock()
	f := c.open
	leads := f == nil
	if leads {
		f = &flight{landed: make(chan struct{})}
		c.open = f
	}
	f.calls = append(f.calls, calls...)
	f.nudges.merge(n)
	if until.After(f.until) {
		f.until = until
	}
	if len(f.calls) >= flightSize {
		c.open = nil
	}
	c.mu.Unlock()

	if leads {
		c.lead(f)
		return nil
	}
	select {
	case <-f.landed:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (c *coalescer) lead(f *flight) {
	defer close(f.landed)
	c.turn.Lock()
	defer c.turn.Unlock()
	c.board()
	c.mu.Lock()
	if c.open == f {
		c.open = nil
	}
	c.mu.Unlock()
	ctx, cancel := context.WithDeadline(context.Background(), f.until)
	defer cancel()
	sendings := fold(ctx, append(f.calls, f.nudges.calls()...))
	if c.also != nil {
		if own := c.also.board(f.calls); own != nil {
			sendings = append(sendings, sending{plainCmd(ctx, own), []*call{own}})
			defer c.also.landed(own)
		}
	}
	cmds := make([]*redis.Cmd, len(sendings))
	for i, s := range sendings {
		cmds[i] = s.cmd
	}
	run(ctx, c.rdb, c.texts, cmds)
	for _, s := range sendings {
		s.settle()
	}
}

// board gives who is about to come aboard the time to do so.
func (c *coalescer) board() {
	if c.also != nil {
		if expected := c.also.expected(); expected != nil {
			enough := time.NewTimer(c.wait)
			defer enough.Stop()
			select {
			case <-expected:
			case <-enough.C:
			}
		}
	}
	runtime.Gosched()
}

// run sends scripts to where their keys are and waits for the answers. None is
// sent twice unless Redis refused it. On a Cluster each node's come by the
// node's own client: the Cluster client's pipelines are repeated by go-redis
// when an answer was lost.
func run(ctx context.Context, rdb redis.UniversalClient, texts map[string]string, cmds []*redis.Cmd) {
	nodes, ok := rdb.(*redis.ClusterClient)
	if !ok {
		pipeline(ctx, rdb, texts, cmds)
		return
	}
	parts := map[*redis.Client][]*redis.Cmd{}
	for _, cmd := range cmds {
		node, err := nodes.MasterForKey(ctx, cmd.Args()[3].(string))
		if err != nil {
			cmd.SetErr(err)
			continue
		}
		parts[node] = append(parts[node], cmd)
	}
	var all sync.WaitGroup
	for node, part := range parts {
		all.Go(func() {
			pipeline(ctx, node, texts, part)
			for _, cmd := range part {
				if moved(cmd.Err()) {
					_ = nodes.Process(ctx, cmd) // follows the slot, and learns where it is
				}
			}
		})
	}
	all.Wait()
}

// pipeline sends scripts by their SHA-1, and those that Redis does not know
// again by their text.
func pipeline(ctx context.Context, rdb redis.Cmdable, texts map[string]string, cmds []*redis.Cmd) {
	exec(ctx, rdb, cmds)
	var unknown, again []*redis.Cmd
	for _, cmd := range cmds {
		if cmd.Err() != nil && redis.HasErrorPrefix(cmd.Err(), "NOSCRIPT") {
			args := append([]any(nil), cmd.Args()...)
			args[0], args[1] = "eval", texts[args[1].(string)]
			call := redis.NewCmd(ctx, args...)
			call.SetFirstKeyPos(3)
			unknown, again = append(unknown, cmd), append(again, call)
		}
	}
	if len(again) == 0 {
		return
	}
	exec(ctx, rdb, again)
	for i, cmd := range unknown {
		cmd.SetVal(again[i].Val())
		cmd.SetErr(again[i].Err())
	}
}

func exec(ctx context.Context, rdb redis.Cmdable, cmds []*redis.Cmd) {
	if len(cmds) == 0 {
		return
	}
	p := rdb.Pipeline()
	for _, cmd := range cmds {
		_ = p.Process(ctx, cmd) // only queues it
	}
	_, _ = p.Exec(ctx) // each command has its own error
}

// moved reports whether a Cluster's node refused a command because its slot is
// elsewhere.
func moved(err error) bool {
	var refused redis.Error
	if !errors.As(err, &refused) {
		return false
	}
	return strings.HasPrefix(err.Error(), "MOVED ") || strings.HasPrefix(err.Error(), "ASK ")
}
