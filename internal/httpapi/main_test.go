package httpapi

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/audit/audittest"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/cache"
	"github.com/postrider/postrider/internal/chat"
	"github.com/postrider/postrider/internal/chat/chattest"
	"github.com/postrider/postrider/internal/inbox"
	"github.com/postrider/postrider/internal/inbox/inboxtest"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/mail/template/templatetest"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is the API over a store in memory.
type service struct {
	http.Handler
	t       testing.TB
	store   *jobtest.Memory
	disp    *jobtest.Dispatcher
	feed    *job.Feed
	jobs    *job.Service
	log     *testkit.Log
	metrics *prometheus.Registry
}

// serve makes an open API without limits; change may make it another.
func serve(t testing.TB, change ...func(*Options)) *service {
	t.Helper()
	return serveAdmitting(t, nil, change...)
}

// serveAdmitting is serve with somebody else to ask about new jobs.
func serveAdmitting(t testing.TB, admissions map[string]job.Admission, change ...func(*Options)) *service {
	t.Helper()
	s := &service{t: t, store: jobtest.NewMemory(), disp: jobtest.NewDispatcher(), metrics: prometheus.NewPedanticRegistry()}
	logger := slog.New(slog.DiscardHandler)
	if _, fuzzing := t.(*testing.F); !fuzzing { // whose log must not be written from the fuzz target
		logger, s.log = testkit.CaptureLog(t)
	}
	types, err := tasks.NewCatalogue(tasks.Builtin()...)
	if err != nil {
		t.Fatal(err)
	}
	templates, err := template.NewLibrary(template.Options{Log: logger, Metrics: s.metrics})
	if err != nil {
		t.Fatal(err)
	}
	shelf, err := template.NewShelf(&templatetest.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	if admissions == nil {
		admissions = map[string]job.Admission{tasks.EmailSend.Name: template.NewPinner(templates, shelf, (*mail.Links)(nil))}
	}
	s.jobs = job.NewService(job.Options{
		Store: s.store, Dispatcher: s.disp, Types: types, Log: logger, Metrics: s.metrics, Admissions: admissions,
		Queues: []string{"email", "bulk", "notification", "default", "maintenance"},
	})
	s.jobs.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.jobs.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	s.feed = job.NewFeed(s.store, logger, s.metrics)
	s.feed.Start()
	t.Cleanup(s.feed.Close)
	rdb := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), ContextTimeoutEnabled: true})
	t.Cleanup(func() { _ = rdb.Close() })
	kept := cache.NewStore(cache.StoreOptions{Redis: rdb, Log: logger, Wait: 20 * time.Second})
	kept.Start()
	t.Cleanup(kept.Stop)
	s.metrics.MustRegister(kept)
	push, err := inbox.NewPusher(inbox.Nobody{}, kept, logger, s.metrics)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Templates: templates, MailFrom: "Shop <shop@example.com>", Categories: mail.Categories{Names: []string{"security"}},
		Inbox: inbox.NewService(inboxtest.NewMemory(time.Now), push), Cache: kept,
		Chats: chat.New(chat.Options{Redis: rdb, Archive: chattest.NewMemory(), Push: silent{}, Log: logger}),
		Live:  &revocations{},
		Audit: audit.New(&audittest.Memory{}, logger), Alerts: alerting{},
		Jobs: s.jobs, Feed: s.feed, Types: types, Keys: auth.NewKeys(auth.Config{}), Limiter: limit.New(rdb, logger),
		Log: logger, Metrics: s.metrics,
	}
	for _, f := range change {
		f(&o)
	}
	if s.Handler, err = New(o); err != nil {
		t.Fatal(err)
	}
	return s
}

// alerting is an Alerts.
type alerting []alert.Alert

func (a alerting) Alerts(context.Context) ([]alert.Alert, error) { return a, nil }

// withKeys closes the API.
func withKeys(t testing.TB) func(*Options) {
	var keys auth.APIKeys
	text := "writer:writer-secret-0000:jobs:write,reader:reader-secret-0000:jobs:read,boss:boss-secret-000000:admin,other:other-secret-00000:jobs:write+jobs:read,nobody:nobody-secret-0000:notifications"
	if err := keys.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	return func(o *Options) { o.Keys = auth.NewKeys(auth.Config{APIKeys: keys}) }
}

// answer is a response as a test looks at it.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	text   string
	json   map[string]any
}

// call sends a request with a JSON body, if any; header holds names and values
// in turn.
func (s *service) call(method, path, body string, header ...string) answer {
	s.t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return s.send(r)
}

func (s *service) send(r *http.Request) answer {
	s.t.Helper()
	if r.Host == "example.com" { // httptest's own, and foreign to an open API
		r.Host = "localhost:8080"
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	a := answer{t: s.t, status: w.Code, header: w.Header(), text: w.Body.String()}
	if ct := w.Header().Get("Content-Type"); strings.Contains(ct, "json") && ct != "application/x-ndjson" {
		if err := json.Unmarshal(w.Body.Bytes(), &a.json); err != nil {
			s.t.Fatalf("%s %s answered what is no JSON: %v\n%s", r.Method, r.URL, err, w.Body)
		}
	}
	return a
}

func (s *service) post(path, body string, header ...string) answer {
	s.t.Helper()
	return s.call(http.MethodPost, path, body, header...)
}

func (s *service) get(path string, header ...string) answer {
	s.t.Helper()
	return s.call(http.MethodGet, path, "", header...)
}

// want checks the status and returns the answer.
func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("the answer is %d, want %d: %s", a.status, status, a.text)
	}
	if status >= 400 {
		a.wantProblem()
	}
	return a
}

// wantProblem checks what every problem has.
func (a answer) wantProblem() {
	a.t.Helper()
	if ct := a.header.Get("Content-Type"); ct != "application/problem+json" {
		a.t.Errorf("an error has the content type %q", ct)
	}
	if a.json["status"] != float64(a.status) || a.json["title"] == "" || a.json["code"] == "" || a.json["type"] != "about:blank" {
		a.t.Errorf("the problem is not whole: %s", a.text)
	}
	if a.json["request_id"] != a.header.Get("X-Request-Id") || a.json["request_id"] == "" {
		a.t.Errorf("the problem does not name its request: %s", a.text)
	}
}

// str is a top-level field that must be a string.
func (a answer) str(name string) string {
	a.t.Helper()
	s, ok := a.json[name].(string)
	if !ok {
		a.t.Fatalf("no text %q in %s", name, a.text)
	}
	return s
}

// list is a top-level field that must be an array of objects.
func (a answer) list(name string) []map[string]any {
	a.t.Helper()
	raw, ok := a.json[name].([]any)
	if !ok {
		a.t.Fatalf("no array %q in %s", name, a.text)
	}
	out := make([]map[string]any, len(raw))
	for i := range raw {
		out[i] = raw[i].(map[string]any)
	}
	return out
}

// fields are the problem's bad fields with their messages.
func (a answer) fields() map[string]string {
	a.t.Helper()
	return fieldsOf(a.json)
}

func fieldsOf(problem map[string]any) map[string]string {
	out := map[string]string{}
	errs, _ := problem["errors"].([]any)
	for _, e := range errs {
		f := e.(map[string]any)
		out[f["field"].(string)] = f["message"].(string)
	}
	return out
}

// stored returns the job from the store.
func (s *service) stored(id string) job.Job {
	s.t.Helper()
	j, err := s.store.Find(context.Background(), job.ID(id))
	if err != nil {
		s.t.Fatal(err)
	}
	return j
}

// all lists the jobs of the store, newest first.
func (s *service) all() []job.Job {
	s.t.Helper()
	jobs, err := s.store.List(context.Background(), job.Filter{Limit: 1000})
	if err != nil {
		s.t.Fatal(err)
	}
	return jobs
}

// run lets a worker take the job and end it so.
func (s *service) run(id string, o job.Outcome) {
	s.t.Helper()
	ctx := context.Background()
	got, err := s.store.Claim(ctx, job.Claim{ID: job.ID(id), Token: "token-" + id, Worker: "w1", Lease: time.Minute})
	if err != nil || got.Verdict != job.Granted {
		s.t.Fatalf("claiming %s: %v %v", id, got.Verdict, err)
	}
	if o.Kind == "" {
		return
	}
	if _, err := s.store.Settle(ctx, job.Plan(&got.Job, tasks.DefaultBackoff, o)); err != nil {
		s.t.Fatal(err)
	}
}

// awaitFollowers waits until so many follow the events.
func (s *service) awaitFollowers(n float64) {
	s.t.Helper()
	testkit.WaitFor(s.t, 30*time.Second, "followers", func() bool {
		families, err := s.metrics.Gather()
		if err != nil {
			s.t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "postrider_event_followers" {
				return f.Metric[0].GetGauge().GetValue() == n
			}
		}
		return false
	})
}
