// Package audittest is an audit in memory, for tests of what acts.
package audittest

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/postrider/postrider/internal/audit"
)

// Memory is an audit.Store. What transactions would record it is not told of.
type Memory struct {
	mu  sync.Mutex
	all []audit.Record
	err error // of Write
}

// Fail makes what follows fail with err; nil ends that.
func (m *Memory) Fail(err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.err = err
}

// Write implements audit.Store.
func (m *Memory) Write(_ context.Context, r audit.Record) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err != nil {
		return m.err
	}
	r.Seq, r.At = int64(len(m.all)+1), time.Now()
	m.all = append(m.all, r)
	return nil
}

// List implements audit.Store.
func (m *Memory) List(_ context.Context, f audit.Filter) ([]audit.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []audit.Record
	for _, r := range slices.Backward(m.all) {
		if (f.Actor == "" || f.Actor == r.Actor) && (f.Action == "" || f.Action == r.Action) && (f.Target == "" || f.Target == r.Target) &&
			(f.Before == 0 || r.Seq < f.Before) && len(out) < f.Limit {
			out = append(out, r)
		}
	}
	return out, nil
}
