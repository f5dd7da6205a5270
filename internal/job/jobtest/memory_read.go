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
	found := m.chosen(f, now)
	slices.SortFunc(found, func(a, b *job.Job) int { return cmp.Compare(b.ID, a.ID) })
	var out []job.Job
	for _, row := range found[:min(len(found), f.Limit)] {
		j := *row
		j.Payload = nil
		out = append(out, j)
	}
	return out, nil
}

// Count implements job.Reader.
func (m *Memory) Count(ctx context.Context, f job.Filter) (int, error) {
	now, err := m.begin(ctx, "Count")
	defer m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	return len(m.chosen(f, now)), nil
}

// chosen lists the jobs that the filter chooses, in no order. The lock is held.
func (m *Memory) chosen(f job.Filter, now time.Time) []*job.Job {
	if !f.Unchanged.IsZero() {
		now = f.Unchanged
	}
	return m.where(func(j *job.Job) bool {
		return (f.Status == "" || f.Status == string(j.State) || f.Status == j.Status(now)) &&
			(f.Type == "" || f.Type == j.Type) &&
			(f.Queue == "" || f.Queue == j.Queue) &&
			(f.Recipient == "" || f.Recipient == j.Recipient) &&
			(f.Batch == "" || f.Batch == j.Batch) &&
			!j.CreatedAt.Before(f.Since) &&
			(f.Until.IsZero() || j.CreatedAt.Before(f.Until)) &&
			(f.Code == "" || f.Code == j.Code) &&
			(f.Template == "" || f.Template == m.about[j.ID].Template) &&
			(f.Category == "" || f.Category == m.about[j.ID].Category) &&
			(f.Schedule == "" || j.AcceptedBy == "schedule:"+f.Schedule) &&
			(f.Worker == "" || f.Worker == j.Worker) &&
			(f.Unchanged.IsZero() || j.UpdatedAt.Before(f.Unchanged)) &&
			(f.Before == "" || j.ID < f.Before)
	})
}

// EventsAfter implements job.EventLog. Nothing is ever under way here.
func (m *Memory) EventsAfter(ctx context.Context, seq int64, limit int) (job.EventPage, error) {
	_, err := m.begin(ctx, "EventsAfter")
	defer m.mu.Unlock()
	if err != nil {
		return job.EventPage{}, err
	}
	var page job.EventPage
	for id, events := range m.events {
		for _, e := range events {
			if e.Seq <= seq {
				continue
			}
			of := job.JobEvent{Event: e}
			if j, ok := m.jobs[id]; ok {
				of.Type, of.Queue = j.Type, j.Queue
			}
			page.Events = append(page.Events, of)
		}
	}
	slices.SortFunc(page.Events, func(a, b job.JobEvent) int { return cmp.Compare(a.Seq, b.Seq) })
	page.Events = page.Events[:min(len(page.Events), limit)]
	return page, nil
}

// EventsEnd implements job.EventLog.
func (m *Memory) EventsEnd(ctx context.Context) (seq, mark int64, err error) {
	_, err = m.begin(ctx, "EventsEnd")
	defer m.mu.Unlock()
	return m.lastSeq, 0, err
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
