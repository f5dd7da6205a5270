package mail

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// wear bounds the use of a connection.
type wear struct {
	idle     time.Duration // unused for so long
	age      time.Duration
	messages int
}

// defaultWear keeps a connection for as long as most servers bear: many close
// one that is idle for 10 to 30 s, and few like to be held for ever, since they
// spread their load by connections.
var defaultWear = wear{idle: 10 * time.Second, age: 5 * time.Minute, messages: 500}

// errClosed is the cause of what is refused after Sender.Close.
var errClosed = errors.New("the sender is closed")

// pool keeps the connections to one server: at most as many as it has slots,
// lent ones and idle ones together. The newest idle one is lent first, so that
// those which the load does not need grow old.
type pool struct {
	provider *provider
	wear     wear
	slots    chan struct{} // holds one element for each connection that is lent
	leaving  sync.WaitGroup

	mu     sync.Mutex
	closed bool
	idle   []*session // the longest idle first
	reaper *time.Timer
}

func newPool(p *provider, size int) *pool {
	pool := &pool{provider: p, wear: defaultWear, slots: make(chan struct{}, size)}
	pool.reaper = time.AfterFunc(pool.wear.idle, pool.reap)
	pool.reaper.Stop()
	return pool
}

// borrow lends a connection that watches ctx, an idle one if there is one. It
// waits while all are lent. The caller ends it with giveBack or discard.
func (p *pool) borrow(ctx context.Context) (*session, error) {
	if err := p.enter(ctx); err != nil {
		return nil, err
	}
	s, err := p.takeIdle()
	switch {
	case err != nil:
		err = p.provider.failure(ctx, opConnect, err)
	case s != nil:
		s.watch(ctx)
	default:
		s, err = p.provider.open(ctx)
	}
	if err != nil {
		<-p.slots
		return nil, err
	}
	return s, nil
}

// enter takes a slot.
func (p *pool) enter(ctx context.Context) error {
	select {
	case p.slots <- struct{}{}: // rather than ctx's end, if both are there
		return nil
	default:
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		e := p.provider.failure(ctx, opWait, context.Cause(ctx))
		e.Err = fmt.Errorf("none of %d connections was free: %w", cap(p.slots), e.Err)
		return e
	}
}

// renew puts a new connection in the place of a lent one that failed. On an
// error nothing is lent any more.
func (p *pool) renew(ctx context.Context, s *session) (*session, error) {
	s.cut()
	s, err := p.provider.open(ctx)
	if err != nil {
		<-p.slots
		return nil, err
	}
	return s, nil
}

// discard ends a lent connection at once.
func (p *pool) discard(s *session) {
	s.cut()
	<-p.slots
}

// giveBack takes a lent connection back after a message that went well.
func (p *pool) giveBack(s *session) {
	// Closed with its ctx, or out of step: a server that has said more than it
	// was asked would have its words taken for the next reply.
	if !s.unwatch() || s.client.Text.R.Buffered() > 0 {
		p.discard(s)
		return
	}
	s.idleSince = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.closed:
		_ = s.raw.Close()
	case s.messages >= p.wear.messages || time.Since(s.born) >= p.wear.age:
		// Its place is free when the server has let it go.
		p.leaving.Go(func() { s.quit(); <-p.slots })
		return
	default:
		p.idle = append(p.idle, s)
		if len(p.idle) == 1 {
			p.reaper.Reset(p.wear.idle)
		}
	}
	<-p.slots
}

// takeIdle returns the newest idle connection, or nil.
func (p *pool) takeIdle() (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	last := len(p.idle) - 1
	if last < 0 || time.Since(p.idle[last].idleSince) >= p.wear.idle {
		return nil, nil // or about to be reaped
	}
	s := p.idle[last]
	p.idle = p.idle[:last]
	return s, nil
}

// reap retires the connections that have been idle for too long.
func (p *pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for len(p.idle) > 0 && !p.closed {
		oldest := p.idle[0]
		if left := p.wear.idle - time.Since(oldest.idleSince); left > 0 {
			p.reaper.Reset(left)
			return
		}
		p.idle = p.idle[1:]
		p.leaving.Go(oldest.quit)
	}
}

// count is for metrics.
func (p *pool) count() (lent, idle int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.slots), len(p.idle)
}

// close takes leave of all idle connections and waits for it, no longer than
// quitWait. Lent ones are closed when they are given back.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.reaper.Stop()
	for _, s := range p.idle {
		p.leaving.Go(s.quit)
	}
	p.idle = nil
	p.mu.Unlock()
	p.leaving.Wait()
}
