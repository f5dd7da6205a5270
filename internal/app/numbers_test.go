package app

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/gorilla/websocket"
	"golang.org/x/crypto/bcrypt"

	"github.com/postrider/postrider/internal/job"
	"github.com/postrider/postrider/internal/numbers"
	"github.com/postrider/postrider/internal/testkit"
	"github.com/postrider/postrider/internal/testkit/browser"
)

const (
	operatorPassword = "correct horse"
	toolKey          = "a-tool-of-the-operators"
)

// watchedFleet is two api processes and a worker, all in this one, which reach
// Redis over a line that can be cut.
type watchedFleet struct {
	t        *testing.T
	one, two *App
	line     *testkit.FaultProxy
}

func startWatched(t *testing.T) *watchedFleet {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(operatorPassword), 10)
	if err != nil {
		t.Fatal(err)
	}
	smtp := testkit.NewSMTP(t)
	f := &watchedFleet{t: t, line: testkit.TCPProxy(t, testkit.Redis(t).Addr)}
	environ := []string{
		"DATABASE_URL=" + testkit.Postgres(t), "REDIS_URL=redis://" + f.line.Addr + "/0", "SMTP_URL=" + smtp.URL(),
		"POSTRIDER_DASHBOARD_USERS=ann:" + string(hash) + ":admin,bob:" + string(hash) + ":viewer",
		"POSTRIDER_API_KEYS=tool:" + toolKey + ":admin,shop:the-key-of-the-shop:jobs:write",
		"POSTRIDER_JWT_SECRET=" + liveSecret,
	}
	f.one, f.two = boot(t, API, environ...), boot(t, API, environ...)
	boot(t, Worker, environ...)
	return f
}

// send has a mail sent by one of the processes.
func (f *watchedFleet) send() {
	f.t.Helper()
	_, err := f.one.jobs.Accept(f.t.Context(), job.Caller{Name: "shop"}, job.Submission{
		Type: "email:send", Payload: []byte(`{"to":["user@example.com"],"subject":"Welcome!","text":"Hello."}`),
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// watcher is a client of the namespace /dashboard.
type watcher struct {
	t      *testing.T
	ws     *websocket.Conn
	events chan liveEvent
}

// watch connects to a process; path is where.
func watch(t *testing.T, addr, path, auth string, header http.Header) *watcher {
	t.Helper()
	ws, res, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+addr+path+"?EIO=4&transport=websocket", header)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	w := &watcher{t: t, ws: ws, events: make(chan liveEvent, 10_000)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		w.read()
	}()
	t.Cleanup(func() {
		_ = ws.Close()
		<-done
	})
	if err := ws.WriteMessage(websocket.TextMessage, []byte("40/dashboard,"+auth)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *watcher) read() {
	defer close(w.events)
	for {
		_, data, err := w.ws.ReadMessage()
		if err != nil {
			return
		}
		text := string(data)
		if text == "2" {
			_ = w.ws.WriteMessage(websocket.TextMessage, []byte("3")) // a cut shows when it is read
		}
		body, ok := strings.CutPrefix(text, "42/dashboard,")
		if ok {
			var list [2]json.RawMessage
			var e liveEvent
			if json.Unmarshal([]byte(body), &list) == nil && json.Unmarshal(list[0], &e.Event) == nil {
				e.Arg = list[1]
				w.events <- e
			}
		} else if body, ok := strings.CutPrefix(text, "44/dashboard,"); ok {
			w.events <- liveEvent{"connect_error", json.RawMessage(body)}
		}
	}
}

// next waits for an event of the name; others are passed over.
func (w *watcher) next(event string) json.RawMessage {
	w.t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case e, open := <-w.events:
			if !open {
				w.t.Fatalf("the connection ended while %q was waited for", event)
			}
			if e.Event == event {
				return e.Arg
			}
		case <-timeout:
			w.t.Fatalf("no %q came", event)
		}
	}
}

// ended waits until the server has closed the connection.
func (w *watcher) ended() {
	w.t.Helper()
	timeout := time.After(time.Minute)
	for {
		select {
		case _, open := <-w.events:
			if !open {
				return
			}
		case <-timeout:
			w.t.Fatal("the connection is still there")
		}
	}
}

func (w *watcher) sample(event string) numbers.Sample {
	w.t.Helper()
	var s numbers.Sample
	if err := json.Unmarshal(w.next(event), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

func TestNumbers(t *testing.T) {
	f := startWatched(t)
	run := func(name string, test func(*testing.T, *watchedFleet)) {
		t.Run(name, func(t *testing.T) { test(t, &watchedFleet{t, f.one, f.two, f.line}) })
	}
	run("of a fleet", testNumbersOfAFleet)
	run("by session", testNumbersBySession)
	run("in browsers", testNumbersInBrowsers)
}

// Whichever process is watched, the same is told of each second; and only to who
// may know.
func testNumbersOfAFleet(t *testing.T, f *watchedFleet) {
	key := fmt.Sprintf(`{"key":%q}`, toolKey)
	one, two := watch(t, f.one.Addr(), "/socket.io/", key, nil), watch(t, f.two.Addr(), "/socket.io/", key, nil)
	var history []numbers.Sample
	if err := json.Unmarshal(one.next("history"), &history); err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(history); i++ {
		if history[i].At != history[i-1].At+1000 {
			t.Fatalf("the history goes from %d to %d", history[i-1].At, history[i].At)
		}
	}
	if len(history) < numbers.Kept-5 {
		t.Errorf("the history has %d samples", len(history))
	}
	two.next("history")

	const jobs = 30
	for range jobs {
		f.send()
	}
	total := func(w *watcher) (seen map[int64]numbers.Rates) {
		seen = map[int64]numbers.Rates{}
		for done := int64(0); done < jobs; {
			s := w.sample("numbers")
			if s.Rates == nil || s.Queues == nil {
				t.Fatalf("the sample lacks numbers: %+v", s)
			}
			seen[s.At] = *s.Rates
			done += s.Rates.Done
		}
		return seen
	}
	a, b := total(one), total(two)
	var accepted, started int64
	for at, r := range a {
		accepted, started = accepted+r.Accepted, started+r.Started
		if other, ok := b[at]; ok && other != r {
			t.Errorf("of second %d one process tells %+v, the other %+v", at, r, other)
		}
	}
	if accepted != jobs || started < jobs {
		t.Errorf("%d jobs were accepted and %d runs started, of %d", accepted, started, jobs)
	}
	s := one.sample("dashboardUpdate")
	if len(s.Queues) != len(f.one.cfg.Broker.Queues) || s.Latency == nil {
		t.Errorf("a sample is %+v", s)
	}
	// Processes announce themselves in their own time.
	for s.Workers == nil || s.Workers.Processes != 1 || s.Workers.Slots == 0 || s.Connections == nil || s.Connections.Processes != 2 {
		s = one.sample("numbers")
	}

	for _, auth := range []string{"", `{"key":"the-key-of-the-shop"}`, `{"key":"wrong"}`, `{"key":1}`} {
		if got := string(watch(t, f.one.Addr(), "/socket.io/", auth, nil).next("connect_error")); !strings.Contains(got, `"code":"unauthorized"`) && !strings.Contains(got, `"code":"invalid"`) {
			t.Errorf("with %s: %s", auth, got)
		}
	}
}

// An operator's session opens the numbers to their own pages, on all processes,
// until it ends.
func testNumbersBySession(t *testing.T, f *watchedFleet) {
	session := logIn(t, f.one.Addr(), "bob")
	with := func(origin string) http.Header {
		return http.Header{"Cookie": {"postrider_session=" + session}, "Origin": {origin}}
	}
	here, there := watch(t, f.one.Addr(), "/admin/socket.io/", "", with("http://"+f.one.Addr())), watch(t, f.two.Addr(), "/admin/socket.io/", "", with("http://"+f.two.Addr()))
	here.next("numbers")
	there.next("numbers")

	_, res, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+f.one.Addr()+"/admin/socket.io/?EIO=4&transport=websocket", with("https://evil.example"))
	if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
		t.Fatalf("another origin's page may connect: %v", err)
	}
	_ = res.Body.Close()
	broken := http.Header{"Cookie": {"postrider_session=" + session + "x"}}
	watch(t, f.one.Addr(), "/admin/socket.io/", "", broken).next("connect_error")

	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+f.one.Addr()+"/admin/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Cookie": {"postrider_session=" + session}}
	if res, err = http.DefaultTransport.RoundTrip(req); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	for _, w := range []*watcher{here, there} {
		if got := string(w.next("auth_expired")); !strings.Contains(got, "logged_out") {
			t.Errorf("the reason is %s", got)
		}
		w.ended()
	}
}

// loginForm is what a browser sends of the login page.
func loginForm(t *testing.T, addr, name, password string) *http.Request {
	t.Helper()
	form := url.Values{"name": {name}, "password": {password}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+"/admin/login", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return req
}

// logIn is the token of a session that an operator begins.
func logIn(t *testing.T, addr, name string) string {
	t.Helper()
	res, err := http.DefaultTransport.RoundTrip(loginForm(t, addr, name, operatorPassword))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	for _, c := range res.Cookies() {
		if c.Name == "postrider_session" {
			return c.Value
		}
	}
	t.Fatalf("no session was begun: %s", res.Status)
	return ""
}

// Two people look at two processes: their charts move without a reload, say it when
// Redis is away, and go on when it is back.
func testNumbersInBrowsers(t *testing.T, f *watchedFleet) {
	var tabs [2]*browser.Tab
	for i, a := range []*App{f.one, f.two} {
		tabs[i] = browser.Open(t)
		tabs[i].Do(
			chromedp.Navigate("http://"+a.Addr()+"/admin"),
			chromedp.SendKeys(chromedp.CSS(`input[name=name]`), []string{"ann", "bob"}[i]),
			chromedp.SendKeys(chromedp.CSS(`input[name=password]`), operatorPassword),
			chromedp.Click(chromedp.CSS(`form.login button`)),
			chromedp.WaitVisible(chromedp.CSS(`.charts .chart`)),
		)
		browser.Ask(tabs[i], chromedp.Evaluate[bool](`document.body.dataset.same = "page"; true`))
	}
	label := func(b *browser.Tab, title string) string {
		return browser.Ask(b, chromedp.Evaluate[string](fmt.Sprintf(
			`document.body.dataset.same + " " + (document.querySelector('svg[role=img][aria-label^="%s:"]')?.getAttribute("aria-label") ?? "")`, title)))
	}
	until := func(what string, b *browser.Tab, title string, is func(label string) bool) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		got := ""
		for tick := time.NewTicker(100 * time.Millisecond); ; {
			if got = label(b, title); is(got) {
				return
			}
			f.send()
			select {
			case <-tick.C:
			case <-ctx.Done():
				t.Fatalf("waited in vain: %s; the chart says %q", what, got)
			}
		}
	}
	moves := func(label string) bool {
		return strings.HasPrefix(label, "page ") && strings.Contains(label, "done ") && !strings.Contains(label, "done 0") && !strings.Contains(label, "done –")
	}
	for _, b := range tabs {
		until("the chart moves", b, "Jobs a second", moves)
	}
	for i, name := range []string{"numbers-ann", "numbers-bob"} {
		picture(tabs[i], name)
	}

	f.line.Refuse(true)
	f.line.Cut()
	for _, b := range tabs {
		until("the chart says that Redis is away", b, "Waiting tasks", func(label string) bool { return strings.Contains(label, "Redis does not answer") })
	}
	until("what SQL knows is told all the same", tabs[1], "Jobs a second", func(label string) bool { return strings.Contains(label, "accepted ") })
	picture(tabs[0], "numbers-without-redis")
	f.line.Refuse(false)
	for _, b := range tabs {
		until("the chart goes on", b, "Waiting tasks", func(label string) bool { return strings.Contains(label, "email ") })
		until("the chart moves again", b, "Jobs a second", moves)
	}
	picture(tabs[1], "numbers-after")
}

// picture keeps pictures of the page, which must fit a phone.
func picture(b *browser.Tab, name string) {
	b.Do(chromedp.EmulateViewport(1280, 900), browser.Scheme("light"))
	b.Shot(name + "-light")
	b.Do(browser.Scheme("dark"))
	b.Shot(name + "-dark")
	b.Do(chromedp.EmulateViewport(360, 740, chromedp.EmulateMobile))
	b.Shot(name + "-phone")
	b.Fits(name, 360)
	b.Do(browser.Scheme("light"), chromedp.EmulateViewport(1280, 900))
}
