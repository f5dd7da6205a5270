package dashboard

import (
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/testkit/browser"
	"github.com/postrider/postrider/tasks"
)

// acceptMany takes n jobs that wait for an hour, each for a recipient of its own.
func (r *rig) acceptMany(n int) (ids []job.ID) {
	r.t.Helper()
	for len(ids) < n {
		subs := make([]job.Submission, min(n-len(ids), job.MaxBatch))
		for i := range subs {
			subs[i] = job.Submission{Type: tasks.Noop.Name, Delay: time.Hour}
		}
		got, err := r.jobs.AcceptAll(r.t.Context(), job.Caller{Name: "shop"}, subs)
		if err != nil {
			r.t.Fatal(err)
		}
		for _, a := range got.Jobs {
			ids = append(ids, a.ID)
		}
	}
	r.store.Clock.Advance(time.Second) // a count leaves out what changes at its moment
	return ids
}

// in counts the jobs in a state.
func (r *rig) in(state string) int {
	r.t.Helper()
	n, err := r.store.Count(r.t.Context(), job.Filter{Status: state})
	if err != nil {
		r.t.Fatal(err)
	}
	return n
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)">`)

// form is what the page's form would send.
func (p reply) form() url.Values {
	v := url.Values{}
	for _, field := range hidden.FindAllStringSubmatch(p.body, -1) {
		v.Set(field[1], html.UnescapeString(field[2]))
	}
	return v
}

func TestBulkCancel(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	const n = bulkStep + 500
	r.acceptMany(n)
	c.get("/admin/jobs?state=scheduled&type=noop").want(t, http.StatusOK, `href="/admin/jobs/bulk/cancel?state=scheduled&amp;type=noop"`)

	const path = "/admin/jobs/bulk/cancel"
	asked := c.get(path+"?state=scheduled&type=noop").want(t, http.StatusOK, "Cancel 1,500 scheduled jobs", "in the state scheduled, of the type noop", "The newest of them")
	if r.in("cancelled") != 0 {
		t.Fatal("a look cancels")
	}
	r.acceptMany(7) // after the count
	first := c.post(path, asked.form()).want(t, http.StatusOK, "1,000 of 1,500 cancelled so far", "data-continue")
	if got := r.in("cancelled"); got != bulkStep {
		t.Errorf("%d are cancelled after the first step", got)
	}
	// Its answer was lost: the step is asked for again, and does what is left.
	c.post(path, asked.form()).want(t, http.StatusOK, "500 of 1,500 cancelled.", "1000 of those counted are not among them").lacks(t, "data-continue")
	c.post(path, first.form()).want(t, http.StatusOK, "1,000 of 1,500 cancelled.")
	if r.in("cancelled") != n || r.in("scheduled") != 7 {
		t.Errorf("%d are cancelled and %d wait, want %d and 7", r.in("cancelled"), r.in("scheduled"), n)
	}
	stopped := first.form()
	stopped.Set("stop", "1")
	c.post(path, stopped).want(t, http.StatusOK, "1,000 of 1,500 cancelled, then stopped.").lacks(t, "data-continue")
	c.get(path+"?state=scheduled&until=2020-01-01").want(t, http.StatusOK, "There are none now")
}

func TestBulkRetry(t *testing.T) {
	r := newRig(t)
	c := r.as("ann")
	for i := range 5 {
		r.run(r.accept(mailTo(fmt.Sprintf("user%d@example.com", i), 0)), job.PermanentFailure("550 no"))
	}
	gone := r.accept(mailTo("gone@example.com", 0)).ID
	r.run(job.Task{ID: gone}, job.PermanentFailure("550 no"))
	if _, err := r.store.Change(t.Context(), []job.ID{gone}, func(j *job.Job, now time.Time) ([]job.Event, error) {
		j.PayloadGone = true
		return []job.Event{{Job: j.ID, At: now, Kind: job.EventErased, State: j.State}}, nil
	}); err != nil {
		t.Fatal(err)
	}
	r.store.Clock.Advance(time.Second)
	c.get("/admin/jobs?state=failed").want(t, http.StatusOK, "/admin/jobs/bulk/retry?state=failed")
	asked := c.get("/admin/jobs/bulk/retry?state=failed").want(t, http.StatusOK, "Retry 6 failed jobs", "user3@example.com")

	// What the database does not do now is done when it is asked again.
	r.store.Fail("Change", job.Errorf(job.CodeTemporary, "the database is away"))
	away := c.post("/admin/jobs/bulk/retry", asked.form()).want(t, http.StatusServiceUnavailable, "the database is away. What was done stays done.", "data-continue")
	r.store.Fail("Change", nil)
	c.post("/admin/jobs/bulk/retry", away.form()).want(t, http.StatusOK, "5 of 6 retried.", "payload was deleted by retention").lacks(t, "data-continue")

	// Those that fail again are others than those that were counted.
	r.run(job.Task{ID: r.jobTo("user1@example.com")}, job.PermanentFailure("550 still no"))
	c.post("/admin/jobs/bulk/retry", asked.form()).want(t, http.StatusOK, "0 of 6 retried.")
	if n := r.in("failed"); n != 2 {
		t.Errorf("%d have failed, want the one again, and the one whose payload is gone", n)
	}
}

// jobTo is the job for a recipient.
func (r *rig) jobTo(recipient string) job.ID {
	r.t.Helper()
	got, err := r.store.List(r.t.Context(), job.Filter{Recipient: recipient, Limit: 1})
	if err != nil || len(got) != 1 {
		r.t.Fatalf("%d jobs for %s: %v", len(got), recipient, err)
	}
	return got[0].ID
}

func TestBulkIsGuarded(t *testing.T) {
	r := newRig(t)
	c, bob := r.as("ann"), r.as("bob")
	r.acceptMany(2)
	form := c.get("/admin/jobs/bulk/cancel?state=waiting").want(t, http.StatusOK).form()
	bob.get("/admin/jobs?state=scheduled").want(t, http.StatusOK).lacks(t, "/bulk/")
	bob.get("/admin/jobs/bulk/cancel?state=waiting").want(t, http.StatusForbidden)
	bob.post("/admin/jobs/bulk/cancel", form).want(t, http.StatusForbidden)
	r.anonymous().post("/admin/jobs/bulk/cancel", form).want(t, http.StatusUnauthorized)
	c.post("/admin/jobs/bulk/cancel", form, func(req *http.Request) { req.Header.Set("Origin", "https://evil.example") }).want(t, http.StatusForbidden)
	c.get("/admin/jobs/bulk/explode?state=waiting").want(t, http.StatusNotFound)
	c.get("/admin/jobs/bulk/cancel").want(t, http.StatusUnprocessableEntity, "must be one of")
	c.get("/admin/jobs/bulk/retry?state=done").want(t, http.StatusUnprocessableEntity, "must be one of")
	for name, bad := range map[string]string{"at": "", "counted": "-1", "done": "x", "refused": "[1]", "next": "odd", "search": "state=running;%zz"} {
		broken := url.Values{}
		for k := range form {
			broken.Set(k, form.Get(k))
		}
		broken.Set(name, bad)
		c.post("/admin/jobs/bulk/cancel", broken).want(t, http.StatusUnprocessableEntity)
	}
	if r.in("cancelled") != 0 {
		t.Error("something was cancelled")
	}
}

// TestBulkInBrowser: the page goes on by itself until all is done.
func TestBulkInBrowser(t *testing.T) {
	r := newRig(t)
	const n = 2*bulkStep + 10
	r.acceptMany(n)
	b := openTab(t)
	b.enter(r, "ann")
	b.Do(
		chromedp.Navigate(r.url+"/admin/jobs?state=scheduled"),
		chromedp.Click(chromedp.CSS(`a[href^="/admin/jobs/bulk/cancel"]`)),
		chromedp.WaitVisible(chromedp.CSS(`form.actions button`)),
	)
	b.shots("bulk")
	b.Do(
		chromedp.Click(chromedp.CSS(`form.actions button`)),
		chromedp.WaitVisible(`//p[@role="status"][contains(text(), "2,010 of 2,010 cancelled.")]`),
	)
	testkit.WaitFor(t, patience, "all are cancelled", func() bool { return r.in("cancelled") == n })
	b.shots("bulk-done")
	if nameless := browser.Ask(b.Tab, chromedp.Evaluate[string](nameless)); nameless != "" {
		t.Errorf("without a name are %s", nameless)
	}
}
