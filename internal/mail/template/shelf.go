package template

import (
	"context"
	"fmt"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
)

const (
	// keptEditions is how many editions a Shelf holds compiled: far more than
	// are in use at a time.
	keptEditions = 256
	// RenewEvery is how often the time of a source is renewed that jobs are
	// pinned to.
	RenewEvery = time.Hour
)

// Sources is the port to SQL, which keeps the source of each edition that a job
// is pinned to. Errors carry codes as job.Store's do.
//
// Implementations pass the conformance test of package store.
type Sources interface {
	// KeepTemplate keeps a source under its hash and notes that it is in use
	// now, if that was not noted within the last hour.
	KeepTemplate(ctx context.Context, hash string, source []byte) error
	// LoadTemplate returns a source; CodeNotFound where there is none.
	LoadTemplate(ctx context.Context, hash string) ([]byte, error)
}

// Shelf keeps editions by their hash, as long as jobs may need them.
type Shelf struct {
	sources  Sources
	compiled *lru.Cache[string, *Edition]

	mu   sync.Mutex
	kept map[string]time.Time // when this process last knew a source to be noted
}

// NewShelf makes a Shelf over SQL.
func NewShelf(sources Sources) (*Shelf, error) {
	compiled, err := lru.New[string, *Edition](keptEditions)
	if err != nil {
		return nil, fmt.Errorf("making room for templates: %w", err)
	}
	return &Shelf{sources: sources, compiled: compiled, kept: map[string]time.Time{}}, nil
}

// Keep has the edition kept, so that jobs can be pinned to it. It asks SQL once
// an hour for each.
func (s *Shelf) Keep(ctx context.Context, e *Edition) error {
	s.mu.Lock()
	last, known := s.kept[e.Hash]
	s.mu.Unlock()
	if known && time.Since(last) < RenewEvery/2 {
		return nil
	}
	now := time.Now()
	if err := s.sources.KeepTemplate(ctx, e.Hash, e.source); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, at := range s.kept { // of editions that are not used any more
		if now.Sub(at) > RenewEvery {
			delete(s.kept, hash)
		}
	}
	s.kept[e.Hash] = now
	return nil
}

// Load returns the edition of a hash. Its error has job.CodeNotFound where it is
// not kept.
func (s *Shelf) Load(ctx context.Context, hash string) (*Edition, error) {
	if e, ok := s.compiled.Get(hash); ok {
		return e, nil
	}
	source, err := s.sources.LoadTemplate(ctx, hash)
	if err != nil {
		return nil, err
	}
	e, err := open(source)
	if err != nil {
		return nil, fmt.Errorf("opening the template %s: %w", hash, err)
	}
	s.compiled.Add(hash, e)
	return e, nil
}
