// Package chattest proves implementations of chat.Archive: one in memory, which
// is their model, and what all of them must do.
package chattest

import (
	"context"
	"slices"
	"sync"

	"github.com/postrider/postrider/internal/chat"
)

// Memory is a chat.Archive without a database.
type Memory struct {
	mu   sync.Mutex
	rows []chat.Message
}

var _ chat.Archive = (*Memory)(nil)

// NewMemory makes an empty Memory.
func NewMemory() *Memory { return &Memory{} }

func (m *Memory) index(room string, id chat.ID) int {
	return slices.IndexFunc(m.rows, func(x chat.Message) bool { return x.Room == room && x.ID == id })
}

func (m *Memory) sent(room, user, client string) int {
	return slices.IndexFunc(m.rows, func(x chat.Message) bool {
		return client != "" && x.Room == room && x.User == user && x.ClientID == client
	})
}

// Keep implements chat.Archive.
func (m *Memory) Keep(_ context.Context, messages []chat.Message) (doubles []chat.Message, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range messages {
		switch {
		case m.index(x.Room, x.ID) >= 0:
		case m.sent(x.Room, x.User, x.ClientID) >= 0:
			doubles = append(doubles, x)
		default:
			m.rows = append(m.rows, x)
		}
	}
	return doubles, nil
}

// Newest implements chat.Archive.
func (m *Memory) Newest(_ context.Context, rooms []string) (map[string]chat.ID, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := map[string]chat.ID{}
	for _, x := range m.rows {
		if slices.Contains(rooms, x.Room) && x.ID.Compare(out[x.Room]) > 0 {
			out[x.Room] = x.ID
		}
	}
	return out, nil
}

// Sent implements chat.Archive.
func (m *Memory) Sent(_ context.Context, room, user, clientID string) (chat.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at(m.sent(room, user, clientID))
}

// Find implements chat.Archive.
func (m *Memory) Find(_ context.Context, room string, id chat.ID) (chat.Message, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.at(m.index(room, id))
}

func (m *Memory) at(i int) (chat.Message, error) {
	if i < 0 {
		return chat.Message{}, chat.ErrNotFound
	}
	return m.rows[i], nil
}

// Page implements chat.Archive.
func (m *Memory) Page(_ context.Context, q chat.Query) (out []chat.Message, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.rows {
		words := chat.Words(x.Text)
		lacks := slices.ContainsFunc(q.Words, func(w string) bool { return !slices.Contains(words, w) })
		if x.Room == q.Room && !x.Deleted && !lacks && (q.Before.IsZero() || x.ID.Compare(q.Before) < 0) && x.ID.Compare(q.After) > 0 {
			out = append(out, x)
		}
	}
	slices.SortFunc(out, func(a, b chat.Message) int { return b.ID.Compare(a.ID) })
	return out[:min(len(out), q.Limit)], nil
}

// Bury implements chat.Archive.
func (m *Memory) Bury(_ context.Context, x chat.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.index(x.Room, x.ID)
	if i < 0 {
		if m.sent(x.Room, x.User, x.ClientID) >= 0 {
			x.ClientID = ""
		}
		m.rows, i = append(m.rows, x), len(m.rows)
	}
	m.rows[i].Text, m.rows[i].Data, m.rows[i].Deleted = "", nil, true
	return nil
}

// WrittenBy implements chat.Archive.
func (m *Memory) WrittenBy(_ context.Context, user string, limit int) (out []chat.Message, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range m.rows {
		if user != "" && x.User == user && len(out) < limit {
			out = append(out, x)
		}
	}
	return out, nil
}

// Blank implements chat.Archive.
func (m *Memory) Blank(_ context.Context, messages []chat.Message) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, x := range messages {
		if i := m.index(x.Room, x.ID); i >= 0 {
			m.rows[i] = chat.Message{Room: x.Room, ID: x.ID, Deleted: true}
		}
	}
	return nil
}
