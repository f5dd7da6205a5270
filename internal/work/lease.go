package work

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/job"
)

const (
	// leaseTime is how long a claim or an extension holds by the database.
	leaseTime = 30 * time.Second
	// extendEvery is how often all leases are extended, and the most that one
	// extension may take.
	extendEvery = 5 * time.Second
	// giveUpAfter is how long a run may go on after its last good extension.
	// What is left of the lease then is the handler's time to stop and
	// SettleBudget.
	giveUpAfter = 20 * time.Second
)

// leases keeps the leases of the runs whose handlers are at work, and
// interrupts those that it cannot keep or whose cancellation was asked for.
type leases struct {
	runner job.Runner
	grace  time.Duration
	log    *slog.Logger
	outage outage
	hints  chan struct{} // room for one: hints that come together are one

	mu   sync.Mutex
	runs map[job.RunRef]*lease
}

type lease struct {
	run *Run
	// good is a moment at which the lease was certainly not older than new:
	// before the claim or extension that made it was called. The reading is
	// monotonic.
	good   time.Time
	giveUp *time.Timer
	ended  time.Time // when the run was first seen interrupted
	// abandoned says that it is not extended any more.
	abandoned bool
}

func newLeases(runner job.Runner, grace time.Duration, log *slog.Logger) *leases {
	return &leases{
		runner: runner, grace: grace, log: log,
		outage: outage{log: log, what: "extending leases"},
		hints:  make(chan struct{}, 1),
		runs:   make(map[job.RunRef]*lease),
	}
}

// keep extends leases until ctx ends.
func (l *leases) keep(ctx context.Context) {
	tick := time.NewTicker(extendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-l.hints:
		}
		l.extend(ctx)
	}
}

// hint has all leases extended now if one of them is of that job.
func (l *leases) hint(id job.ID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for ref := range l.runs {
		if ref.ID == id {
			select {
			case l.hints <- struct{}{}:
			default:
			}
			return
		}
	}
}

// add begins to keep the lease of a run that was claimed by a call made at
// that time; remove must follow.
func (l *leases) add(run *Run, claimed time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.runs[run.ref()] = &lease{
		run: run, good: claimed,
		giveUp: time.AfterFunc(time.Until(claimed.Add(giveUpAfter)), func() { run.end(ErrLeaseLost) }),
	}
}

// remove ends the keeping of a lease and returns when it ends.
func (l *leases) remove(run *Run) time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.runs[run.ref()]
	held.giveUp.Stop()
	delete(l.runs, run.ref())
	return held.good.Add(leaseTime)
}

// all returns the runs whose handlers are at work.
func (l *leases) all() []*Run {
	l.mu.Lock()
	defer l.mu.Unlock()
	runs := make([]*Run, 0, len(l.runs))
	for _, held := range l.runs {
		runs = append(runs, held.run)
	}
	return runs
}

func (l *leases) extend(ctx context.Context) {
	refs := l.due(time.Now())
	if len(refs) == 0 {
		return
	}
	called := time.Now()
	bounded, cancel := context.WithTimeout(ctx, extendEvery)
	defer cancel()
	extended, err := l.runner.Extend(bounded, leaseTime, refs)
	if ctx.Err() != nil {
		return
	}
	l.outage.note(err)
	if err != nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, ref := range refs {
		held := l.runs[ref]
		if held == nil {
			continue // its handler returned meanwhile
		}
		e, ours := extended[ref]
		if !ours {
			held.run.end(ErrLeaseLost)
			continue
		}
		held.good = called
		held.giveUp.Reset(time.Until(called.Add(giveUpAfter)))
		if e.CancelRequested {
			held.run.end(ErrCancelRequested)
		}
	}
}

// due lists the runs to extend. A handler that does not return though its run
// was interrupted would keep its job from everybody for ever: after the stop
// grace it is left to its lease.
func (l *leases) due(now time.Time) []job.RunRef {
	l.mu.Lock()
	defer l.mu.Unlock()
	refs := make([]job.RunRef, 0, len(l.runs))
	for ref, held := range l.runs {
		switch {
		case held.run.ctx.Err() == nil:
		case held.ended.IsZero():
			held.ended = now
		case now.Sub(held.ended) < l.grace:
		default:
			if !held.abandoned {
				held.abandoned = true
				held.run.Log.Error("a handler does not return: the run is left to its lease", "cause", context.Cause(held.run.ctx))
			}
			continue
		}
		refs = append(refs, ref)
	}
	return refs
}
