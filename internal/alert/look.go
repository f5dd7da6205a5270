package alert

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/internal/numbers"
)

const (
	// slotsWithin is how long a missed slot is told of.
	slotsWithin = 15 * time.Minute
	// outageFresh is how old what a process reports may be.
	outageFresh = 4 * reportEvery
)

// Numbers tell how the fleet does; a *numbers.Collector.
type Numbers interface {
	// Current returns the newest sample, a few seconds old at most, and the workers.
	Current() (numbers.Sample, []numbers.Worker)
	// Kept returns the samples of the last minutes.
	Kept() []numbers.Sample
}

// look finds what is wrong now, and says of which rules it could tell.
func (w *Watch) look(ctx context.Context) (found []Finding, known map[Rule]bool, err error) {
	known = map[Rule]bool{Redis: true}
	now, workers := w.o.Numbers.Current()
	add := func(rule Rule, subject, format string, args ...any) {
		found = append(found, Finding{Rule: rule, Subject: subject, Summary: fmt.Sprintf(format, args...)})
	}
	if now.Queues == nil {
		add(Redis, "", "Redis does not answer: jobs are accepted, and none is carried out.")
	} else {
		known[QueueAge] = true
		for _, q := range now.Queues {
			if limit := w.o.Config.QueueAge.of(q.Name); q.Pending > 0 && q.Oldest() > limit {
				paused := ""
				if q.Paused {
					paused = " The queue is paused."
				}
				add(QueueAge, q.Name, "Queue %s: the oldest job has waited %s, more than %s; %d are waiting.%s", q.Name, q.Oldest().Round(time.Second), limit, q.Pending, paused)
			}
		}
		if now.Workers != nil {
			known[NoWorkers] = true
			for _, q := range now.Queues {
				if q.Pending > 0 && !q.Paused && !served(workers, q.Name) {
					add(NoWorkers, q.Name, "Queue %s: %d jobs are waiting, and no worker serves it.", q.Name, q.Pending)
				}
			}
		}
	}
	var ended, failed int64
	for _, s := range w.o.Numbers.Kept() {
		if s.Rates != nil {
			known[Failures] = true
			ended, failed = ended+s.Rates.Done+s.Rates.Failed, failed+s.Rates.Failed
		}
	}
	if failed >= w.o.Config.FailuresMin && float64(failed) > w.o.Config.Failures*float64(ended) {
		add(Failures, "", "%d of the %d jobs that ended in the last five minutes have failed, more than %.0f %%.", failed, ended, 100*w.o.Config.Failures)
	}
	missed, missedErr := w.o.Store.MissedSlots(ctx, slotsWithin)
	if known[Slots] = missedErr == nil; missed > 0 {
		add(Slots, "", "%d slots of the timetable made no job in the last %.0f minutes.", missed, slotsWithin.Minutes())
	}
	down, downErr := w.o.Store.Outages(ctx, outageFresh)
	known[Provider] = downErr == nil
	for _, name := range down {
		add(Provider, name, "Mail provider %s fails: workers leave it alone for a while, and try others if there are any.", name)
	}
	return found, known, errors.Join(missedErr, downErr)
}

// served reports whether a worker serves the queue.
func served(workers []numbers.Worker, queue string) bool {
	return slices.ContainsFunc(workers, func(w numbers.Worker) bool {
		for part := range strings.SplitSeq(w.Queues, ", ") { // "email 20, bulk 10"
			if name, _, _ := strings.Cut(part, " "); name == queue {
				return true
			}
		}
		return false
	})
}
