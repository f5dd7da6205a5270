package dashboard

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/outage"
)

const (
	// sessionIdle is how long a session lasts that nobody uses.
	sessionIdle = time.Hour
	// sessionWait bounds one question about a session.
	sessionWait = 500 * time.Millisecond
	// sessionPause is how long Redis is not asked after it failed.
	sessionPause = time.Second
	// mostSeen bounds the sessions that are remembered here.
	mostSeen = 10_000
)

// sessions are the logins that are neither over nor idle: a key in Redis each,
// which goes when its user logs out or does nothing for sessionIdle. A token
// whose key is gone is good nowhere, whoever has a copy of it.
//
// An operator needs the pages most while Redis is away. So a session goes on in
// the processes that saw it good, until it would have become idle; what was
// ended is forgotten by all of them at once.
type sessions struct {
	redis redis.UniversalClient
	gate  *outage.Gate

	mu   sync.Mutex
	seen map[string]time.Time // by fingerprint: when it was last good
}

func newSessions(rdb redis.UniversalClient) *sessions {
	return &sessions{redis: rdb, gate: outage.NewGate(sessionPause), seen: map[string]time.Time{}}
}

func sessionKey(fingerprint string) string { return "postrider:dashboard:session:" + fingerprint }

// begin makes a session good. The error is Redis', without which it is good in
// this process alone.
func (s *sessions) begin(ctx context.Context, token string) error {
	fingerprint := auth.Fingerprint(token)
	s.see(fingerprint)
	ctx, cancel := context.WithTimeout(ctx, sessionWait)
	defer cancel()
	if err := s.redis.Set(ctx, sessionKey(fingerprint), 1, sessionIdle).Err(); err != nil {
		return fmt.Errorf("keeping a session: %w", err)
	}
	return nil
}

// use reports whether a session is good, and keeps it from becoming idle.
func (s *sessions) use(ctx context.Context, token string) bool {
	fingerprint := auth.Fingerprint(token)
	if !s.gate.Open() {
		return s.wasSeen(fingerprint)
	}
	ctx, cancel := context.WithTimeout(ctx, sessionWait)
	defer cancel()
	err := s.redis.GetEx(ctx, sessionKey(fingerprint), sessionIdle).Err()
	switch {
	case err == nil:
		s.gate.Answered()
		s.see(fingerprint)
		return true
	case errors.Is(err, redis.Nil):
		s.gate.Answered()
		s.forget(fingerprint)
		return false
	}
	if !errors.Is(err, context.Canceled) { // of a browser that left
		s.gate.Failed()
	}
	return s.wasSeen(fingerprint)
}

// end ends a session for all processes that ask Redis.
func (s *sessions) end(ctx context.Context, fingerprint string) error {
	s.forget(fingerprint)
	ctx, cancel := context.WithTimeout(ctx, sessionWait)
	defer cancel()
	if err := s.redis.Del(ctx, sessionKey(fingerprint)).Err(); err != nil {
		return fmt.Errorf("ending a session: %w", err)
	}
	return nil
}

func (s *sessions) see(fingerprint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.seen[fingerprint]; !known && len(s.seen) >= mostSeen {
		for other, at := range s.seen { // in an order by chance
			if time.Since(at) > sessionIdle || len(s.seen) > mostSeen*9/10 {
				delete(s.seen, other)
			}
		}
	}
	s.seen[fingerprint] = time.Now()
}

func (s *sessions) wasSeen(fingerprint string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, known := s.seen[fingerprint]
	return known && time.Since(at) < sessionIdle
}

func (s *sessions) forget(fingerprint string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.seen, fingerprint)
}
