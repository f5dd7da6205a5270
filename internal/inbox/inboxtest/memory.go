// Package inboxtest proves implementations of inbox.Store: the naive model of
// one, which every store is checked against.
package inboxtest

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
)

// Memory is an inbox.Store that keeps, of each user, what they have done about
// each notification. It is the model of the others.
type Memory struct {
	Now func() time.Time

	mu      sync.Mutex
	streams map[string]*stream
	done    map[string]map[job.ID]inbox.Mark // by user: the greatest mark
	version map[string]int64
}

type stream struct {
	last  int64
	notes []inbox.Notification
}

var _ inbox.Store = (*Memory)(nil)

// NewMemory makes an empty Memory that keeps time by now.
func NewMemory(now func() time.Time) *Memory {
	return &Memory{Now: now, streams: map[string]*stream{}, done: map[string]map[job.ID]inbox.Mark{}, version: map[string]int64{}}
}

// Post implements inbox.Store.
func (m *Memory) Post(_ context.Context, n inbox.Notification) (inbox.Notification, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, there := m.find(n.ID); there {
		if old.Stream != n.Stream || old.Type != n.Type || old.Message != n.Message || !bytes.Equal(old.Data, n.Data) {
			return inbox.Notification{}, false, job.Errorf(job.CodeConflict, "another notification has this id")
		}
		return old, true, nil
	}
	s := m.streams[n.Stream]
	if s == nil {
		s = &stream{}
		m.streams[n.Stream] = s
	}
	s.last++
	n.Seq, n.CreatedAt, n.Data = s.last, m.Now().Truncate(time.Millisecond).UTC(), json.RawMessage(slices.Clone(n.Data))
	s.notes = append(s.notes, n)
	return n, false, nil
}

func (m *Memory) find(id job.ID) (inbox.Notification, bool) {
	for _, s := range m.streams {
		for _, n := range s.notes {
			if n.ID == id {
				return n, true
			}
		}
	}
	return inbox.Notification{}, false
}

// Prune deletes what is older than keep.
func (m *Memory) Prune(keep time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until := m.Now().Add(-keep)
	for _, s := range m.streams {
		s.notes = slices.DeleteFunc(s.notes, func(n inbox.Notification) bool {
			old := !n.CreatedAt.After(until)
			if old {
				for _, done := range m.done {
					delete(done, n.ID)
				}
			}
			return old
		})
	}
}

// After implements inbox.Reader.
func (m *Memory) After(_ context.Context, name string, seq int64, limit int) ([]inbox.Notification, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []inbox.Notification
	if s := m.streams[name]; s != nil {
		for _, n := range s.notes {
			if n.Seq > seq && len(out) < limit {
				out = append(out, n)
			}
		}
	}
	return out, nil
}

// State implements inbox.Store.
func (m *Memory) State(_ context.Context, v inbox.Viewer) (inbox.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state(v), nil
}

func (m *Memory) state(v inbox.Viewer) inbox.State {
	out := inbox.State{Version: m.version[v.User], Streams: map[string]inbox.StreamState{}}
	for _, name := range v.Streams() {
		s := m.streams[name]
		if s == nil {
			continue
		}
		at := inbox.StreamState{Last: s.last, Gone: s.last}
		if len(s.notes) > 0 {
			at.Gone, at.LastAt = s.notes[0].Seq-1, s.notes[len(s.notes)-1].CreatedAt
		}
		for _, n := range s.notes {
			if m.done[v.User][n.ID] < inbox.Read {
				at.Unread++
			}
			if m.done[v.User][n.ID] < inbox.Seen {
				at.Unseen++
			}
		}
		out.Streams[name] = at
	}
	return out
}

// Page implements inbox.Store.
func (m *Memory) Page(_ context.Context, q inbox.PageQuery) ([]inbox.Entry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []inbox.Entry
	s := m.streams[q.Stream]
	if s == nil {
		return nil, nil
	}
	for _, n := range slices.Backward(s.notes) {
		e := m.entry(q.User, n)
		wanted := map[inbox.Which]bool{inbox.Current: !e.Archived, inbox.OnlyUnread: !e.Read, inbox.OnlyArchived: e.Archived}[q.Which]
		before := inbox.Cursor{At: n.CreatedAt, Seq: n.Seq, ID: n.ID}.Compare(q.Before) < 0
		if wanted && before && len(out) < q.Limit {
			out = append(out, e)
		}
	}
	return out, nil
}

func (m *Memory) entry(user string, n inbox.Notification) inbox.Entry {
	mark := m.done[user][n.ID]
	return inbox.Entry{Notification: n, Read: mark >= inbox.Read, Archived: mark >= inbox.Archived}
}

// Mark implements inbox.Store.
func (m *Memory) Mark(_ context.Context, v inbox.Viewer, id job.ID, as inbox.Mark) (inbox.Entry, inbox.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, there := m.find(id)
	if !there || !slices.Contains(v.Streams(), n.Stream) {
		return inbox.Entry{}, inbox.State{}, job.Errorf(job.CodeNotFound, "the inbox has no such notification")
	}
	m.mark(v.User, n.ID, as)
	m.version[v.User]++
	return m.entry(v.User, n), m.state(v), nil
}

// MarkAll implements inbox.Store.
func (m *Memory) MarkAll(_ context.Context, v inbox.Viewer, as inbox.Mark) (inbox.State, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, name := range v.Streams() {
		if s := m.streams[name]; s != nil {
			for _, n := range s.notes {
				m.mark(v.User, n.ID, as)
			}
		}
	}
	m.version[v.User]++
	return m.state(v), nil
}

func (m *Memory) mark(user string, id job.ID, as inbox.Mark) {
	if m.done[user] == nil {
		m.done[user] = map[job.ID]inbox.Mark{}
	}
	m.done[user][id] = max(m.done[user][id], as)
}
