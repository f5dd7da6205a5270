package socketio

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// session is an Engine.IO connection: it begins with a handshake and outlives
// the requests of long-polling and the change to WebSocket. Its methods that
// end in Locked need mu.
//
// Nothing calls upwards, into conn, while it holds mu; conn calls down while it
// holds its own lock.
type session struct {
	id        string // secret: who knows it may speak as the client
	server    *Server
	handshake any
	ctx       context.Context // ends with the session
	cancel    context.CancelFunc
	conn      conn
	reading   sync.Mutex // held while a message is taken in: a POST may be under way when the WebSocket takes over

	mu      sync.Mutex
	state   state
	reason  Reason // why it ends, once it does
	running int    // goroutines of it that have not returned

	queue  []*frame // what waits to be sent
	queued int      // its size, with what the WebSocket's writer has taken

	ws      *websocket.Conn // nil while polling
	writing bool            // a goroutine is writing to ws

	poll    chan []*frame // where the waiting GET gets its answer; nil without one
	posting bool          // a POST is being read
	linger  bool          // the client has closed; its last GET is still to be answered

	probe  *websocket.Conn // that an upgrade is tried with
	probed bool            // it has answered, so that no GET has to wait any more

	beat heartbeat
}

// state only goes up.
type state byte

const (
	open     state = iota
	draining       // what is queued is sent, then it is closed
	closed
)

// newSession makes a session and takes it into the server; nil when that shuts
// down. Without ws it begins with polling.
func (s *Server) newSession(handshake any, ws *websocket.Conn) *session {
	n := &session{id: rand.Text(), server: s, handshake: handshake, ws: ws}
	n.conn.session = n
	n.ctx, n.cancel = context.WithCancel(s.ctx)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !s.adopt(n) {
		n.cancel()
		return nil
	}
	n.startBeatLocked()
	return n
}

// spawnLocked runs f in a goroutine that the server's Shutdown waits for. It may
// be called as long as the session is not closed, or by a goroutine of it.
func (s *session) spawnLocked(f func()) {
	s.running++
	go func() {
		f()
		s.mu.Lock()
		s.running--
		last := s.running == 0 && s.state == closed
		s.mu.Unlock()
		if last {
			s.server.alive.Done()
		}
	}()
}

// spawn is spawnLocked for callers without the lock; false when the session is
// closed and nobody of it is left to wait for f.
func (s *session) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed && s.running == 0 {
		return false
	}
	s.spawnLocked(f)
	return true
}

// send queues frames, all or none, next to each other. It never waits. False
// means that they will not arrive: the session ends, perhaps for this very
// reason.
func (s *session) send(frames ...*frame) bool {
	size := sizeOf(frames)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open {
		return false
	}
	if s.queued+size > s.server.cfg.MaxQueued {
		s.endLocked(SlowClient)
		return false
	}
	s.queue = append(s.queue, frames...)
	s.queued += size
	s.flushLocked()
	return true
}

// flushLocked gets the transport going when there is something for it to do.
func (s *session) flushLocked() {
	switch {
	case s.state == closed:
	case s.ws != nil:
		if !s.writing && (len(s.queue) > 0 || s.state == draining) {
			s.writing = true
			s.spawnLocked(s.write)
		}
	case s.poll != nil:
		s.answerPollLocked()
	}
}

// receive takes an Engine.IO packet in. It waits while the session's handlers
// have too much to do. False ends the reading.
func (s *session) receive(p engPacket) bool {
	switch p.kind {
	case typeMessage:
		if err := s.conn.receive(p); err != nil {
			s.server.cfg.Logger.Debug("a Socket.IO client sent what it may not", "err", err)
			s.end(ParseError)
			return false
		}
		return true
	case typePong:
		s.pong()
		return true
	case typeNoop:
		return true
	case typeClose:
		s.mu.Lock()
		s.linger = s.ws == nil
		s.endLocked(TransportClose)
		s.mu.Unlock()
		return false
	default: // a server's packet, or an upgrade that has not begun
		s.end(ParseError)
		return false
	}
}

// finish sends what is queued, then closes the session. Its sockets are
// disconnected at once.
func (s *session) finish(reason Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != open {
		return
	}
	s.state, s.reason = draining, reason
	s.beat.closeBy = time.Now().Add(drainTimeout)
	s.setTimerLocked()
	s.spawnLocked(func() { s.conn.ended(reason) })
	s.flushLocked()
}

// drainTimeout is how long a client may take to fetch its last messages.
const drainTimeout = 3 * time.Second

// end closes the session without sending what is queued.
func (s *session) end(reason Reason) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endLocked(reason)
}

// endLocked leaves to a goroutine what may wait, so that it can be called from
// everywhere.
func (s *session) endLocked(reason Reason) {
	if s.state == closed {
		return
	}
	if s.state == open {
		s.reason = reason
	}
	s.state = closed
	s.stopTimerLocked()
	s.queue = nil
	s.spawnLocked(s.unwind)
}

// gone tells whether no request finds the session any more.
func (s *session) gone() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state == closed && !s.linger
}

// lingerTime is for how long a GET still finds a session that its client has
// closed by polling: the GET that goes with the client's last POST may come in
// after it, and must not be told that there is no such session.
const lingerTime = 50 * time.Millisecond

// unwind closes the transports and tells the sockets.
func (s *session) unwind() {
	s.cancel()
	s.mu.Lock()
	ws, probe, linger, reason := s.ws, s.probe, s.linger, s.reason
	s.mu.Unlock()
	if ws != nil {
		_ = ws.Close()
	}
	if probe != nil {
		_ = probe.Close()
	}
	s.conn.ended(reason)
	last := controlFrame(typeClose)
	if linger {
		last = controlFrame(typeNoop)
		<-time.After(lingerTime)
	}
	s.mu.Lock()
	if s.poll != nil {
		s.poll <- []*frame{last}
		s.poll = nil
	}
	s.linger = false
	s.mu.Unlock()
	s.server.forget(s.id)
	s.server.metrics.closed(reason)
}
