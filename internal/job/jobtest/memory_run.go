package jobtest

import (
	"bytes"
	"context"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
)

// Claim implements job.Runner.
func (m *Memory) Claim(ctx context.Context, c job.Claim) (job.Claimed, error) {
	now, err := m.begin(ctx, "Claim")
	defer m.mu.Unlock()
	if err != nil {
		return job.Claimed{}, err
	}
	row, ok := m.jobs[c.ID]
	if !ok {
		return job.Claimed{Verdict: job.Unknown}, nil
	}
	j := *row
	claimed, events := c.Decide(&j, now)
	if len(events) > 0 {
		m.write(j, events)
	}
	claimed.State = j.State
	if claimed.Verdict == job.Granted {
		claimed.Job = *m.jobs[c.ID]
		claimed.Job.Payload = bytes.Clone(j.Payload)
	}
	return claimed, nil
}

// running is the job of a run that is still the job's, else nil.
func (m *Memory) running(r job.RunRef) *job.Job {
	j, ok := m.jobs[r.ID]
	if !ok || j.State != job.Running || j.Runs != r.Run {
		return nil
	}
	return j
}

// Extend implements job.Runner.
func (m *Memory) Extend(ctx context.Context, lease time.Duration, runs []job.RunRef) (map[job.RunRef]job.Extended, error) {
	now, err := m.begin(ctx, "Extend")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	mine := make(map[job.RunRef]job.Extended, len(runs))
	for _, r := range runs {
		if j := m.running(r); j != nil {
			j.LeaseUntil = milli(now.Add(lease))
			mine[r] = job.Extended{CancelRequested: j.CancelRequested}
		}
	}
	return mine, nil
}

// PassNoReturn implements job.Runner.
func (m *Memory) PassNoReturn(ctx context.Context, run job.RunRef) error {
	_, err := m.begin(ctx, "PassNoReturn")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	j := m.running(run)
	switch {
	case j == nil:
		return job.Errorf(job.CodeConflict, "the run was given up")
	case j.CancelRequested && j.NoReturnRun != run.Run: // having passed it is success again
		return job.Errorf(job.CodeCancelled, "the job's cancellation was asked for")
	}
	j.NoReturnRun = run.Run
	return nil
}

// Settle implements job.Runner.
func (m *Memory) Settle(ctx context.Context, s job.Settlement) (job.Settled, error) {
	now, err := m.begin(ctx, "Settle")
	defer m.mu.Unlock()
	if err != nil {
		return job.Settled{}, err
	}
	for _, e := range s.Effects {
		switch e.(type) {
		case inbox.Notification, mail.Suppression:
		default:
			return job.Settled{}, unknownEffect(e)
		}
	}
	row, ok := m.jobs[s.ID]
	if !ok {
		return job.Settled{Late: true}, nil
	}
	if row.SettledRun == s.Run {
		return settled(row, now), nil
	}
	j := *row
	event, mine := s.Apply(&j, now)
	if !mine {
		m.write(j, []job.Event{s.LateEvent(j.State, now)})
		return job.Settled{State: j.State, Late: true}, nil
	}
	m.write(j, []job.Event{event})
	for _, e := range s.Effects {
		m.effects = append(m.effects, e)
		if n, ok := e.(inbox.Notification); ok {
			m.notify(n, now)
		}
	}
	return settled(m.jobs[s.ID], now), nil
}

func settled(j *job.Job, now time.Time) job.Settled {
	s := job.Settled{State: j.State}
	if j.State == job.Waiting {
		s.RunAt, s.After = j.RunAt, max(0, j.RunAt.Sub(now))
	}
	return s
}

func (m *Memory) notify(n inbox.Notification, now time.Time) {
	n.Seq = int64(len(m.streams[n.Stream])) + 1
	n.CreatedAt = now
	m.streams[n.Stream] = append(m.streams[n.Stream], n)
}

// After implements inbox.Reader.
func (m *Memory) After(ctx context.Context, stream string, seq int64, limit int) ([]inbox.Notification, error) {
	_, err := m.begin(ctx, "After")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	all := m.streams[stream]
	from := min(max(seq, 0), int64(len(all)))
	to := min(from+int64(limit), int64(len(all)))
	return append([]inbox.Notification(nil), all[from:to]...), nil
}
