package recipient

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/rounds"
)

const (
	turnEvery = 5 * time.Second
	turnLimit = time.Minute // bound of one turn
	duePage   = 100
	// acceptedBy is what the jobs of digests show. No API key has such a name.
	acceptedBy = "digest:"
)

// Jobs is what digests need of job.Service.
type Jobs interface {
	Prepare(ctx context.Context, sub job.Submission, by string) (job.New, error)
	Dispatch(accepted []job.New, at time.Time)
}

var _ Jobs = (*job.Service)(nil)

// Digests sends what was gathered, when its window has ended. Any number of
// processes may do so: the row of a window is the claim to it, so that exactly
// one mail goes out for it.
type Digests struct {
	store   Store
	jobs    Jobs
	product string
	log     *slog.Logger
	count   *prometheus.CounterVec

	rounds rounds.Rounds
}

// DigestOptions are what Digests are made of; all are needed.
type DigestOptions struct {
	Store Store
	Jobs  Jobs // a *job.Service, which must have been started
	// Product is whose digests they are, as their readers know it.
	Product string
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// NewDigests makes Digests, which Start sets going.
func NewDigests(o DigestOptions) *Digests {
	d := &Digests{
		store: o.Store, jobs: o.Jobs, product: o.Product, log: o.Log.With("component", "digest"),
		count: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_digests_total", Help: "Windows of digests that were closed: with a mail, because all in them was switched off meanwhile, or because no mail could be made.",
		}, []string{"outcome"}),
	}
	d.rounds = rounds.Rounds{
		Every: turnEvery, Round: d.Turn, Log: d.log,
		Failing: "sending digests failed; trying on", Well: "digests are sent again",
	}
	o.Metrics.MustRegister(d.count)
	return d
}

// Start sends what is due now and every 5 seconds, until Stop. It can be called
// once.
func (d *Digests) Start() { d.rounds.Start() }

// Stop ends a turn that is under way, which is safe at any point, and waits for
// it. Without Start it does nothing.
func (d *Digests) Stop() { d.rounds.Stop() }

// Turn sends all digests that are due.
func (d *Digests) Turn(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, turnLimit)
	defer cancel()
	for {
		due, err := d.store.Due(ctx, duePage)
		if err != nil {
			return fmt.Errorf("listing due digests: %w", err)
		}
		closed := 0
		var errs []error
		for _, g := range due {
			ok, err := d.send(ctx, g)
			if ok {
				closed++
			}
			errs = append(errs, err)
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		if len(due) < duePage || closed == 0 { // the others are another process's
			return nil
		}
	}
}

// send closes a digest, with its mail, unless another process has or it grows
// at this moment: it then stays due.
func (d *Digests) send(ctx context.Context, g Gathered) (bool, error) {
	outcome := "sent"
	mail, err := d.prepare(ctx, g)
	if err == nil && mail == nil {
		outcome = "empty"
	}
	at, ok, err := d.close(ctx, g, mail, err)
	if code := job.CodeOf(err); code == job.CodeInvalid || code == job.CodeInternal {
		// It would be so each time; a digest that cannot be sent must not keep
		// others from it.
		d.log.Error("a digest could not be made", "ends_at", g.EndsAt, "items", g.Items, "err", err)
		outcome, mail = "refused", nil
		at, ok, err = d.close(ctx, g, nil, nil)
	}
	if err != nil || !ok {
		return false, err
	}
	d.count.WithLabelValues(outcome).Inc()
	d.log.Info("a digest was closed", "outcome", outcome, "ends_at", g.EndsAt, "items", g.Items)
	if mail != nil {
		d.jobs.Dispatch([]job.New{*mail}, at)
	}
	return true, nil
}

func (d *Digests) close(ctx context.Context, g Gathered, mail *job.New, err error) (time.Time, bool, error) {
	if err != nil {
		return time.Time{}, false, err
	}
	at, ok, err := d.store.Close(ctx, g, mail)
	if err != nil {
		return at, ok, fmt.Errorf("closing a digest: %w", err)
	}
	return at, ok, nil
}

// prepare makes a digest's mail of what its recipient still wants; nil where
// that is nothing.
func (d *Digests) prepare(ctx context.Context, g Gathered) (*job.New, error) {
	found, err := d.store.OfIDs(ctx, []string{g.Recipient})
	if err != nil {
		return nil, fmt.Errorf("finding preferences: %w", err)
	}
	address := g.Address
	var unwanted []string
	if p, ok := found[g.Recipient]; ok {
		for category, choice := range p.Categories {
			if choice == Off {
				unwanted = append(unwanted, category)
			}
		}
		if p.Address != "" {
			address = p.Address
		}
	}
	contents, err := d.store.Items(ctx, g, unwanted, maxShown)
	if err != nil {
		return nil, fmt.Errorf("reading a digest: %w", err)
	}
	if contents.Total == 0 {
		return nil, nil
	}
	sub, err := compose(d.product, address, contents)
	if err != nil {
		return nil, err
	}
	n, err := d.jobs.Prepare(ctx, sub, acceptedBy)
	if job.CodeOf(err) == job.CodeInvalid {
		d.log.Warn("the digests' template is of no use to them: sending one without", "template", digestTemplate, "err", err)
		if sub, err = plain(address, contents); err != nil {
			return nil, err
		}
		n, err = d.jobs.Prepare(ctx, sub, acceptedBy)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing a digest's mail: %w", err)
	}
	return &n, nil
}
