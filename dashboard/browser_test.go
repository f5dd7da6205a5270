package dashboard

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/testkit"
)

// browser is a tab. What it writes to its console as an error, a broken
// policy above all, fails the test unless expected.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu       sync.Mutex
	expected []string
}

func newBrowser(t *testing.T) *browser {
	t.Helper()
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("this test needs the program chromium: run `make test-deps`, or install Debian's package chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(chromium), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
	)
	ctx, cancelAllocator := chromedp.NewExecAllocator(t.Context(), options...)
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		cancelBrowser()
		cancelAllocator()
	})
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil { // starts the browser, which lives as long as its context
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	b.ctx = ctx
	messages := chromedp.Console(ctx)
	var reader sync.WaitGroup
	reader.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if m.Type == chromedp.ConsoleError || m.IsException() {
				b.complain(m.Text)
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		reader.Wait()
	})
	return b
}

// expect lets errors that contain the text pass from now on.
func (b *browser) expect(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.expected = append(b.expected, text)
}

func (b *browser) complain(text string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, e := range b.expected {
		if strings.Contains(text, e) {
			return
		}
	}
	b.t.Errorf("the console says: %s", text)
}

func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		if png, shotErr := chromedp.Run(b.ctx, chromedp.CaptureScreenshot()); shotErr == nil {
			b.keep("failed", png)
		}
		b.t.Fatal(err)
	}
}

func ask[T any](b *browser, action chromedp.Action[T]) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, action)
	if err != nil {
		b.t.Fatal(err)
	}
	return value
}

// keep leaves a picture where `go test -artifacts` puts such things.
func (b *browser) keep(name string, png []byte) {
	if err := os.WriteFile(filepath.Join(b.t.ArtifactDir(), name+".png"), png, 0o600); err != nil {
		b.t.Error(err)
	}
}

// shots keeps pictures of the page in light, in dark and on a phone, where it
// must not be wider than the screen.
func (b *browser) shots(name string) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(1280, 800), scheme("light"))
	b.keep(name+"-light", ask(b, chromedp.FullScreenshot(100)))
	b.do(scheme("dark"))
	b.keep(name+"-dark", ask(b, chromedp.FullScreenshot(100)))
	b.do(scheme("light"), chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
	b.keep(name+"-phone", ask(b, chromedp.FullScreenshot(100)))
	if ask(b, chromedp.Evaluate[bool](`document.documentElement.scrollWidth > 360`)) {
		b.t.Errorf("%s is wider than the phone", name)
	}
	b.do(scheme("dark"), chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile))
	b.keep(name+"-phone-dark", ask(b, chromedp.FullScreenshot(100)))
	b.do(scheme("light"), chromedp.EmulateViewport(1280, 800))
}

func scheme(name string) chromedp.Action[chromedp.Void] {
	return chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
			Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: name}},
		})
		return err
	})
}

// login types a name and the password.
func (b *browser) login(r *rig, name string) {
	b.t.Helper()
	b.do(
		chromedp.Navigate(r.url+root),
		chromedp.SendKeys(chromedp.CSS(`input[name=name]`), name),
		chromedp.SendKeys(chromedp.CSS(`input[name=password]`), password),
		chromedp.Click(chromedp.CSS(`form.login button`)),
		chromedp.WaitVisible(chromedp.CSS(`form.who`)),
	)
}

// enter gives the browser a session, as logging in does.
func (b *browser) enter(r *rig, name string) {
	b.t.Helper()
	b.do(chromedp.Func(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, network.SetCookie, network.SetCookieParams{
			Name: sessionCookie, Value: r.user(name).Session(time.Now()), URL: r.url, Path: root,
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
	b := newBrowser(t)

	b.do(chromedp.Navigate(r.url+"/admin/jobs"), chromedp.WaitVisible(chromedp.CSS(`form.login`)))
	b.shots("login")
	b.login(r, "ann")
	b.shots("overview")

	// Find a job that waits, by its recipient.
	b.do(
		chromedp.SendKeys(chromedp.CSS(`input[name=q]`), "User@Example.com\r"),
		chromedp.WaitVisible(css(`a[href="/admin/jobs/%s"]`, task.ID)),
	)
	b.do(chromedp.Navigate(r.url + "/admin/jobs"))
	b.shots("jobs")
	b.do(
		chromedp.Click(css(`a[href="/admin/jobs/%s"]`, task.ID)),
		chromedp.WaitVisible(chromedp.CSS(`.badge.scheduled`)),
	)
	b.shots("job")

	// Pause a queue in asynqmon, which wants a wide window.
	b.do(chromedp.EmulateViewport(1600, 900))
	row := `//tr[.//a[text()="email"]]`
	b.do(
		chromedp.Navigate(r.url+queueRoot),
		chromedp.WaitVisible(row),
	)
	b.keep("asynqmon", ask(b, chromedp.CaptureScreenshot()))
	b.do(hover(row+`/td[last()]//button`), chromedp.Click(chromedp.CSS(`button[title=Pause]`)))
	testkit.WaitFor(t, patience, "the queue is paused", func() bool {
		return r.rdb.Exists(t.Context(), "asynq:{email}:paused").Val() == 1
	})
	b.do(chromedp.WaitVisible(row + `//*[contains(text(), "paused")]`))

	// Delete the job's task there: the job is cancelled, and stays so.
	taskRow := `//tr[.//*[contains(text(), "` + string(task.ID[:8]) + `")]]`
	b.do(
		chromedp.Navigate(r.url+queueRoot+"/queues/email?status=scheduled"),
		chromedp.WaitVisible(taskRow),
	)
	b.keep("asynqmon-tasks", ask(b, chromedp.CaptureScreenshot()))
	b.do(
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
	b.do(
		chromedp.Navigate(r.url+jobPath(task.ID)),
		chromedp.WaitVisible(chromedp.CSS(`.events .badge.cancelled`)),
	)
	if got := ask(b, chromedp.Text(chromedp.CSS(`.events`))); !strings.Contains(got, "by dashboard:ann") {
		t.Errorf("the history reads %q", got)
	}

	// And give it a new life on its page.
	b.do(chromedp.Click(chromedp.CSS(`form[action$="/retry"] button`)), chromedp.WaitVisible(chromedp.CSS(`.badge.queued`)))
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
	b := newBrowser(t)
	b.enter(r, "bob")
	for _, path := range []string{"/admin", "/admin/jobs", jobPath(task.ID)} {
		b.do(chromedp.Navigate(r.url + path))
		if got := ask(b, chromedp.Text(chromedp.CSS("body"))); strings.Contains(got, "user@") || strings.Contains(got, "nobody@") {
			t.Errorf("%s shows an address: %s", path, got)
		}
	}
	b.shots("job-viewer")
	taskRow := `//tr[.//*[contains(text(), "` + string(task.ID[:8]) + `")]]`
	b.do(
		chromedp.Navigate(r.url+queueRoot+"/queues/email?status=scheduled"),
		chromedp.WaitVisible(taskRow+`//*[contains(text(), "u***@example.com")]`),
	)
	b.keep("asynqmon-viewer", ask(b, chromedp.CaptureScreenshot()))

	// What the pages do not offer is refused too.
	b.expect("403 (Forbidden)")
	for _, path := range []string{queueRoot + "/api/queues/email:pause", jobPath(task.ID) + "/cancel"} {
		status := ask(b, chromedp.Evaluate[int](fmt.Sprintf(`fetch(%q, {method: "POST"}).then(r => r.status)`, path), chromedp.EvalAwaitPromise))
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
	b := newBrowser(t)
	b.enter(r, "ann")
	b.expect("frame-ancestors") // the pages may not be framed
	b.expect("403 (Forbidden)")
	b.do(chromedp.Navigate(foreign.URL))
	// By script, as such a page would; and a click looks its button up in a
	// document that changes when the frame is refused.
	ask(b, chromedp.Evaluate[bool](`document.querySelector("form").submit(), true`))
	b.do(chromedp.WaitVisible(chromedp.CSS(".problem")))
	if got := ask(b, chromedp.Text(chromedp.CSS(".problem"))); !strings.Contains(got, "another origin") {
		t.Errorf("the page says %q", got)
	}
	r.wantState(task.ID, job.Waiting)
}
