package app

import (
	"context"
	"fmt"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/numbers"
)

// openNumbers makes what looks at the whole fleet, once.
func (a *App) openNumbers() (err error) {
	if a.numbers != nil {
		return nil
	}
	a.numbers, err = numbers.New(numbers.Options{
		Engine: broker.NewCensus(a.redis, a.cfg.Broker.Queues.Names()), Log: a.store, Connections: a.connections, Logger: a.log, Metrics: a.reg,
	})
	return err
}

// openAlerts makes what tells people of alerts, in a scheduler.
func (a *App) openAlerts(context.Context) (err error) {
	if !a.role.Scheduler {
		return nil
	}
	o := alert.Options{
		Config: a.cfg.Alert, Store: a.store.Alerts(), Post: a.asker.Post, Holder: a.name, Log: a.log, Metrics: a.reg,
	}
	if a.cfg.HTTP.PublicURL != "" {
		o.URL = a.cfg.HTTP.PublicURL + "/admin"
	}
	if len(a.cfg.Alert.Targets()) > 0 {
		if err := a.openNumbers(); err != nil {
			return err
		}
		o.Numbers = a.numbers
	}
	if len(a.cfg.Alert.Mail) > 0 {
		if a.sender == nil { // what a worker has in the same process does
			if a.sender, err = mail.New(mail.Options{Config: a.cfg.Mail, Senders: 1, Log: a.log, Metrics: a.reg}); err != nil {
				return fmt.Errorf("preparing to mail alerts: %w", err)
			}
			a.life.onStop("mail connections", partLimit, func(context.Context) error { a.sender.Close(); return nil })
		}
		o.Mail = a.sender
	}
	a.alerts, err = alert.New(o)
	return err
}

// startAlerts begins to look for them.
func (a *App) startAlerts() {
	a.alerts.Start()
	a.life.onStop("alerts", partLimit, a.alerts.Stop)
}

// startReporter lets schedulers know of mail providers that this worker leaves
// alone.
func (a *App) startReporter() {
	r := alert.NewReporter(a.store.Alerts(), a.name, a.sender.Down, a.log)
	r.Start()
	a.life.onStop("report of mail providers", partLimit, r.Stop)
}
