package dashboard

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/postrider/postrider/internal/broker"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/tasks"
)

func TestMask(t *testing.T) {
	for text, want := range map[string]string{
		"user@example.com":                         "u***@example.com",
		"to Ann <ann.smith+x@example.com>, b@c.d":  "to Ann <a***@example.com>, b***@c.d",
		`550 "odd name"@example.com unknown`:       `550 "***@example.com unknown`,
		"https://x.example/?to=user%40example.com": "https:/***@example.com",
		"bounce-ann=example.org@relay.example":     "b***@relay.example",
		"ünï@bücher.example":                       "ü***@bücher.example",
		"user:ann@example.com":                     "user:a***@example.com",
		"no address @ all":                         "no address @ all",
		"":                                         "",
	} {
		if got := mask(text); got != want {
			t.Errorf("%q is masked as %q, want %q", text, got, want)
		}
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 1500 * time.Microsecond: "1 ms", 59*time.Second + 900*time.Millisecond: "59 s",
		-90 * time.Second: "1 min 30 s", 3*time.Hour + 5*time.Minute: "3 h 5 min", 50 * time.Hour: "2 d 2 h",
	} {
		if got := span(d); got != want {
			t.Errorf("%v reads %q, want %q", d, got, want)
		}
	}
}

func TestOverview(t *testing.T) {
	r := newRig(t)
	r.times.entries = []schedule.Entry{
		{Definition: schedule.Definition{Name: "log:heartbeat", Type: "log:heartbeat", Cron: "* * * * *", TimeZone: "UTC"},
			LastAt: time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC), LastJob: job.NewID(), NextAt: time.Date(2026, 7, 1, 9, 1, 0, 0, time.UTC)},
		{Definition: schedule.Definition{Name: "resting", Type: "noop", Cron: "@daily", TimeZone: "Europe/Berlin"}, Paused: true},
	}
	c, bob := r.as("ann"), r.as("bob")
	failed := r.accept(mailTo("failed@example.com", 0))
	r.run(failed, job.PermanentFailure("550 5.1.1 <failed@example.com> unknown"))
	running := r.accept(mailTo("running@example.com", 0))
	r.claim(running)
	r.accept(mailTo("waiting@example.com", time.Hour))

	page := c.get("/admin").want(t, http.StatusOK,
		"No worker is running", "550 5.1.1 &lt;failed@example.com&gt; unknown", "/admin/jobs/"+string(failed.ID),
		"running@example.com", "worker-1", "/admin/queues/queues/email",
		"log:heartbeat", "2026-07-01 09:01:00", "resting", "Europe/Berlin", "never", "paused")
	if policy := page.header.Get("Content-Security-Policy"); strings.Contains(policy, "unsafe") || !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("the policy is %s", policy)
	}
	bob.get("/admin").want(t, http.StatusOK, "f***@example.com", "r***@example.com").lacks(t, "failed@", "running@")
	c.get("/admin/").want(t, http.StatusOK)
}

// TestNamesAreMaskedToo holds that an address stays hidden from viewers where
// it is part of a name: a schedule may be called after its recipient.
func TestNamesAreMaskedToo(t *testing.T) {
	r := newRig(t)
	const name = "reminder:user@example.com"
	r.times.entries = []schedule.Entry{{Definition: schedule.Definition{Name: name, Cron: "* * * * *", TimeZone: "UTC"}}}
	got, err := r.jobs.Accept(t.Context(), job.Caller{Name: "schedule:" + name}, mailTo("user@example.com", time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	c, bob := r.as("ann"), r.as("bob")
	for _, path := range []string{"/admin", "/admin/jobs/" + string(got.Jobs[0].ID)} {
		c.get(path).want(t, http.StatusOK, name)
		bob.get(path).want(t, http.StatusOK, "u***@example.com").lacks(t, "user@")
	}
}

// handler is a job.Handler that acknowledges everything.
type handler struct{}

func (handler) Handle(context.Context, job.Task) job.Verdict { return job.Verdict{} }

func TestOverviewOfWorkers(t *testing.T) {
	r := newRig(t)
	server := broker.NewServer(broker.ServerOptions{
		Redis: r.rdb, Queues: broker.Queues{{Name: "email", Concurrency: 20}, {Name: "default", Concurrency: 3}},
		Types: r.types, Handler: handler{}, Log: testkit.Logger(t),
	})
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Error(err)
		}
	})
	// One process, though asynq has a server a queue, and each announces itself
	// in its own time.
	c := r.as("ann")
	var page reply
	testkit.WaitFor(t, patience, "the page shows both of the worker's servers", func() bool {
		page = c.get("/admin")
		return strings.Contains(page.body, "0 of 23")
	})
	page.want(t, http.StatusOK, fmt.Sprintf(":%d</td>", os.Getpid()), "default 3, email 20").lacks(t, "No worker")
	if n := strings.Count(page.body, `data-label="Since"`); n != 1 {
		t.Errorf("%d workers are shown", n)
	}
}

func TestOverviewOfHeldJobs(t *testing.T) {
	r := newRig(t)
	held := r.accept(mailTo("held@example.com", 0))
	for range 3 { // its third worker lost is one too many
		r.claim(held)
		r.store.Clock.Advance(time.Minute) // past its lease
	}
	got, err := r.store.Claim(t.Context(), job.Claim{ID: held.ID, Token: "token", Worker: "worker-1", Lease: time.Minute})
	if err != nil || got.Verdict == job.Granted {
		t.Fatalf("claiming: %v, %v", got.Verdict, err)
	}
	r.wantState(held.ID, job.Held)
	c := r.as("ann")
	c.get("/admin").want(t, http.StatusOK, "Held, waiting for a person", "held@example.com")

	path := "/admin/jobs/" + string(held.ID)
	c.get(path).want(t, http.StatusOK, "It has happened", "Run it again", "Cancel").lacks(t, "Retry")
	c.post(path+"/resolve", url.Values{"outcome": {"perhaps"}}).want(t, http.StatusUnprocessableEntity, "must be done, failed or retry")
	c.post(path+"/resolve", url.Values{"outcome": {"done"}}).want(t, http.StatusSeeOther)
	r.wantState(held.ID, job.Done)
	c.get(path).want(t, http.StatusOK, "resolved by a person", "dashboard:ann").lacks(t, "It has happened")
}

func TestOverviewWithoutTheDatabase(t *testing.T) {
	r := newRig(t)
	r.times.err = errors.New("away")
	c := r.as("ann")
	c.get("/admin").want(t, http.StatusOK, "email", "They cannot be listed")
	r.store.Fail("Now", job.Errorf(job.CodeTemporary, "away"))
	c.get("/admin").want(t, http.StatusOK, "email", "They cannot be listed", "What is running cannot be told")
	c.get("/admin/jobs").want(t, http.StatusServiceUnavailable, "away")
}

func TestJobsAreFound(t *testing.T) {
	r := newRig(t)
	c, bob := r.as("ann"), r.as("bob")
	mine := r.accept(mailTo("user@example.com", time.Hour))
	other := r.accept(mailTo("other@example.com", time.Hour))

	got := c.get("/admin/jobs?q=+"+string(mine.ID)+"+").want(t, http.StatusSeeOther)
	if at := got.header.Get("Location"); at != "/admin/jobs/"+string(mine.ID) {
		t.Errorf("sent to %s", at)
	}
	c.get("/admin/jobs?q=User@Example.COM").want(t, http.StatusOK, string(mine.ID), "user@example.com").lacks(t, string(other.ID))
	c.get("/admin/jobs?q=nobody@example.com").want(t, http.StatusOK, "There is no job for nobody@example.com.")
	c.get("/admin/jobs?state=scheduled").want(t, http.StatusOK, string(mine.ID), string(other.ID))
	c.get("/admin/jobs?state=done").want(t, http.StatusOK, "There is no job in the state done.")
	c.get("/admin/jobs?state=odd").want(t, http.StatusUnprocessableEntity, "state")
	c.get("/admin/jobs?before=odd").want(t, http.StatusUnprocessableEntity, "before")
	c.get("/admin/jobs?since=yesterday").want(t, http.StatusUnprocessableEntity, "since must be a time")
	c.get("/admin/jobs?recipient=user@example.com&type=email:send&queue=email&since=2020-01-01&until=2100-01-01T00:00").
		want(t, http.StatusOK, string(mine.ID), `value="email:send"`, `value="2020-01-01T00:00"`, "<option selected>email</option>").lacks(t, string(other.ID))
	c.get("/admin/jobs?schedule=nightly&category=news&until=2020-01-01").
		want(t, http.StatusOK, "There is no job of the category news, of the schedule nightly, accepted before 2020-01-01.")
	c.get("/admin/jobs?state=scheduled&type=email:send").want(t, http.StatusOK, `href="/admin/jobs?state=failed&amp;type=email%3Asend"`, string(mine.ID))
	bob.get("/admin/jobs?recipient=nobody@example.com").want(t, http.StatusOK, "There is no job for n***@example.com")
	bob.get("/admin/jobs?q=user@example.com").want(t, http.StatusOK, string(mine.ID), "u***@example.com")
	c.get("/admin/jobs/"+string(job.NewID())).want(t, http.StatusNotFound, "no job has the id")
	c.get("/admin/jobs/odd").want(t, http.StatusNotFound, "no job has the id")
	c.get("/admin/odd").want(t, http.StatusNotFound, "no such page")
}

func TestJobsArePaged(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	var oldest job.ID
	for i := range jobsPerPage + 1 {
		got, err := r.jobs.Accept(t.Context(), job.Caller{Name: "shop"}, job.Submission{Type: tasks.Noop.Name, Delay: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			oldest = got.Jobs[0].ID
		}
	}
	first := c.get("/admin/jobs?state=scheduled").want(t, http.StatusOK, "Older jobs").lacks(t, string(oldest))
	_, rest, _ := strings.Cut(first.body, `class="older" href="`)
	path, _, _ := strings.Cut(rest, `"`)
	c.get(strings.ReplaceAll(path, "&amp;", "&")).want(t, http.StatusOK, string(oldest)).lacks(t, "Older jobs")
}

func TestJobPage(t *testing.T) {
	r := newRig(t)
	c, bob := r.as("ann"), r.as("bob")
	task := r.accept(mailTo("user@example.com", 0))
	r.run(task, job.Outcome{Kind: job.OutcomeTemporary, Message: "451 4.7.1 <user@example.com> greylisted", ReplyCode: 451, After: time.Hour})
	path := "/admin/jobs/" + string(task.ID)
	c.get(path).want(t, http.StatusOK, "retrying", "user@example.com", "451 4.7.1", "reply 451", "1 of 12", "worker-1", "accepted", "settled",
		"Run now", "Cancel", "Welcome to the shop")
	bob.get(path).want(t, http.StatusOK, "retrying", "u***@example.com", "451 4.7.1").lacks(t, "user@", "Run now", "Cancel", "Welcome")

	for _, command := range []string{"cancel", "retry", "run", "resolve"} {
		bob.post(path+"/"+command, nil).want(t, http.StatusForbidden, "viewers may look and not act")
	}
	r.wantState(task.ID, job.Waiting)

	c.post(path+"/run", nil).want(t, http.StatusSeeOther)
	c.post(path+"/cancel", nil).want(t, http.StatusSeeOther)
	r.wantState(task.ID, job.Cancelled)
	c.get(path).want(t, http.StatusOK, "Retry", "cancelled", "dashboard:ann")
	c.post(path+"/run", nil).want(t, http.StatusConflict, "only a waiting one can be run now", "History")
	c.post(path+"/retry", nil).want(t, http.StatusSeeOther)
	r.wantState(task.ID, job.Waiting)
	c.post(path+"/explode", nil).want(t, http.StatusNotFound)
	c.get(path+"/cancel").want(t, http.StatusNotFound)
}

func TestEphemeralJobPage(t *testing.T) {
	r := newRig(t)
	task := r.accept(ephemeral(time.Hour))
	path := "/admin/jobs/" + string(task.ID)
	r.as("ann").get(path).want(t, http.StatusOK, "Ephemeral jobs have none", "secret of user@example.com").lacks(t, "Run now")
	r.as("bob").get(path).want(t, http.StatusOK, "Ephemeral").lacks(t, "secret")
	r.as("ann").post(path+"/cancel", nil).want(t, http.StatusSeeOther)
	if r.task(task.Queue, task.TaskID()) != nil {
		t.Error("the task is still there")
	}
}

func TestPagesEscape(t *testing.T) {
	r := newRig(t)
	task := r.accept(mailTo("user@example.com", 0))
	r.run(task, job.PermanentFailure(`550 <script>alert("x")</script>`))
	for _, path := range []string{"/admin", "/admin/jobs", "/admin/jobs/" + string(task.ID), "/admin/jobs?q=" + url.QueryEscape(`"><script>alert(1)</script>`)} {
		r.as("ann").get(path).want(t, http.StatusOK).lacks(t, "<script>alert")
	}
}

func TestAssets(t *testing.T) {
	r := newRig(t)
	c := r.anonymous() // the login page needs them
	for file, kind := range map[string]string{"app.css": "text/css; charset=utf-8", "app.js": "text/javascript; charset=utf-8", "icon.svg": "image/svg+xml"} {
		if got := c.get("/admin/assets/"+file).want(t, http.StatusOK); got.header.Get("Content-Type") != kind {
			t.Errorf("%s is served as %s", file, got.header.Get("Content-Type"))
		}
	}
	c.get("/admin/assets/overview.html").want(t, http.StatusNotFound)
	c.get("/admin/assets/..%2fguard.go").want(t, http.StatusNotFound)
}
