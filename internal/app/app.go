// Package app builds each process from its parts, starts and stops them in
// order. It is the one place where adapters meet.
//
// Read it in this order: role.go says which processes there are, config.go what
// they can be told, app.go what a process is made of, start.go what schedulers and
// workers do, serve.go what is answered, main.go how it lives.
package app

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/dashboard"
	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/apikey"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/cache"
	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/fetch"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/live"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/attach"
	"github.com/postrider/postrider/internal/mail/bounce"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/mail/suppress"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/mailcatch"
	"github.com/postrider/postrider/internal/numbers"
	"github.com/postrider/postrider/internal/recipient"
	"github.com/postrider/postrider/internal/roster"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/store"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/internal/work"
	"github.com/postrider/postrider/tasks"
)

// How long the parts may take to end. Together with the worker's own budget
// they fit into POSTRIDER_CONTAINER_GRACE.
const (
	httpLimit  = 5 * time.Second
	partLimit  = 2 * time.Second
	redisStart = 3 * time.Second
)

// App is one process. Its parts live from New or Start to Stop.
type App struct {
	role  Role
	name  string // tells this process from all others: host-pid-chance
	cfg   Config
	log   *slog.Logger
	life  lifetime
	fault chan error     // a part that ended by itself
	asker *fetch.Client  // of whoever a setting names
	fetch feedback.Fetch // of providers

	reg      *prometheus.Registry
	health   *telemetry.Health
	tracer   *telemetry.Tracer // nil unless traces are made
	types    *tasks.Catalogue
	keys     *auth.Keys
	madeKeys *apikey.Service // nil in a process without the API
	tokens   *auth.Tokens    // nil in a process without the API
	rooms    *auth.Rooms     // nil in a process without the API

	redis      redis.UniversalClient
	limiter    *limit.Limiter
	cache      *cache.Store
	limits     *limit.Fleet // nil in a process that does not work
	store      *store.Store
	files      *attach.Keeper
	templates  *template.Library
	shelf      *template.Shelf
	broker     *broker.Client
	jobs       *job.Service
	deliveries *delivery.Service
	schedules  *schedule.Service
	recipients *recipient.Service
	inbox      *inbox.Service
	audit      *audit.Log
	alerts     *alert.Watch // nil in a process that is no scheduler
	push       *inbox.Pusher
	publisher  *live.Publisher
	feed       *job.Feed // nil in a process without the API
	chat       *chat.Service
	hub        *live.Hub // nil in a process without the API
	dashboard  *dashboard.Dashboard
	numbers    *numbers.Collector // nil where neither a dashboard nor alerts need it
	catcher    *mailcatch.Server  // nil unless mails are caught
	sender     *mail.Sender       // nil in a process that sends none
	suppressed *suppress.Gate
	handler    http.Handler
	listener   net.Listener
	https      *tls.Config      // that it speaks; nil for HTTP
	bounces    *bounce.Listener // nil unless they are taken by SMTP

	bounceListener net.Listener

	mu       sync.Mutex // one of Start and Stop at a time
	stopped  bool
	stopErr  error
	stopOnce sync.Once
}

// New builds a process: it connects to what the settings name and listens, but
// nothing is taken up before Start. When it fails, nothing stays behind.
func New(ctx context.Context, role Role, cfg Config, log *slog.Logger) (*App, error) {
	return newApp(ctx, role, cfg, log, nil)
}

// newApp is New; provided is how providers are asked for their keys, as others
// are when nil.
func newApp(ctx context.Context, role Role, cfg Config, log *slog.Logger, provided feedback.Fetch) (_ *App, err error) {
	log = log.With("process", role.Name)
	a := &App{
		fetch: provided,
		role:  role, name: uniqueName(), cfg: cfg, log: log, fault: make(chan error, 4),
		reg: telemetry.NewRegistry(), health: telemetry.NewHealth(log), keys: auth.NewKeys(cfg.Auth),
	}
	a.life.log = log
	a.reg.MustRegister(telemetry.Checks(a.health))
	defer func() {
		if err != nil {
			err = errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
		}
	}()
	if a.asker, err = fetch.New(cfg.Fetch); err != nil {
		return nil, err
	}
	if a.fetch == nil {
		a.fetch = a.asker.Get
	}
	if a.types, err = tasks.NewCatalogue(tasks.Builtin()...); err != nil {
		return nil, fmt.Errorf("building the catalogue: %w", err)
	}
	for _, build := range []func(context.Context) error{
		a.openTraces, a.openRedis, a.openStore, a.openTemplates, a.buildJobs, a.buildTimetable, a.openMail, a.openAlerts, a.openBounces, a.openHTTP,
	} {
		if err := build(ctx); err != nil {
			return nil, err
		}
	}
	a.warn()
	return a, nil
}

func uniqueName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s-%d-%s", host, os.Getpid(), rand.Text()[:6])
}

// openTraces makes what sends traces, if they are asked for.
func (a *App) openTraces(ctx context.Context) (err error) {
	a.tracer, err = telemetry.NewTracer(ctx, a.cfg.Trace, a.role.Name, a.name, a.log)
	if err == nil && a.tracer != nil {
		a.life.onStop("traces", partLimit, a.tracer.Stop)
	}
	return err
}

// openRedis connects to Redis, or starts one within the process. That a server
// is away is no reason not to start: jobs are accepted without it.
func (a *App) openRedis(ctx context.Context) error {
	cfg := a.cfg.Broker
	if cfg.Embedded() {
		url, stop, err := broker.Embedded(a.log)
		if err != nil {
			return err
		}
		a.life.onStop("embedded redis", partLimit, func(context.Context) error { stop(); return nil })
		cfg.RedisURL = url
	}
	rdb, err := broker.Connect(cfg)
	if err != nil {
		return err
	}
	a.redis = rdb
	a.life.onStop("redis client", partLimit, func(context.Context) error { return rdb.Close() })
	if err := broker.Observe(rdb, a.reg); err != nil {
		return err
	}
	a.limiter = limit.New(rdb, a.log)
	a.cache = cache.NewStore(cache.StoreOptions{Redis: rdb, Log: a.log})
	a.life.onStop("cache", partLimit, func(context.Context) error { a.cache.Stop(); return nil })
	for _, c := range []prometheus.Collector{a.limiter, a.cache} {
		if err := a.reg.Register(c); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
	}
	if a.cfg.Broker.Embedded() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, redisStart)
	defer cancel()
	if err := rdb.Ping(ctx).Err(); err != nil {
		a.log.Warn("redis cannot be reached yet; going on without", "err", err)
		return nil
	}
	warnings, err := broker.Check(ctx, rdb)
	for _, w := range warnings {
		a.log.Warn(w)
	}
	return err
}

func (a *App) openStore(ctx context.Context) error {
	a.publisher = live.NewPublisher(a.redis)
	push, err := inbox.NewPusher(a.publisher, a.cache, a.log, a.reg)
	if err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	st, err := store.Open(ctx, a.cfg.Store, a.log, store.Options{Notified: push.Committed, Metrics: a.reg})
	if err != nil {
		return err
	}
	a.store = st
	a.audit = audit.New(st.Audit(), a.log)
	a.files = attach.NewKeeper(st.Files(), a.cfg.Files)
	a.life.onStop("store", partLimit, func(context.Context) error { return st.Close() })
	a.push, a.inbox = push, inbox.NewService(st, push)
	a.chat = chat.New(chat.Options{Redis: a.redis, Archive: st.Chats(), Push: a.publisher, Log: a.log})
	return nil
}

// openTemplates reads the mail templates. That one of them is broken is no
// reason not to start: it keeps its own mails alone from being accepted.
func (a *App) openTemplates(context.Context) (err error) {
	a.templates, err = template.NewLibrary(template.Options{Config: a.cfg.Templates, Log: a.log, Metrics: a.reg})
	if err != nil {
		return err
	}
	a.health.Add("templates", telemetry.Degraded, a.templates.Check)
	a.shelf, err = template.NewShelf(a.store)
	return err
}

func (a *App) buildJobs(context.Context) error {
	a.suppressed = suppress.NewGate(a.store.Suppressions(), a.cfg.Categories)
	a.broker = broker.NewClient(broker.Options{
		Redis: a.redis, Queues: a.cfg.Broker.Queues, Types: a.types,
		Margin: work.TurnPatience + a.cfg.Work.StopGrace + work.SettleBudget,
		Log:    a.log, Plain: a.cfg.Broker.Plain,
	})
	if a.role.Scheduler { // of which there are few: what it asks is the same everywhere
		if err := broker.RegisterFleet(a.reg, a.redis, a.cfg.Broker.Queues.Names(), a.log); err != nil {
			return err
		}
	}
	a.recipients = recipient.New(recipient.Options{Store: a.store.Recipients(), Categories: a.cfg.Categories, Log: a.log})
	a.jobs = job.NewService(job.Options{
		Store: a.store, Dispatcher: a.broker, Types: a.types, Queues: a.cfg.Broker.Queues.Names(),
		Admissions: a.admissions(), Tracer: a.tracer, Log: a.log, Metrics: a.reg,
	})
	a.deliveries = delivery.New(delivery.Options{
		Store: a.store, Jobs: a.jobs, Suppressions: a.store.Suppressions(), Objectives: a.cfg.Answer.Objectives, Chats: a.chat,
	})
	redisWeight := telemetry.Required
	if a.role.API {
		redisWeight = telemetry.Degraded // it accepts jobs all the same
	}
	a.health.Add("database", telemetry.Required, a.store.Ping)
	a.health.Add("redis", redisWeight, a.broker.Ping)
	return nil
}

// buildTimetable makes the timetable's commands; a scheduler also brings the
// timetable in line with what is built in and with its settings.
func (a *App) buildTimetable(ctx context.Context) error {
	a.schedules = schedule.New(schedule.Options{Store: a.store.Schedules(), Jobs: a.jobs, Log: a.log, Metrics: a.reg})
	if !a.role.Scheduler {
		return nil
	}
	seeds, err := schedule.Seeds(a.cfg.Table)
	if err != nil {
		return err
	}
	return a.schedules.Seed(ctx, seeds)
}

// openMail makes the sender of a process that works and the limits that it
// keeps to, and where no server is named and the role allows it, the mailbox
// that catches what is sent.
func (a *App) openMail(ctx context.Context) (err error) {
	if !a.role.Worker {
		return nil
	}
	cfg := a.cfg.Mail
	if cfg.URL == "" && a.role.CatchMail {
		l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return fmt.Errorf("listening for the mail catcher: %w", err)
		}
		a.catcher = mailcatch.New(a.log)
		a.serve("mail catcher", partLimit, func() error { return a.catcher.Serve(l) }, a.catcher.Shutdown)
		cfg.URL = "smtp://" + l.Addr().String() + "?tls=none"
	}
	a.limits = limit.NewFleet(a.redis, a.cfg.Limit.Jobs, a.log)
	if err := a.reg.Register(a.limits); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	a.sender, err = mail.New(mail.Options{
		Config:   cfg,
		Senders:  a.cfg.Broker.Queues.Concurrency(), // no more mails are on their way at once than jobs run
		Measured: append(a.cfg.Answer.Objectives.Categories(), a.cfg.Categories.Names...),
		Limits:   a.limits, Log: a.log, Metrics: a.reg,
	})
	if err != nil {
		return err
	}
	a.life.onStop("mail connections", partLimit, func(context.Context) error { a.sender.Close(); return nil })
	return nil
}

// links are those by which recipients unsubscribe, or nil.
func (a *App) links() *mail.Links {
	return mail.NewLinks(a.cfg.HTTP.PublicURL, a.cfg.Mail.Secret, a.cfg.Categories)
}

// warn tells an operator what works but may not be meant.
func (a *App) warn() {
	if a.role.API && a.keys.Open() {
		a.log.Warn("POSTRIDER_API_KEYS is not set: the API is open to everything on this machine, and serves on loopback only")
	}
	if a.role.API && !a.tokens.Enabled() {
		a.log.Warn("neither POSTRIDER_JWT_SECRET nor POSTRIDER_JWKS_URL is set: no live connections are let in, since nobody could be known")
	}
	if a.role.Worker && a.catcher == nil && a.links() == nil {
		a.log.Warn("POSTRIDER_PUBLIC_URL or POSTRIDER_SECRET is not set: mails carry no link to unsubscribe")
	}
	for _, t := range a.types.Types() {
		if !slices.Contains(a.cfg.Broker.Queues.Names(), t.Queue) {
			a.log.Warn("a job type's queue is not in POSTRIDER_QUEUES: its jobs are refused unless they name another", "type", t.Name, "queue", t.Queue)
		}
	}
}

// Start sets the parts going. It can be called once, and not after Stop.
func (a *App) Start() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return errors.New("starting: it was stopped before")
	}
	member, err := roster.NewMember(a.redis, a.process(), a.log)
	if err != nil {
		return err
	}
	member.Start()
	a.life.onStop("list of processes", partLimit, member.Stop)
	a.templates.Start()
	a.life.onStop("templates", partLimit, func(context.Context) error { a.templates.Stop(); return nil })
	a.cache.Start()
	a.push.Start()
	a.life.onStop("pushes", partLimit, func(context.Context) error { a.push.Stop(); return nil })
	a.jobs.Start()
	a.life.onStop("outbox", partLimit, a.jobs.Stop)
	if !a.role.API { // its pages tell of the work until the work has ended
		a.startHTTP()
	}
	a.startNumbers()
	if a.role.Scheduler {
		if err := a.startScheduler(); err != nil {
			return err
		}
	}
	if a.role.Worker {
		if err := a.startWorker(); err != nil {
			return err
		}
	}
	if a.role.API { // nothing new comes in while the work ends
		a.tokens.Start()
		a.life.onStop("users' keys", partLimit, func(context.Context) error { a.tokens.Stop(); return nil })
		a.feed.Start()
		a.life.onStop("event feed", partLimit, func(context.Context) error { a.feed.Close(); return nil })
		a.startBounces()
		a.audit.Start()
		a.life.onStop("audit", partLimit, a.audit.Stop)
		a.startLive()
		a.startHTTP()
		a.drainLive()
	}
	a.log.Info("started", "http", a.Addr())
	return nil
}

// process is what this one tells of itself.
func (a *App) process() roster.Process {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	p := roster.Process{Name: a.name, Role: a.role.Name, Host: host, PID: os.Getpid(), Version: Version(), Started: time.Now()}
	if a.role.Worker {
		var queues []string
		for _, q := range a.cfg.Broker.Queues {
			queues = append(queues, fmt.Sprintf("%s %d", q.Name, q.Concurrency))
		}
		p.Queues = strings.Join(queues, ", ")
	}
	return p
}

// Fault delivers the error of a part that ended by itself: the process has to
// be stopped.
func (a *App) Fault() <-chan error { return a.fault }

// Stop ends the parts in the opposite order of their start: new work first,
// then running jobs, which finish or are given back, the connections last. It
// is bounded by the budgets of the settings, and sooner by ctx. Later calls
// return what the first did.
func (a *App) Stop(ctx context.Context) error {
	a.stopOnce.Do(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.stopped = true
		a.health.Drain()
		a.stopErr = a.life.stop(ctx)
	})
	return a.stopErr
}
