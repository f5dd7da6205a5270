package peers

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Gate is the subject of a job that holds its slot until the command "go".
const Gate = "gate"

// now is the wall clock in milliseconds, with microseconds behind the point.
func now() float64 { return float64(time.Now().UnixMicro()) / 1000 }

func newMail(subject string) Mail {
	pad := 36
	if subject == Gate {
		pad = 39 // so that both are of one length
	}
	const text = "Thanks for signing up"
	return Mail{Email: "user@example.com", Subject: subject, Message: text + strings.Repeat(".", pad-len(text)), At: now()}
}

// actor is the frame in which a Go contestant runs: it obeys the bench's
// commands, one JSON object a line, and answers each with one line. Its
// counterpart for Node is actor.mjs; both do the same in the same order.
type actor struct {
	queue Queue

	done, gated atomic.Int64
	last        atomic.Uint64 // math.Float64bits of now() at the last job
	gate        atomic.Pointer[chan struct{}]

	record   bool // set before the work begins
	mu       sync.Mutex
	lateness []float64
}

// command is what the bench asks for: op, with what else that op needs.
type command struct {
	Op          string  `json:"op"`
	Jobs        int     `json:"jobs"`
	Callers     int     `json:"callers"`
	Bulk        int     `json:"bulk"`
	Delay       float64 `json:"delay"` // milliseconds
	Subject     string  `json:"subject"`
	Concurrency int     `json:"concurrency"`
	Record      bool    `json:"record"`
}

// Serve runs the contestant until in ends.
func Serve(ctx context.Context, q Queue, in io.Reader, out io.Writer) error {
	a := &actor{queue: q}
	a.shut()
	answers := json.NewEncoder(out)
	if err := answers.Encode(struct{}{}); err != nil { // ready
		return fmt.Errorf("telling that the contestant is ready: %w", err)
	}
	lines := bufio.NewScanner(in)
	for lines.Scan() {
		answer, err := a.obey(ctx, lines.Bytes())
		if err != nil {
			answer = map[string]any{"error": err.Error()}
		}
		if err := answers.Encode(answer); err != nil {
			return fmt.Errorf("answering the bench: %w", err)
		}
	}
	a.open()
	if err := q.Close(ctx); err != nil {
		return fmt.Errorf("closing the contestant: %w", err)
	}
	return nil
}

func (a *actor) obey(ctx context.Context, line []byte) (any, error) {
	c := command{Callers: 1, Subject: "welcome"}
	if err := json.Unmarshal(line, &c); err != nil {
		return nil, fmt.Errorf("reading a command: %w", err)
	}
	switch c.Op {
	case "add":
		began := now()
		err := a.add(ctx, c)
		return map[string]any{"ms": now() - began}, err
	case "flush":
		return struct{}{}, a.queue.Flush(ctx)
	case "work":
		a.record = c.Record
		return struct{}{}, a.queue.Work(ctx, c.Concurrency, a.handle)
	case "reset":
		a.done.Store(0)
		a.gated.Store(0)
		a.last.Store(0)
		a.mu.Lock()
		a.lateness = nil
		a.mu.Unlock()
		a.shut()
		return struct{}{}, nil
	case "go":
		a.open()
		return struct{}{}, nil
	case "report":
		return map[string]any{"done": a.done.Load(), "last": math.Float64frombits(a.last.Load()), "gated": a.gated.Load()}, nil
	case "lateness":
		a.mu.Lock()
		defer a.mu.Unlock()
		return map[string]any{"lateness": a.lateness}, nil
	}
	return nil, fmt.Errorf("there is no command %q", c.Op)
}

// handle is every contestant's handler.
func (a *actor) handle(m Mail) {
	if m.Subject == Gate {
		gate := *a.gate.Load()
		a.gated.Add(1)
		<-gate
		return
	}
	t := now()
	a.last.Store(math.Float64bits(t))
	if a.record {
		a.mu.Lock()
		a.lateness = append(a.lateness, t-m.At)
		a.mu.Unlock()
	}
	a.done.Add(1)
}

func (a *actor) shut() {
	gate := make(chan struct{})
	a.gate.Store(&gate)
}

// open lets the gate's jobs end, and may be called more than once.
func (a *actor) open() {
	closed := make(chan struct{})
	close(closed)
	if gate := a.gate.Swap(&closed); gate != nil {
		select {
		case <-*gate:
		default:
			close(*gate)
		}
	}
}

// add puts jobs in: in bulks of so many, or by so many callers of which each
// waits for its answer before it goes on.
func (a *actor) add(ctx context.Context, c command) error {
	if c.Bulk > 0 {
		for left := c.Jobs; left > 0; left -= c.Bulk {
			ms := make([]Mail, min(c.Bulk, left))
			for i := range ms {
				ms[i] = newMail(c.Subject)
			}
			if err := a.queue.AddBulk(ctx, ms); err != nil {
				return err
			}
		}
		return nil
	}
	var left atomic.Int64
	left.Store(int64(c.Jobs))
	delay := time.Duration(c.Delay * float64(time.Millisecond))
	failed := make(chan error, c.Callers)
	var callers sync.WaitGroup
	for range c.Callers {
		callers.Go(func() {
			for left.Add(-1) >= 0 {
				if err := a.queue.Add(ctx, newMail(c.Subject), delay); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	callers.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}
