package jobtest

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/postrider/postrider/internal/job"
)

const maxEvents = 1000

// Find implements job.Reader.
func (m *Memory) Find(ctx context.Context, id job.ID) (job.Job, error) {
	_, err := m.begin(ctx, "Find")
	defer m.mu.Unlock()
	if err != nil {
		return job.Job{}, err
	}
	row, ok := m.jobs[id]
	if !ok {
		return job.Job{}, notFound(id)
	}
	j := *row
	j.Payload = bytes.Clone(row.Payload)
	return j, nil
}

// Events implements job.Reader.
func (m *Memory) Events(ctx context.Context, id job.ID) ([]job.Event, error) {
	_, err := m.begin(ctx, "Events")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	events := m.events[id]
	return slices.Clone(events[:min(len(events), maxEvents)]), nil
}

// List implements job.Reader.
func (m *Memory) List(ctx context.Context, f job.Filter) ([]job.Job, error) {
	now, err := m.begin(ctx, "List")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	found := m.where(func(j *job.Job) bool {
		return (f.Status == "" || f.Status == string(j.State) || f.Status == j.Status(now)) &&
			(f.Type == "" || f.Type == j.Type) &&
			(f.Queue == "" || f.Queue == j.Queue) &&
			(f.Recipient == "" || f.Recipient == j.Recipient) &&
			(f.Batch == "" || f.Batch == j.Batch) &&
			!j.CreatedAt.Before(f.Since) &&
			(f.Before == "" || j.ID < f.Before)
	})
	slices.SortFunc(found, func(a, b *job.Job) int { return cmp.Compare(b.ID, a.ID) })
	var out []job.Job
	for _, row := range found[:min(len(found), f.Limit)] {
		j := *row
		j.Payload = nil
		out = append(out, j)
	}
	return out, nil
}

// Now implements job.Reader.
func (m *Memory) Now(ctx context.Context) (time.Time, error) {
	now, err := m.begin(ctx, "Now")
	defer m.mu.Unlock()
	return now, err
}

// where lists the jobs of which is says yes, in no order. The lock is held.
func (m *Memory) where(is func(*job.Job) bool) []*job.Job {
	var out []*job.Job
	for _, j := range m.jobs {
		if is(j) {
			out = append(out, j)
		}
	}
	return out
}
