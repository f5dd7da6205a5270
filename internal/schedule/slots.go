package schedule

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// clock is the entry's, whose definition was checked when it was taken: an
// error is a time zone that this process does not know any more.
func (e *Entry) clock() (clock, error) {
	loc, err := location(e.TimeZone)
	if err != nil {
		return nil, fmt.Errorf("its time zone %w", err)
	}
	c, err := parse(e.Cron, loc, e.CreatedAt)
	if err != nil {
		return nil, fmt.Errorf("its cron expression %w", err)
	}
	return c, nil
}

// NextSlots lists the entry's next slots that were not seen to, n at most; none
// while it is paused.
func (e *Entry) NextSlots(n int) []time.Time {
	if e.Paused || e.NextAt.IsZero() || n < 1 {
		return nil
	}
	out := []time.Time{e.NextAt}
	c, err := e.clock()
	if err != nil {
		return out
	}
	for len(out) < n {
		at := c.next(out[len(out)-1])
		if at.IsZero() {
			break
		}
		out = append(out, at)
	}
	return out
}

// Firing is what is written of an entry whose slots are due.
type Firing struct {
	Runs []Run     // in the order of their slots
	Jobs []job.New // of the runs that have an outcome of RunFired
	Last time.Time // the last slot that this sees to
	Next time.Time // first slot after now; zero for none
}

// plan decides about the slots that are due at now: which make a job by the
// missed policy, and which are left out. busy says that a job of the schedule
// is not over.
func (e *Entry) plan(now time.Time, busy bool, prepare func() (job.New, error)) Firing {
	c, err := e.clock()
	if err != nil {
		// Nothing can be told about later slots; a person must see to it.
		return Firing{Last: e.NextAt, Runs: []Run{e.run(e.NextAt, now, RunRefused, err.Error())}}
	}
	keep := 1
	if e.Missed == MissedAll {
		keep = e.MissedLimit
	}
	slots, more := due(c, e.NextAt, now, keep)
	f := Firing{Last: slots[len(slots)-1], Next: c.next(now)}
	if e.Missed == MissedSkip && now.Sub(f.Last) > Grace {
		f.Runs = []Run{e.run(f.Last, now, RunMissed, missedWords(e.NextAt, f.Last))}
		return f
	}
	if more && e.Missed != MissedOnce { // which makes up for them
		until := slots[0].Add(-1)
		if last, _ := due(c, e.NextAt, until, 1); len(last) > 0 {
			f.Runs = append(f.Runs, e.run(last[0], now, RunMissed, missedWords(e.NextAt, last[0])))
		}
	}
	for _, slot := range slots {
		if busy && e.Overlap == OverlapSkip {
			f.Runs = append(f.Runs, e.run(slot, now, RunOverlap, "a job of this schedule is not over"))
			continue
		}
		n, err := prepare()
		if err != nil {
			f.Runs = append(f.Runs, e.run(slot, now, RunRefused, err.Error()))
			continue
		}
		r := e.run(slot, now, RunFired, "")
		r.JobID = n.ID
		f.Runs, f.Jobs = append(f.Runs, r), append(f.Jobs, n)
		busy = true
	}
	return f
}

// refuse sees to all that is due without a job: the store did not take it.
func (e *Entry) refuse(now time.Time, why string) Firing {
	return e.plan(now, false, func() (job.New, error) { return job.New{}, errors.New(why) })
}

func (e *Entry) run(slot, at time.Time, o RunOutcome, reason string) Run {
	return Run{Name: e.Name, Slot: slot, At: at, Outcome: o, Reason: reason}
}

func missedWords(first, last time.Time) string {
	const form = "2006-01-02T15:04:05Z07:00"
	if first.Equal(last) {
		return "no scheduler ran in time"
	}
	return fmt.Sprintf("no scheduler ran in time for the slots from %s to %s", first.UTC().Format(form), last.UTC().Format(form))
}

// due lists the newest slots from first (which is one) until now, n at most,
// oldest first, and whether there are more before them. It looks back from now,
// twice as far each time: how long nobody looked does not matter.
func due(c clock, first, now time.Time, n int) (slots []time.Time, more bool) {
	for back := time.Minute; ; back *= 2 {
		from := now.Add(-back)
		whole := !from.After(first)
		slots = slots[:0]
		at := first
		if !whole {
			at = c.next(from.Add(-1))
		}
		for ; !at.IsZero() && !at.After(now); at = c.next(at) {
			slots = append(slots, at)
		}
		if whole || len(slots) > n {
			more = len(slots) > n
			return slices.Clone(slots[max(0, len(slots)-n):]), more
		}
	}
}
