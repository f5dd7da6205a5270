package httpapi

import (
	"context"
	"encoding/binary"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/propagation"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/telemetry"
)

// exchange is what is told of one request: log and problems name it.
type exchange struct {
	id    string    // the request's
	who   string    // name of the API key, once it is known
	addr  string    // that it comes from, once who is known
	began time.Time // when its header had been read
	span  telemetry.Span

	budgets []budget    // that the client is told of
	head    http.Header // of the answer; nil until there is a budget
}

type exchangeKey struct{}

// exchangeOf returns the context's exchange, or an empty one.
func exchangeOf(ctx context.Context) *exchange {
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		return x
	}
	return &exchange{}
}

// requestIDForm bounds an id that comes from outside and goes into our log.
var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// newRequestID makes a random UUID (RFC 9562 section 5.4). It is no secret, so
// it need not come from the kernel.
func newRequestID() string {
	var id uuid.UUID
	binary.NativeEndian.PutUint64(id[:8], rand.Uint64())
	binary.NativeEndian.PutUint64(id[8:], rand.Uint64())
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id.String()
}

// observer writes the access log and counts.
type observer struct {
	log      *slog.Logger
	tracer   *telemetry.Tracer
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newObserver(log *slog.Logger, tracer *telemetry.Tracer, reg prometheus.Registerer) *observer {
	o := &observer{
		log: log, tracer: tracer,
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "postrider_http_requests_total", Help: "HTTP requests by method, route and status.",
		}, []string{"method", "route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "postrider_http_request_seconds", Help: "Time from a request's header to the end of its answer, by route.",
			Buckets: prometheus.ExponentialBuckets(0.001, 2.5, 12),
		}, []string{"route"}),
	}
	reg.MustRegister(o.requests, o.seconds)
	return o
}

// observe names each request, and logs and counts it when it is over. Neither
// knows bodies, query values or recipients: a route is told as its pattern.
func (o *observer) observe(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{id: r.Header.Get("X-Request-Id"), began: time.Now()}
		if !requestIDForm.MatchString(x.id) {
			x.id = newRequestID()
		}
		w.Header().Set("X-Request-Id", x.id)
		ctx := context.WithValue(r.Context(), exchangeKey{}, x)
		if traced(r) {
			ctx, x.span = o.tracer.Serve(ctx, propagation.HeaderCarrier(r.Header))
			defer x.span.End()
		}
		r = r.WithContext(ctx)
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		defer func() { o.done(r, ww, x) }()
		next.ServeHTTP(ww, r)
	})
}

func (o *observer) done(r *http.Request, w middleware.WrapResponseWriter, x *exchange) {
	took := time.Since(x.began)
	status := w.Status()
	if status == 0 {
		status = http.StatusOK // what net/http sends when a handler says nothing
	}
	route := routeOf(r)
	o.requests.WithLabelValues(methodOf(r), route, strconv.Itoa(status)).Inc()
	o.seconds.WithLabelValues(route).Observe(took.Seconds())

	if x.span.Recorded() {
		x.span.Name(methodOf(r) + " " + route)
		x.span.Set("http.request.method", methodOf(r))
		x.span.Set("http.route", route)
		x.span.SetInt("http.response.status_code", status)
		x.span.Set("postrider.request_id", x.id)
		if status >= http.StatusInternalServerError {
			x.span.Fail(strconv.Itoa(status))
		}
	}
	level := slog.LevelInfo
	if slices.Contains([]string{"/healthz", "/readyz", "/metrics", "/socket.io/*", "/admin/socket.io/*"}, route) {
		level = slog.LevelDebug // they come every few seconds, from each client that polls
	}
	if !o.log.Enabled(r.Context(), level) {
		return
	}
	attrs := []slog.Attr{
		slog.String("method", methodOf(r)), slog.String("route", route), slog.Int("status", status),
		slog.Int("bytes", w.BytesWritten()), slog.Duration("duration", took), slog.String("request_id", x.id),
	}
	if id := x.span.TraceID(); id != "" {
		attrs = append(attrs, slog.String("trace", id))
	}
	if x.who != "" {
		attrs = append(attrs, slog.String("key", x.who))
	}
	if o.log.Enabled(r.Context(), slog.LevelDebug) {
		attrs = append(attrs, slog.String("client", limit.ClientAddr(r)))
	}
	o.log.LogAttrs(r.Context(), level, "request", attrs...)
}

// traced leaves out what comes every few seconds, and connections that stay.
func traced(r *http.Request) bool {
	switch r.URL.Path {
	case "/healthz", "/readyz", "/metrics", "/events":
		return false
	}
	return !strings.HasPrefix(r.URL.Path, "/socket.io/") && !strings.HasPrefix(r.URL.Path, "/admin")
}

// routeOf is the pattern that the request matched: a bounded label.
func routeOf(r *http.Request) string {
	if pattern := chi.RouteContext(r.Context()).RoutePattern(); pattern != "" {
		return pattern
	}
	return "none"
}

// methodOf is the request's method, or OTHER for one that someone made up.
func methodOf(r *http.Request) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return r.Method
	}
	return "OTHER"
}

// survivePanics turns a panic into a 500, or cuts the connection when the
// answer had begun.
func (o *observer) survivePanics(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if p == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so too
				panic(p)
			}
			x := exchangeOf(r.Context())
			o.log.Error("a handler panicked", "panic", p, "route", routeOf(r), "request_id", x.id, "stack", string(debug.Stack()))
			if ww, ok := w.(middleware.WrapResponseWriter); ok && ww.Status() != 0 {
				panic(http.ErrAbortHandler)
			}
			problemOf(job.Errorf(job.CodeInternal, "")).write(w, r)
		}()
		next.ServeHTTP(w, r)
	})
}
