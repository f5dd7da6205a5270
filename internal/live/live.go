// Package live knows who is connected: rooms, presence, and the fan-out of
// notifications and messages between api processes.
//
// A Hub serves the Socket.IO clients of one process. connect.go says who they
// are, rooms.go and presence.go where, connections.go how many, limits.go how
// much they may. A Publisher (publish.go) reaches the clients of all processes,
// from any process: what it publishes travels as one envelope (envelope.go) over
// Redis' pub/sub to every Hub (subscribe.go), which hands it on (deliver.go). A
// process hears its own envelopes by the same way.
//
// A push is a hint: whoever misses one finds out by a stream's sequence, and
// when pushes may have been lost on their way the clients are told to ask, by
// the event "resync".
package live

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/rounds"
	"github.com/postrider/postrider/internal/socketio"
	"github.com/postrider/postrider/internal/telemetry"
)

// Config bounds what clients may do.
type Config struct {
	Handshakes  limit.Rate `env:"POSTRIDER_LIVE_HANDSHAKES" envDefault:"600/m" help:"live connections that may be opened from one address, over all api processes: such as 10/s, 600/m or off"`
	Events      limit.Rate `env:"POSTRIDER_LIVE_EVENTS" envDefault:"50/s" help:"events that one live connection may send; one that sends more is cut off"`
	Connections int        `env:"POSTRIDER_LIVE_CONNECTIONS" envDefault:"20" help:"live connections that one user may have, over all api processes"`
	Aliases     bool       `env:"POSTRIDER_LIVE_ALIASES" envDefault:"true" help:"send clients that do not give auth.last the events of the common tutorials' names too, see docs/live.md"`
	History     int        `env:"POSTRIDER_LIVE_CHAT_HISTORY" envDefault:"50" help:"chat messages that a client is shown when it enters a room, at most 200; 0 shows none"`
	Queue       int        `env:"POSTRIDER_LIVE_QUEUE" envDefault:"4194304" help:"bytes that may wait for one live connection; a client that takes its messages too slowly is cut off, and fetches what it missed when it is back"`
}

// Validate reports every setting that cannot work, by its variable's name.
func (c Config) Validate() error {
	var errs []error
	if c.Connections < 1 {
		errs = append(errs, errors.New("POSTRIDER_LIVE_CONNECTIONS must be 1 or more"))
	}
	if c.History < 0 || c.History > chat.MaxPage {
		errs = append(errs, fmt.Errorf("POSTRIDER_LIVE_CHAT_HISTORY must be 0 to %d", chat.MaxPage))
	}
	if c.Queue < minQueue {
		errs = append(errs, fmt.Errorf("POSTRIDER_LIVE_QUEUE must be %d or more: a notification has to fit", minQueue))
	}
	return errors.Join(errs...)
}

// minQueue is above what one notification can have.
const minQueue = 256 << 10

// Verifier checks tokens: an *auth.Tokens.
type Verifier interface {
	// Verify returns whose token it is. The error wraps auth.ErrToken for one that
	// is not valid.
	Verify(ctx context.Context, token string) (auth.Identity, error)
}

// Inbox keeps notifications: an *inbox.Service.
type Inbox interface {
	// After tells what came while a client was away.
	After(ctx context.Context, v inbox.Viewer, positions []inbox.Position) ([]inbox.Stretch, error)
	// Post writes one that a client sends, which is pushed then.
	Post(ctx context.Context, n inbox.Notification) (written inbox.Notification, again bool, err error)
}

// Chat is what is said in rooms: a *chat.Service.
type Chat interface {
	Send(ctx context.Context, d chat.Draft) (m chat.Message, again bool, err error)
	History(ctx context.Context, q chat.Query) (chat.Page, error)
}

// Options are what a Hub is made of; what follows Metrics may be left zero.
type Options struct {
	Name      string // tells this process from all others
	Config    Config
	Redis     redis.UniversalClient
	Tokens    Verifier
	Inbox     Inbox
	Chat      Chat
	Publisher *Publisher
	Limiter   *limit.Limiter
	Tracer    *telemetry.Tracer // nil makes no traces
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	// DrainSpread is the time over which Drain lets clients go; none when zero.
	DrainSpread time.Duration
	// CheckOrigin tells whether a page may connect; pages of the same host when
	// nil.
	CheckOrigin func(*http.Request) bool
	// Recognise makes the handshake of a connection's sockets of its first request;
	// nil when nil. What it returns is held as long as the connection is.
	Recognise func(*http.Request) any
	// SessionEnded is told of a login to the dashboard that was ended, wherever;
	// nobody when nil.
	SessionEnded func(fingerprint string)
	// MayEnter decides about rooms that a user's token does not list; nobody may
	// enter them when nil.
	MayEnter func(ctx context.Context, user auth.Identity, room string) (bool, error)
}

// Hub serves the clients of this process.
type Hub struct {
	o        Options
	log      *slog.Logger
	server   *socketio.Server
	sockets  *socketio.Namespace
	limits   prometheus.Counter
	resyncs  prometheus.Counter
	presence rounds.Rounds
	typists  rounds.Rounds
	cancel   context.CancelFunc
	wait     sync.WaitGroup

	mu      sync.Mutex
	byUser  map[string][]string       // connections
	present map[string]map[string]int // connections by room and user
	typing  map[typist]typing
}

// New makes a Hub, which Start sets going. It registers its metrics.
func New(o Options) (*Hub, error) {
	h := &Hub{o: o, log: o.Log.With("component", "live"), byUser: map[string][]string{}, present: map[string]map[string]int{}, typing: map[typist]typing{}}
	h.server = socketio.New(socketio.Config{
		MaxPayload: maxPayload, MaxQueued: o.Config.Queue, DrainSpread: o.DrainSpread, CheckOrigin: o.CheckOrigin,
		Admit: h.admit, Logger: h.log,
	})
	h.sockets = h.server.Namespace("/")
	h.sockets.OnConnect(h.connect)
	h.sockets.OnDisconnect(h.disconnected)
	h.sockets.Before(h.mayEmit)
	h.sockets.Handle("join_room", h.join)
	h.sockets.Handle("leave_room", h.leave)
	h.sockets.Handle("room_message", h.relay)
	h.sockets.Handle("typing", h.typed)
	h.sockets.Handle("chat_message", h.say)
	h.sockets.Handle("chat_history", h.history)
	h.handleAliases()
	h.presence = rounds.Rounds{
		Every: presenceEvery, Round: h.keep, Log: h.log,
		Failing: "who is present cannot be kept; going on", Well: "who is present is kept again",
	}
	h.typists = rounds.Rounds{
		Every: typingEvery, Round: h.endTyping, Log: h.log,
		Failing: "who no longer types cannot be told; going on", Well: "who no longer types is told again",
	}
	h.limits = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "postrider_live_limited_total", Help: "Live clients that were refused or cut off by a limit.",
	})
	h.resyncs = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "postrider_live_resyncs_total", Help: "Times that all clients of this process were told to fetch what they may have missed.",
	})
	for _, c := range []prometheus.Collector{h.server, h.limits, h.resyncs} {
		if err := o.Metrics.Register(c); err != nil {
			return nil, fmt.Errorf("registering metrics: %w", err)
		}
	}
	return h, nil
}

// maxPayload bounds an event with its attachments, in bytes: the tutorials'
// messages are far below, and this is what one client may have us hold.
const maxPayload = 128 << 10

// Namespace returns a further namespace of that name, for others to serve.
func (h *Hub) Namespace(name string) *socketio.Namespace { return h.server.Namespace(name) }

// ServeHTTP answers the requests of clients under /socket.io/; see
// socketio.Server.ServeHTTP for what it must not be wrapped by.
func (h *Hub) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.server.ServeHTTP(w, r) }

// Start listens to the envelopes of all processes, and keeps presence. It can be
// called once.
func (h *Hub) Start() {
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	for _, channel := range channels(h.o.Redis) {
		h.wait.Go(func() { h.listen(ctx, channel) })
	}
	h.presence.Start()
	h.typists.Start()
}

// DrainLimit is what Drain may take beyond its spread.
const DrainLimit = 4 * time.Second

// Drain refuses new clients and lets those that there are go, over DrainSpread,
// so that they do not all come back elsewhere at once. It is bounded by ctx.
func (h *Hub) Drain(ctx context.Context) error { return h.server.Shutdown(ctx) }

// Stop ends what Start began and waits for it.
func (h *Hub) Stop() {
	if h.cancel != nil {
		h.cancel()
	}
	h.presence.Stop()
	h.typists.Stop()
	h.wait.Wait()
}

// answer is what a client's event is acknowledged with.
type answer struct {
	OK    bool     `json:"ok"`
	Error string   `json:"error,omitzero"`
	ID    string   `json:"id,omitzero"`     // of what was made
	User  string   `json:"userId,omitzero"` // who the client is
	Room  string   `json:"room,omitzero"`
	Users []string `json:"users,omitzero"` // who is in the room

	Timestamp time.Time     `json:"timestamp,omitzero"`
	Messages  []chatMessage `json:"messages,omitzero"` // oldest first
	Cursor    string        `json:"cursor,omitzero"`   // asks for those before; none are left without it
}

// acknowledge answers an event: with err, that it failed. A client that waits
// for no answer is told of a failure by the event "error".
func (h *Hub) acknowledge(k *socketio.Socket, e socketio.Event, a answer, err error) {
	if a.OK = err == nil; err != nil {
		a.Error = err.Error()
	}
	if err != nil && !e.WantsAck() {
		_ = k.Emit("error", trouble{codeOf(err), a.Error, e.Name}) // gone is as good
		return
	}
	if err := e.Ack(a); err != nil && !errors.Is(err, socketio.ErrDisconnected) {
		h.log.Warn("a live client's event could not be acknowledged", "err", err)
	}
}

// trouble is the argument of "error".
type trouble struct {
	Code    job.Code `json:"code"`
	Message string   `json:"message"`
	Event   string   `json:"event,omitzero"` // that failed
}

// codeOf is what sort of failure a client is told of.
func codeOf(err error) job.Code {
	switch {
	case errors.Is(err, errNow):
		return job.CodeTemporary
	case errors.Is(err, errForbidden), errors.Is(err, errOutside), errors.Is(err, errScope), errors.Is(err, errIdentity):
		return job.CodeForbidden
	default:
		return job.CodeInvalid
	}
}

// askLimit bounds what is asked of Redis or SQL on behalf of a client.
const askLimit = 5 * time.Second
