package broker

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// popLongest bounds one blocking command, so that a connection that died in
// silence is noticed.
const popLongest = 10 * time.Second

// waiter waits for tokens on lists of a queue in Redis. It has a connection of its own,
// because a blocking command holds one, and is ended by closing it.
type waiter struct {
	rdb    redis.UniversalClient
	closed chan struct{}

	mu     sync.Mutex
	client *redis.Client
	done   bool
}

func newWaiter(rdb redis.UniversalClient) *waiter {
	return &waiter{rdb: rdb, closed: make(chan struct{})}
}

// wait returns when there was a token, after d, or when the waiter is closed.
// While the connection cannot be had it returns at asynq's pace, so that the
// queue is polled.
func (w *waiter) wait(key string, d time.Duration) (woken bool) {
	woken, err := w.pop(key, min(d, popLongest))
	if err == nil {
		return woken
	}
	w.drop()
	pause := time.NewTimer(min(d, pollEvery/2+rand.N(pollEvery)))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-w.closed:
	}
	return false
}

// pop takes a token, waiting for it up to d.
func (w *waiter) pop(key string, d time.Duration) (bool, error) {
	client, err := w.connect(key)
	if err != nil {
		return false, err
	}
	// go-redis' own BLPop knows whole seconds only.
	seconds := strconv.FormatFloat(max(d, time.Millisecond).Seconds(), 'f', 3, 64)
	err = client.Do(context.Background(), "BLPOP", key, seconds).Err()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("waiting for %s: %w", key, err)
	}
	return true, nil
}

func (w *waiter) connect(key string) (*redis.Client, error) {
	node, err := w.node(key)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.done {
		return nil, redis.ErrClosed
	}
	if w.client == nil {
		opts := *node.Options()
		opts.MinIdleConns = 0 // one connection, made when it is needed
		opts.ReadTimeout = popLongest + ioTimeout
		w.client = redis.NewClient(&opts)
	}
	return w.client, nil
}

// node is the client of the server that has the key.
func (w *waiter) node(key string) (*redis.Client, error) {
	switch c := w.rdb.(type) {
	case *redis.Client:
		return c, nil
	case *redis.ClusterClient:
		ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
		defer cancel()
		node, err := c.MasterForKey(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("finding the node of %s: %w", key, err)
		}
		return node, nil
	}
	return nil, fmt.Errorf("a client of type %T cannot be waited on", w.rdb)
}

// drop lets go of the connection: the next wait makes another one, on a
// Cluster or after a failover to another server.
func (w *waiter) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.client != nil {
		_ = w.client.Close()
		w.client = nil
	}
}

// close ends a wait that is under way, and all later ones at once.
func (w *waiter) close() {
	w.mu.Lock()
	if !w.done {
		w.done = true
		close(w.closed)
	}
	w.mu.Unlock()
	w.drop()
}
