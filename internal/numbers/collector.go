package numbers

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/rounds"
)

const (
	// Kept is how many seconds are kept.
	Kept = 300
	// Step is between two samples.
	Step = time.Second
	// idleEvery is between two looks while nobody watches.
	idleEvery = 10 * time.Second
	// fresh is how old the numbers of Current may be.
	fresh = 3 * time.Second
)

// Options are what a Collector is made of; Connections may be nil.
type Options struct {
	Engine      Engine
	Log         Log
	Connections func(context.Context) (*Connections, error)
	Logger      *slog.Logger
	Metrics     prometheus.Registerer
}

// Watcher is told of new samples, each text being JSON. Its methods must not
// wait, nor call the Collector.
type Watcher interface {
	// Sample is told of the newest second.
	Sample(text json.RawMessage)
	// History is told of all samples anew, where seconds that could not be told
	// before have come to be known.
	History(text json.RawMessage)
}

// Collector looks at everything and keeps what it saw. It is safe for concurrent
// use.
type Collector struct {
	o      Options
	log    *slog.Logger
	rounds rounds.Rounds
	nudge  chan struct{} // holds one when a watcher came

	looking sync.Mutex // held while looking; guards these
	lookAt  time.Time
	counted Second // before which all seconds are
	offset  time.Duration
	marks   []mark
	runs    map[Second][]Run
	before  *look // the one before; nil at first

	workersAt time.Time
	workers   []Worker

	mu       sync.Mutex // guards these; may be taken while looking is held
	kept     []Sample   // one a second, without gaps
	history  json.RawMessage
	watchers int
	watcher  Watcher
}

// New makes a Collector; Start it. It registers its metric.
func New(o Options) (*Collector, error) {
	c := &Collector{o: o, log: o.Logger.With("component", "numbers"), nudge: make(chan struct{}, 1), runs: map[Second][]Run{}}
	c.rounds = rounds.Rounds{
		Every: Step, Nudged: c.nudge, Round: c.round, Log: c.log,
		Failing: "some numbers of the fleet cannot be told; going on", Well: "all numbers of the fleet are told again",
	}
	err := o.Metrics.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "postrider_numbers_watchers", Help: "Who watches the live numbers of the fleet by this process.",
	}, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(c.watchers)
	}))
	if err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	return c, nil
}

// Start begins to look. It can be called once, after Tell.
func (c *Collector) Start() { c.rounds.Start() }

// Stop ends what Start began and waits for it.
func (c *Collector) Stop() { c.rounds.Stop() }

// Tell sets who is told of new samples. It is called before Start.
func (c *Collector) Tell(w Watcher) { c.watcher = w }

// Join begins to watch: begin is given all samples that are kept, as a JSON list,
// and no sample comes between that and the next that the Watcher is told of. It
// must not wait, nor call the Collector. Leave is to be called once for each.
func (c *Collector) Join(begin func(history json.RawMessage)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers++
	begin(c.historyLocked())
	if c.watchers == 1 { // the last look may be some time ago
		select {
		case c.nudge <- struct{}{}:
		default:
		}
	}
}

// Leave ends a watching.
func (c *Collector) Leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers--
}

func (c *Collector) watched() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.watchers > 0
}

// round looks, unless nobody watches and it is not time yet.
func (c *Collector) round(ctx context.Context) error {
	c.looking.Lock()
	defer c.looking.Unlock()
	every := idleEvery
	if c.watched() {
		every = Step
	}
	if !c.lookAt.IsZero() && time.Since(c.lookAt) < every-Step/2 {
		return nil
	}
	return c.turn(ctx)
}

// Current returns the newest sample, a few seconds old at most, and the workers.
func (c *Collector) Current() (Sample, []Worker) {
	c.looking.Lock()
	defer c.looking.Unlock()
	if c.lookAt.IsZero() || time.Since(c.lookAt) > fresh {
		// Not a request's context: the answer is for the others too.
		if err := c.turn(context.Background()); err != nil {
			c.log.Debug("some numbers could not be told", "err", err)
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := c.kept[len(c.kept)-1]
	newest.Problems = maps.Clone(newest.Problems) // it may be mended
	return newest, c.workers
}

// Kept returns the samples of the last Kept seconds, or as many as there are, the
// oldest first. Those who read them must not change what they point to.
func (c *Collector) Kept() []Sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.kept)
}

// turn looks and takes what it saw in. c.looking is held.
func (c *Collector) turn(ctx context.Context) error {
	l := c.look(ctx)
	if ctx.Err() != nil {
		return nil // it is being stopped: what is missing is nobody's fault
	}
	c.lookAt = l.at
	c.take(l)
	return l.err()
}

// historyLocked encodes what is kept, once for all who join before it changes.
func (c *Collector) historyLocked() json.RawMessage {
	if c.history == nil {
		kept := c.kept
		if kept == nil {
			kept = []Sample{}
		}
		c.history = c.encode(kept)
	}
	return c.history
}

func (c *Collector) encode(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil { // of numbers and names
		c.log.Error("numbers could not be encoded", "err", err)
		return json.RawMessage("null")
	}
	return text
}
