package cache

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/outage"
	"github.com/postrider/postrider/internal/rounds"
)

const (
	// answerLimit bounds the wait for Redis: an answer can be made without.
	answerLimit = 100 * time.Millisecond
	// retryPause is how long Redis is not asked after it failed.
	retryPause = time.Second
	// versionLife is how long a version is kept from its first reader on. When it
	// is over the answers that depend on it are made anew.
	versionLife = 10 * time.Minute
	keyPrefix   = "postrider:cache:"
)

// What became of a question, as the metric counts it.
const (
	near     = "near"
	distant  = "far"
	stale    = "stale"
	missed   = "miss"
	bypassed = "bypassed"
)

// Store is what the caches of a process have in common. It is a
// prometheus.Collector.
type Store struct {
	redis   redis.UniversalClient
	log     *slog.Logger
	now     func() time.Time
	limit   time.Duration // of the wait for an answer of Redis
	gate    *outage.Gate
	changes changes
	rounds  rounds.Rounds
	lookups *prometheus.CounterVec
	bytes   *prometheus.Desc

	life context.Context // of answers that are being made
	end  context.CancelFunc

	mu      sync.Mutex
	stopped bool
	wait    sync.WaitGroup
	sizes   map[string]func() uint64 // of caches
	closers []func()
}

// StoreOptions are what a Store is made of; Redis and Log are needed.
type StoreOptions struct {
	// Redis must have ContextTimeoutEnabled, or go-redis does not heed the time that
	// it is given.
	Redis redis.UniversalClient
	Log   *slog.Logger
	Now   func() time.Time // time.Now when nil
	// Wait bounds the wait for an answer of Redis; 100 ms when zero.
	Wait time.Duration
}

// NewStore makes a Store, which Start sets going and Stop ends.
func NewStore(o StoreOptions) *Store {
	s := &Store{
		redis: o.Redis, log: o.Log.With("component", "cache"), now: o.Now, limit: cmp.Or(o.Wait, answerLimit), gate: outage.NewGate(retryPause),
		changes: newChanges(), sizes: map[string]func() uint64{},
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_cache_lookups_total",
			Help: "Answers asked of a cache, by where they came from: near (this process), far (Redis), stale (either, while a new one is made), miss (made), or bypassed (made, since Redis did not answer or a change was being told).",
		}, []string{"cache", "outcome"}),
		bytes: prometheus.NewDesc("postrider_cache_bytes", "Size of what a cache keeps in this process, as JSON.", []string{"cache"}, nil),
	}
	if s.now == nil {
		s.now = time.Now
	}
	s.life, s.end = context.WithCancel(context.Background())
	s.rounds = rounds.Rounds{
		Every: retryPause, Nudged: s.changes.nudge, Round: s.tell, Log: s.log,
		Failing: "other processes cannot be told of changes; for up to a minute they may answer as before",
		Well:    "other processes are told of changes again",
	}
	return s
}

// Describe and Collect make the Store a prometheus.Collector.
func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	s.lookups.Describe(ch)
	ch <- s.bytes
}

// Collect passes on the metrics' values.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	s.lookups.Collect(ch)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, size := range s.sizes {
		ch <- prometheus.MustNewConstMetric(s.bytes, prometheus.GaugeValue, float64(size()), name)
	}
}

// Start begins to tell other processes of changes. It can be called once.
func (s *Store) Start() { s.rounds.Start() }

// Stop ends answers that are being made, tells of the last changes, and waits.
// What is asked afterwards is made for who asks.
func (s *Store) Stop() {
	s.mu.Lock()
	s.stopped = true
	closers := s.closers
	s.closers = nil
	s.mu.Unlock()
	s.end()
	s.wait.Wait()
	s.rounds.Stop()
	if err := s.tell(context.Background()); err != nil {
		s.log.Debug("the last changes could not be told", "err", err)
	}
	for _, end := range closers {
		end()
	}
}

// adopt notes a cache.
func (s *Store) adopt(name string, size func() uint64, end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sizes[name] = size
	s.closers = append(s.closers, end)
}

// begin runs f in a goroutine that Stop waits for, unless it has begun.
func (s *Store) begin(f func(life context.Context)) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return false
	}
	s.wait.Go(func() { f(s.life) })
	return true
}

func (s *Store) count(cache, outcome string) { s.lookups.WithLabelValues(cache, outcome).Inc() }

// told is what Redis answers to a question.
type told struct {
	versions string
	text     []byte // what is kept; nil for nothing
	left     time.Duration
}

// ask tells the versions of things, and what is kept under key unless that is
// empty. It is not ok when Redis does not answer, or when one of the things has
// changed and that is still to be told.
func (s *Store) ask(ctx context.Context, of []string, key string) (_ told, ok bool) {
	if s.changes.touch(of) || !s.gate.Open() {
		return told{}, false
	}
	bounded, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	t, err := s.read(bounded, of, key)
	if errors.Is(err, errVanished) {
		return t, false
	}
	return t, s.heard(ctx, err)
}

// heard notes whether Redis has answered.
func (s *Store) heard(ctx context.Context, err error) bool {
	switch {
	case err == nil:
		if s.gate.Answered() {
			s.log.Info("caches work again")
		}
	case ctx.Err() == nil && s.gate.Failed():
		s.log.Warn("caches do not work: Redis does not answer", "err", err)
	}
	return err == nil
}

// errVanished is met where a thing changes in the very moment.
var errVanished = errors.New("a version was deleted as soon as it was made")

func (s *Store) read(ctx context.Context, of []string, key string) (t told, err error) {
	pipe := s.redis.Pipeline()
	versions := make([]*redis.StringCmd, len(of))
	for i, thing := range of {
		versions[i] = pipe.Get(ctx, versionKey(thing))
	}
	var text *redis.StringCmd
	var left *redis.DurationCmd
	if key != "" {
		text, left = pipe.Get(ctx, key), pipe.PTTL(ctx, key)
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return t, fmt.Errorf("reading what is kept: %w", err)
	}
	if versions, err = s.name(ctx, of, versions); err != nil {
		return t, err
	}
	all := make([]string, len(of))
	for i, v := range versions {
		if all[i] = v.Val(); all[i] == "" {
			return t, errVanished
		}
	}
	t.versions = strings.Join(all, " ")
	if text != nil && left.Val() > 0 {
		t.text, _ = text.Bytes() // redis.Nil is all that it can be
		t.left = left.Val()
	}
	return t, nil
}

// name gives a version to each of the things that have none.
func (s *Store) name(ctx context.Context, of []string, versions []*redis.StringCmd) ([]*redis.StringCmd, error) {
	pipe := s.redis.Pipeline()
	for i, v := range versions {
		if v.Val() == "" {
			pipe.SetNX(ctx, versionKey(of[i]), rand.Text()[:13], versionLife)
			versions[i] = pipe.Get(ctx, versionKey(of[i]))
		}
	}
	if pipe.Len() == 0 {
		return versions, nil
	}
	if _, err := pipe.Exec(ctx); err != nil && !errors.Is(err, redis.Nil) {
		return nil, fmt.Errorf("making versions: %w", err)
	}
	return versions, nil
}

func versionKey(thing string) string { return keyPrefix + "version:" + digest(thing) }

// put keeps a text in Redis for so long.
func (s *Store) put(ctx context.Context, key string, text []byte, life time.Duration) {
	if life < time.Millisecond || !s.gate.Open() {
		return
	}
	bounded, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	s.heard(ctx, s.redis.Set(bounded, key, text, life).Err())
}
