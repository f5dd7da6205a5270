package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/testkit/browser"
)

// tab is a browser's, which our pages are looked at in.
type tab struct{ *browser.Tab }

func openTab(t *testing.T) tab {
	t.Helper()
	return tab{browser.Open(t)}
}

// shots keeps pictures of the page in light, in dark and on a phone, where it
// must not be wider than the screen.
func (b tab) shots(name string) {
	b.Do(chromedp.EmulateViewport(1280, 800), browser.Scheme("light"))
	b.Shot(name + "-light")
	b.Do(browser.Scheme("dark"))
	b.Shot(name + "-dark")
	b.Do(browser.Scheme("light"), chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
	b.Shot(name + "-phone")
	b.Fits(name, 360)
	b.Do(browser.Scheme("dark"), chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.Shot(name + "-phone-dark")
	b.Do(browser.Scheme("light"), chromedp.EmulateViewport(1280, 800))
}

// login types a name and the password.
func (b tab) login(r *rig, name string) {
	r.t.Helper()
	b.Do(
		chromedp.Navigate(r.url+root),
		chromedp.SendKeys(chromedp.CSS(`input[name=name]`), name),
		chromedp.SendKeys(chromedp.CSS(`input[name=password]`), password),
		chromedp.Click(chromedp.CSS(`form.login button`)),
		chromedp.WaitVisible(chromedp.CSS(`form.who`)),
	)
}

// enter gives the browser a session, as logging in does.
func (b tab) enter(r *rig, name string) {
	r.t.Helper()
	b.Do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.SetCookie, network.SetCookieParams{
			Name: sessionCookie, Value: r.session(name), URL: r.url, Path: root,
			SameSite: network.CookieSameSiteLax,
		})
		return err
	}))
}

func css(selector string, args ...any) chromedp.CSS {
	return chromedp.CSS(fmt.Sprintf(selector, args...))
}

// populate fills the pages with what they are made for.
func (r *rig) populate() {
	r.t.Helper()
	now := time.Now()
	r.times.entries = []schedule.Entry{
		{Definition: schedule.Definition{Name: "email:reminder@europe-berlin", Type: "email:reminder", Cron: "0 8 * * *", TimeZone: "Europe/Berlin"},
			LastAt: now.Add(-20 * time.Hour), LastJob: job.NewID(), NextAt: now.Add(4 * time.Hour)},
		{Definition: schedule.Definition{Name: "log:heartbeat", Type: "log:heartbeat", Cron: "* * * * *", TimeZone: "UTC"},
			LastAt: now.Add(-40 * time.Second), LastJob: job.NewID(), NextAt: now.Add(20 * time.Second)},
		{Definition: schedule.Definition{Name: "maintenance:cleanup", Type: "maintenance:cleanup", Cron: "0 3 * * 0", TimeZone: "UTC"}, Paused: true},
	}
	r.run(r.accept(mailTo("nobody@example.org", 0)), job.PermanentFailure("550 5.1.1 <nobody@example.org>: Recipient address rejected: User unknown in virtual mailbox table"))
	r.run(r.accept(mailTo("full@example.org", 0)), job.PermanentFailure("552 5.2.2 mailbox full"))
	r.run(r.accept(mailTo("ann@example.com", 0)), job.Succeeded("250 2.0.0 Ok: queued as 4F2"))
	r.run(r.accept(mailTo("slow@example.com", 0)), job.Outcome{Kind: job.OutcomeTemporary, Message: "451 4.7.1 greylisted, come back later", ReplyCode: 451, After: time.Hour})
	r.claim(r.accept(mailTo("running@example.com", 0)))
	r.accept(job.Submission{Type: "noop", Payload: []byte(`{}`)})
	held := r.accept(mailTo("held@example.com", 0))
	for range 3 {
		r.claim(held)
		r.store.Clock.Advance(time.Minute)
	}
	_, _ = r.store.Claim(r.t.Context(), job.Claim{ID: held.ID, Token: "token", Worker: "worker-1", Lease: time.Minute})
	r.wantState(held.ID, job.Held)
}

func TestAdminInBrowser(t *testing.T) {
	r := newRig(t)
	r.populate()
	task := r.accept(mailTo("user@example.com", time.Hour))
	b := openTab(t)

	b.Do(chromedp.Navigate(r.url+"/admin/jobs"), chromedp.WaitVisible(chromedp.CSS(`form.login`)))
	b.shots("login")
	b.login(r, "ann")
	b.shots("overview")

	// Find a job that waits, by its recipient.
	b.Do(
		chromedp.SendKeys(chromedp.CSS(`input[name=q]`), "User@Example.com\r"),
		chromedp.WaitVisible(css(`a[href="/admin/jobs/%s"]`, task.ID)),
	)
	b.Do(chromedp.Navigate(r.url + "/admin/jobs"))
	b.shots("jobs")
	b.Do(
		chromedp.Click(css(`a[href="/admin/jobs/%s"]`, task.ID)),
		chromedp.WaitVisible(chromedp.CSS(`.badge.scheduled`)),
	)
	b.shots("job")

	// Pause a queue in asynqmon, which wants a wide window.
	b.Do(chromedp.EmulateViewport(1600, 900))
	row := `//tr[.//a[text()="email"]]`
	b.Do(
		chromedp.Navigate(r.url+queueRoot),
		chromedp.WaitVisible(row),
	)
	b.Shot("asynqmon")
	b.Do(hover(row+`/td[last()]//button`), chromedp.Click(chromedp.CSS(`button[title=Pause]`)))
	testkit.WaitFor(t, patience, "the queue is paused", func() bool {
		return r.rdb.Exists(t.Context(), "asynq:{email}:paused").Val() == 1
	})
	b.Do(chromedp.WaitVisible(row + `//*[contains(text(), "paused")]`))

	// Delete the job's task there: the job is cancelled, and stays so.
	taskRow := `//tr[.//*[contains(text(), "` + string(task.ID[:8]) + `")]]`
	b.Do(
		chromedp.Navigate(r.url+queueRoot+"/queues/email?status=scheduled"),
		chromedp.WaitVisible(taskRow),
	)
	b.Shot("asynqmon-tasks")
	b.Do(
		hover(taskRow+`/td[last()]//button`),
		chromedp.Click(chromedp.CSS(`button[title=Delete]`)),
		chromedp.WaitNotPresent(taskRow),
	)
	r.wantState(task.ID, job.Cancelled)
	keep := job.Retention{Done: 24 * time.Hour, Bodies: 24 * time.Hour, Failed: 24 * time.Hour}
	if err := job.NewReconciler(r.jobs, "test", keep).Turn(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.wantState(task.ID, job.Cancelled)
	if r.task(task.Queue, task.TaskID()) != nil {
		t.Error("the task came back")
	}
	b.Do(
		chromedp.Navigate(r.url+jobPath(task.ID)),
		chromedp.WaitVisible(chromedp.CSS(`.events .badge.cancelled`)),
	)
	if got := browser.Ask(b.Tab, chromedp.Text(chromedp.CSS(`.events`))); !strings.Contains(got, "by dashboard:ann") {
		t.Errorf("the history reads %q", got)
	}

	// And give it a new life on its page.
	b.Do(chromedp.Click(chromedp.CSS(`form[action$="/retry"] button`)), chromedp.WaitVisible(chromedp.CSS(`.badge.queued`)))
	r.wantSent(task.ID)
}

// hover makes asynqmon show a row's buttons, as a mouse over them does.
func hover(xpath string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.Evaluate[bool](fmt.Sprintf(
			`document.evaluate(%q, document, null, 9).singleNodeValue.dispatchEvent(new MouseEvent("mouseover", {bubbles: true}))`, xpath))(ctx, t)
		return err
	})
}

func TestViewerInBrowser(t *testing.T) {
	r := newRig(t)
	r.populate()
	task := r.accept(mailTo("user@example.com", time.Hour))
	b := openTab(t)
	b.enter(r, "bob")
	for _, path := range []string{"/admin", "/admin/jobs", jobPath(task.ID)} {
		b.Do(chromedp.Navigate(r.url + path))
		if got := browser.Ask(b.Tab, chromedp.Text(chromedp.CSS("body"))); strings.Contains(got, "user@") || strings.Contains(got, "nobody@") {
			t.Errorf("%s shows an address: %s", path, got)
		}
	}
	b.shots("job-viewer")
	taskRow := `//tr[.//*[contains(text(), "` + string(task.ID[:8]) + `")]]`
	b.Do(
		chromedp.Navigate(r.url+queueRoot+"/queues/email?status=scheduled"),
		chromedp.WaitVisible(taskRow+`//*[contains(text(), "u***@example.com")]`),
	)
	b.Shot("asynqmon-viewer")

	// What the pages do not offer is refused too.
	b.Expect("403 (Forbidden)")
	for _, path := range []string{queueRoot + "/api/queues/email:pause", jobPath(task.ID) + "/cancel"} {
		status := browser.Ask(b.Tab, chromedp.Evaluate[int](fmt.Sprintf(`fetch(%q, {method: "POST"}).then(r => r.status)`, path), chromedp.EvalAwaitPromise))
		if status != http.StatusForbidden {
			t.Errorf("POST %s is answered %d", path, status)
		}
	}
	r.wantState(task.ID, job.Waiting)
}

// TestOtherOriginInBrowser: a page on another port of the same host, to which
// the browser gives the session's cookie too.
func TestOtherOriginInBrowser(t *testing.T) {
	r := newRig(t)
	task := r.accept(mailTo("user@example.com", time.Hour))
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprintf(w, `<form method="post" action="%s%s/cancel"><button>Win a prize</button></form>
			<iframe src="%[1]s/admin"></iframe>`, r.url, jobPath(task.ID))
	}))
	t.Cleanup(foreign.Close)
	b := openTab(t)
	b.enter(r, "ann")
	b.Expect("frame-ancestors") // the pages may not be framed
	b.Expect("403 (Forbidden)")
	b.Do(chromedp.Navigate(foreign.URL))
	// By script, as such a page would; and a click looks its button up in a
	// document that changes when the frame is refused.
	browser.Ask(b.Tab, chromedp.Evaluate[bool](`document.querySelector("form").submit(), true`))
	b.Do(chromedp.WaitVisible(chromedp.CSS(".problem")))
	if got := browser.Ask(b.Tab, chromedp.Text(chromedp.CSS(".problem"))); !strings.Contains(got, "another origin") {
		t.Errorf("the page says %q", got)
	}
	r.wantState(task.ID, job.Waiting)
}
