// Package httpapi serves the API: routes, limits, and the translation of the
// domain's error codes to HTTP statuses. Errors are RFC 9457 problems; the
// OpenAPI 3.1 document at /openapi.json is made of the same declarations that
// requests are checked against.
package httpapi

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"
	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/cors"

	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/cache"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/attach"
	"github.com/postrider/postrider/internal/mail/feedback"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/telemetry"
	"github.com/postrider/postrider/tasks"
)

// Options are what the API is made of; all but Mounts and MayEnter are needed.
type Options struct {
	Jobs        *job.Service
	Schedules   Schedules   // a *schedule.Service
	Preferences Preferences // a *recipient.Service
	Inbox       *inbox.Service
	Chats       Chats // a *chat.Service
	Files       *attach.Keeper
	Deliveries  *delivery.Service
	Audit       *audit.Log       // of what callers do; started by its owner
	Alerts      Alerts           // a store.Alerts
	Feed        *job.Feed        // that is started
	Types       *tasks.Catalogue // that Jobs accepts
	Templates   *template.Library
	MailFrom    string // the sender that previews of templates show
	Categories  mail.Categories
	// Suppressions is the list of who gets no mail.
	Suppressions mail.Suppressions
	// Feedback knows providers' webhooks.
	Feedback *feedback.Receiver
	Live     Live // a *live.Publisher
	// MayEnter tells whether a user may be in a room; the rooms that the token
	// lists are all there are when nil.
	MayEnter func(ctx context.Context, who auth.Identity, room string) (bool, error)
	Cache    *cache.Store // that is started, and told of what changes inboxes
	Keys     *auth.Keys
	MadeKeys MadeKeys       // that Keys knows too
	Tokens   *auth.Tokens   // of users, started; nil takes none
	Limiter  *limit.Limiter // whose metrics the caller registers
	Rates    limit.Config
	Config   Config
	Tracer   *telemetry.Tracer // nil makes no traces
	Log      *slog.Logger
	Metrics  prometheus.Registerer
	// Mounts are further handlers by chi pattern: "/healthz", "/dev/mail/*".
	// They see the whole path, are logged and counted as the API is, and guard
	// themselves; only the Host header of an open API is checked for them.
	Mounts map[string]http.Handler
}

// api is what the routes share.
type api struct {
	jobs         *job.Service
	schedules    Schedules
	files        *attach.Keeper
	preferences  Preferences
	inbox        *inbox.Service
	chats        Chats
	deliveries   *delivery.Service
	audit        *audit.Log
	alerts       Alerts
	madeKeys     MadeKeys
	feed         *job.Feed
	types        *tasks.Catalogue
	templates    *template.Library
	mailFrom     string
	categories   mail.Categories
	suppressions mail.Suppressions
	feedback     *feedback.Receiver
	callers      auth.Callers
	live         Live
	mayEnter     func(ctx context.Context, who auth.Identity, room string) (bool, error)
	cache        *cache.Store
	inboxAnswers *cache.Cache[string] // JSON
	limiter      *limit.Limiter
	rates        limit.Config
	log          *slog.Logger

	huma             huma.API
	jobBody          decoder[jobRequest]
	resolveBody      decoder[resolveRequest]
	retryBody        decoder[retryRequest]
	cancelBody       decoder[cancelManyRequest]
	scheduleBody     decoder[scheduleRequest]
	suppressBody     decoder[suppressRequest]
	preferencesBody  decoder[preferencesRequest]
	notificationBody decoder[postNotificationRequest]
	previewBody      decoder[previewRequest]
	messageBody      decoder[messageRequest]
	keyBody          decoder[keyRequest]
}

// inboxCache keeps the first pages and the counts of inboxes. Whatever changes
// them drops them; Fresh is for what goes unnoticed: a process that is killed
// between its commit and its word, and notifications that grow too old.
var inboxCache = cache.Options{Name: "inbox", Fresh: 30 * time.Second, Bytes: 32 << 20}

// New makes the handler of the whole API. It registers its metrics and errs
// when they are taken or a mount's pattern is not one.
func New(o Options) (_ http.Handler, err error) {
	// chi and huma panic at declarations that cannot be; the mounts come from
	// outside, so that is an error here.
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("building the routes: %v", p)
		}
	}()
	log := o.Log.With("component", "http")
	a := &api{
		jobs: o.Jobs, feed: o.Feed, schedules: o.Schedules, deliveries: o.Deliveries, audit: o.Audit, alerts: o.Alerts, madeKeys: o.MadeKeys, types: o.Types,
		templates: o.Templates, mailFrom: o.MailFrom, categories: o.Categories, files: o.Files,
		suppressions: o.Suppressions, preferences: o.Preferences, inbox: o.Inbox, chats: o.Chats, feedback: o.Feedback, live: o.Live, mayEnter: o.MayEnter,
		cache:   o.Cache,
		callers: auth.Callers{Keys: o.Keys, Tokens: o.Tokens}, limiter: o.Limiter, rates: o.Rates, log: log,
	}
	if a.mayEnter == nil {
		a.mayEnter = func(_ context.Context, who auth.Identity, room string) (bool, error) {
			return slices.Contains(who.Rooms, room), nil
		}
	}
	if a.inboxAnswers, err = cache.New[string](o.Cache, inboxCache); err != nil {
		return nil, err
	}
	seen := newObserver(log, o.Tracer, o.Metrics)

	r := chi.NewRouter()
	r.Use(clientAddress(o.Config.TrustedProxies), seen.observe, seen.survivePanics)
	if o.Keys.Open() {
		r.Use(OnlyLocalHost(o.Config.PublicURL))
	}
	if len(o.Config.CORSOrigins) > 0 {
		r.Use(cors.New(corsOptions(o.Config.CORSOrigins)).Handler)
	}
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		newProblem(http.StatusNotFound, job.CodeNotFound, "there is nothing under this path").write(w, r)
	})
	r.MethodNotAllowed(func(w http.ResponseWriter, req *http.Request) {
		p := newProblem(http.StatusMethodNotAllowed, job.CodeInvalid, "this path does not know the method "+methodOf(req))
		p.header.Set("Allow", allowed(r, req.URL.Path)) // RFC 9110 section 15.5.6
		p.write(w, req)
	})
	for pattern, handler := range o.Mounts {
		r.Handle(pattern, handler)
	}

	a.huma = humachi.New(r, humaConfig(o.Config.PublicURL))
	if o.Keys.Open() {
		guard, err := a.ownOriginOnly(o.Config.CORSOrigins)
		if err != nil {
			return nil, err
		}
		a.huma.UseMiddleware(guard)
	}
	a.huma.UseMiddleware(keepPrivate, a.limitAddress, a.authenticate, a.limitKey, a.authorize)
	a.jobBody = newDecoder[jobRequest](a.huma.OpenAPI().Components.Schemas)
	a.resolveBody = newDecoder[resolveRequest](a.huma.OpenAPI().Components.Schemas)
	a.retryBody = newDecoder[retryRequest](a.huma.OpenAPI().Components.Schemas)
	a.cancelBody = newDecoder[cancelManyRequest](a.huma.OpenAPI().Components.Schemas)
	a.scheduleBody = newDecoder[scheduleRequest](a.huma.OpenAPI().Components.Schemas)
	a.suppressBody = newDecoder[suppressRequest](a.huma.OpenAPI().Components.Schemas)
	a.preferencesBody = newDecoder[preferencesRequest](a.huma.OpenAPI().Components.Schemas)
	a.notificationBody = newDecoder[postNotificationRequest](a.huma.OpenAPI().Components.Schemas)
	a.previewBody = newDecoder[previewRequest](a.huma.OpenAPI().Components.Schemas)
	a.keyBody = newDecoder[keyRequest](a.huma.OpenAPI().Components.Schemas)
	a.messageBody = newDecoder[messageRequest](a.huma.OpenAPI().Components.Schemas)
	a.routes()
	a.templateRoutes()
	a.scheduleRoutes()
	a.suppressionRoutes()
	a.auditRoutes()
	a.alertRoute()
	a.keyRoutes()
	a.attachmentRoute()
	a.preferencesRoutes()
	a.liveRoutes()
	a.inboxRoutes()
	a.chatRoutes()
	a.feedbackRoutes(r)
	for _, unused := range []string{"ErrorModel", "ErrorDetail"} { // huma's, where we answer a Problem
		delete(a.huma.OpenAPI().Components.Schemas.Map(), unused)
	}
	document, err := a.huma.OpenAPI().MarshalJSON()
	if err != nil {
		return nil, fmt.Errorf("writing the OpenAPI document: %w", err)
	}
	r.Get("/openapi.json", func(w http.ResponseWriter, r *http.Request) {
		w.Header()["Cache-Control"] = keptByAll
		if unchanged(w, r, document) {
			return
		}
		w.Header().Set("Content-Type", "application/openapi+json")
		_, _ = w.Write(document)
	})
	return r, nil
}

// allowed lists the methods that a path knows.
func allowed(routes chi.Routes, path string) string {
	var out []string
	for _, m := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		if routes.Match(chi.NewRouteContext(), m, path) {
			out = append(out, m)
		}
	}
	return strings.Join(out, ", ")
}

// corsOptions lets pages of the origins use the API with a key in a header.
// There are no cookies, so credentials stay off.
func corsOptions(origins Origins) cors.Options {
	return cors.Options{
		AllowedOrigins: origins,
		AllowedMethods: []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete},
		AllowedHeaders: []string{"Authorization", "Content-Type", "Idempotency-Key", "If-Match", "If-None-Match", "Last-Event-ID", "X-API-Key", "X-Request-Id"},
		ExposedHeaders: []string{"ETag", "Idempotency-Replayed", "RateLimit", "RateLimit-Limit", "RateLimit-Policy", "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "X-Cache", "X-Request-Id"},
		MaxAge:         600,
	}
}
