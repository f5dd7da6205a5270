package app

import (
	"context"
	"errors"

	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/internal/work"
)

// startScheduler keeps the timetable, shows it in asynqmon, sends digests, and
// mends.
func (a *App) startScheduler() error {
	reconciler := job.NewReconciler(a.jobs, a.name, a.cfg.Keep)
	reconciler.Start()
	a.life.onStop("reconciler", partLimit, reconciler.Stop)

	a.schedules.Start()
	a.life.onStop("timetable", partLimit, func(context.Context) error { a.schedules.Stop(); return nil })

	digests := recipient.NewDigests(recipient.DigestOptions{Store: a.store.Recipients(), Jobs: a.jobs, Product: a.cfg.Mail.Product(), Log: a.log, Metrics: a.reg})
	digests.Start()
	a.life.onStop("digests", partLimit, func(context.Context) error { digests.Stop(); return nil })
	counter, err := delivery.NewCounter(a.deliveries, a.log, a.reg)
	if err != nil {
		return err
	}
	counter.Start()
	a.life.onStop("objectives", partLimit, func(context.Context) error { counter.Stop(); return nil })

	a.startAlerts()

	shown, err := broker.NewTimetable(broker.TimetableOptions{
		Redis: a.redis, Entries: a.periodic, Queues: a.cfg.Broker.Queues, Log: a.log,
	})
	if err != nil {
		return err
	}
	a.life.onStop("asynq's periodic manager", partLimit, shown.Stop)
	return shown.Start()
}

// periodic lists the schedules that are not paused.
func (a *App) periodic(ctx context.Context) ([]broker.Periodic, error) {
	entries, err := a.schedules.List(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]broker.Periodic, 0, len(entries))
	for _, e := range entries {
		if !e.Paused {
			out = append(out, broker.Periodic{Name: e.Name, Cron: e.Cron, TimeZone: e.TimeZone})
		}
	}
	return out, nil
}

// startWorker stops in three steps: no more tasks are taken, running jobs end
// or are given back, and Redis hears what became of them.
func (a *App) startWorker() error {
	housekeeping := work.Housekeeping{Jobs: a.store, Retention: a.cfg.Keep, Inboxes: a.store, Chats: a.store.Chats(), Archive: a.broker, Files: a.store.Files(), Audit: a.store.Audit(), KeepAudit: a.cfg.Audit.Keep}
	a.limits.Start()
	a.life.onStop("limits", partLimit, func(context.Context) error { a.limits.Stop(); return nil })
	mails := work.Mail{
		Sender: a.sender, Templates: a.shelf, Suppressed: a.suppressed, Files: a.files, Preferences: a.recipients, Links: a.links(),
		Feedback: a.store.Feedback(), Reader: feedback.Reader{Returns: mail.NewReturnPaths(a.cfg.Mail)},
	}
	worker, err := work.New(work.Options{
		Name: a.name, Config: a.cfg.Work, Runner: a.store, Types: a.types, Limits: a.limits,
		Handlers: append(work.Builtin(mails), work.Timetabled(a.jobs, housekeeping, a.schedules, a.chat)...),
		Tracer:   a.tracer, Log: a.log, Metrics: a.reg,
	})
	if err != nil {
		return err
	}
	a.startReporter()
	server := broker.NewServer(broker.ServerOptions{
		Redis: a.redis, Queues: a.cfg.Broker.Queues, Types: a.types,
		Handler: worker, OnCancel: worker.CancelHint, Log: a.log, Metrics: a.reg,
		Plain: a.cfg.Broker.Plain,
	})
	worker.Start()
	// Bounded by itself; the limit is above what it can take.
	bound := a.cfg.Work.ShutdownLimit + a.cfg.Work.StopGrace + work.SettleBudget + partLimit
	a.life.onStop("worker", bound, func(ctx context.Context) error {
		server.Quiet()
		err := worker.Shutdown(ctx)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), partLimit)
		defer cancel()
		return errors.Join(err, server.Shutdown(bounded))
	})
	return server.Start()
}
