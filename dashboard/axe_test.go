package dashboard

import (
	"fmt"
	"net/http"
	"os"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/alert"
	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/mail"
	"github.com/postrider/postrider/internal/roster"
	"github.com/postrider/postrider/internal/testkit/browser"
)

// axePath is axe-core, which finds what keeps people with disabilities out.
const axePath = "testdata/axe/node_modules/axe-core/axe.min.js"

// axeRun tells what is serious or critical on the page as it is shown now, by all
// rules, or those of a list. A mail's HTML in its frame, where no script runs, is
// its writer's.
const axeRun = `axe.run(document, {iframes: false, resultTypes: ["violations"], runOnly: %s}).then(found => found.violations
	.filter(v => v.impact === "serious" || v.impact === "critical")
	.flatMap(v => v.nodes.map(n => v.id + ": " + n.html + "\n\t" + n.failureSummary.replaceAll("\n", "\n\t"))))`

// navRow tells what is wrong with the navigation on a phone.
const navRow = `(() => {
	const nav = document.querySelector("header nav"), links = Array.from(nav.querySelectorAll("a"), a => a.getBoundingClientRect());
	if (new Set(links.map(l => l.top)).size !== 1) return "the navigation takes several rows";
	const here = nav.querySelector("[aria-current]").getBoundingClientRect();
	return here.left >= 0 && here.right <= innerWidth ? "" : "the page's own link is out of sight";
})()`

// accessible fails the test for what axe finds on the page, all of it unfolded,
// in both schemes, on a desk and on a phone, where it must fit besides.
func (b tab) accessible(t *testing.T, axe, name string) {
	t.Helper()
	b.Do(
		chromedp.Evaluate[chromedp.Void](axe),
		chromedp.Evaluate[chromedp.Void](`document.querySelectorAll("main details").forEach(d => d.open = true)`),
	)
	for _, screen := range []struct {
		name string
		size chromedp.Action[chromedp.Void]
	}{
		{"1280 px", chromedp.EmulateViewport(1280, 800)},
		{"360 px", chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile)},
	} {
		// Schemes differ in colours alone.
		for scheme, rules := range map[string]string{"light": "undefined", "dark": `["color-contrast"]`} {
			b.Do(screen.size, browser.Scheme(scheme))
			for _, found := range browser.Ask(b.Tab, chromedp.Evaluate[[]string](fmt.Sprintf(axeRun, rules), chromedp.EvalAwaitPromise)) {
				t.Errorf("%s, %s, %s: %s", name, screen.name, scheme, found)
			}
		}
	}
	b.Fits(name, 360)
}

// TestPagesAreAccessible walks all that the navigation leads to, and a page of
// each kind below.
func TestPagesAreAccessible(t *testing.T) {
	axe, err := os.ReadFile(axePath)
	if err != nil {
		t.Fatalf("this test needs the npm package axe-core: run `make test-deps`, or `npm ci` in dashboard/testdata/axe: %v", err)
	}
	m := newMailRig(t, withKeyring(t, bossKey))
	paths := m.furnish()
	b := openTab(t)
	b.Do(chromedp.Navigate(m.url+root), chromedp.WaitVisible(chromedp.CSS(`form.login`)))
	b.accessible(t, string(axe), "login")
	b.enter(m.rig, "ann")
	b.Do(chromedp.Navigate(m.url + root))
	nav := browser.Ask(b.Tab, chromedp.Evaluate[[]string](`Array.from(document.querySelectorAll("header nav a"), a => a.getAttribute("href"))`))
	if len(nav) < 10 {
		t.Fatalf("the navigation leads to %q", nav)
	}
	for i, path := range append(nav, paths...) {
		if path == queueRoot {
			continue // asynqmon's own pages
		}
		if i == len(nav) {
			b = openTab(t) // each has its own time
			b.enter(m.rig, "ann")
		}
		b.Do(chromedp.Navigate(m.url + path))
		b.accessible(t, string(axe), path)
	}

	b = openTab(t)
	b.enter(m.rig, "ann")
	// The keyboard's first stop leads past the navigation.
	b.Do(
		chromedp.Navigate(m.url+sendRoot),
		chromedp.KeyEvent("\t"),
		chromedp.WaitVisible(chromedp.CSS(`a.skip:focus`)),
		chromedp.KeyEvent("\r"),
		chromedp.WaitVisible(chromedp.CSS(`main:focus`)),
	)
	// On a phone the navigation is one row, in which the page's own link is seen.
	b.Do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile), chromedp.Navigate(m.url+sendRoot))
	if row := browser.Ask(b.Tab, chromedp.Evaluate[string](navRow)); row != "" {
		t.Error(row)
	}

	b.Expect("404 (Not Found)")
	b.Do(chromedp.Navigate(m.url + root + "/nothing"))
	b.accessible(t, string(axe), "a refusal")

	// What only a form leads to.
	b.Do(
		chromedp.Navigate(m.url+sendRoot),
		chromedp.SendKeys(chromedp.CSS(`textarea[name=to]`), "user@example.com"),
		chromedp.SendKeys(chromedp.CSS(`input[name=subject]`), "Hello"),
		chromedp.SendKeys(chromedp.CSS(`textarea[name=html]`), "<p>How are you?</p>"),
		chromedp.Click(chromedp.CSS(`button[name=preview]`)),
		chromedp.WaitVisible(chromedp.CSS(`iframe.mail`)),
	)
	b.accessible(t, string(axe), "a mail's preview")
	b.Expect("422 (Unprocessable")
	b.Do(
		chromedp.Navigate(m.url+sendRoot),
		chromedp.Click(chromedp.CSS(`form#send button.main`)),
		chromedp.WaitVisible(chromedp.CSS(`#why-to`)),
	)
	b.accessible(t, string(axe), "a form that was refused")
}

// furnish puts something onto every page, and lists those that the navigation
// does not name.
func (m *mailRig) furnish() []string {
	m.t.Helper()
	waits := m.put("waits@example.com", "Hello", "news", time.Hour)
	failed := m.put("gone@example.com", "Your receipt", "receipt", 0)
	m.settle(failed, job.PermanentFailure("550 5.1.1 <gone@example.com>: Recipient address rejected"))
	m.settle(m.put("user@example.com", "Your receipt", "receipt", 0), job.Succeeded("250 2.0.0 Ok"))
	m.put("runs@example.com", "Hello", "", 0)
	running := m.put("running@example.com", "Hello", "", 0)
	if got, err := m.store.Claim(m.t.Context(), job.Claim{ID: running, Token: "token", Worker: "worker-1", Lease: time.Minute}); err != nil || got.Verdict != job.Granted {
		m.t.Fatalf("claiming: %v, %v", got.Verdict, err)
	}
	m.suppress(mail.Suppression{Address: "gone@example.com", Reason: mail.Bounce, Note: "550 5.1.1 User unknown", Job: string(failed)})
	m.member(roster.Process{Name: "worker-1", Role: "worker", Host: "a", PID: 1, Version: "v1.2.3", Queues: "email 20, default 10", Started: time.Now()})
	m.silent("worker-2")
	at := time.Now().Add(-time.Minute)
	m.alerts.all = []alert.Alert{{Finding: alert.Finding{Rule: alert.NoWorkers, Subject: "email", Summary: "nobody takes its jobs"}, Since: at, FiredAt: at}}
	ann := m.as("ann")
	ann.post(scheduleRoot, filled()).wantTo(m.t, scheduleRoot+"/report?did=created")
	ann.post(scheduleRoot+"/report/run", nil).want(m.t, http.StatusSeeOther)
	ann.post(keyRoot, map[string][]string{"name": {"shop"}, "scope": {"jobs:write"}}).want(m.t, http.StatusCreated)
	return []string{
		jobPath(waits), jobPath(failed), deliveryPath(failed), deliveryRoot + "?q=gone%40example.com", bulkRoot + "/cancel?state=scheduled",
		scheduleRoot + "/report", scheduleRoot + "/report/edit", scheduleRoot + "/-new", sendRoot + "?template=receipt", sendRoot + "?kind=notification",
		root + "/jobs?state=held", keyRoot + "?revoked=other",
	}
}
