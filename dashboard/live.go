package dashboard

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/numbers"
	"github.com/postrider/postrider/internal/socketio"
)

// LiveRoot is where live connections must be had too: the session's cookie comes
// with requests below /admin alone.
const LiveRoot = root + "/socket.io/"

// LiveNamespace is the namespace of the live numbers.
const LiveNamespace = "/dashboard"

// mostWatchers bounds who watches by one process.
const mostWatchers = 200

// tools is the room of those who came by an API key: they hear each sample by the
// name, too, that the usual tutorials give it.
const tools = "tools"

// operator is whose browser has opened a connection.
type operator struct {
	session string // token; empty where the dashboard is open
}

// Recognise returns what is known of who opens a live connection, nil of anybody
// but operators. A browser sends their cookie, or none where the pages are open,
// whoever's page has it connect: only ours may.
func (d *Dashboard) Recognise(r *http.Request) any {
	if !d.OwnPage(r) {
		return nil
	}
	if d.isOpen() {
		if auth.LocalHost(r.Host) {
			return operator{}
		}
		return nil
	}
	if token := d.cookie(r, sessionCookie); token != "" {
		return operator{session: token}
	}
	return nil
}

// enters reports whether the operator may look.
func (d *Dashboard) enters(ctx context.Context, o operator) bool {
	return d.present(o) && (d.isOpen() || d.sessions.use(ctx, o.session))
}

// present reports whether the operator's session still lasts. To look at what
// moves by itself is no use of it; a logout is told by EndSession.
func (d *Dashboard) present(o operator) bool {
	if d.isOpen() {
		return true
	}
	_, ok := d.Users.Session(o.session, d.Clock())
	return ok
}

// Serve serves the live numbers in a namespace, before its first client comes and
// before the numbers' Start. Connections must be opened with what Recognise
// returns.
func (d *Dashboard) Serve(n *socketio.Namespace) {
	d.sockets = n
	n.OnConnect(d.watch)
	n.OnDisconnect(func(context.Context, *socketio.Socket, socketio.Reason) { d.Numbers.Leave() })
	n.Before(func(context.Context, *socketio.Socket, socketio.Event) bool { return false })
	d.Numbers.Tell(watchers{d, n})
}

// watch lets in whom Recognise knew, and who has a key. Nothing that is told is
// anybody's in person: viewers may watch.
func (d *Dashboard) watch(ctx context.Context, k *socketio.Socket, given json.RawMessage) error {
	var credentials struct {
		Key string `json:"key"`
	}
	if len(given) > 0 && json.Unmarshal(given, &credentials) != nil {
		return refusal("invalid", "auth must be an object, with a key if any")
	}
	o, known := k.Handshake().(operator)
	known = known && d.enters(ctx, o)
	tool := !known && d.mayWatch(ctx, credentials.Key)
	switch {
	case !known && !tool:
		return refusal("unauthorized", "A login is needed, or an API key of the scope admin")
	case k.Namespace().Len() > mostWatchers:
		return refusal("rate_limited", "Too many watch")
	}
	if known {
		k.SetData(o)
	} else {
		k.Join(tools)
	}
	d.Numbers.Join(func(history json.RawMessage) {
		k.Join(watching)
		d.tell(k.Emit("history", history))
	})
	return nil
}

// watching is the room of those who are told of samples.
const watching = "watching"

// mayWatch tells whether an API key has the scope that it takes.
func (d *Dashboard) mayWatch(ctx context.Context, key string) bool {
	p, err := d.Keys.Principal(ctx, key)
	return err == nil && p.May(auth.Admin)
}

func refusal(code, message string) error {
	return &socketio.ConnectError{Message: message, Data: map[string]string{"code": code}}
}

// EndSession forgets in this process a session that was ended, and ends the live
// connections that were opened by it.
func (d *Dashboard) EndSession(fingerprint string) {
	d.sessions.forget(fingerprint)
	if d.sockets == nil {
		return
	}
	for _, k := range d.sockets.To().Sockets() {
		if o, ok := k.Data().(operator); ok && o.session != "" && auth.Fingerprint(o.session) == fingerprint {
			end(k, "logged_out")
		}
	}
}

// end tells an operator that the session is over, and cuts the connection.
func end(k *socketio.Socket, reason string) {
	_ = k.Emit("auth_expired", map[string]string{"reason": reason}) // gone is as good
	k.Close()
}

// tell logs what could not be emitted; a client that has gone needs it no more.
func (d *Dashboard) tell(err error) {
	if err != nil && !errors.Is(err, socketio.ErrDisconnected) {
		d.log.Error("numbers could not be told", "err", err)
	}
}

// watchers are told of samples.
type watchers struct {
	d *Dashboard
	n *socketio.Namespace
}

var _ numbers.Watcher = watchers{}

// Sample implements numbers.Watcher; whose session has ended meanwhile is sent
// away.
func (w watchers) Sample(text json.RawMessage) {
	for _, k := range w.n.To(watching).Sockets() {
		if o, ok := k.Data().(operator); ok && !w.d.present(o) {
			k.Leave(watching)
			end(k, "expired")
		}
	}
	w.d.tell(w.n.To(watching).Emit("numbers", text))
	w.d.tell(w.n.To(tools).Emit("dashboardUpdate", text))
}

// History implements numbers.Watcher.
func (w watchers) History(text json.RawMessage) {
	w.d.tell(w.n.To(watching).Emit("history", text))
}
