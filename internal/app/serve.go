package app

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/postrider/postrider/dashboard"
	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/mail/unsubscribe"
	"github.com/postrider/postrider/internal/telemetry"
)

// openHTTP listens, so that a taken port is found before any work is begun,
// and builds what is to be answered.
func (a *App) openHTTP(ctx context.Context) error {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.HTTP.Addr)
	if err != nil {
		return fmt.Errorf("listening on POSTRIDER_HTTP_ADDR: %w", err)
	}
	a.closeAtStop("listener", l)
	a.listener = l
	if a.https, err = a.cfg.HTTP.TLS(); err != nil {
		return err
	}
	pages := telemetry.Handler(a.reg, a.health)
	if !a.role.API {
		a.handler = pages
		return nil
	}
	mounts := map[string]http.Handler{"/healthz": pages, "/readyz": pages, "/metrics": pages}
	if a.catcher != nil {
		mailbox := httpapi.OnlyLocalHost(a.cfg.HTTP.PublicURL)(a.catcher.Handler())
		mounts["/dev/mail"], mounts["/dev/mail/*"] = mailbox, mailbox
	}
	mounts["/unsubscribe/*"] = unsubscribe.Handler(unsubscribe.Options{
		Links: a.links(), Suppressions: a.store.Suppressions(), Jobs: a.jobs, Limiter: a.limiter, Log: a.log,
	})
	if err := a.openKeys(ctx); err != nil {
		return err
	}
	if err := a.mountDashboard(mounts); err != nil {
		return err
	}
	a.mountBuilt(mounts)
	if err := a.openTokens(mounts); err != nil {
		return err
	}
	if err := a.openLive(mounts); err != nil {
		return err
	}
	a.feed = job.NewFeed(a.store, a.log, a.reg)
	receiver, err := feedback.NewReceiver(feedback.Options{Config: a.cfg.Feedback, Now: time.Now, Fetch: a.fetch})
	if err != nil {
		return err
	}
	a.handler, err = httpapi.New(httpapi.Options{
		Jobs: a.jobs, Feed: a.feed, Schedules: a.schedules, Files: a.files, Deliveries: a.deliveries, Audit: a.audit, Alerts: a.store.Alerts(), Types: a.types, Keys: a.keys, MadeKeys: a.madeKeys, Tokens: a.tokens, Limiter: a.limiter, Rates: a.cfg.Limit,
		Preferences: a.recipients, Inbox: a.inbox, Chats: a.chat, Cache: a.cache, Live: a.publisher, MayEnter: a.rooms.MayEnter, Suppressions: a.store.Suppressions(), Feedback: receiver,
		Templates: a.templates, MailFrom: a.cfg.Mail.From, Categories: a.cfg.Categories, Config: a.cfg.HTTP, Tracer: a.tracer, Log: a.log, Metrics: a.reg, Mounts: mounts,
	})
	return err
}

// openKeys adds the keys that are made at run time to those that are set.
func (a *App) openKeys(ctx context.Context) error {
	a.madeKeys = apikey.New(a.store.APIKeys(), a.keys, a.log)
	made, err := a.madeKeys.Check(ctx)
	if err != nil {
		return err
	}
	a.keys.Also(a.madeKeys)
	for _, name := range a.cfg.Limit.Quotas.Names() {
		if !a.keys.Open() && !a.keys.Has(name) && !slices.ContainsFunc(made, func(k apikey.Key) bool { return k.Name == name }) {
			a.log.Warn("POSTRIDER_QUOTAS names a key that there is not, or not yet", "key", name)
		}
	}
	return nil
}

// mountDashboard adds the operators' pages. Without users they are for loopback
// alone, and are left out elsewhere.
func (a *App) mountDashboard(mounts map[string]http.Handler) error {
	users, open := a.cfg.Auth.DashboardUsers, httpapi.CheckExposure(a.cfg.HTTP.Addr, true) == nil
	if len(users) == 0 && !open {
		a.log.Warn("POSTRIDER_DASHBOARD_USERS is not set: the dashboard is not served")
		return nil
	}
	prometheus, err := a.cfg.prometheus()
	if err != nil {
		return err
	}
	queues := a.cfg.Broker.Queues.Names()
	if err := a.openNumbers(); err != nil {
		return err
	}
	d, err := dashboard.New(dashboard.Options{
		Prometheus: prometheus,
		Jobs:       a.jobs, Types: a.types, Schedules: a.schedules, Deliveries: a.deliveries, Audit: a.audit, Alerts: a.store.Alerts(), Suppressions: a.store.Suppressions(), Redis: a.redis, Queues: queues,
		Templates: a.templates, Categories: a.cfg.Categories, MailFrom: a.cfg.Mail.From,
		Numbers: a.numbers, Keys: a.keys, MadeKeys: a.madeKeys, Quotas: a.cfg.Limit.Quotas, OwnPage: a.isOwnPage, LoggedOut: a.publisher.EndSession,
		Limiter: a.limiter, Users: users, Open: len(users) == 0,
		Secure:         strings.HasPrefix(a.cfg.HTTP.PublicURL, "https:"),
		TrustedProxies: a.cfg.HTTP.TrustedProxies, Log: a.log, Clock: time.Now,
	})
	if err != nil {
		return err
	}
	a.dashboard = d
	mounts["/admin"], mounts["/admin/*"] = d.Handler(), d.Handler()
	return nil
}

// startHTTP serves. Requests that are under way when it stops are answered, as
// long as that takes no longer than httpLimit; event streams, and requests that
// wait for a job, end at once.
func (a *App) startHTTP() {
	server := httpapi.Server(a.handler, a.cfg.HTTP, a.log)
	a.serve("http", httpLimit, func() error {
		serve := func() error { return server.Serve(a.listener) }
		if a.https != nil {
			server.TLSConfig = a.https
			serve = func() error { return server.ServeTLS(a.listener, "", "") }
		}
		if err := serve(); !errors.Is(err, http.ErrServerClosed) {
			return err
		}
		return nil
	}, func(ctx context.Context) error {
		if a.feed != nil {
			a.feed.Close()
		}
		if err := server.Shutdown(ctx); err != nil {
			return errors.Join(err, server.Close())
		}
		return nil
	})
}

// serve runs a server in a goroutine that its cleanup waits for. One that ends
// by itself is a fault of the process.
func (a *App) serve(name string, limit time.Duration, run func() error, shutdown func(context.Context) error) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := run(); err != nil {
			a.fault <- fmt.Errorf("serving %s: %w", name, err)
		}
	}()
	a.life.onStop(name, limit, func(ctx context.Context) error {
		err := shutdown(ctx)
		<-ended
		return err
	})
}

// Addr is the address that HTTP is served on, host:port.
func (a *App) Addr() string { return a.listener.Addr().String() }
