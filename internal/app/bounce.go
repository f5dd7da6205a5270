package app

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/postrider/postrider/internal/httpapi"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/bounce"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/tasks"
)

// openBounces listens where POSTRIDER_BOUNCE_ADDR says, so that a taken port is
// found before any work is begun.
func (a *App) openBounces(ctx context.Context) error {
	if !a.role.API || a.cfg.Bounce.Addr == "" {
		return nil
	}
	offered, err := a.cfg.Bounce.TLS()
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", a.cfg.Bounce.Addr)
	if err != nil {
		return fmt.Errorf("listening on POSTRIDER_BOUNCE_ADDR: %w", err)
	}
	a.bounceListener = l
	a.closeAtStop("listener for bounces", l)
	a.bounces = bounce.New(bounce.Options{
		TLS:    offered,
		Reader: feedback.Reader{Returns: mail.NewReturnPaths(a.cfg.Mail)},
		Store: func(ctx context.Context, key string, f tasks.Feedback) error {
			return httpapi.StoreFeedback(ctx, a.jobs, "feedback:smtp", key, f)
		},
		Limiter: a.limiter, Log: a.log, Metrics: a.reg,
	})
	a.health.Add("bounces", telemetry.Degraded, a.bounces.Check)
	return nil
}

// startBounces takes mails that come back. When the process stops, those that
// are being taken have partLimit to be stored; their senders keep the others.
func (a *App) startBounces() {
	if a.bounces == nil {
		return
	}
	a.serve("bounces", partLimit, func() error { return a.bounces.Serve(a.bounceListener) }, a.bounces.Shutdown)
	a.log.Info("bounces are taken by SMTP", "addr", a.BounceAddr(), "domain", a.cfg.Mail.BounceDomain)
}

// BounceAddr is the address that bounces are taken on, host:port; empty where
// they are not.
func (a *App) BounceAddr() string {
	if a.bounceListener == nil {
		return ""
	}
	return a.bounceListener.Addr().String()
}

// closeAtStop closes a listener that its server, if it came to that, has closed
// before.
func (a *App) closeAtStop(name string, l net.Listener) {
	a.life.onStop(name, partLimit, func(context.Context) error {
		if err := l.Close(); !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	})
}
