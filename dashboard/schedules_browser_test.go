package dashboard

import (
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/schedule"
	"github.com/postrider/postrider/internal/testkit/browser"
)

// TestSchedulesInBrowser does with the timetable what operators do, by the
// keyboard where they type.
func TestSchedulesInBrowser(t *testing.T) {
	m := newMailRig(t)
	var seeds []schedule.Seed
	for _, d := range []schedule.Definition{
		{Name: "email:reminder@europe-berlin", Type: "noop", Cron: "0 8 * * mon-fri", TimeZone: "Europe/Berlin"},
		{Name: "a-rather-long-name-of-a-schedule-that-somebody-has-made.once-upon-a-time", Type: "noop", Cron: "7,37 6-20/2 1,15 jan,jun mon"},
	} {
		seeds = append(seeds, schedule.Seed{Source: schedule.FromBuiltin, Definition: d})
	}
	if err := m.schedules.Seed(t.Context(), seeds); err != nil {
		t.Fatal(err)
	}
	b := openTab(t)
	b.enter(m.rig, "ann")
	b.Do(
		chromedp.Navigate(m.url+root),
		chromedp.Click(chromedp.CSS(`nav a[href="/admin/schedules"]`)),
		chromedp.WaitVisible(chromedp.CSS(`table.list`)),
	)
	b.shots("schedules")

	// What is typed is previewed; then what is wrong is told at its field.
	b.Do(
		chromedp.Click(chromedp.CSS(`a[href="/admin/schedules/-new"]`)),
		chromedp.WaitVisible(chromedp.CSS(`input[name=name]`)),
		chromedp.WaitNotVisible(chromedp.CSS(`button[name=preview]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name=name]`), "report"),
		chromedp.SendKeys(chromedp.CSS(`select[name=type]`), "log"),
		chromedp.Clear(chromedp.CSS(`input[name=cron]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name=cron]`), "15 * * * *"),
		chromedp.WaitVisible(`//*[@id="next"]//p[text()="each hour at minute 15"]`),
		chromedp.SendKeys(chromedp.CSS(`input[name=cron]`), " x"),
		chromedp.WaitVisible(`//*[@id="next"]//p[contains(text(), "is not a cron expression")]`),
		chromedp.SetValue(chromedp.CSS(`textarea[name=payload]`), `{"massage": "hi"}`),
	)
	b.shots("schedule-new")
	b.Expect("422 (Unprocessable")
	b.Do(
		chromedp.SendKeys(chromedp.CSS(`input[name=name]`), "\r"),
		chromedp.WaitVisible(chromedp.CSS(`#why-cron`)),
		chromedp.WaitVisible(chromedp.CSS(`#why-payload`)),
	)
	b.shots("schedule-refused")
	b.Do(
		chromedp.SetValue(chromedp.CSS(`textarea[name=payload]`), `{"message": "hi"}`),
		chromedp.Clear(chromedp.CSS(`input[name=cron]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name=cron]`), "@every 90s\r"),
		chromedp.WaitVisible(`//p[@role="status"][contains(text(), "created")]`),
	)

	// Run it, pause it, edit it.
	b.Do(
		chromedp.Click(`//button[text()="Run now"]`),
		chromedp.WaitVisible(chromedp.CSS(`table.list a[href^="/admin/jobs/"]`)),
	)
	b.shots("schedule")
	b.Do(
		chromedp.Click(`//button[text()="Pause"]`),
		chromedp.WaitVisible(`//button[text()="Resume"]`),
		chromedp.Click(`//a[text()="Edit"]`),
		chromedp.WaitVisible(chromedp.CSS(`input[name=time_zone]`)),
		chromedp.Clear(chromedp.CSS(`input[name=time_zone]`)),
		chromedp.SendKeys(chromedp.CSS(`input[name=time_zone]`), "Asia/Tokyo"),
		chromedp.WaitVisible(`//*[@id="next"]//small[contains(text(), "JST")]`),
	)
	if nameless := browser.Ask(b.Tab, chromedp.Evaluate[string](nameless)); nameless != "" {
		t.Errorf("without a name are %s", nameless)
	}

	// Somebody else was quicker.
	if _, err := m.schedules.Resume(t.Context(), "report", "bob"); err != nil {
		t.Fatal(err)
	}
	b.Expect("409 (Conflict)")
	b.Do(
		chromedp.Click(`//button[text()="Save"]`),
		chromedp.WaitVisible(`//p[@role="alert"][contains(text(), "changed meanwhile")]`),
	)
	b.shots("schedule-conflict")
	b.Do(
		chromedp.Click(`//button[text()="Save"]`),
		chromedp.WaitVisible(`//p[@role="status"][contains(text(), "saved")]`),
	)
	if e := m.entry("report"); e.TimeZone != "Asia/Tokyo" || e.Paused {
		t.Errorf("it is %+v", e)
	}

	// Delete it, which asks first.
	b.Do(
		chromedp.Focus(chromedp.CSS(`.confirm summary`)),
		chromedp.KeyEvent(" "),
		chromedp.WaitVisible(`//button[text()="Delete report"]`),
	)
	b.shots("schedule-delete")
	b.Do(
		chromedp.Click(`//button[text()="Delete report"]`),
		chromedp.WaitVisible(`//p[@role="status"][contains(text(), "deleted")]`),
	)
	if _, err := m.schedules.Get(t.Context(), "report"); job.CodeOf(err) != job.CodeNotFound {
		t.Errorf("it is there: %v", err)
	}
}
