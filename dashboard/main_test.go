package dashboard

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/audit"
	"github.com/postrider/postrider/internal/audit/audittest"
	"github.com/postrider/postrider/internal/auth"
	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/delivery"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/job/jobtest"
	"github.com/postrider/postrider/internal/limit"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/mail/template"
	"github.com/postrider/postrider/internal/numbers"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/socketio"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what must happen soon; a test that works never waits for it.
const patience = 30 * time.Second

const password = "correct horse"

// passwordHash is made once: bcrypt takes a second under the race detector.
var passwordHash = sync.OnceValue(func() string {
	h, err := bcrypt.GenerateFromPassword([]byte(password), 10)
	if err != nil {
		panic(err)
	}
	return string(h)
})

// rig is a Dashboard on a Redis of its own and a store in memory, served.
type rig struct {
	*Dashboard
	t      testing.TB
	store  *jobtest.Memory
	types  *tasks.Catalogue
	jobs   *job.Service
	rdb    redis.UniversalClient
	redis  *testkit.RedisServer
	log    *testkit.Log
	times  *timetable
	alerts *alerting
	url    string
}

// timetable is a Schedules that lists.
type timetable struct {
	Schedules
	entries []schedule.Entry
	err     error
}

func (s *timetable) List(context.Context) ([]schedule.Entry, error) { return s.entries, s.err }

func (s *timetable) Latest(context.Context) (map[string]schedule.Run, error) { return nil, s.err }

// alerting is an Alerts.
type alerting struct{ all []alert.Alert }

func (a *alerting) Alerts(context.Context) ([]alert.Alert, error) { return a.all, nil }

// noDeliveries is Deliveries without mails and objectives.
type noDeliveries struct{ Deliveries }

func (noDeliveries) Burns(context.Context) ([]delivery.Burn, error) { return nil, nil }

// noEvents is a numbers.Log of a fleet in which nothing happens.
type noEvents struct{}

func (noEvents) EventsEnd(context.Context) (seq, mark int64, err error) { return 0, 0, nil }

func (noEvents) Tally(context.Context, int64, numbers.Second, numbers.Second) (numbers.Tally, error) {
	return numbers.Tally{Now: time.Now()}, nil
}

// newRig has the users ann, an admin, and bob, a viewer.
func newRig(t testing.TB, change ...func(*Options)) *rig {
	t.Helper()
	server := testkit.Redis(t)
	r := newRigAt(t, server.URL(), change...)
	r.redis = server
	return r
}

func newRigAt(t testing.TB, redisURL string, change ...func(*Options)) *rig {
	t.Helper()
	queues := broker.Queues{{Name: "email", Concurrency: 2}, {Name: "default", Concurrency: 2}}
	rdb, err := broker.Connect(broker.Config{RedisURL: redisURL, Queues: queues})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = rdb.Close() })
	log, lines := testkit.CaptureLog(t)
	types, err := tasks.NewCatalogue(tasks.Builtin()...)
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: jobtest.NewMemory(), types: types, rdb: rdb, log: lines, times: &timetable{}, alerts: &alerting{}}
	r.jobs = job.NewService(job.Options{
		Store: r.store, Types: types, Queues: queues.Names(), Log: log, Metrics: prometheus.NewRegistry(),
		Dispatcher: broker.NewClient(broker.Options{
			Redis: rdb, Queues: queues, Types: types, Margin: 15 * time.Second, Log: log,
		}),
	})
	r.jobs.Start()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.jobs.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	templates, err := template.NewLibrary(template.Options{Log: log, Metrics: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	told, err := numbers.New(numbers.Options{
		Engine: broker.NewCensus(rdb, queues.Names()), Log: noEvents{}, Logger: log, Metrics: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{
		Jobs: r.jobs, Types: types, Schedules: r.times, Deliveries: noDeliveries{}, Redis: rdb, Queues: queues.Names(), Limiter: limit.New(rdb, log),
		Templates: templates, Categories: mail.Categories{Names: []string{"receipt"}}, MailFrom: "Example <hello@example.com>",
		Numbers: told, Keys: auth.NewKeys(auth.Config{}), OwnPage: socketio.SameHost,
		LoggedOut: func(context.Context, string) error { return nil },
		Audit:     audit.New(&audittest.Memory{}, log),
		Alerts:    r.alerts,
		Log:       log, Clock: time.Now,
	}
	if err := o.Users.UnmarshalText([]byte("ann:" + passwordHash() + ":admin,bob:" + passwordHash() + ":viewer")); err != nil {
		t.Fatal(err)
	}
	for _, f := range change {
		f(&o)
	}
	if r.Dashboard, err = New(o); err != nil {
		t.Fatal(err)
	}
	sockets := socketio.New(socketio.Config{Logger: log, Admit: func(req *http.Request) (any, error) { return r.Recognise(req), nil }})
	r.Serve(sockets.Namespace(LiveNamespace))
	mux := http.NewServeMux()
	mux.Handle(LiveRoot, sockets)
	mux.Handle("/", r.Handler())
	web := httptest.NewServer(mux)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := sockets.Shutdown(ctx); err != nil {
			t.Error(err)
		}
		web.Close()
	})
	r.url = web.URL
	return r
}

// noUsers opens the dashboard.
func noUsers(o *Options) { o.Users, o.Open = nil, true }

// accept takes a job durably and waits until its task is in Redis.
func (r *rig) accept(sub job.Submission) job.Task {
	r.t.Helper()
	got, err := r.jobs.Accept(r.t.Context(), job.Caller{Name: "shop"}, sub)
	if err != nil {
		r.t.Fatal(err)
	}
	j := r.find(got.Jobs[0].ID)
	task := j.Task()
	if j.Ephemeral {
		task.Dispatch = 0
	}
	r.waitTask(task)
	return task
}

// mailTo is a mail to a recipient; with a delay it waits in Redis untouched.
func mailTo(to string, delay time.Duration) job.Submission {
	return job.Submission{
		Type: "email:send", Delay: delay,
		Payload: []byte(`{"to":["` + to + `"],"subject":"Welcome to the shop","text":"Hello."}`),
	}
}

func (r *rig) find(id job.ID) job.Job {
	r.t.Helper()
	j, err := r.jobs.Find(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return j
}

// run claims the task's job and settles its run with an outcome.
func (r *rig) run(task job.Task, o job.Outcome) job.Job {
	r.t.Helper()
	j := r.claim(task)
	if _, err := r.store.Settle(r.t.Context(), job.Plan(&j, tasks.DefaultBackoff, o)); err != nil {
		r.t.Fatal(err)
	}
	return r.find(task.ID)
}

func (r *rig) claim(task job.Task) job.Job {
	r.t.Helper()
	got, err := r.store.Claim(r.t.Context(), job.Claim{ID: task.ID, Token: string(job.NewID()), Worker: "worker-1", Lease: 30 * time.Second})
	if err != nil || got.Verdict != job.Granted {
		r.t.Fatalf("claiming: %v, %v", got.Verdict, err)
	}
	return got.Job
}

// task is what Redis has of a task, nil for nothing.
func (r *rig) task(queue, taskID string) *asynq.TaskInfo {
	r.t.Helper()
	info, err := asynq.NewInspectorFromRedisClient(r.rdb).GetTaskInfo(queue, taskID)
	if errors.Is(err, asynq.ErrTaskNotFound) || errors.Is(err, asynq.ErrQueueNotFound) {
		return nil
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return info
}

func (r *rig) waitTask(task job.Task) {
	r.t.Helper()
	testkit.WaitFor(r.t, patience, "the task is in Redis", func() bool { return r.task(task.Queue, task.TaskID()) != nil })
}

func (r *rig) wantState(id job.ID, want job.State) job.Job {
	r.t.Helper()
	j := r.find(id)
	if j.State != want {
		r.t.Fatalf("the job is %s, want %s", j.State, want)
	}
	return j
}

// wantSent waits until a waiting job's last dispatch is in Redis.
func (r *rig) wantSent(id job.ID) {
	r.t.Helper()
	j := r.wantState(id, job.Waiting)
	r.waitTask(j.Task())
}

// lastEvent is the newest line of a job's history.
func (r *rig) lastEvent(id job.ID) job.Event {
	r.t.Helper()
	events, err := r.jobs.Events(r.t.Context(), id)
	if err != nil || len(events) == 0 {
		r.t.Fatalf("%d events: %v", len(events), err)
	}
	return events[len(events)-1]
}

// client is a browser's place: it keeps cookies and follows no redirects.
type client struct {
	*http.Client
	r *rig
}

func (r *rig) anonymous() *client {
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	transport := &http.Transport{}
	r.t.Cleanup(transport.CloseIdleConnections)
	return &client{r: r, Client: &http.Client{
		Jar: jar, Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// as is a client with a session; logging in is tested on its own.
func (r *rig) as(name string) *client {
	r.t.Helper()
	c := r.anonymous()
	at, err := url.Parse(r.url + root)
	if err != nil {
		r.t.Fatal(err)
	}
	c.Jar.SetCookies(at, []*http.Cookie{{Name: sessionCookie, Value: r.session(name), Path: root}})
	return c
}

// session is a user's who has logged in.
func (r *rig) session(name string) string {
	r.t.Helper()
	token := r.user(name).Session(time.Now())
	if err := r.sessions.begin(r.t.Context(), token); err != nil {
		r.t.Fatal(err)
	}
	return token
}

func (r *rig) user(name string) auth.User {
	r.t.Helper()
	for _, u := range r.Users {
		if u.Name == name {
			return u
		}
	}
	r.t.Fatalf("there is no user %s", name)
	return auth.User{}
}

// reply is an answer, read.
type reply struct {
	status int
	header http.Header
	body   string
}

func (c *client) do(method, path, contentType, body string, change ...func(*http.Request)) reply {
	c.r.t.Helper()
	req, err := http.NewRequestWithContext(c.r.t.Context(), method, c.r.url+path, strings.NewReader(body))
	if err != nil {
		c.r.t.Fatal(err)
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	for _, f := range change {
		f(req)
	}
	resp, err := c.Do(req)
	if err != nil {
		c.r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.r.t.Fatal(err)
	}
	return reply{resp.StatusCode, resp.Header, string(text)}
}

func (c *client) get(path string, change ...func(*http.Request)) reply {
	c.r.t.Helper()
	return c.do(http.MethodGet, path, "", "", change...)
}

func (c *client) post(path string, form url.Values, change ...func(*http.Request)) reply {
	c.r.t.Helper()
	return c.do(http.MethodPost, path, "application/x-www-form-urlencoded", form.Encode(), change...)
}

// api speaks as asynqmon's pages do.
func (c *client) api(method, path, body string, change ...func(*http.Request)) reply {
	c.r.t.Helper()
	return c.do(method, queueRoot+"/api/"+path, "application/json", body, change...)
}

func (p reply) want(t testing.TB, status int, parts ...string) reply {
	t.Helper()
	if p.status != status {
		t.Fatalf("status %d, want %d: %s", p.status, status, p.body)
	}
	for _, part := range parts {
		if !strings.Contains(p.body, part) {
			t.Errorf("the answer lacks %q:\n%s", part, p.body)
		}
	}
	return p
}

func (p reply) lacks(t testing.TB, parts ...string) reply {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(p.body, part) {
			t.Errorf("the answer holds %q:\n%s", part, p.body)
		}
	}
	return p
}
