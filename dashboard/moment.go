package dashboard

import (
	"sync"
	"time"
)

// moment keeps an answer for a moment: everybody whose page asks meanwhile is
// given the same, and at most one asks at a time. What asks bounds itself.
type moment[T any] struct {
	mu  sync.Mutex
	at  time.Time
	got T
}

func (m *moment[T]) get(fresh time.Duration, ask func() T) T {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.at.IsZero() || time.Since(m.at) >= fresh {
		m.got = ask()
		m.at = time.Now()
	}
	return m.got
}

// forget has the next one ask: something was done that the answer does not show.
func (m *moment[T]) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.at = time.Time{}
}
