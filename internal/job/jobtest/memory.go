// Package jobtest proves implementations of job.Store: one conformance suite
// and one property test that every store passes, the in-memory store that is
// their model, and a Dispatcher to run the domain without Redis.
package jobtest

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/tasks"
)

// Memory is a job.Store in maps under one lock, made of the domain's pure
// rules: what it answers is what a store shall answer. It is an inbox.Reader
// too, over the notifications that settlements wrote.
type Memory struct {
	Clock *ManualClock

	mu      sync.Mutex
	jobs    map[job.ID]*job.Job
	about   map[job.ID]tasks.Description
	events  map[job.ID][]job.Event
	lastSeq int64
	keys    map[ownedKey]keyRow
	leases  map[string]leaseRow
	effects []job.Effect
	streams map[string][]inbox.Notification
	fail    map[string]error
}

type ownedKey struct{ owner, key string }

type keyRow struct {
	base      job.ID
	at, until time.Time
	hash      []byte
}

type leaseRow struct {
	holder string
	until  time.Time
}

var (
	_ job.Store    = (*Memory)(nil)
	_ inbox.Reader = (*Memory)(nil)
)

// NewMemory makes an empty Memory whose clock stands at the present.
func NewMemory() *Memory {
	return &Memory{
		Clock:   NewClock(),
		jobs:    map[job.ID]*job.Job{},
		about:   map[job.ID]tasks.Description{},
		events:  map[job.ID][]job.Event{},
		keys:    map[ownedKey]keyRow{},
		leases:  map[string]leaseRow{},
		streams: map[string][]inbox.Notification{},
		fail:    map[string]error{},
	}
}

// Fail lets the method of that name ("Accept", "Settle", "After") fail with
// err and do nothing, until it is called again with nil.
func (m *Memory) Fail(op string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail[op] = err
}

// Effects lists the effects that settlements wrote, in their order.
func (m *Memory) Effects() []job.Effect {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]job.Effect(nil), m.effects...)
}

// begin locks the store for the method op and returns the time, or says why
// the method fails. The caller unlocks in both cases.
func (m *Memory) begin(ctx context.Context, op string) (time.Time, error) {
	m.mu.Lock()
	if err := ctx.Err(); err != nil {
		return time.Time{}, job.Wrap(job.CodeTemporary, err, "the store did not answer")
	}
	if err := m.fail[op]; err != nil {
		return time.Time{}, err
	}
	return m.Clock.Now(), nil
}

// write stores j and its events.
func (m *Memory) write(j job.Job, events []job.Event) {
	for _, t := range []*time.Time{
		&j.CreatedAt, &j.UpdatedAt, &j.RunAt, &j.ExpiresAt, &j.StartedAt, &j.FinishedAt, &j.LeaseUntil, &j.DispatchAt,
	} {
		*t = milli(*t)
	}
	j.Message = clean(j.Message)
	m.jobs[j.ID] = &j
	for _, e := range events {
		m.lastSeq++
		e.Seq, e.At, e.Message = m.lastSeq, milli(e.At), clean(e.Message)
		m.events[j.ID] = append(m.events[j.ID], e)
	}
}

// clean makes a server's words fit for a database's text column.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// Accept implements job.Store.
func (m *Memory) Accept(ctx context.Context, r job.Request) (job.Receipt, error) {
	now, err := m.begin(ctx, "Accept")
	defer m.mu.Unlock()
	if err != nil {
		return job.Receipt{}, err
	}
	receipt := job.Receipt{Base: r.Base, At: now}
	if r.Key.Key != "" {
		name := ownedKey{r.Key.Owner, r.Key.Key}
		row, met := m.keys[name]
		switch met = met && row.until.After(now); {
		case met && !bytes.Equal(row.hash, r.Key.Hash):
			return job.Receipt{}, job.Errorf(job.CodeConflict, "the idempotency key was used with another body")
		case met:
			return job.Receipt{Base: row.base, At: row.at, Replayed: row.base != r.Base}, nil
		}
		m.keys[name] = keyRow{base: r.Base, at: now, until: now.Add(r.Key.Keep), hash: bytes.Clone(r.Key.Hash)}
	}
	for _, n := range r.Jobs {
		if j, repeated := m.jobs[n.ID]; repeated {
			receipt.At = j.CreatedAt
			continue
		}
		j := job.Job{
			ID: n.ID, Type: n.Type, Queue: n.Queue, Recipient: n.Recipient, Batch: n.Batch,
			AcceptedBy: n.AcceptedBy, Trace: n.Trace, Payload: bytes.Clone(n.Payload),
			State: job.Waiting, CreatedAt: now, UpdatedAt: now, RunAt: n.Due(now), DueAt: n.Due(now), ExpiresAt: n.ExpiresAt,
			MaxAttempts: n.MaxAttempts, OnAmbiguous: n.OnAmbiguous,
			Dispatches: 1, DispatchAt: now, Message: n.Message,
		}
		if n.State == job.Suppressed {
			j.State, j.Code, j.FinishedAt = job.Suppressed, job.CodeSuppressed, now
		}
		m.about[n.ID] = n.About
		m.write(j, []job.Event{{
			Job: n.ID, At: now, Kind: job.EventAccepted, State: j.State, Actor: n.AcceptedBy, Code: j.Code, Message: n.Message,
		}})
	}
	return receipt, nil
}

// Replay implements job.Store.
func (m *Memory) Replay(ctx context.Context, key job.IdempotencyKey) (job.Replay, bool, error) {
	now, err := m.begin(ctx, "Replay")
	defer m.mu.Unlock()
	if err != nil {
		return job.Replay{}, false, err
	}
	row, met := m.keys[ownedKey{key.Owner, key.Key}]
	switch {
	case !met || !row.until.After(now):
		return job.Replay{}, false, nil
	case !bytes.Equal(row.hash, key.Hash):
		return job.Replay{}, false, job.Errorf(job.CodeConflict, "the idempotency key was used with another body")
	}
	first := job.Replay{Base: row.base, At: row.at}
	for id, j := range m.jobs {
		if id != row.base && j.Batch != row.base {
			continue
		}
		accepted := m.events[id][0]
		n := job.New{ID: id, Type: j.Type, Queue: j.Queue, State: accepted.State, Message: accepted.Message}
		if j.DueAt.After(j.CreatedAt) {
			n.RunAt = j.DueAt
		}
		first.Jobs = append(first.Jobs, n)
	}
	return first, true, nil
}

// Change implements job.Store.
func (m *Memory) Change(ctx context.Context, ids []job.ID, decide job.Decision) ([]job.Job, error) {
	now, err := m.begin(ctx, "Change")
	defer m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	type change struct {
		job    *job.Job
		events []job.Event
	}
	var changes []change
	done := map[job.ID]bool{}
	for _, id := range ids {
		row, ok := m.jobs[id]
		if !ok || done[id] {
			continue
		}
		done[id] = true
		j := *row
		j.Payload = nil
		events, err := decide(&j, now)
		if err != nil {
			return nil, err
		}
		if len(events) > 0 {
			changes = append(changes, change{&j, events})
		}
	}
	var changed []job.Job
	for _, c := range changes {
		j := *c.job
		j.Payload = m.jobs[j.ID].Payload
		m.write(j, c.events)
		j = *m.jobs[j.ID]
		j.Payload = nil
		changed = append(changed, j)
	}
	return changed, nil
}

// MarkDispatched implements job.Store.
func (m *Memory) MarkDispatched(ctx context.Context, sent []job.Task) error {
	_, err := m.begin(ctx, "MarkDispatched")
	defer m.mu.Unlock()
	if err != nil {
		return err
	}
	for _, t := range sent {
		if j, ok := m.jobs[t.ID]; ok && j.Dispatches == t.Dispatch {
			j.Dispatched = true
		}
	}
	return nil
}

func notFound(id job.ID) error {
	return job.Errorf(job.CodeNotFound, "no job has the id %q", string(id))
}

func unknownEffect(e job.Effect) error {
	return job.Wrap(job.CodeInternal, fmt.Errorf("no table for effect %s (%T)", e.EffectName(), e), "the effect cannot be written")
}
