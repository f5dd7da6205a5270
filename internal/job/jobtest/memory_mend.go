package jobtest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/job"
)

// Undispatched implements job.Mender.
func (m *Memory) Undispatched(ctx context.Context, age time.Duration, limit int) ([]job.Task, error) {
	found, err := m.list(ctx, "Undispatched", limit,
		func(j *job.Job, now time.Time) bool {
			return j.State == job.Waiting && !j.Dispatched && !j.DispatchAt.After(now.Add(-age))
		},
		func(j *job.Job) time.Time { return j.DispatchAt })
	var out []job.Task
	for _, j := range found {
		out = append(out, j.Task())
	}
	return out, err
}

// DeadLeases implements job.Mender.
func (m *Memory) DeadLeases(ctx context.Context, limit int) ([]job.ID, error) {
	return m.listIDs(ctx, "DeadLeases", limit,
		func(j *job.Job, now time.Time) bool { return j.State == job.Running && !j.LeaseUntil.After(now) },
		func(j *job.Job) time.Time { return j.LeaseUntil })
}

// Overdue implements job.Mender.
func (m *Memory) Overdue(ctx context.Context, limit int) ([]job.ID, error) {
	return m.listIDs(ctx, "Overdue", limit,
		func(j *job.Job, now time.Time) bool {
			return j.State == job.Waiting && !j.ExpiresAt.IsZero() && !j.ExpiresAt.After(now)
		},
		func(j *job.Job) time.Time { return j.ExpiresAt })
}

func (m *Memory) listIDs(ctx context.Context, op string, limit int, is func(*job.Job, time.Time) bool, by func(*job.Job) time.Time) ([]job.ID, error) {
	found, err := m.list(ctx, op, limit, is, by)
	var out []job.ID
	for _, j := range found {
		out = append(out, j.ID)
	}
	return out, err
}

// list copies the jobs that are so, in the order of a time of theirs.
func (m *Memory) list(ctx context.Context, op string, limit int, is func(*job.Job, time.Time) bool, by func(*job.Job) time.Time) ([]job.Job, error) {
	now, err := m.begin(ctx, op)
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	found := m.where(func(j *job.Job) bool { return is(j, now) })
	slices.SortFunc(found, func(a, b *job.Job) int {
		return cmp.Or(by(a).Compare(by(b)), cmp.Compare(a.ID, b.ID))
	})
	var out []job.Job
	for _, j := range found[:min(len(found), limit)] {
		out = append(out, *j)
	}
	return out, nil
}

// Unclaimed implements job.Mender.
func (m *Memory) Unclaimed(ctx context.Context, queue string, age time.Duration, after job.Cursor, limit int) ([]job.Task, job.Cursor, error) {
	now, err := m.begin(ctx, "Unclaimed")
	defer m.mu.Unlock()
	if err != nil {
		return nil, after, err
	}
	order := func(at time.Time, id job.ID, c job.Cursor) int {
		return cmp.Or(at.Compare(c.RunAt), cmp.Compare(id, c.ID))
	}
	found := m.where(func(j *job.Job) bool {
		return j.State == job.Waiting && j.Queue == queue &&
			(age < 0 || j.Dispatched && !j.RunAt.After(now.Add(-age))) && order(j.RunAt, j.ID, after) > 0
	})
	slices.SortFunc(found, func(a, b *job.Job) int {
		return order(a.RunAt, a.ID, job.Cursor{RunAt: b.RunAt, ID: b.ID})
	})
	var out []job.Task
	for _, j := range found[:min(len(found), limit)] {
		out = append(out, j.Task())
		after = job.Cursor{RunAt: j.RunAt, ID: j.ID}
	}
	return out, after, nil
}

// Lead implements job.Mender.
func (m *Memory) Lead(ctx context.Context, name, holder string, ttl time.Duration) (bool, error) {
	now, err := m.begin(ctx, "Lead")
	defer m.mu.Unlock()
	if err != nil {
		return false, err
	}
	if row, ok := m.leases[name]; ok && row.holder != holder && row.until.After(now) {
		return false, nil
	}
	m.leases[name] = leaseRow{holder: holder, until: now.Add(ttl)}
	return true, nil
}

// Yield implements job.Mender.
func (m *Memory) Yield(ctx context.Context, name, holder string) error {
	_, err := m.begin(ctx, "Yield")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	if m.leases[name].holder == holder {
		delete(m.leases, name)
	}
	return nil
}

// Purge implements job.Mender.
func (m *Memory) Purge(ctx context.Context, r job.Retention, limit int) (int, error) {
	now, err := m.begin(ctx, "Purge")
	defer m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	var done, bodies, failed, keys int
	// take counts one of its kind, unless the batch is full.
	take := func(count *int, finished time.Time, keep time.Duration) bool {
		if finished.IsZero() || finished.After(now.Add(-keep)) || *count == limit {
			return false
		}
		*count++
		return true
	}
	for id, j := range m.jobs {
		switch {
		case !j.State.Final():
		case j.State == job.Done && take(&done, j.FinishedAt, r.Done),
			j.State != job.Done && take(&failed, j.FinishedAt, r.Failed):
			delete(m.jobs, id)
			delete(m.events, id)
		case j.State == job.Done && !j.PayloadGone && take(&bodies, j.FinishedAt, r.Bodies):
			j.Payload, j.PayloadGone = nil, true
		}
	}
	for name, row := range m.keys {
		if take(&keys, row.until, 0) {
			delete(m.keys, name)
		}
	}
	return max(done, bodies, failed, keys), nil
}
