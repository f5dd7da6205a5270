package store

import (
	"context"
	"database/sql"
	"errors"
	"sync/atomic"
	"time"

	"github.com/postrider/postrider/internal/job"
)

const (
	batchMost  = 256              // calls in one transaction
	weightMost = 1000             // rows in one transaction, but for a single call that has more
	groupQueue = 4096             // calls that wait without blocking their callers
	gatherFor  = time.Millisecond // the most that a batch waits to be as large as the last
)

// group lets calls that come at the same moment share a transaction: while
// one is being committed, the next gathers. Callers that were answered
// together tend to come back together, so a batch waits a moment for as many
// as the last one had: half-empty transactions cost nearly as much as full
// ones. A lone call after a lone call goes at once.
type group[R, S any] struct {
	s      *Store
	op     string
	commit func(ctx context.Context, x *tx, calls []R) ([]answer[S], error)
	// alone, if there is one, answers by one statement at most what it can;
	// the rest is commit's.
	alone  func(ctx context.Context, x *tx, calls []R) ([]answer[S], error)
	db     *sql.DB        // whose sessions suit the lone statement
	key    func(R) string // a transaction holds a key once
	weight func(R) int
	in     chan *call[R, S]
}

// answer is a call's own: err concerns this call alone.
type answer[S any] struct {
	val   S
	err   error
	given bool // by a lone statement
}

type call[R, S any] struct {
	req   R
	state atomic.Int32
	done  chan answer[S]
}

// The states of a call.
const (
	callWaits int32 = iota
	callTaken       // its transaction is under way
	callLeft        // its caller went before that
)

func newGroup[R, S any](s *Store, op string, commit func(context.Context, *tx, []R) ([]answer[S], error)) *group[R, S] {
	g := &group[R, S]{
		s: s, op: op, commit: commit,
		weight: func(R) int { return 1 },
		in:     make(chan *call[R, S], groupQueue),
	}
	s.groups.Go(g.run)
	return g
}

var errClosed = job.Errorf(job.CodeTemporary, "the store is closed")

// do hands a request to the next transaction and waits for its answer. When
// ctx ends first, the request may or may not be carried out. One that is
// handed over while the store closes is carried out or gets errClosed.
func (g *group[R, S]) do(ctx context.Context, req R) (S, error) {
	ctx, span := child(ctx, g.op)
	answer, err := g.hand(ctx, req)
	endChild(span, err)
	return answer, err
}

func (g *group[R, S]) hand(ctx context.Context, req R) (S, error) {
	var none S
	c := &call[R, S]{req: req, done: make(chan answer[S], 1)}
	select {
	case g.in <- c:
	case <-ctx.Done():
		return none, coded("waiting for "+g.op, ctx.Err())
	case <-g.s.stop:
		return none, errClosed
	}
	select {
	case a := <-c.done:
		return a.val, a.err
	case <-ctx.Done():
		c.state.CompareAndSwap(callWaits, callLeft)
		return none, coded("waiting for "+g.op, ctx.Err())
	case <-g.s.ended: // a call that a committer took has its answer by now
		select {
		case a := <-c.done:
			return a.val, a.err
		default:
			return none, errClosed
		}
	}
}

// run commits batch after batch. One at a time makes the largest batches,
// which pays more than a second one beside it. After Close it finishes what was
// handed over.
func (g *group[R, S]) run() {
	var held []*call[R, S] // back from an earlier batch that had their keys
	last := 1              // calls in the last batch
	for {
		var first *call[R, S]
		if len(held) > 0 {
			first, held = held[0], held[1:]
		} else {
			select {
			case first = <-g.in:
			case <-g.s.stop:
				select {
				case first = <-g.in:
				default:
					return
				}
			}
		}
		var batch []*call[R, S]
		batch, held = g.gather(first, held, last)
		if last = len(batch); last > 0 {
			g.carryOut(batch)
		}
	}
}

// gather makes a batch of what is there now, and waits a moment for what is
// missing to the size that is expected.
func (g *group[R, S]) gather(first *call[R, S], before []*call[R, S], expected int) (batch, held []*call[R, S]) {
	keys := map[string]bool{}
	weight := 0
	take := func(c *call[R, S]) {
		k := g.key(c.req)
		if keys[k] || (len(batch) > 0 && weight+g.weight(c.req) > weightMost) {
			held = append(held, c)
			return
		}
		if !c.state.CompareAndSwap(callWaits, callTaken) {
			return
		}
		keys[k] = true
		weight += g.weight(c.req)
		batch = append(batch, c)
	}
	take(first)
	for _, c := range before {
		take(c)
	}
	var late <-chan time.Time
	for len(batch)+len(held) < batchMost && weight < weightMost {
		select {
		case c := <-g.in:
			take(c)
			continue
		default:
		}
		if len(batch)+len(held) >= expected {
			break
		}
		if late == nil {
			timer := time.NewTimer(gatherFor)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case c := <-g.in:
			take(c)
		case <-late:
			return batch, held
		case <-g.s.stop:
			return batch, held
		}
	}
	return batch, held
}

// carryOut commits a batch and answers each call. A batch that the database
// refuses for what is in it is done over call by call, so that a poisoned one
// hurts only itself. One of which nobody knows whether it was committed is
// repeated, and never reported failed while there is time.
func (g *group[R, S]) carryOut(batch []*call[R, S]) {
	reqs := make([]R, len(batch))
	for i, c := range batch {
		reqs[i] = c.req
	}
	answers, err := g.answer(reqs)
	var left []*call[R, S]
	for i, c := range batch {
		if err == nil || answers[i].given {
			c.done <- answers[i]
		} else {
			left = append(left, c)
		}
	}
	switch {
	case err == nil:
	case len(batch) > 1 && !again(err):
		g.s.log.Debug("a batch was refused; doing it over one by one", "op", g.op, "calls", len(left), "err", err)
		for i := range left {
			g.carryOut(left[i : i+1])
		}
	default:
		g.s.log.Error("a transaction failed", "op", g.op, "calls", len(left), "err", err)
		for _, c := range left {
			c.done <- answer[S]{err: coded(g.op, err)}
		}
	}
}

// answer carries requests out: by a lone statement where that does, which on
// PostgreSQL saves two round trips, and the rest in a transaction. With an error
// the answers are those that were given before it.
func (g *group[R, S]) answer(reqs []R) ([]answer[S], error) {
	answers := make([]answer[S], len(reqs))
	if g.alone != nil && g.s.postgres {
		err := g.s.repeat(g.s.life, g.op, func(ctx context.Context) error {
			return g.s.attemptAlone(ctx, g.op, g.db, func(x *tx) error {
				got, err := g.alone(g.s.life, x, reqs)
				if err == nil {
					answers = got
				}
				return err
			})
		})
		if err != nil {
			return make([]answer[S], len(reqs)), err
		}
	}
	var rest []R
	var places []int
	for i, a := range answers {
		if !a.given {
			rest, places = append(rest, reqs[i]), append(places, i)
		}
	}
	if len(rest) == 0 {
		return answers, nil
	}
	var more []answer[S]
	err := g.s.transact(g.s.life, g.op, func(x *tx) (err error) {
		more, err = g.commit(g.s.life, x, rest)
		return err
	})
	if err != nil {
		return answers, err
	}
	for i, a := range more {
		answers[places[i]] = a
	}
	return answers, nil
}

// refused is an answer that is an error of the call's own.
func refused[S any](code job.Code, format string, args ...any) answer[S] {
	return answer[S]{err: job.Errorf(code, format, args...)}
}

// errVanished is the error of a batch of which the database returned too few
// rows: another transaction came in between, and a repeat will see clearly.
var errVanished = errors.Join(errAgain, errors.New("a row vanished in between"))
