package chaos

import (
	"maps"
	"slices"
	"strconv"
	"time"
)

// bar is a promise about a recovery.
type bar string

const (
	deadWorker bar = "dead worker"
	redisBack  bar = "Redis is back"
)

// bars are the longest that a recovery may take.
var bars = map[bar]time.Duration{deadWorker: 45 * time.Second, redisBack: 10 * time.Second}

// mark is a moment at which something recovers, and the jobs that have to begin
// after it, each with the time from which it counts, in milliseconds: the
// mark's, or when it comes due.
type mark struct {
	bar  bar
	at   time.Time
	jobs map[string]int
	// fetched are jobs that a dead worker may have had in hand without having
	// begun them: they come back in time too, but what else is broken meanwhile
	// decides when.
	fetched []string
}

// soon is how far a mark looks ahead: what comes due soon after a loss must not
// be late either.
const soon = 5 * time.Second

// waitingAt lists the jobs that wait and are due, or will be soon.
func (h *harness) waitingAt(at time.Time) map[string]int {
	h.t.Helper()
	return h.tally(`SELECT id, greatest(run_at, $1) FROM jobs WHERE state = 'waiting' AND run_at <= $2`,
		at.UnixMilli(), at.Add(soon).UnixMilli())
}

// runningOn lists the jobs that a worker is at work on. Its name in them is
// host-pid-chance.
func (h *harness) runningOn(p *process) []string {
	h.t.Helper()
	return h.ids(`SELECT id FROM jobs WHERE state = 'running' AND split_part(reverse(worker), '-', 2) = reverse($1::text)`,
		strconv.Itoa(p.Pid()))
}

// workerLost marks the end of a worker: of the jobs that it was at work on.
func (h *harness) workerLost(p *process, at time.Time) *mark {
	h.t.Helper()
	jobs := map[string]int{}
	for _, id := range h.runningOn(p) {
		jobs[id] = int(at.UnixMilli())
	}
	m := h.mark(deadWorker, at, jobs)
	m.fetched = slices.Collect(maps.Keys(h.waitingAt(at)))
	return m
}

// redisReturned marks the moment from which Redis serves again.
func (h *harness) redisReturned() *mark {
	h.t.Helper()
	at := time.Now()
	h.tell("Redis serves again")
	return h.mark(redisBack, at, h.waitingAt(at))
}

// mark makes a mark of the jobs that do not yet wait for an earlier one: what a
// dead worker had fetched does not come back sooner because Redis does.
func (h *harness) mark(b bar, at time.Time, jobs map[string]int) *mark {
	for _, other := range h.marks {
		for _, id := range append(h.open(other), h.notBegun(other.fetched, other.at)...) {
			delete(jobs, id)
		}
	}
	m := &mark{bar: b, at: at, jobs: jobs}
	h.marks = append(h.marks, m)
	h.tell("  %d jobs must begin within %s", len(jobs), bars[b])
	return m
}

// open lists the mark's jobs that have not begun again, nor ended.
func (h *harness) open(m *mark) []string {
	h.t.Helper()
	return h.notBegun(slices.Collect(maps.Keys(m.jobs)), m.at)
}

func (h *harness) notBegun(ids []string, since time.Time) []string {
	h.t.Helper()
	return h.ids(`SELECT j.id FROM jobs j WHERE j.id = ANY($1::uuid[]) AND j.state IN ('waiting', 'running') AND NOT EXISTS (
		SELECT 1 FROM job_events e WHERE e.job_id = j.id AND e.kind = 'started' AND e.at >= $2)`, ids, since.UnixMilli())
}

// await returns when all of the mark's jobs have begun again, or when that has
// taken far too long: the report tells.
func (h *harness) await(m *mark) {
	h.t.Helper()
	const patience = 30 * time.Second
	deadline := time.Now().Add(bars[m.bar] + patience)
	asked := time.Time{}
	h.until(func() bool {
		if time.Since(asked) < 100*time.Millisecond {
			return false
		}
		asked = time.Now()
		if left := h.open(m); len(left) > 0 && asked.Before(deadline) {
			return false
		} else if len(left) > 0 {
			h.tell("  %d jobs have not begun again: %v", len(left), left[:min(len(left), 3)])
		}
		return true
	})
	took, last := h.recovery(m)
	h.tell("  recovered in %.1f s", took.Seconds())
	if took > bars[m.bar] {
		h.tell("  the last was job %s:%s", last, h.history(last))
	}
}

// recovery is how late the last of the mark's jobs began again, or ended
// without, and which that was.
func (h *harness) recovery(m *mark) (latest time.Duration, last string) {
	h.t.Helper()
	for id, began := range h.tally(`SELECT job_id, min(at) FROM job_events WHERE job_id = ANY($1::uuid[]) AND at >= $2
		AND (kind = 'started' OR state NOT IN ('waiting', 'running')) GROUP BY job_id`,
		slices.Collect(maps.Keys(m.jobs)), m.at.UnixMilli()) {
		if late := time.Duration(began-m.jobs[id]) * time.Millisecond; late > latest {
			latest, last = late, id
		}
	}
	return latest, last
}
