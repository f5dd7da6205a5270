package socketio

import (
	"bytes"
	"net/http"
	"time"

	"github.com/gorilla/websocket"
)

// upgrade tries to move a session from polling to a WebSocket
// (Engine.IO protocol, "Upgrade"). A second WebSocket, while one is tried or
// after one was taken, is accepted and closed.
func (s *Server) upgrade(w http.ResponseWriter, r *http.Request, session *session) {
	ws, ok := s.accept(w, r)
	if !ok {
		return
	}
	if !session.startProbe(ws) {
		dismiss(ws, websocket.ClosePolicyViolation)
	}
}

func (s *session) startProbe(ws *websocket.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed || s.ws != nil || s.probe != nil {
		return false
	}
	s.probe = ws
	s.spawnLocked(func() {
		if s.tryProbe(ws) {
			s.read(ws)
			return
		}
		s.dropProbe()
		_ = ws.Close()
	})
	return true
}

// tryProbe has the client's probe, answers it, and waits for its word that it
// has stopped polling.
func (s *session) tryProbe(ws *websocket.Conn) bool {
	deadline := time.Now().Add(s.server.cfg.UpgradeTimeout)
	if err := ws.SetReadDeadline(deadline); err != nil {
		return false
	}
	if !expect(ws, "2probe") {
		return false
	}
	if err := writeTo(ws, deadline, textFrame([]byte("3probe"))); err != nil {
		return false
	}
	s.mu.Lock()
	s.probed = true // the client waits for its GET to be answered
	s.flushLocked()
	s.mu.Unlock()
	if !expect(ws, "5") || ws.SetReadDeadline(time.Time{}) != nil {
		return false
	}
	return s.takeProbe(ws)
}

// takeProbe makes the WebSocket the transport: what was queued meanwhile goes
// out by it.
func (s *session) takeProbe(ws *websocket.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == closed {
		return false
	}
	if s.poll != nil {
		s.poll <- []*frame{controlFrame(typeNoop)}
		s.poll = nil
	}
	s.ws, s.probe, s.probed = ws, nil, false
	s.server.metrics.upgraded()
	s.flushLocked()
	return true
}

// dropProbe goes on with polling.
func (s *session) dropProbe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.probe, s.probed = nil, false
}

// expect reads one text message and tells whether it is that.
func expect(ws *websocket.Conn, text string) bool {
	kind, data, err := ws.ReadMessage()
	return err == nil && kind == websocket.TextMessage && bytes.Equal(data, []byte(text))
}
