package alert

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/postrider/postrider/internal/rounds"
)

const (
	lookEvery = 5 * time.Second
	lease     = 6 * lookEvery // another process may take over after this
	leaseName = "alerts"
	// roundLimit bounds one look.
	roundLimit = 10 * time.Second
)

// Options are what a Watch is made of; all are needed, but for Numbers and Post
// where Config has no targets, and Mail where it names no addresses.
type Options struct {
	Config  Config
	Store   Store
	Numbers Numbers // started and stopped by its owner
	Post    Post
	Mail    Mailer
	Holder  string // names this process
	URL     string // of the dashboard, for notices; may be empty
	Log     *slog.Logger
	Metrics prometheus.Registerer
}

// Watch looks and tells.
type Watch struct {
	o       Options
	targets map[string]target
	log     *slog.Logger
	looks   rounds.Rounds
	sends   rounds.Rounds
	nudge   chan struct{} // holds one when there are new notices

	firing  *prometheus.GaugeVec
	notices *prometheus.CounterVec
}

// New makes a Watch. It errs when its metrics are taken, or a secret is none.
func New(o Options) (*Watch, error) {
	w := &Watch{
		o: o, log: o.Log.With("component", "alert"), nudge: make(chan struct{}, 1),
		firing: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "postrider_alert_firing", Help: "Alerts that fire, by rule, as told by the scheduler that looks; 0 by the others.",
		}, []string{"rule"}),
		notices: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_alert_notices_total", Help: "Attempts to deliver a notice, by target and result: delivered, failed (it is tried again) or given_up.",
		}, []string{"target", "result"}),
	}
	for _, c := range []prometheus.Collector{w.firing, w.notices} {
		if err := o.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	w.show(nil)
	for _, name := range []string{TargetMail, TargetSlack, TargetWebhook} {
		for _, result := range []string{resultDelivered, resultFailed, resultGivenUp} {
			w.notices.WithLabelValues(name, result)
		}
	}
	var err error
	if w.targets, err = w.makeTargets(); err != nil {
		return nil, err
	}
	w.looks = rounds.Rounds{Every: lookEvery, Round: w.round, Log: w.log, Failing: "alerts cannot be looked for", Well: "alerts are looked for again"}
	w.sends = rounds.Rounds{Every: lookEvery, Nudged: w.nudge, Round: w.deliver, Log: w.log, Failing: "notices of alerts cannot be taken up", Well: "notices of alerts are taken up again"}
	return w, nil
}

// On reports whether there is anybody to tell.
func (w *Watch) On() bool { return len(w.targets) > 0 }

// Start begins to look, if there is anybody to tell.
func (w *Watch) Start() {
	if w.On() {
		w.looks.Start()
		w.sends.Start()
	}
}

// Stop ends a look and deliveries that are under way: what was not delivered is
// due again, here or elsewhere. Then another process may look at once.
func (w *Watch) Stop(ctx context.Context) error {
	if !w.On() {
		return nil
	}
	w.looks.Stop()
	w.sends.Stop()
	return w.o.Store.Yield(ctx, leaseName, w.o.Holder)
}

// round looks, if it is this process's turn.
func (w *Watch) round(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, roundLimit)
	defer cancel()
	mine, err := w.o.Store.Lead(ctx, leaseName, w.o.Holder, lease)
	if err != nil || !mine {
		w.show(nil)
		return err
	}
	found, known, lookErr := w.look(ctx)
	var told []Notice
	var after []Alert
	err = w.o.Store.Change(ctx, func(now time.Time, all []Alert) Change {
		change, notices := step(now, all, found, known, w.o.Config.patience())
		told, after = notices, apply(all, change)
		for _, n := range notices {
			for _, name := range w.o.Config.Targets() {
				n.ID, n.Target = uuid.NewString(), name
				change.Notices = append(change.Notices, n)
			}
		}
		return change
	})
	if err != nil {
		return err
	}
	w.show(after)
	for _, n := range told {
		w.log.Warn("an alert changed", "rule", n.Rule, "subject", n.Subject, "now", n.Kind, "summary", n.Summary)
	}
	if len(told) > 0 {
		select {
		case w.nudge <- struct{}{}:
		default:
		}
	}
	return lookErr
}

func (c Config) patience() Patience { return Patience{c.Pending, c.Hold, c.Repeat} }

// apply is all after a change.
func apply(all []Alert, c Change) []Alert {
	touched := slices.Concat(c.Save, c.Drop)
	left := slices.DeleteFunc(slices.Clone(all), func(a Alert) bool {
		return slices.ContainsFunc(touched, func(b Alert) bool { return a.key() == b.key() })
	})
	return append(left, c.Save...)
}

// show sets the metric.
func (w *Watch) show(all []Alert) {
	for _, rule := range Rules {
		n := 0
		for _, a := range all {
			if a.Rule == rule && a.Firing() {
				n++
			}
		}
		w.firing.WithLabelValues(string(rule)).Set(float64(n))
	}
}
