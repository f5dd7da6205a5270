// Package templatetest keeps the sources of templates in memory, for tests.
package templatetest

import (
	"context"
	"sync"

	"github.com/postrider/postrider/internal/job"
)

// Sources is a template.Sources.
type Sources struct {
	mu    sync.Mutex
	kept  map[string][]byte
	calls int
	err   error
}

// Fail has every call fail with err, or none where it is nil.
func (s *Sources) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Calls says how often it was asked.
func (s *Sources) Calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

// KeepTemplate implements template.Sources.
func (s *Sources) KeepTemplate(_ context.Context, hash string, source []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.err != nil {
		return s.err
	}
	if s.kept == nil {
		s.kept = map[string][]byte{}
	}
	s.kept[hash] = source
	return nil
}

// LoadTemplate implements template.Sources.
func (s *Sources) LoadTemplate(_ context.Context, hash string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls++; s.err != nil {
		return nil, s.err
	}
	source, ok := s.kept[hash]
	if !ok {
		return nil, job.Errorf(job.CodeNotFound, "the template %s is not kept", hash)
	}
	return source, nil
}
