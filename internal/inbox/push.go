package inbox

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Publisher pushes to who is connected. A push is a hint: who misses it
// fetches what follows the last sequence it knows.
type Publisher interface {
	// Publish pushes notifications that have been committed. Those of one stream
	// are mostly, but not always, in the order of their sequences.
	Publish(ctx context.Context, notes []Notification) error
	// PublishCounts pushes how a user's inbox stands after a change of marks, to
	// all places where that user is connected.
	PublishCounts(ctx context.Context, c Counts) error
}

// Nobody is a Publisher where nobody is connected.
type Nobody struct{}

// Publish implements Publisher.
func (Nobody) Publish(context.Context, []Notification) error { return nil }

// PublishCounts implements Publisher.
func (Nobody) PublishCounts(context.Context, Counts) error { return nil }

// Kept is what keeps answers about inboxes, and has to hear of what changes them:
// a *cache.Store. An answer depends on the streams of its inbox, whose own stream
// stands for the user's marks too, and on Inboxes.
type Kept interface {
	// Changed says that these have changed, and never blocks. Others hear of it a
	// moment later.
	Changed(streams ...string)
	// Drop says the same; when it returns nobody is given an answer from before.
	Drop(ctx context.Context, streams ...string)
}

// Inboxes are all of them, as something that may have changed.
const Inboxes = "inboxes"

// NothingKept is a Kept where no answers are kept.
type NothingKept struct{}

// Changed implements Kept.
func (NothingKept) Changed(...string) {}

// Drop implements Kept.
func (NothingKept) Drop(context.Context, ...string) {}

const (
	pushQueue = 1024            // batches that wait
	pushLimit = 5 * time.Second // that one may take
)

// Pusher hands what was committed to a Publisher, without keeping those who
// commit waiting: pushes that find its queue full, and those that are left when
// it stops, are dropped.
type Pusher struct {
	to      Publisher
	kept    Kept
	log     *slog.Logger
	queue   chan push
	dropped prometheus.Counter
	cancel  context.CancelFunc
	wait    sync.WaitGroup
}

// push is either of the two.
type push struct {
	notes  []Notification
	counts *Counts
}

// NewPusher makes a Pusher, which Start sets going. It registers its metric.
// Before something is pushed, kept has dropped what it was told before.
func NewPusher(to Publisher, kept Kept, log *slog.Logger, metrics prometheus.Registerer) (*Pusher, error) {
	p := &Pusher{
		to: to, kept: kept, log: log.With("component", "inbox"), queue: make(chan push, pushQueue),
		dropped: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "postrider_pushes_dropped_total",
			Help: "Pushes to connected clients that were dropped or failed; those clients find out by themselves, later.",
		}),
	}
	return p, metrics.Register(p.dropped)
}

// Start begins to push. It can be called once.
func (p *Pusher) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	p.wait.Go(func() { p.run(ctx) })
}

// Stop ends the push that is under way and waits for it. Without Start it does
// nothing.
func (p *Pusher) Stop() {
	if p.cancel != nil {
		p.cancel()
	}
	p.wait.Wait()
}

// Committed hands over notifications that were committed; it never blocks.
func (p *Pusher) Committed(notes []Notification) {
	p.kept.Changed(streamsOf(notes)...)
	p.add(push{notes: notes})
}

// Marked hands over counts that a change of marks has changed; it never blocks.
func (p *Pusher) Marked(c Counts) { p.add(push{counts: &c}) }

func (p *Pusher) add(one push) {
	select {
	case p.queue <- one:
	default:
		p.dropped.Inc()
	}
}

func (p *Pusher) run(ctx context.Context) {
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case one := <-p.queue:
			err := p.publish(ctx, one)
			if err != nil {
				p.dropped.Inc()
			}
			switch {
			case err != nil && ctx.Err() == nil && !failing:
				p.log.Warn("pushing to connected clients fails; they will find out by themselves", "err", err)
			case err == nil && failing:
				p.log.Info("pushing to connected clients works again")
			}
			failing = err != nil
		}
	}
}

func (p *Pusher) publish(ctx context.Context, one push) error {
	ctx, cancel := context.WithTimeout(ctx, pushLimit)
	defer cancel()
	if one.counts != nil {
		return p.to.PublishCounts(ctx, *one.counts)
	}
	// Who hears of it asks, and is not to get what was before.
	p.kept.Drop(ctx, streamsOf(one.notes)...)
	return p.to.Publish(ctx, one.notes)
}

// streamsOf lists the streams of notifications.
func streamsOf(notes []Notification) []string {
	out := make([]string, len(notes))
	for i, n := range notes {
		out[i] = n.Stream
	}
	return out
}
