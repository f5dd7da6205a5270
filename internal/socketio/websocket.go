package socketio

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// Sizes of the buffers of a connection. Its read buffer lives as long as it
// does; write buffers, which are for what the library itself writes, are shared.
const (
	readBuffer  = 1024
	writeBuffer = 256
)

var writeBuffers sync.Pool

// accept makes a WebSocket of the request, or has answered why not.
func (s *Server) accept(w http.ResponseWriter, r *http.Request) (*websocket.Conn, bool) {
	upgrader := websocket.Upgrader{
		HandshakeTimeout: s.cfg.UpgradeTimeout,
		ReadBufferSize:   readBuffer, WriteBufferSize: writeBuffer, WriteBufferPool: &writeBuffers,
		CheckOrigin: func(*http.Request) bool { return true }, // ServeHTTP has checked it
		Error: func(w http.ResponseWriter, _ *http.Request, status int, _ error) {
			badRequest.answer(w, status)
		},
	}
	ws, err := upgrader.Upgrade(hijacker{w, http.NewResponseController(w)}, r, nil)
	if err != nil {
		return nil, false
	}
	ws.SetReadLimit(int64(s.cfg.MaxPayload))
	return ws, true
}

// hijacker finds the connection below the wrappers of middleware.
type hijacker struct {
	http.ResponseWriter
	controller *http.ResponseController
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) { return h.controller.Hijack() }

// openWebSocket begins a session that does without polling.
func (s *Server) openWebSocket(w http.ResponseWriter, r *http.Request, shake any) {
	ws, ok := s.accept(w, r)
	if !ok {
		return
	}
	session := s.newSession(shake, ws)
	if session == nil {
		dismiss(ws, websocket.CloseServiceRestart)
		return
	}
	s.metrics.opened("websocket")
	session.send(textFrame(session.openPacket()))
	// In a goroutine of its own, so that net/http can let go of this one with its
	// buffers and its stack.
	session.mu.Lock()
	defer session.mu.Unlock()
	if session.state != closed {
		session.spawnLocked(func() { session.read(ws) })
	}
}

// closeTimeout is for telling a client that its WebSocket ends.
const closeTimeout = time.Second

// dismiss closes a WebSocket that no session has.
func dismiss(ws *websocket.Conn, code int) {
	_ = ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(closeTimeout))
	_ = ws.Close()
}

// read takes messages in until the connection ends.
func (s *session) read(ws *websocket.Conn) {
	// The library's own answer to a ping would write, and set the deadline, beside
	// what writes here.
	ws.SetPingHandler(func(data string) error {
		s.send(newFrame(websocket.PongMessage, []byte(data)))
		return nil
	})
	for {
		kind, data, err := ws.ReadMessage()
		if err != nil {
			s.end(reasonOf(err))
			return
		}
		p := engPacket{kind: typeMessage, binary: true, data: data}
		if kind == websocket.TextMessage {
			if p, err = parseText(data); err != nil {
				s.end(ParseError)
				return
			}
		}
		if !s.receiveAll([]engPacket{p}) || p.kind == typeClose {
			return
		}
	}
}

// reasonOf tells a client that went from a connection that broke.
func reasonOf(err error) Reason {
	if closing := new(websocket.CloseError); errors.As(err, &closing) || errors.Is(err, io.EOF) {
		return TransportClose
	}
	return TransportError
}

// write sends what is queued until nothing is, then returns: an idle connection
// has no writer.
func (s *session) write() {
	for {
		batch, more := s.takeBatch()
		if !more {
			return
		}
		for len(batch) > 0 {
			n := together(batch)
			// A client that takes nothing for as long as it may be silent has gone.
			if err := writeTo(s.ws, time.Now().Add(s.server.cfg.PingTimeout), batch[:n]...); err != nil {
				s.end(TransportError)
				break
			}
			s.mu.Lock()
			s.queued -= sizeOf(batch[:n])
			s.mu.Unlock()
			batch = batch[n:]
		}
	}
}

// gathered is how much is written together, in bytes: the more waits for a
// client, the less each message costs, of which a write is most.
const gathered = 16 << 10

var gatherings = sync.Pool{New: func() any { return new([gathered]byte) }}

// together is how many of the frames, one at least, are written together.
func together(frames []*frame) int {
	n, size := 1, len(frames[0].wire)
	for ; n < len(frames); n++ {
		if size += len(frames[n].wire); size > gathered {
			break
		}
	}
	return n
}

// writeTo sends frames by one write. It goes past the library, which writes one
// message at a time; nothing else may write to the connection meanwhile.
func writeTo(ws *websocket.Conn, deadline time.Time, frames ...*frame) error {
	wire := frames[0].wire
	if len(frames) > 1 {
		space := gatherings.Get().(*[gathered]byte)
		defer gatherings.Put(space)
		wire = space[:0]
		for _, f := range frames {
			wire = append(wire, f.wire...)
		}
	}
	to := ws.NetConn()
	if err := to.SetWriteDeadline(deadline); err != nil {
		return err
	}
	_, err := to.Write(wire)
	return err
}

// takeBatch takes the queue. Without one the writer ends, and tells the client
// of a draining session that this was all.
func (s *session) takeBatch() (batch []*frame, more bool) {
	s.mu.Lock()
	if s.state != closed && len(s.queue) > 0 {
		batch, s.queue = s.queue, nil
		s.mu.Unlock()
		return batch, true
	}
	farewell := s.state == draining
	s.writing = farewell // nobody else may write after it
	s.mu.Unlock()
	if farewell {
		_ = s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(websocket.CloseNormalClosure, ""), time.Now().Add(closeTimeout))
	}
	return nil, false
}
