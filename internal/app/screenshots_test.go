package app

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/testkit/browser"
)

var screenshots = flag.String("screenshots", "", "folder that TestScreenshots leaves its pictures in; without it the test does nothing")

// mostPicture bounds a picture of the documentation, in bytes.
const mostPicture = 200_000

// studio is the product with something on every page of /admin, and a browser
// to take pictures of it with.
type studio struct {
	t   *testing.T
	api *App
	b   *browser.Tab
}

// TestScreenshots takes the pictures of the documentation: `make screenshots`.
func TestScreenshots(t *testing.T) {
	if *screenshots == "" {
		return
	}
	s := openStudio(t)
	s.sendMails()
	s.open("/admin/jobs", `main table`)
	s.take("jobs")
	s.act("/admin/schedules", "name", "reports:monday", "type", "email:send", "cron", "30 8 * * 1", "time_zone", "Europe/Berlin", "missed", "once", "overlap", "skip",
		"payload", `{"to":["team@example.com"],"subject":"The week","text":"What is due this week."}`)
	s.act("/admin/schedules/reports:monday/run")
	s.act("/admin/suppressions/add", "address", "reader@example.com", "category", "newsletter", "reason", "unsubscribe", "note", "by phone")
	s.act("/admin/keys", "name", "reports", "scope", "jobs:read")
	s.act("/admin/schedules/reports:monday/pause")

	s.open("/admin", `.charts .chart`)
	// The charts show what happens while one looks.
	for range 30 {
		s.mail("reader@example.org", "Welcome to the shop", "welcome", 0)
		s.b.Do(chromedp.Sleep(200 * time.Millisecond))
	}
	s.take("overview")
	s.b.Do(browser.Scheme("dark"))
	s.take("overview-dark")
	s.b.Do(browser.Scheme("light"))
	for name, path := range map[string]string{"schedules": "/admin/schedules", "workers": "/admin/workers", "audit": "/admin/audit"} {
		s.open(path, `main table`)
		s.take(name)
	}
	s.open("/admin/send?template=receipt", `input[name="data.number"]`)
	s.b.Do(
		chromedp.SendKeys(chromedp.CSS(`textarea[name=to]`), "ann@example.com"),
		chromedp.SendKeys(chromedp.CSS(`input[name="data.number"]`), "2026-1042"),
	)
	s.take("send")
}

func openStudio(t *testing.T) *studio {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(operatorPassword), 10)
	if err != nil {
		t.Fatal(err)
	}
	smtp := testkit.NewSMTP(t)
	smtp.Judge(func(recipient string) (testkit.SMTPAction, bool) {
		name, _, _ := strings.Cut(recipient, "@")
		switch name {
		case "gone":
			return testkit.SMTPReply(550, "5.1.1 User unknown"), true
		case "full":
			return testkit.SMTPReply(552, "5.2.2 Mailbox full"), true
		case "grey":
			return testkit.SMTPReply(451, "4.7.1 Greylisted, come back later"), true
		case "slow":
			return testkit.SMTPHang(), true
		}
		return testkit.SMTPAction{}, false
	})
	environ := []string{
		"DATABASE_URL=" + testkit.Postgres(t), "REDIS_URL=" + testkit.Redis(t).URL(), "SMTP_URL=" + smtp.URL(),
		"POSTRIDER_DASHBOARD_USERS=ann:" + string(hash) + ":admin",
		"POSTRIDER_API_KEYS=shop:the-key-of-the-shop:jobs:write",
		"POSTRIDER_OBJECTIVES=receipt=99%<1m",
	}
	s := &studio{t: t, api: boot(t, API, environ...)}
	boot(t, Worker, environ...)
	boot(t, Scheduler, environ...)
	s.b = browser.Open(t)
	s.b.Do(
		chromedp.EmulateViewport(1280, 800),
		browser.Scheme("light"),
		chromedp.Navigate("http://"+s.api.Addr()+"/admin"),
		chromedp.SendKeys(chromedp.CSS(`input[name=name]`), "ann"),
		chromedp.SendKeys(chromedp.CSS(`input[name=password]`), operatorPassword),
		chromedp.Click(chromedp.CSS(`form.login button`)),
		chromedp.WaitVisible(chromedp.CSS(`form.who`)),
	)
	return s
}

// sendMails has mails sent that end in each way, and waits until they have.
func (s *studio) sendMails() {
	s.t.Helper()
	var last job.ID
	for i, to := range []string{"ann@example.com", "gone@example.org", "ben@example.net", "full@example.com", "grey@example.org", "cho@example.com", "dan@example.net"} {
		last = s.mail(to, fmt.Sprintf("Your receipt 2026-%d", 1035+i), "receipt", 0)
	}
	for _, to := range []string{"eve@example.com", "fay@example.org"} {
		s.mail(to, "News of the week", "newsletter", 26*time.Hour)
	}
	s.mail("slow@example.com", "Your receipt 2026-1050", "receipt", 0)
	for _, id := range []job.ID{s.mail("gus@example.com", "Tomorrow", "", time.Hour), last} {
		testkit.WaitFor(s.t, time.Minute, "a mail is sent, or waits", func() bool {
			j, err := s.api.jobs.Find(s.t.Context(), id)
			return err == nil && (j.State == job.Done || j.RunAt.After(j.CreatedAt.Add(time.Minute)))
		})
		s.act("/admin/jobs/" + string(id) + "/cancel")
	}
}

func (s *studio) mail(to, subject, category string, delay time.Duration) job.ID {
	s.t.Helper()
	got, err := s.api.jobs.Accept(s.t.Context(), job.Caller{Name: "shop"}, job.Submission{
		Type: "email:send", Delay: delay,
		Payload: fmt.Appendf(nil, `{"to":[%q],"subject":%q,"text":"Hello.","category":%q}`, to, subject, category),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return got.Jobs[0].ID
}

// act sends a form as a page would.
func (s *studio) act(path string, pairs ...string) {
	s.t.Helper()
	form := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		form.Add(pairs[i], pairs[i+1])
	}
	s.b.Expect("409 (Conflict)") // what is done already shows in the audit, too
	status := browser.Ask(s.b, chromedp.Evaluate[int](fmt.Sprintf(
		`fetch(%q, {method: "POST", body: new URLSearchParams(%q)}).then(r => r.status)`, path, form.Encode()), chromedp.EvalAwaitPromise))
	if status >= 400 && status != 409 {
		s.t.Fatalf("POST %s is answered %d", path, status)
	}
}

func (s *studio) open(path, selector string) {
	s.t.Helper()
	s.b.Do(chromedp.Navigate("http://"+s.api.Addr()+path), chromedp.WaitVisible(chromedp.CSS(selector)))
}

// take keeps what the window shows, but for the name of the machine.
func (s *studio) take(name string) {
	s.t.Helper()
	host, err := os.Hostname()
	if err != nil {
		s.t.Fatal(err)
	}
	browser.Ask(s.b, chromedp.Evaluate[bool](fmt.Sprintf(`(() => {
		const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
		while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(%q, "mail-1");
		return true;
	})()`, host)))
	png := browser.Ask(s.b, chromedp.CaptureScreenshot())
	if len(png) > mostPicture {
		s.t.Errorf("the picture %s has %d bytes, more than %d", name, len(png), mostPicture)
	}
	if err := os.MkdirAll(*screenshots, 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), png, 0o644); err != nil {
		s.t.Fatal(err)
	}
}
