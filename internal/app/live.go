package app

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/dashboard"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/live"
	"github.com/postrider/postrider/internal/numbers"
	"github.com/postrider/postrider/internal/socketio"
)

// liveSpread is the time over which an api process that stops lets its clients
// go. A process that is all there is has them back itself.
const liveSpread = 5 * time.Second

func (a *App) liveSpread() time.Duration {
	if a.role.OneProcess {
		return 0
	}
	return liveSpread
}

// openLive makes what serves connected clients.
func (a *App) openLive(mounts map[string]http.Handler) (err error) {
	if a.rooms, err = auth.NewRooms(a.cfg.Rooms, a.asker.Post, a.reg); err != nil {
		return err
	}
	o := live.Options{
		Name: a.name, Config: a.cfg.Live, Redis: a.redis, Tokens: a.tokens, Inbox: a.inbox, Chat: a.chat, Publisher: a.publisher,
		Limiter: a.limiter, Tracer: a.tracer, Log: a.log, Metrics: a.reg, DrainSpread: a.liveSpread(), CheckOrigin: a.mayConnect, MayEnter: a.rooms.MayEnter,
	}
	if a.dashboard != nil {
		o.Recognise, o.SessionEnded = a.dashboard.Recognise, a.dashboard.EndSession
	}
	if a.hub, err = live.New(o); err != nil {
		return err
	}
	mounts["/socket.io/*"] = a.hub
	if a.dashboard != nil {
		a.dashboard.Serve(a.hub.Namespace(dashboard.LiveNamespace))
		mounts[dashboard.LiveRoot+"*"] = a.hub
	}
	return nil
}

// mayConnect lets pages connect that are ours or that CORS lets call the API:
// browsers do not guard WebSockets by CORS.
func (a *App) mayConnect(r *http.Request) bool {
	return a.isAllowedPage(r) || slices.Contains(a.cfg.HTTP.CORSOrigins, "*")
}

// isAllowedPage tells whether a request comes from no page, or from one of ours or
// of an origin that POSTRIDER_CORS_ORIGINS names.
func (a *App) isAllowedPage(r *http.Request) bool {
	return a.isOwnPage(r) || slices.ContainsFunc(a.cfg.HTTP.CORSOrigins, func(allowed string) bool {
		return strings.EqualFold(allowed, r.Header.Get("Origin"))
	})
}

// isOwnPage tells whether a request comes from no page, or from one of this host or
// of POSTRIDER_PUBLIC_URL.
func (a *App) isOwnPage(r *http.Request) bool {
	public, err := url.Parse(a.cfg.HTTP.PublicURL)
	return socketio.SameHost(r) ||
		err == nil && public.Host != "" && strings.EqualFold(public.Scheme+"://"+public.Host, r.Header.Get("Origin"))
}

// connections counts who is connected to any process.
func (a *App) connections(ctx context.Context) (*numbers.Connections, error) {
	c, err := a.publisher.Connections(ctx)
	if err != nil {
		return nil, err
	}
	return &numbers.Connections{Sockets: int64(c.Connections), Users: int64(c.Users), Processes: int64(len(c.Processes))}, nil
}

// startNumbers begins to look at what operators watch.
func (a *App) startNumbers() {
	if a.numbers != nil {
		a.numbers.Start()
		a.life.onStop("numbers", partLimit, func(context.Context) error { a.numbers.Stop(); return nil })
	}
}

// startLive begins to listen to what is published; the clients come by HTTP.
func (a *App) startLive() {
	a.hub.Start()
	a.life.onStop("live", partLimit, func(context.Context) error { a.hub.Stop(); return nil })
}

// drainLive lets the clients go before HTTP ends, whose end would wait for those
// that poll.
func (a *App) drainLive() {
	a.life.onStop("live clients", a.liveSpread()+live.DrainLimit, a.hub.Drain)
}
