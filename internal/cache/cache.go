// Package cache keeps answers for a while, near in memory and far in Redis,
// where the other processes find them.
//
// An answer is kept under a key, and depends on things that change. Each of
// these has a version in Redis, which everyone who asks looks at in the same
// round trip, and who changes the thing deletes it; the next to ask gives it a
// new one. An answer counts only under the versions that were read before it was
// made. So nobody has to be told of a change: once Drop has returned, no process
// gives an answer from before it, and an answer that was being made meanwhile is
// kept under a version that nobody asks for any more. A subscription that tells
// processes of changes would be cheaper to read by one round trip, and later by
// the time that its message takes; and what is lost with it is an old answer.
//
// While Redis does not answer, versions cannot be read: what depends on
// something is made anew for each who asks, and what depends on nothing is kept
// near. No error comes of it.
package cache

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// Longest is the most that an answer is kept, Fresh and Stale together.
	Longest = time.Minute
	// largest is the most that an answer may have to be kept, in bytes of JSON.
	largest = 256 << 10
	// fillLimit bounds the making of an answer, for which others may wait.
	fillLimit = 15 * time.Second
	// overhead is about what an entry takes beside its JSON, in bytes.
	overhead = 256
)

// Status is where an answer comes from, as X-Cache tells it.
type Status string

// The statuses.
const (
	Hit   Status = "hit"   // it was kept
	Stale Status = "stale" // it was kept for longer than Fresh; a new one is being made
	Miss  Status = "miss"  // it was made
)

// Options say how long and how much a Cache keeps. Name, Fresh and Bytes are
// needed.
type Options struct {
	Name  string        // tells it from others, in Redis and in metrics
	Fresh time.Duration // an answer is given for so long
	// Stale is for how much longer it is given at once, while a new one is made.
	// Longest bounds the two together.
	Stale time.Duration
	// Bytes bounds what is kept near, as JSON. Answers of more than 256 KiB are
	// not kept.
	Bytes int
}

// Cache keeps answers of one type, which encoding/json must read as it writes
// them. What Get returns is shared: it must not be changed. It is safe for
// concurrent use, and lives as long as its Store.
type Cache[V any] struct {
	Options
	store *Store
	near  *otter.Cache[string, entry[V]]

	mu      sync.Mutex
	flights map[string]*flight[V]
}

// entry is an answer that is kept.
type entry[V any] struct {
	value    V
	versions string
	made     time.Time // when the making began
	size     int
}

// flight is an answer that is being made; done is closed when it is.
type flight[V any] struct {
	done  chan struct{}
	value V
	err   error
}

// New makes a Cache in store.
func New[V any](store *Store, o Options) (*Cache[V], error) {
	o.Fresh = min(o.Fresh, Longest)
	o.Stale = min(o.Stale, Longest-o.Fresh)
	near, err := otter.New(&otter.Options[string, entry[V]]{
		MaximumWeight:    uint64(max(o.Bytes, 0)),
		Weigher:          func(_ string, e entry[V]) uint32 { return uint32(e.size + overhead) }, // largest bounds it
		ExpiryCalculator: otter.ExpiryWriting[string, entry[V]](o.Fresh + o.Stale),
		Executor:         func(task func()) { task() }, // short ones; no goroutine of it outlives a call
	})
	if err != nil {
		return nil, fmt.Errorf("making the cache %s: %w", o.Name, err)
	}
	c := &Cache[V]{Options: o, store: store, near: near, flights: map[string]*flight[V]{}}
	store.adopt(o.Name, near.WeightedSize, func() { near.StopAllGoroutines() })
	return c, nil
}

// Get returns the answer of that key, which fill makes where none is kept. The
// key must hold all that the answer is about, who asks too where that matters;
// of are the things that the answer depends on, as Drop names them. Without any
// it is as old as Fresh and Stale allow.
//
// Of those in this process who want an answer at the same moment one makes it;
// several processes may each make theirs. An error of fill is not kept: who
// wants that makes it part of V. The error is fill's, or that ctx has ended.
func (c *Cache[V]) Get(ctx context.Context, key string, of []string, fill func(context.Context) (V, error)) (V, Status, error) {
	name := digest(key)
	kept, versions, outcome := c.find(ctx, name, of)
	switch {
	case outcome == bypassed:
		c.store.count(c.Name, bypassed)
		v, err := fill(ctx)
		return v, Miss, err
	case outcome != missed && c.store.now().Sub(kept.made) < c.Fresh:
		c.store.count(c.Name, outcome)
		return kept.value, Hit, nil
	case outcome != missed:
		c.store.count(c.Name, stale)
		c.fly(ctx, name, versions, fill)
		return kept.value, Stale, nil
	}
	c.store.count(c.Name, missed)
	f := c.fly(ctx, name, versions, fill)
	if f == nil { // it is being stopped
		v, err := fill(ctx)
		return v, Miss, err
	}
	select {
	case <-f.done:
		return f.value, Miss, f.err
	case <-ctx.Done():
		var none V
		return none, Miss, fmt.Errorf("waiting for an answer of the cache %s: %w", c.Name, context.Cause(ctx))
	}
}

// find looks for an answer that may be given, near and then far, and tells the
// versions under which another may be kept.
func (c *Cache[V]) find(ctx context.Context, name string, of []string) (kept entry[V], versions, outcome string) {
	kept, is := c.near.GetIfPresent(name)
	if is && len(of) == 0 && c.usable(kept) {
		return kept, "", near
	}
	far := c.farKey(name)
	first := far
	if is {
		first = "" // mostly its versions alone are of interest
	}
	told, ok := c.store.ask(ctx, of, first)
	if !ok {
		if len(of) == 0 {
			return kept, "", missed
		}
		return kept, "", bypassed
	}
	if is && kept.versions == told.versions && c.usable(kept) {
		return kept, told.versions, near
	}
	if is { // another process may have a newer one
		found, ok := c.store.ask(ctx, nil, far)
		if !ok {
			return kept, told.versions, missed
		}
		told.text, told.left = found.text, found.left
	}
	if kept, ok = c.read(told); ok && c.usable(kept) {
		c.near.Set(name, kept)
		return kept, told.versions, distant
	}
	return kept, told.versions, missed
}

func (c *Cache[V]) farKey(name string) string { return keyPrefix + c.Name + ":" + name }

func (c *Cache[V]) usable(e entry[V]) bool {
	return c.store.now().Sub(e.made) < c.Fresh+c.Stale
}

// read makes an entry of what Redis kept, if it was made under these versions.
func (c *Cache[V]) read(t told) (entry[V], bool) {
	versions, text, found := bytes.Cut(t.text, []byte("\n"))
	if !found || string(versions) != t.versions {
		return entry[V]{}, false
	}
	// Its age is what is gone of its time in Redis: clocks of processes differ.
	e := entry[V]{versions: t.versions, made: c.store.now().Add(t.left - c.Fresh - c.Stale), size: len(text)}
	err := json.Unmarshal(text, &e.value)
	return e, err == nil // else another version of this program wrote it
}

// fly makes an answer, unless that is being done; nil when the store is stopped.
func (c *Cache[V]) fly(ctx context.Context, name, versions string, fill func(context.Context) (V, error)) *flight[V] {
	c.mu.Lock()
	defer c.mu.Unlock()
	// An answer that was begun under other versions is not for who asks now.
	id := name + versions
	if f := c.flights[id]; f != nil {
		return f
	}
	f := &flight[V]{done: make(chan struct{})}
	ctx = context.WithoutCancel(ctx) // it is for the others too
	if !c.store.begin(func(life context.Context) { c.make(ctx, life, f, name, versions, fill) }) {
		return nil
	}
	c.flights[id] = f
	return f
}

// make makes an answer and keeps it.
func (c *Cache[V]) make(ctx, life context.Context, f *flight[V], name, versions string, fill func(context.Context) (V, error)) {
	ctx, cancel := context.WithTimeout(ctx, fillLimit)
	defer cancel()
	defer context.AfterFunc(life, cancel)()
	e := entry[V]{versions: versions, made: c.store.now()}
	f.value, f.err = c.sure(ctx, fill)
	e.value = f.value
	var text []byte
	keep := f.err == nil
	if keep {
		var err error
		if text, err = json.Marshal(e.value); err != nil {
			c.store.log.Error("an answer cannot be kept", "cache", c.Name, "err", err)
		}
		e.size = len(text)
		keep = err == nil && e.size <= largest
	}
	if keep {
		c.near.Set(name, e)
	}
	c.mu.Lock()
	delete(c.flights, name+versions)
	c.mu.Unlock()
	close(f.done)
	if keep {
		c.store.put(ctx, c.farKey(name), append([]byte(versions+"\n"), text...), c.Fresh+c.Stale-c.store.now().Sub(e.made))
	}
}

// sure is fill whose panic is an error: it runs where nobody else would stop it.
func (c *Cache[V]) sure(ctx context.Context, fill func(context.Context) (V, error)) (v V, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("making an answer for the cache %s: panic: %v", c.Name, p)
		}
	}()
	return fill(ctx)
}

// digest is a key's name in Redis: of one length, and it tells nobody whom an
// answer is about.
func digest(key string) string {
	sum := sha256.Sum256([]byte(key))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}
