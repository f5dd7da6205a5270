// Package socketio is a server of the Socket.IO protocol, revision 5, over the
// Engine.IO protocol, revision 4: what the npm package socket.io-client 3 and 4
// speaks, by HTTP long-polling and WebSocket. Connection-state recovery and
// WebTransport are left out.
//
// Read it from the wire upwards. Engine.IO: frame.go and payload.go are its
// encoding; http.go answers requests; session.go is a connection that outlives
// its transports, with polling.go, websocket.go and upgrade.go for those and
// heartbeat.go for its timers. Socket.IO: packet.go and args.go are its
// encoding; conn.go divides a session among namespaces; socket.go, inbox.go and
// ack.go are one client in one namespace; namespace.go, rooms.go and
// broadcast.go are all of them.
//
// Three rules hold the parts together. Nothing that sends ever waits: it queues,
// and a client that lets its queue grow beyond a bound is cut off. Events of one
// socket are handled one after the other, in a goroutine that lives while there
// are any. Every goroutine belongs to a session, and Shutdown waits for all.
package socketio

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Config is what a Server can be told; the zero value is a server with the
// defaults of Node's.
type Config struct {
	// PingInterval is how often the server asks whether the client is there; 25 s
	// when zero.
	PingInterval time.Duration
	// PingTimeout is how long a client may take to answer, and how long it may
	// take nothing of what is sent to it; 20 s when zero.
	PingTimeout time.Duration
	// UpgradeTimeout is how long an upgrade to WebSocket may take; 10 s when zero.
	UpgradeTimeout time.Duration
	// ConnectTimeout is how long a session may be in no namespace; 45 s when zero.
	ConnectTimeout time.Duration
	// DrainSpread is the time over which Shutdown lets sessions go, so that not
	// all of them come back elsewhere at once; none when zero.
	DrainSpread time.Duration
	// MaxPayload bounds what a client sends in one WebSocket message or polling
	// request, and an event together with its attachments, in bytes; 1,000,000
	// when zero.
	MaxPayload int
	// MaxAttachments bounds the binary attachments of an event; 10 when zero.
	MaxAttachments int
	// MaxQueued bounds what waits to be sent to one client, in bytes; a client
	// beyond it is cut off. 4 MiB when zero.
	MaxQueued int
	// CheckOrigin tells whether a page may talk to the server, by the request's
	// Origin; CORS does not guard WebSockets. When nil, pages of the same host
	// and clients that are no browsers may.
	CheckOrigin func(*http.Request) bool
	// Admit decides about a new session by its first request, before there is
	// one. What it returns is the Handshake of the session's sockets. An error
	// refuses: a *HandshakeError with its own status, any other with 403. When
	// nil, everyone is admitted and handshakes are nil.
	Admit func(*http.Request) (handshake any, err error)
	// Logger gets what goes wrong within; slog.Default() when nil.
	Logger *slog.Logger
}

// HandshakeError is how Admit refuses a request with a status of its own.
type HandshakeError struct {
	Status  int // of HTTP, 400 to 599
	Message string
}

func (e *HandshakeError) Error() string { return e.Message }

// Reason tells why a socket was disconnected, in the words of Node's server.
type Reason string

// The reasons there are.
const (
	ClientLeft     Reason = "client namespace disconnect" // the client called disconnect
	ServerLeft     Reason = "server namespace disconnect" // Socket.Disconnect
	ServerClosed   Reason = "forced close"                // Socket.Close
	ServerShutdown Reason = "server shutting down"
	TransportClose Reason = "transport close" // the client went away
	TransportError Reason = "transport error"
	PingTimeout    Reason = "ping timeout"
	ParseError     Reason = "parse error"
	SlowClient     Reason = "slow client"     // more than MaxQueued waited for it
	ConnectTimeout Reason = "connect timeout" // it was in no namespace
)

// ErrDisconnected is returned by what needs a socket that is still there.
var ErrDisconnected = errors.New("the socket is disconnected")

// withDefaults fills in what was left zero.
func (c Config) withDefaults() Config {
	or := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	or(&c.PingInterval, 25*time.Second)
	or(&c.PingTimeout, 20*time.Second)
	or(&c.UpgradeTimeout, 10*time.Second)
	or(&c.ConnectTimeout, 45*time.Second)
	atLeast := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	atLeast(&c.MaxPayload, 1_000_000)
	atLeast(&c.MaxAttachments, 10)
	atLeast(&c.MaxQueued, 4<<20)
	if c.CheckOrigin == nil {
		c.CheckOrigin = SameHost
	}
	if c.Admit == nil {
		c.Admit = func(*http.Request) (any, error) { return nil, nil }
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// SameHost takes requests without an Origin, which are no browser's from another
// page, and those whose Origin is the host that they are for.
func SameHost(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}
