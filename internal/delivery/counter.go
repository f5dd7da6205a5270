package delivery

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/rounds"
)

// countLimit bounds one round of counting.
const countLimit = 15 * time.Second

// Counter counts, minute by minute, how many mails reach their objectives, and
// tells the burn rates as metrics. Several may run: each minute is counted once.
type Counter struct {
	service *Service
	log     *slog.Logger
	burn    *prometheus.GaugeVec
	rounds  rounds.Rounds
}

// NewCounter makes a Counter of the service's objectives; Start it. Without
// objectives it does nothing.
func NewCounter(s *Service, log *slog.Logger, reg prometheus.Registerer) (*Counter, error) {
	c := &Counter{
		service: s, log: log.With("component", "delivery"),
		burn: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postrider_objective_burn_rate",
			Help: "How fast the mails that may be late are used up, by category and window: at 1 as many are late as the objective allows. Counted in SQL for the whole fleet.",
		}, []string{"category", "window"}),
	}
	if err := reg.Register(c.burn); err != nil {
		return nil, fmt.Errorf("registering metrics: %w", err)
	}
	c.rounds = rounds.Rounds{
		Every: countEvery, Round: c.Count, Log: c.log,
		Failing: "objectives cannot be counted; trying again", Well: "objectives are counted again",
	}
	return c, nil
}

// Start begins to count, until Stop.
func (c *Counter) Start() {
	if len(c.service.Objectives) > 0 {
		c.rounds.Start()
	}
}

// Stop ends the counting and waits for it.
func (c *Counter) Stop() { c.rounds.Stop() }

// Count counts the minutes that are over and tells the burn rates.
func (c *Counter) Count(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, countLimit)
	defer cancel()
	for _, o := range c.service.Objectives {
		if err := c.service.Store.CountMinutes(ctx, o, windows[len(windows)-1]); err != nil {
			return err
		}
	}
	burns, err := c.service.lookAtBurns(ctx)
	if err != nil {
		return err
	}
	for _, b := range burns {
		for _, w := range b.Windows {
			c.burn.WithLabelValues(b.Category, shortly(w.Over)).Set(w.Rate)
		}
	}
	return nil
}
