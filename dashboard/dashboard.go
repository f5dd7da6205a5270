// Package dashboard serves the operators' pages: asynqmon behind a login and
// our own pages beside it. Every action on a durable job goes through the
// domain's commands, so that what is done here is done in SQL first.
package dashboard

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/numbers"
	"github.com/postrider/postrider/internal/socketio"
	"github.com/postrider/postrider/tasks"
)

// root is where the pages live; asynqmon's are below it.
const (
	root      = "/admin"
	queueRoot = root + "/queues"
)

//go:embed assets
var embedded embed.FS

// Jobs is what the pages need of the domain; *job.Service has it.
type Jobs interface {
	Find(ctx context.Context, id job.ID) (job.Job, error)
	Events(ctx context.Context, id job.ID) ([]job.Event, error)
	List(ctx context.Context, f job.Filter) ([]job.Job, error)
	Count(ctx context.Context, f job.Filter) (int, error)
	Now(ctx context.Context) (time.Time, error)

	Check(ctx context.Context, sub job.Submission, by string) (payload []byte, err error)
	Accept(ctx context.Context, who job.Caller, sub job.Submission) (job.Accepted, error)
	AcceptAll(ctx context.Context, who job.Caller, subs []job.Submission) (job.Accepted, error)
	CountMatching(ctx context.Context, act job.Bulk, f job.Filter) (int, []job.Job, error)
	ActOnMatching(ctx context.Context, act job.Bulk, f job.Filter, actor string) (job.BulkReport, error)

	Cancel(ctx context.Context, id job.ID, actor string) (job.Job, error)
	Retry(ctx context.Context, id job.ID, actor string) (job.Job, error)
	RunNow(ctx context.Context, id job.ID, actor string) (job.Job, error)
	Resolve(ctx context.Context, id job.ID, actor string, r job.Resolution) (job.Job, error)
}

// Alerts knows what is wrong with the fleet; a store.Alerts.
type Alerts interface {
	Alerts(ctx context.Context) ([]alert.Alert, error)
}

// Options are what a Dashboard is made of; all but Prometheus, Users, Open,
// Secure and TrustedProxies are needed.
type Options struct {
	Jobs       Jobs
	Types      *tasks.Catalogue
	Schedules  Schedules
	Deliveries Deliveries
	Audit      *audit.Log // started by its owner
	Alerts     Alerts
	// Suppressions is the list of who gets no mail.
	Suppressions mail.Suppressions
	Templates    *template.Library
	Categories   mail.Categories
	MailFrom     string                // the sender that previews show
	Redis        redis.UniversalClient // shared; it stays its owner's to close
	Queues       []string              // that workers serve
	Prometheus   *url.URL              // that scrapes the schedulers, for asynqmon's metrics page; nil for none
	Numbers      *numbers.Collector    // that is started after Serve
	Keys         *auth.Keys            // one of the scope admin may watch the live numbers
	MadeKeys     MadeKeys              // that Keys knows too
	Quotas       limit.Quotas          // of keys
	Limiter      *limit.Limiter        // of login attempts
	Users        auth.Users
	// Open makes everybody an admin without a login while there are no Users.
	// Requests must then name a loopback host.
	Open bool
	// Secure says that people come by HTTPS, whatever the connection to this
	// process is (POSTRIDER_PUBLIC_URL is https): cookies are then Secure.
	Secure bool
	// TrustedProxies are believed what they say in X-Forwarded-Proto.
	TrustedProxies []netip.Prefix
	// OwnPage tells whether a live connection is opened by one of our pages, or by
	// what is no browser.
	OwnPage func(*http.Request) bool
	// LoggedOut tells all processes of a session that its user has ended, by its
	// fingerprint, for EndSession.
	LoggedOut func(ctx context.Context, fingerprint string) error
	Log       *slog.Logger
	Clock     func() time.Time // for sessions
}

// Dashboard is the pages. It keeps nothing running and needs no closing.
type Dashboard struct {
	Options
	log     *slog.Logger
	sockets *socketio.Namespace // of the live numbers; nil before Serve
	handler http.Handler
	sights  moment[sight]
	hashing chan struct{} // a place in it is needed to check a password

	sessions *sessions
}

// New makes the pages. It errs when they would be open though Open does not
// say so, and when asynqmon's page is not what this package knows.
func New(o Options) (*Dashboard, error) {
	if len(o.Users) == 0 && !o.Open {
		return nil, errors.New("the dashboard needs POSTRIDER_DASHBOARD_USERS, unless it is served on loopback only")
	}
	d := &Dashboard{
		Options: o,
		log:     o.Log.With("component", "dashboard"),
		hashing: make(chan struct{}, 2), sessions: newSessions(o.Redis),
	}
	monitor, err := newMonitor(d)
	if err != nil {
		return nil, fmt.Errorf("preparing asynqmon: %w", err)
	}
	d.handler = d.guard(d.routes(monitor))
	return d, nil
}

// Handler serves everything below /admin. Mount it at /admin and /admin/*
// without stripping the prefix.
func (d *Dashboard) Handler() http.Handler { return d.handler }

func (d *Dashboard) routes(monitor http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+root+"/assets/{file}", serveAsset)
	mux.HandleFunc("GET "+root+"/login", d.loginPage)
	mux.HandleFunc("POST "+root+"/login", d.login)
	mux.HandleFunc("POST "+root+"/logout", d.logout)

	mux.Handle("GET "+root, d.known(d.overviewPage))
	mux.Handle("GET "+root+"/{$}", d.known(d.overviewPage))
	mux.Handle("GET "+deliveryRoot, d.known(d.deliveriesPage))
	mux.Handle("GET "+deliveryRoot+".csv", d.known(d.exportDeliveries))
	mux.Handle("GET "+deliveryRoot+"/{id}", d.known(d.deliveryPage))
	mux.Handle("POST "+deliveryRoot+"/{id}/{command}", d.known(d.deliveryCommand))
	mux.Handle("GET "+suppressionRoot, d.known(d.suppressionsPage))
	mux.Handle("GET "+suppressionRoot+".csv", d.known(d.exportSuppressions))
	mux.Handle("POST "+suppressionRoot+"/{command}", d.known(d.suppressionCommand))
	mux.Handle("GET "+root+"/jobs", d.known(d.jobsPage))
	mux.Handle("GET "+sendRoot, d.known(d.sendPage))
	mux.Handle("POST "+sendRoot, d.known(d.sendCommand))
	mux.Handle("POST "+sendRoot+"/html", d.known(d.mailFrame))
	mux.Handle("GET "+bulkRoot+"/{act}", d.known(d.bulkPage))
	mux.Handle("POST "+bulkRoot+"/{act}", d.known(d.bulkCommand))
	mux.Handle("GET "+root+"/jobs/{id}", d.known(d.jobPage))
	mux.Handle("POST "+root+"/jobs/{id}/{command}", d.known(d.command))
	mux.Handle("GET "+scheduleRoot, d.known(d.schedulesPage))
	mux.Handle("POST "+scheduleRoot, d.known(d.saveSchedule))
	// No schedule's name begins with a hyphen.
	mux.Handle("GET "+scheduleRoot+"/-new", d.known(d.newSchedulePage))
	mux.Handle("GET "+scheduleRoot+"/-preview", d.known(d.previewSchedule))
	mux.Handle("GET "+scheduleRoot+"/{name}", d.known(d.schedulePage))
	mux.Handle("GET "+scheduleRoot+"/{name}/edit", d.known(d.editSchedulePage))
	mux.Handle("POST "+scheduleRoot+"/{name}/save", d.known(d.saveSchedule))
	mux.Handle("POST "+scheduleRoot+"/{name}/{command}", d.known(d.scheduleCommand))
	mux.Handle("GET "+workerRoot, d.known(d.workersPage))
	mux.Handle("POST "+workerRoot+"/{id}/cancel", d.known(d.cancelRun))
	mux.Handle("GET "+keyRoot, d.known(d.keysPage))
	mux.Handle("POST "+keyRoot, d.known(d.createKey))
	mux.Handle("POST "+keyRoot+"/{name}/revoke", d.known(d.revokeKey))
	mux.Handle("GET "+auditRoot, d.known(d.auditPage))
	mux.Handle("GET "+auditRoot+".csv", d.known(d.exportAudit))
	mux.Handle(queueRoot, d.known(monitor.ServeHTTP))
	mux.Handle(queueRoot+"/", d.known(monitor.ServeHTTP))
	mux.Handle(root+"/", d.known(func(w http.ResponseWriter, r *http.Request) {
		d.refuse(w, r, job.Errorf(job.CodeNotFound, "there is no such page"))
	}))
	return mux
}

// assetTypes are the files that pages load; the others are templates.
var assetTypes = map[string]string{
	"app.css": "text/css; charset=utf-8", "charts.css": "text/css; charset=utf-8", "icon.svg": "image/svg+xml",
	"app.js": script, "socket.js": script, "charts.js": script, "overview.js": script, "schedule.js": script,
}

const script = "text/javascript; charset=utf-8"

func serveAsset(w http.ResponseWriter, r *http.Request) {
	file := r.PathValue("file")
	kind, known := assetTypes[file]
	if !known {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.Header().Set("Cache-Control", "private, max-age=300")
	http.ServeFileFS(w, r, embedded, "assets/"+file)
}
