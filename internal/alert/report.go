package alert

import (
	"context"
	"log/slog"
	"time"

	"github.com/postrider/postrider/internal/rounds"
)

// reportEvery is how often a process says which mail providers it leaves alone.
const reportEvery = 5 * time.Second

// Reporter lets schedulers know of the mail providers that a process which sends
// leaves alone.
type Reporter struct {
	rounds rounds.Rounds
	store  Store
	name   string
	down   func() []string
	before []string
}

// NewReporter makes one for the process of that name; down names the providers.
func NewReporter(store Store, name string, down func() []string, log *slog.Logger) *Reporter {
	r := &Reporter{store: store, name: name, down: down}
	r.rounds = rounds.Rounds{
		Every: reportEvery, Round: r.round, Log: log.With("component", "alert"),
		Failing: "schedulers cannot be told which mail providers fail", Well: "schedulers are told again which mail providers fail",
	}
	return r
}

// Start begins to report.
func (r *Reporter) Start() { r.rounds.Start() }

// Stop takes back what was reported.
func (r *Reporter) Stop(ctx context.Context) error {
	r.rounds.Stop()
	if len(r.before) == 0 {
		return nil
	}
	return r.store.ReportOutages(ctx, r.name, nil)
}

// round reports, unless there was and is nothing.
func (r *Reporter) round(ctx context.Context) error {
	down := r.down()
	if len(down) == 0 && len(r.before) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, reportEvery)
	defer cancel()
	err := r.store.ReportOutages(ctx, r.name, down)
	if err == nil {
		r.before = down
	}
	return err
}
