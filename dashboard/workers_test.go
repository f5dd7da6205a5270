package dashboard

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/roster"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/testkit/browser"
)

// member puts a process on the list.
func (r *rig) member(p roster.Process) {
	r.t.Helper()
	m, err := roster.NewMember(r.rdb, p, testkit.Logger(r.t))
	if err != nil {
		r.t.Fatal(err)
	}
	m.Start()
	r.t.Cleanup(func() {
		if err := m.Stop(context.Background()); err != nil {
			r.t.Error(err)
		}
	})
	testkit.WaitFor(r.t, patience, "the process is on the list", func() bool {
		all, err := roster.List(r.t.Context(), r.rdb)
		for _, one := range all {
			if one.Name == p.Name {
				return true
			}
		}
		return err != nil
	})
	r.sights.forget()
}

// silent puts one on the list that has said nothing for long.
func (r *rig) silent(name string) {
	r.t.Helper()
	ctx := r.t.Context()
	r.rdb.SAdd(ctx, "postrider:roster", name)
	if err := r.rdb.Set(ctx, "postrider:roster:"+name, `{"role":"worker","host":"b","pid":7,"version":"v1.2.3","queues":"email 2"}`, 40*time.Second).Err(); err != nil {
		r.t.Fatal(err)
	}
	r.sights.forget()
}

func TestWorkers(t *testing.T) {
	r := newRig(t)
	ann, bob := r.as("ann"), r.as("bob")
	ann.get(workerRoot).want(t, http.StatusOK, "No worker is running", "None.")
	r.member(roster.Process{Name: "host-a-1", Role: "api", Host: "a", PID: 1, Version: "v1.2.3"})
	ann.get(workerRoot).want(t, http.StatusOK, "No worker is running", "host-a-1", ">api<", "v1.2.3", "alive")
	r.member(roster.Process{Name: "worker-1", Role: "worker", Host: "a", PID: 2, Version: "v1.2.3", Queues: "email 20, default 3", Started: time.Date(2026, 7, 1, 9, 0, 0, 0, time.UTC)})
	first, second := r.accept(mailTo("running@example.com", 0)), r.accept(mailTo("other@example.com", 0))
	r.claim(first)
	if got, err := r.store.Claim(t.Context(), job.Claim{ID: second.ID, Token: string(job.NewID()), Worker: "worker-gone", Lease: 30 * time.Second}); err != nil || got.Verdict != job.Granted {
		t.Fatalf("claiming: %v, %v", got.Verdict, err)
	}
	r.sights.forget()

	page := ann.get(workerRoot).want(t, http.StatusOK, "worker-1", "email 20, default 3", "2026-07-01 09:00:00", "/admin/jobs/"+string(first.ID), "1 of 12, run 1",
		" s left", "worker-gone", "silent", "/admin/workers/"+string(second.ID)+"/cancel").lacks(t, "No worker is running")
	if n := strings.Count(page.body, ">silent<"); n != 2 { // the process, and its job
		t.Errorf("silent is shown %d times", n)
	}
	// One that has said nothing for long is silent, though it is on the list.
	r.silent("worker-mute")
	ann.get(workerRoot).want(t, http.StatusOK, "worker-mute", "</span> for ")
	ann.get(workerRoot+"?worker=worker-gone").want(t, http.StatusOK, string(second.ID), "All processes").lacks(t, string(first.ID), "worker-1<")

	// A viewer looks; who acts is asked who they are.
	bob.get(workerRoot).want(t, http.StatusOK, "worker-1", string(first.ID)).lacks(t, "/cancel")
	cancel := workerRoot + "/" + string(first.ID) + "/cancel"
	bob.post(cancel, nil).want(t, http.StatusForbidden)
	r.anonymous().post(cancel, nil).want(t, http.StatusUnauthorized)
	ann.post(cancel, nil, func(req *http.Request) { req.Header.Set("Origin", "https://evil.example") }).want(t, http.StatusForbidden)
	if r.find(first.ID).CancelRequested {
		t.Fatal("it is being cancelled")
	}

	// The domain's command: the run ends by itself.
	ann.post(cancel, url.Values{"worker": {"worker-1"}}).wantTo(t, workerRoot+"?cancelled="+string(first.ID)+"&worker=worker-1")
	if !r.find(first.ID).CancelRequested || r.lastEvent(first.ID).Actor != "dashboard:ann" {
		t.Errorf("it is %+v", r.find(first.ID))
	}
	ann.get(workerRoot+"?cancelled="+string(first.ID)).want(t, http.StatusOK, "was asked for", "cancelling")
	ann.get(workerRoot+"?cancelled=x").want(t, http.StatusOK).lacks(t, "was asked for")
	// What has ended, or never was.
	done := r.accept(mailTo("done@example.com", 0))
	r.run(done, job.Succeeded("250 ok"))
	ann.post(workerRoot+"/"+string(done.ID)+"/cancel", nil).want(t, http.StatusConflict, `role="alert"`)
	ann.post(workerRoot+"/"+string(job.NewID())+"/cancel", nil).want(t, http.StatusNotFound)
	ann.post(workerRoot+"/x/cancel", nil).want(t, http.StatusNotFound)
}

// Many who look do not ask Redis and SQL each.
func TestWorkersAreLookedAtOnce(t *testing.T) {
	r := newRig(t)
	asked := 0
	for range 100 {
		r.sights.get(time.Hour, func() sight { asked++; return sight{} })
	}
	r.sights.forget()
	r.sights.get(time.Hour, func() sight { asked++; return sight{} })
	if asked != 2 {
		t.Errorf("it was looked %d times", asked)
	}
}

func TestWorkersWithoutRedis(t *testing.T) {
	r := newRig(t)
	task := r.accept(mailTo("running@example.com", 0))
	r.claim(task)
	ann := r.as("ann")
	r.redis.Kill()
	ann.get(workerRoot).want(t, http.StatusOK, "Redis does not answer", string(task.ID), "worker-1").lacks(t, "silent", "No worker is running")
}

// TestWorkersInBrowser cancels a running job where it is seen to run.
func TestWorkersInBrowser(t *testing.T) {
	r := newRig(t)
	r.member(roster.Process{Name: "mail-worker-7d4b9c6f5-x2x9k-1-QZ7M2K", Role: "worker", Host: "a", PID: 1, Version: "v1.2.3", Queues: "email 20, bulk 10, notification 50, default 10, maintenance 2", Started: time.Now().Add(-time.Hour)})
	r.member(roster.Process{Name: "api-1-AAAAAA", Role: "api", Host: "c", PID: 1, Version: "v1.2.3", Started: time.Now().Add(-time.Hour)})
	r.silent("worker-1")
	task := r.accept(mailTo("running@example.com", 0))
	r.claim(task)
	b := openTab(t)
	b.enter(r, "ann")
	button := css(`form[action="/admin/workers/%s/cancel"] button`, task.ID)
	b.Do(
		chromedp.Navigate(r.url+root),
		chromedp.Click(chromedp.CSS(`nav a[href="/admin/workers"]`)),
		chromedp.WaitVisible(button),
	)
	b.shots("workers")
	if nameless := browser.Ask(b.Tab, chromedp.Evaluate[string](nameless)); nameless != "" {
		t.Errorf("without a name are %s", nameless)
	}
	b.Do(
		chromedp.Focus(button),
		chromedp.KeyEvent("\r"),
		chromedp.WaitVisible(`//p[@role="status"][contains(text(), "was asked for")]`),
		chromedp.WaitVisible(`//td//small[text()="cancelling"]`),
	)
	if !r.find(task.ID).CancelRequested {
		t.Error("it was not asked to stop")
	}
	// And the way to one process, and to the job.
	b.Do(
		chromedp.Click(chromedp.CSS(`a[href="/admin/workers?worker=worker-1"]`)),
		chromedp.WaitVisible(`//a[text()="All processes"]`),
		chromedp.Click(css(`a[href="/admin/jobs/%s"]`, task.ID)),
		chromedp.WaitVisible(chromedp.CSS(`.events`)),
	)
}
