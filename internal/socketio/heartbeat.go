package socketio

import "time"

// heartbeat is the times that a session keeps, by one timer. Pings keep to a
// schedule that was fixed at the handshake, whenever the timer ran and the
// answers came: on a busy machine both are late, and lateness that adds up would
// become a client's "ping timeout". A zero time is none.
type heartbeat struct {
	timer     *time.Timer
	nextPing  time.Time
	pongBy    time.Time // when the oldest unanswered ping is too old
	connectBy time.Time // when a session without a namespace ends
	closeBy   time.Time // when a draining session is closed all the same
}

// next is the earliest of its times.
func (b *heartbeat) next() time.Time {
	at := b.nextPing
	for _, t := range []time.Time{b.pongBy, b.connectBy, b.closeBy} {
		if !t.IsZero() && t.Before(at) {
			at = t
		}
	}
	return at
}

func (s *session) startBeatLocked() {
	now := time.Now()
	s.beat.nextPing = now.Add(s.server.cfg.PingInterval)
	s.beat.connectBy = now.Add(s.server.cfg.ConnectTimeout)
	s.beat.timer = time.AfterFunc(time.Until(s.beat.next()), s.tick)
}

func (s *session) setTimerLocked()  { s.beat.timer.Reset(time.Until(s.beat.next())) }
func (s *session) stopTimerLocked() { s.beat.timer.Stop() }

// tick does what is due.
func (s *session) tick() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed {
		return
	}
	now, b := time.Now(), &s.beat
	due := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	if patience := s.server.cfg.PingTimeout / 4; due(b.pongBy) && now.Sub(b.pongBy) > patience {
		// It is this process that stood still; the answer may be waiting to be read.
		b.pongBy = now.Add(patience)
	}
	switch {
	case due(b.closeBy):
		s.endLocked(s.reason)
		return
	case due(b.pongBy):
		s.endLocked(PingTimeout)
		return
	case due(b.connectBy):
		s.endLocked(ConnectTimeout)
		return
	}
	if due(b.nextPing) {
		for due(b.nextPing) {
			b.nextPing = b.nextPing.Add(s.server.cfg.PingInterval)
		}
		if b.pongBy.IsZero() {
			b.pongBy = now.Add(s.server.cfg.PingTimeout)
		}
		if ping := controlFrame(typePing); s.state == open {
			s.queue = append(s.queue, ping)
			s.queued += ping.size()
			s.flushLocked()
		}
	}
	s.setTimerLocked()
}

// pong takes the client's answer in.
func (s *session) pong() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beat.pongBy = time.Time{}
}

// await ends the session when it is still in no namespace after ConnectTimeout.
func (s *session) await() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == open {
		s.beat.connectBy = time.Now().Add(s.server.cfg.ConnectTimeout)
		s.setTimerLocked()
	}
}

// entered tells that the session is in a namespace.
func (s *session) entered() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.beat.connectBy = time.Time{}
}
