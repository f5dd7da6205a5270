package chaos

import (
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

// mark is a moment from which a recovery counts, and the jobs that have to
// begin again after it.
type mark struct {
	bar  bar
	what string
	at   time.Time
	jobs []string
}

// waitingAt lists the jobs that are due and wait.
func (h *harness) waitingAt(at time.Time) []string {
	h.t.Helper()
	return h.ids(`SELECT id FROM jobs WHERE state = 'waiting' AND run_at <= $1`, at.UnixMilli())
}

// runningOn lists the jobs that a worker is at work on. Its name in them is
// host-pid-chance.
func (h *harness) runningOn(p *process) []string {
	h.t.Helper()
	return h.ids(`SELECT id FROM jobs WHERE state = 'running' AND split_part(reverse(worker), '-', 2) = reverse($1::text)`,
		strconv.Itoa(p.Pid()))
}

// workerLost marks the end of a worker: of the jobs that it was at work on, and
// of those that wait, some of which it may have fetched.
func (h *harness) workerLost(p *process, at time.Time) *mark {
	h.t.Helper()
	return h.mark(deadWorker, p.name+" lost", at, append(h.runningOn(p), h.waitingAt(at)...))
}

// redisReturned marks the moment from which Redis serves again.
func (h *harness) redisReturned(what string) *mark {
	h.t.Helper()
	at := time.Now()
	return h.mark(redisBack, what, at, h.waitingAt(at))
}

// mark makes a mark of the jobs that do not yet wait for an earlier one: what a
// dead worker had fetched does not come back sooner because Redis does.
func (h *harness) mark(b bar, what string, at time.Time, jobs []string) *mark {
	for _, other := range h.marks {
		open := h.open(other)
		jobs = slices.DeleteFunc(jobs, func(id string) bool { return slices.Contains(open, id) })
	}
	m := &mark{bar: b, what: what, at: at, jobs: jobs}
	h.marks = append(h.marks, m)
	h.tell("  %d jobs must begin within %s", len(jobs), bars[b])
	return m
}

// open lists the mark's jobs that have not begun again, nor ended.
func (h *harness) open(m *mark) []string {
	h.t.Helper()
	return h.ids(`SELECT j.id FROM jobs j WHERE j.id = ANY($1::uuid[]) AND j.state IN ('waiting', 'running') AND NOT EXISTS (
		SELECT 1 FROM job_events e WHERE e.job_id = j.id AND e.kind = 'started' AND e.at >= $2)`, m.jobs, m.at.UnixMilli())
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
	h.tell("  recovered in %.1f s", h.recovery(m).Seconds())
}

// recovery is how long it took until the last of the mark's jobs had begun
// again, or had ended without.
func (h *harness) recovery(m *mark) time.Duration {
	h.t.Helper()
	longest := h.count(`SELECT coalesce(max(began - $2), 0) FROM (
		SELECT min(e.at) AS began FROM job_events e WHERE e.job_id = ANY($1::uuid[]) AND e.at >= $2
		AND (e.kind = 'started' OR e.state NOT IN ('waiting', 'running')) GROUP BY e.job_id) AS first`,
		m.jobs, m.at.UnixMilli())
	return time.Duration(longest) * time.Millisecond
}
