package socketio

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/websocket"
)

// refusal is an answer to a request that cannot be served; the codes are those
// of Node's server.
type refusal struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

var (
	unknownTransport   = refusal{0, "Transport unknown"}
	unknownSession     = refusal{1, "Session ID unknown"}
	badHandshakeMethod = refusal{2, "Bad handshake method"}
	badRequest         = refusal{3, "Bad request"}
	unknownProtocol    = refusal{5, "Unsupported protocol version"}
)

func forbidden(message string) refusal { return refusal{4, message} }

func (f refusal) answer(w http.ResponseWriter, status int) {
	body, err := json.Marshal(f)
	if err != nil { // of two plain fields
		body = []byte("{}")
	}
	answer(w, status, "application/json", body)
}

// answer writes a whole answer.
func answer(w http.ResponseWriter, status int, kind string, body []byte) {
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that has gone is missed by its heartbeat
}

const plainText = "text/plain; charset=UTF-8"

// ServeHTTP answers the requests of clients; the path is the caller's matter
// ("/socket.io/" by default). It must not be wrapped by what bounds the time of
// a request or compresses answers: a GET of long-polling waits for messages. It
// lifts the deadlines that the http.Server set for its requests.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	transport, sid := query.Get("transport"), query.Get("sid")
	switch {
	case transport != "polling" && transport != "websocket":
		unknownTransport.answer(w, http.StatusBadRequest)
	case query.Get("EIO") != "4":
		unknownProtocol.answer(w, http.StatusBadRequest)
	case !s.cfg.CheckOrigin(r):
		forbidden("Origin not allowed").answer(w, http.StatusForbidden)
	case transport == "websocket" && !websocket.IsWebSocketUpgrade(r):
		badRequest.answer(w, http.StatusBadRequest)
	case sid != "":
		s.serveSession(w, r, transport, sid)
	case r.Method != http.MethodGet:
		badHandshakeMethod.answer(w, http.StatusBadRequest)
	default:
		s.handshake(w, r, transport)
	}
}

// serveSession answers the further requests of a session.
func (s *Server) serveSession(w http.ResponseWriter, r *http.Request, transport, sid string) {
	session := s.session(sid)
	switch {
	case session == nil || session.gone():
		unknownSession.answer(w, http.StatusBadRequest)
	case transport == "websocket":
		s.upgrade(w, r, session)
	case r.Method == http.MethodGet:
		session.serveGet(w, r)
	case r.Method == http.MethodPost:
		session.servePost(w, r)
	default:
		badRequest.answer(w, http.StatusBadRequest)
	}
}

// handshake begins a session (Engine.IO protocol, "Handshake").
func (s *Server) handshake(w http.ResponseWriter, r *http.Request, transport string) {
	if s.closing() { // before an upgrade, so that a proxy can ask another server
		forbidden("The server shuts down").answer(w, http.StatusServiceUnavailable)
		return
	}
	shake, err := s.cfg.Admit(r)
	if err != nil {
		status, refused := http.StatusForbidden, new(HandshakeError)
		if errors.As(err, &refused) {
			status = refused.Status
		}
		forbidden(err.Error()).answer(w, status)
		return
	}
	if transport == "websocket" {
		s.openWebSocket(w, r, shake)
		return
	}
	session := s.newSession(shake, nil)
	if session == nil {
		forbidden("The server shuts down").answer(w, http.StatusServiceUnavailable)
		return
	}
	s.metrics.opened(transport)
	answer(w, http.StatusOK, plainText, session.openPacket("websocket"))
}

// openPacket tells the client about its session.
func (s *session) openPacket(upgrades ...string) []byte {
	if upgrades == nil {
		upgrades = []string{}
	}
	cfg := s.server.cfg
	body, err := json.Marshal(struct {
		SID          string   `json:"sid"`
		Upgrades     []string `json:"upgrades"`
		PingInterval int64    `json:"pingInterval"` // milliseconds
		PingTimeout  int64    `json:"pingTimeout"`  // milliseconds
		MaxPayload   int      `json:"maxPayload"`   // bytes
	}{s.id, upgrades, cfg.PingInterval.Milliseconds(), cfg.PingTimeout.Milliseconds(), cfg.MaxPayload})
	if err != nil { // of plain fields
		body = nil
	}
	return append([]byte{typeOpen}, body...)
}

// setDeadlines replaces those of the http.Server. Where the writer knows none,
// as in tests without a network, there are none.
func setDeadlines(w http.ResponseWriter, read, write time.Time) {
	c := http.NewResponseController(w)
	_ = c.SetReadDeadline(read)
	_ = c.SetWriteDeadline(write)
}
