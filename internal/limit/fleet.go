package limit

import (
	"context"
	crand "crypto/rand"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

const (
	// fleetAnswer bounds the wait for one answer of Redis.
	fleetAnswer = 2 * time.Second
	// longestPause is after how long a job that waits for its turn asks again
	// in any case: the limit may have been raised meanwhile.
	longestPause = 10 * time.Minute
	// knockEvery is how often a process that waits for one of a limited number
	// of places asks whether another process has left one.
	knockEvery = 20 * time.Millisecond
	// placeLease is for how long a killed process' places stay taken, and
	// extendEvery how often a living one says that it has them still.
	placeLease  = 30 * time.Second
	extendEvery = 5 * time.Second
)

// Fleet keeps limits on jobs over all workers. Other than a request, which is
// refused, a job waits for its turn: each that comes too early is told its own
// time, so that ten thousand of them ask little more than twice each.
//
// A job of a limited key is not let through while Redis cannot be asked: what a
// provider punishes is not done on suspicion, and the job can wait.
type Fleet struct {
	rdb   redis.UniversalClient
	doors map[Key]*door
	log   *slog.Logger

	outcomes *prometheus.CounterVec
	away     atomic.Bool // Redis did not answer last
	cancel   context.CancelFunc
	keeper   sync.WaitGroup
}

// door is one limited key, as this process sees it.
type door struct {
	name string
	rule Rule
	pace pace

	starts, slots, places string // keys

	turn chan struct{} // holds a token while somebody waits for a place
	left chan struct{} // holds a token when a place was left

	mu   sync.Mutex
	held map[string]bool // places of this process, by token
}

// NewFleet makes a Fleet that keeps the rules in rdb. Start it before use if
// there are any, and Stop it after.
func NewFleet(rdb redis.UniversalClient, rules Rules, log *slog.Logger) *Fleet {
	f := &Fleet{
		rdb: rdb, doors: map[Key]*door{}, log: log.With("component", "limit"),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_limit_passes_total",
			Help: "Jobs that came to a limit of POSTRIDER_LIMITS, by limit and outcome: passed, postponed, or unavailable because Redis did not answer.",
		}, []string{"limit", "outcome"}),
	}
	for k, rule := range rules {
		d := &door{
			name: k.String(), rule: rule,
			turn: make(chan struct{}, 1), left: make(chan struct{}, 1), held: map[string]bool{},
		}
		slot := "postrider:limit:{" + d.name + "}:"
		d.places = slot + "places"
		if !rule.Rate.Off() {
			d.pace = rule.Rate.pace()
			// A rate that was changed begins anew.
			d.starts, d.slots = slot+rule.Rate.String()+":starts", slot+rule.Rate.String()+":slots"
		}
		f.doors[k] = d
	}
	return f
}

// Describe and Collect make the Fleet a prometheus.Collector.
func (f *Fleet) Describe(ch chan<- *prometheus.Desc) { f.outcomes.Describe(ch) }

// Collect passes on the counter's values.
func (f *Fleet) Collect(ch chan<- prometheus.Metric) { f.outcomes.Collect(ch) }

// Start begins to keep places.
func (f *Fleet) Start() {
	var limited []*door
	for _, d := range f.doors {
		if d.rule.Concurrency > 0 {
			limited = append(limited, d)
		}
	}
	if len(limited) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel = cancel
	f.keeper.Go(func() {
		tick := time.NewTicker(extendEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			for _, d := range limited {
				f.extend(ctx, d)
			}
		}
	})
}

// Stop ends the keeping of places.
func (f *Fleet) Stop() {
	if f.cancel != nil {
		f.cancel()
		f.keeper.Wait()
	}
}

// Pass is what Fleet.Pass came to.
type Pass struct {
	// Leave gives back what was taken, when the job is over; nil unless it may
	// run.
	Leave func()
	// After is when to come back otherwise.
	After time.Duration
}

// Granted reports whether the job may run.
func (p Pass) Granted() bool { return p.Leave != nil }

var open = Pass{Leave: func() {}}

// Pass lets a job through the key's limits. It waits for the job's turn as long
// as patience, if that is enough, and otherwise says when to come back: id
// names the job, whose turn is kept until then. A key without limits is open,
// and nobody is asked. An error says that Redis did not answer, which is logged
// once an outage, or that ctx ended.
func (f *Fleet) Pass(ctx context.Context, k Key, id string, patience time.Duration) (Pass, error) {
	d := f.doors[k]
	if d == nil {
		return open, nil
	}
	p, err := f.pass(ctx, d, id, patience)
	switch {
	case ctx.Err() != nil && !p.Granted():
		return Pass{}, fmt.Errorf("waiting for the limit %s: %w", d.name, context.Cause(ctx))
	case err != nil:
		if f.away.CompareAndSwap(false, true) {
			f.log.Warn("limited jobs wait: Redis does not answer", "limit", d.name, "err", err)
		}
		f.outcomes.WithLabelValues(d.name, "unavailable").Inc()
		return Pass{}, fmt.Errorf("asking for the limit %s: %w", d.name, err)
	}
	if f.away.Load() && f.away.CompareAndSwap(true, false) {
		f.log.Info("limited jobs go on")
	}
	switch {
	case p.Granted():
		f.outcomes.WithLabelValues(d.name, "passed").Inc()
	default:
		f.outcomes.WithLabelValues(d.name, "postponed").Inc()
	}
	return p, nil
}

func (f *Fleet) pass(ctx context.Context, d *door, id string, patience time.Duration) (Pass, error) {
	until := time.Now().Add(patience)
	for {
		leave, err := f.enter(ctx, d, time.Until(until))
		if err != nil {
			return Pass{}, err
		}
		if leave == nil {
			return Pass{After: patience + rand.N(max(patience, knockEvery))}, nil
		}
		if d.rule.Rate.Off() {
			return Pass{Leave: leave}, nil
		}
		wait, err := f.take(ctx, d, id)
		if err == nil && wait <= 0 {
			return Pass{Leave: leave}, nil
		}
		leave() // nobody sleeps in a place that another could use
		if err != nil {
			return Pass{}, err
		}
		if wait > time.Until(until) {
			return Pass{After: min(wait, longestPause)}, nil
		}
		if err := sleep(ctx, wait); err != nil {
			return Pass{}, err
		}
	}
}

// take asks for a start now, and returns how long it is until the job's own
// time otherwise.
func (f *Fleet) take(ctx context.Context, d *door, id string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, fleetAnswer)
	defer cancel()
	// What begins is a little later than what was allowed to: the window is
	// made 5 % longer, so that the rate is kept where it is felt, and the jobs'
	// own times 1 % further apart, so that one in time finds room.
	window := d.pace.window + d.pace.window/20
	gap := (window + d.pace.window/100) / time.Duration(d.pace.starts)
	wait, err := takeScript.Run(ctx, f.rdb, []string{d.starts, d.slots}, d.pace.starts, window.Microseconds(),
		float64(gap)/float64(time.Microsecond), id, brief.Microseconds(), lapse.Microseconds()).Int64()
	return time.Duration(wait) * time.Microsecond, err
}

// enter takes a place, waiting for one as long as patience; nil when there was
// none.
func (f *Fleet) enter(ctx context.Context, d *door, patience time.Duration) (leave func(), err error) {
	if d.rule.Concurrency == 0 {
		return open.Leave, nil
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case d.turn <- struct{}{}:
		defer func() { <-d.turn }()
	case <-limit.C:
		return nil, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	token := crand.Text()
	for {
		entered, err := f.occupy(ctx, d, token)
		if err != nil {
			return nil, err
		}
		if entered {
			d.hold(token)
			return sync.OnceFunc(func() { f.vacate(d, token) }), nil
		}
		knock := time.NewTimer(knockEvery)
		select {
		case <-d.left:
		case <-knock.C:
		case <-limit.C:
			knock.Stop()
			return nil, nil
		case <-ctx.Done():
			knock.Stop()
			return nil, context.Cause(ctx)
		}
		knock.Stop()
	}
}

func (f *Fleet) occupy(ctx context.Context, d *door, token string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, fleetAnswer)
	defer cancel()
	return enterScript.Run(ctx, f.rdb, []string{d.places}, d.rule.Concurrency, placeLease.Milliseconds(), token).Bool()
}

// vacate leaves a place. If Redis does not hear of it, the place is free when
// its lease ends.
func (f *Fleet) vacate(d *door, token string) {
	d.mu.Lock()
	delete(d.held, token)
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), fleetAnswer)
	defer cancel()
	if err := f.rdb.ZRem(ctx, d.places, token).Err(); err != nil {
		f.log.Debug("a place was not given back; it stays taken until its lease ends", "limit", d.name, "err", err)
	}
	select {
	case d.left <- struct{}{}:
	default:
	}
}

func (d *door) hold(token string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.held[token] = true
}

func (f *Fleet) extend(ctx context.Context, d *door) {
	d.mu.Lock()
	args := []any{placeLease.Milliseconds()}
	for token := range d.held {
		args = append(args, token)
	}
	d.mu.Unlock()
	if len(args) == 1 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, fleetAnswer)
	defer cancel()
	if err := extendScript.Run(ctx, f.rdb, []string{d.places}, args...).Err(); err != nil && ctx.Err() == nil {
		f.log.Warn("places under a limit could not be kept", "limit", d.name, "places", len(args)-1, "err", err)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
