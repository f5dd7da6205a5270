package live

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/socketio"
)

// member is whose a socket is; it is the socket's data.
type member struct {
	user       auth.Identity
	connection string // names it among the user's
	expiry     *time.Timer
	events     *rate.Limiter // nil without a limit

	mu     sync.Mutex
	joined map[string]bool // rooms that were entered by join_room
}

// memberOf is whose the socket is; nil before it is let in.
func memberOf(k *socketio.Socket) *member {
	m, _ := k.Data().(*member)
	return m
}

// credentials are what a client gives as auth.
type credentials struct {
	Token string `json:"token"`
	// Last is how far the client has followed streams; what came after is sent to
	// it.
	Last map[string]int64 `json:"last"`
}

// maxLast bounds the streams that a client may name.
const maxLast = 1000

// refused makes the error that a client sees.
func refused(code, message string) error {
	return &socketio.ConnectError{Message: message, Data: map[string]string{"code": code}}
}

// connect decides about a client by its token, puts it into the rooms of its
// inbox's streams, and sends it what it missed. Who the client is comes from the
// token alone.
func (h *Hub) connect(ctx context.Context, k *socketio.Socket, given json.RawMessage) error {
	ctx, cancel := context.WithTimeout(ctx, askLimit)
	defer cancel()
	var c credentials
	if len(given) > 0 && json.Unmarshal(given, &c) != nil || len(c.Last) > maxLast {
		return refused("invalid", "auth must be an object with a token, and last, if given, one of sequences by stream")
	}
	user, err := h.verify(ctx, strings.TrimSpace(strings.TrimPrefix(c.Token, "Bearer ")))
	if err != nil {
		return err
	}
	m := &member{user: user, connection: connection(k), joined: map[string]bool{}}
	if e := h.o.Config.Events; !e.Off() {
		m.events = rate.NewLimiter(rate.Limit(float64(e.N)/e.Per.Seconds()), e.N)
	}
	k.SetData(m)
	k.Join(inbox.Of(user.ID))
	if c.Last == nil && h.o.Config.Aliases {
		k.Join(aliased)
	}
	// Asked once the socket can be found: a revocation comes before this question
	// and is its answer, or it comes after and finds the socket.
	if err := h.checkRevoked(ctx, user); err != nil {
		return err
	}
	if !h.enter(ctx, user.ID, m.connection) {
		h.limits.Inc()
		return refused("rate_limited", "Too many connections")
	}
	// From here on nothing fails, so that disconnected undoes it.
	m.expiry = time.AfterFunc(time.Until(user.Expires), func() { expire(k, "expired") })
	viewer := inbox.Viewer{User: user.ID, Rooms: user.Rooms}
	for _, room := range user.Rooms {
		k.Join(inbox.OfRoom(room))
	}
	h.catchUp(ctx, k, viewer, c.Last)
	return nil
}

// verify returns whose token it is.
func (h *Hub) verify(ctx context.Context, token string) (auth.Identity, error) {
	if token == "" {
		return auth.Identity{}, refused("unauthorized", "A token is needed")
	}
	user, err := h.o.Tokens.Verify(ctx, token)
	switch {
	case errors.Is(err, auth.ErrToken):
		h.log.Debug("a live client's token was refused", "err", err)
		return auth.Identity{}, refused("unauthorized", "Invalid token")
	case err != nil:
		h.log.Warn("a live client's token could not be checked", "err", err)
		return auth.Identity{}, refused("temporary", "Tokens cannot be checked now")
	case !time.Now().Before(user.Expires): // within the clocks' leeway
		return auth.Identity{}, refused("unauthorized", "Invalid token")
	}
	return user, nil
}

// checkRevoked refuses a token that was revoked.
func (h *Hub) checkRevoked(ctx context.Context, user auth.Identity) error {
	switch revoked, err := h.o.Publisher.IsRevoked(ctx, user); {
	case err != nil:
		h.log.Warn("it could not be told whether a live client's token was revoked", "err", err)
		return refused("temporary", "Tokens cannot be checked now")
	case revoked:
		return refused("unauthorized", "Invalid token")
	}
	return nil
}

// catchUp sends what came after the client's last sequences. The client is in
// its rooms already, so that nothing falls between; what comes both ways it
// tells by the sequence. What is too much to be sent it is told to fetch.
func (h *Hub) catchUp(ctx context.Context, k *socketio.Socket, v inbox.Viewer, last map[string]int64) {
	if len(last) == 0 {
		return
	}
	own := map[string]bool{}
	for _, stream := range v.Streams() {
		own[stream] = true
	}
	var positions []inbox.Position
	for stream, seq := range last {
		if own[stream] && seq >= 0 { // the token may list fewer rooms than the one before
			positions = append(positions, inbox.Position{Stream: stream, Seq: seq})
		}
	}
	missed, err := h.o.Inbox.After(ctx, v, positions)
	more := err != nil
	if err != nil {
		h.log.Warn("what a live client missed could not be read; it is told to fetch it", "err", err)
	}
	for _, stretch := range missed {
		more = more || stretch.More
		for _, n := range stretch.Notifications {
			_ = k.Emit("notification", tell(n)) // a client that is gone needs it no more
		}
	}
	if more {
		_ = k.Emit("resync", map[string]int64{"within_ms": 0})
	}
}

// expire tells a client that its token is no longer good, and cuts the
// connection: it comes back by itself, and brings a fresh one if it has any.
func expire(k *socketio.Socket, reason string) {
	_ = k.Emit("auth_expired", map[string]string{"reason": reason}) // gone is as good
	k.Close()
}

// disconnected undoes what connect did.
func (h *Hub) disconnected(ctx context.Context, k *socketio.Socket, _ socketio.Reason) {
	m := memberOf(k)
	m.expiry.Stop()
	h.depart(ctx, m.user.ID, m.connection)
	h.silence(ctx, k)
	h.absent(ctx, m)
}
