package limit

import (
	"context"
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
			Help: "Jobs that came to a limit of POSTRIDER_LIMITS, by limit and outcome: passed, postponed, passed_over (a provider that had its share, another was asked), or unavailable because Redis did not answer.",
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

// Pass is what a job's coming to a limit came to.
type Pass struct {
	// Leave gives back the place that was taken, when the job is over; nil
	// unless it may run.
	Leave func()
	// After is when to come back otherwise.
	After time.Duration

	undo func()
}

// Granted reports whether the job may run.
func (p Pass) Granted() bool { return p.Leave != nil }

// Undo says of a job that was let through that it did not begin after all, as
// another limit held it up: its start is another's, and it is let through again
// as one whose turn has come.
func (p Pass) Undo() {
	if p.undo != nil {
		p.undo()
	}
}

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
	return f.note(ctx, d, p, err, "postponed")
}

// Try lets a job through the key's rate if that is possible at once. Otherwise
// After is how long it would have to wait, and no turn is kept for it: it is
// for one that may go elsewhere. A job whose turn Pass has kept is let through
// when that has come. It is as Pass otherwise.
func (f *Fleet) Try(ctx context.Context, k Key, id string) (Pass, error) {
	d := f.doors[k]
	if d == nil {
		return open, nil
	}
	p, err := f.take(ctx, d, id, false)
	return f.note(ctx, d, p, err, "passed_over")
}

// note counts what a job's coming to the door came to, or makes an error of it.
func (f *Fleet) note(ctx context.Context, d *door, p Pass, err error, refused string) (Pass, error) {
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
	if p.Granted() {
		refused = "passed"
	}
	f.outcomes.WithLabelValues(d.name, refused).Inc()
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
		p, err := f.take(ctx, d, id, true)
		if err == nil && p.Granted() {
			p.Leave = leave
			return p, nil
		}
		leave() // nobody sleeps in a place that another could use
		if err != nil {
			return Pass{}, err
		}
		if p.After > time.Until(until) {
			return Pass{After: min(p.After, longestPause)}, nil
		}
		if err := sleep(ctx, p.After); err != nil {
			return Pass{}, err
		}
	}
}
